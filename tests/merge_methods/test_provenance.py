"""What ``verify --write-provenance`` writes, and that others can check it."""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from turnswap.merge_methods.checksums import write_checksums
from turnswap.merge_methods.claims import statement_of

from ..conftest import Turnswap
from .folder_files import edit_json
from .models import TOKENS, merge, pair, recipe


@pytest.fixture(scope="module")
def merged_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("merged")
    merge(recipe(*pair(root, tokenizer=TOKENS)), root / "merged", out_shard_size=60_000)
    return root


@pytest.fixture
def proven(merged_once: Path, tmp_path: Path, turnswap: Turnswap) -> Path:
    """A merge with its provenance and a file below it."""
    folder = Path(shutil.copytree(merged_once / "merged", tmp_path / "merged"))
    (folder / "assets").mkdir()
    (folder / "assets" / "a picture\n.png").write_bytes(b"PNG")
    done = turnswap("verify", folder, "--load", "--write-provenance")
    assert done.exit_code == 0, done.stdout
    return folder


def sha256sum(folder: Path) -> int:
    command = ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"]
    return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode


def test_sha256sum_checks_every_file_of_the_folder(proven: Path) -> None:
    assert sha256sum(proven) == 0
    lines = (proven / "SHA256SUMS").read_text().splitlines()
    files = [path for path in proven.rglob("*") if path.is_file()]
    assert len(lines) == len(files) - 1
    for path in files:
        if path.name != "SHA256SUMS":
            content = path.read_bytes()
            path.write_bytes(content + b"x")
            assert sha256sum(proven) == 1, path
            path.write_bytes(content)


def test_a_second_check_finds_all_as_recorded_and_writes_the_same(proven: Path, turnswap: Turnswap) -> None:
    before = (proven / "SHA256SUMS").read_text()
    done = turnswap("verify", proven, "--load", "--write-provenance")
    assert done.exit_code == 0, done.stdout
    assert (proven / "SHA256SUMS").read_text() == before


def test_an_edited_card_is_a_note_and_what_else_changed_a_problem(proven: Path, turnswap: Turnswap) -> None:
    with (proven / "README.md").open("a") as card:
        card.write("A person's words.\n")
    done = turnswap("verify", proven)
    said = "Note: README.md was edited after its hash was recorded, which is allowed"
    assert (done.exit_code, said in done.stdout) == (0, True)
    (proven / "LICENSE").write_text("added since")
    assert turnswap("verify", proven).exit_code == 0
    (proven / "assets" / "a picture\n.png").unlink()
    done = turnswap("verify", proven)
    assert (done.exit_code, ".png is missing, recorded" in done.stdout) == (1, True)


def test_a_record_that_is_not_of_these_files_is_a_problem(proven: Path, turnswap: Turnswap) -> None:
    (proven / "SHA256SUMS").unlink()
    content = json.loads((proven / "layer_swap.json").read_text())
    hashes = content["output"]["sha256"] | {"config.json": "0" * 64}
    edit_json(proven / "layer_swap.json", output={"sha256": hashes})
    done = turnswap("verify", proven)
    assert done.exit_code == 1
    assert "layer_swap.json: config.json is " in done.stdout
    (proven / "layer_swap.json").write_text("[]")
    assert "layer_swap.json: not written by turnswap" in turnswap("verify", proven).stdout
    (proven / "layer_swap.json").unlink()
    (proven / "SHA256SUMS").write_text("no line of it\n")
    assert "SHA256SUMS: the line 'no line of it' is missing" in turnswap("verify", proven).stdout


def test_sources_commands_and_environment_are_recorded_without_the_writers_name(
    proven: Path, merged_once: Path
) -> None:
    text = (proven / "layer_swap.json").read_text()
    content = json.loads(text)
    for role in ("recipient", "donor"):
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (merged_once / role).iterdir()}
        assert content["sources"][role]["sha256"] == files
    assert content["commands"] == {
        "merge": "mergekit-yaml mergekit_config.yml merged",
        "verify": "turnswap verify merged --load --write-provenance",
    }
    assert content["environment"]["platform"].startswith(platform.system())
    assert platform.node() not in text
    assert str(Path.home()) not in text


def test_the_card_counts_what_was_kept_rounded_and_blended(tmp_path: Path, turnswap: Turnswap) -> None:
    merge(recipe(*pair(tmp_path, dtype=torch.float32)), tmp_path / "out")
    assert turnswap("verify", tmp_path / "out", "--write-provenance").exit_code == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert "equal their source" not in card
    assert "57 are their source rounded to bfloat16, as declared; 18 are computed as declared (blends" in card
    assert len(json.loads((tmp_path / "out" / "layer_swap.json").read_text())["verified"]["rounded"]) == 75


def test_the_statement_names_outputs_as_subjects_and_sources_as_dependencies(proven: Path) -> None:
    statement = json.loads((proven / "provenance.intoto.json").read_text())
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    content = json.loads((proven / "layer_swap.json").read_text())
    assert {one["name"]: one["digest"]["sha256"] for one in statement["subject"]} == content["output"]["sha256"]
    definition = statement["predicate"]["buildDefinition"]
    named = {one["name"]: one["digest"]["sha256"] for one in definition["resolvedDependencies"]}
    assert named["donor/model.safetensors"] == content["sources"]["donor"]["sha256"]["model.safetensors"]
    assert definition["externalParameters"]["configuration"]["merge_method"] == "layer_swap"


def lie(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        place: Any = content
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return change


LIES = {
    "a source's name": lie("sources", "donor", "model", value="someone/else"),
    "a source's revision": lie("sources", "donor", "revision", value="abc"),
    "a source's hash": lie("sources", "donor", "sha256", "config.json", value="0" * 64),
    "a source's file": lie("sources", "donor", "sha256", "more.safetensors", value="0" * 64),
    "no sources": lie("sources", value={}),
    "sources of a wrong form": lie("sources", value=[1]),
    "a tensor's source": lie("plan", "tensors", 3, "source", value="recipient"),
    "the plan's models": lie("plan", "models", "donor", value="someone/else"),
    "the configuration": lie("configuration", "parameters", "bottom", value=7),
    "counts": lie("verified", "tensors", "donor", value=75),
    "bytes": lie("verified", "bytes", value=1),
    "problems": lie("verified", "problems", value=["one"]),
    "an output that is not listed": lambda content: content["output"]["sha256"].pop("config.json"),
}


@pytest.mark.parametrize("change", LIES.values(), ids=LIES)
def test_a_record_that_lies_is_found_even_with_checksums_that_agree(
    proven: Path, turnswap: Turnswap, change: Callable[[dict[str, Any]], object]
) -> None:
    assert turnswap("verify", proven).exit_code == 0
    content = json.loads((proven / "layer_swap.json").read_text())
    change(content)
    (proven / "layer_swap.json").write_text(json.dumps(content))
    (proven / "provenance.intoto.json").unlink(missing_ok=True)
    write_checksums(proven)
    done = turnswap("verify", proven, "--json")
    assert done.exit_code == 1, done.stderr
    problems = json.loads(done.stdout)["problems"]
    assert any(problem.startswith("layer_swap.json: ") for problem in problems), problems


def test_hashes_of_the_sources_weights_are_compared_with_load(proven: Path, turnswap: Turnswap) -> None:
    content = json.loads((proven / "layer_swap.json").read_text())
    content["sources"]["donor"]["sha256"]["model.safetensors"] = "0" * 64
    (proven / "layer_swap.json").write_text(json.dumps(content))
    write_checksums(proven)
    assert "sources.donor.sha256.model.safetensors is '0000" in turnswap("verify", proven, "--load").stdout


def test_a_record_without_its_checksums_is_a_problem(proven: Path, turnswap: Turnswap) -> None:
    lines = (proven / "SHA256SUMS").read_text().splitlines(keepends=True)
    (proven / "SHA256SUMS").write_text("".join(line for line in lines if "config.json" not in line))
    assert "SHA256SUMS: does not name config.json" in turnswap("verify", proven).stdout
    (proven / "SHA256SUMS").unlink()
    done = turnswap("verify", proven)
    assert (done.exit_code, "SHA256SUMS: missing, but layer_swap.json" in done.stdout) == (1, True)


def test_a_statement_says_what_the_record_says(proven: Path, turnswap: Turnswap) -> None:
    statement = statement_of(json.loads((proven / "layer_swap.json").read_text()))
    file = proven / "provenance.intoto.json"
    file.write_text(json.dumps(statement))
    write_checksums(proven)
    assert turnswap("verify", proven).exit_code == 0
    statement["subject"][0]["digest"]["sha256"] = "0" * 64
    file.write_text(json.dumps(statement))
    write_checksums(proven)
    done = turnswap("verify", proven)
    assert (done.exit_code, "provenance.intoto.json: subject[0].digest.sha256 is" in done.stdout) == (1, True)
    for name in ("layer_swap.json", "SHA256SUMS"):
        (proven / name).unlink()
    assert "provenance.intoto.json: repeats layer_swap.json, which is missing" in turnswap("verify", proven).stdout
