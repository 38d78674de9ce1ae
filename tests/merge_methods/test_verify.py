"""``turnswap verify``: what it accepts, and every kind of damage that it must find."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer

from turnswap.merge_methods.verify import _compared, _retyped

from ..conftest import Turnswap
from .folder_files import edit_json
from .models import merge, recipe, save_model, tensors


@pytest.fixture(scope="module")
def merged_once(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with two experts that have a tokenizer, and their merge."""
    root = tmp_path_factory.mktemp("merged")
    for seed, name in enumerate(("recipient", "donor")):
        save_model(root / name, seed=seed)
        AutoTokenizer.from_pretrained(tiny_model).save_pretrained(root / name)
    merge(recipe(root / "recipient", root / "donor"), root / "merged", out_shard_size=60_000)
    return root


@pytest.fixture
def merged(merged_once: Path, tmp_path: Path) -> Path:
    """A copy of the merge, to be damaged."""
    shutil.copytree(merged_once / "merged", tmp_path / "merged")
    return tmp_path / "merged"


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    """Write a model's tensors again, changed, in one file."""
    content = {name: tensor.clone() for name, tensor in tensors(folder).items()}
    change(content)
    for path in folder.glob("*.safetensors*"):
        path.unlink()
    save_file(content, folder / "model.safetensors", metadata={"format": "pt"})


def test_an_honest_merge_is_verified(merged: Path, turnswap: Turnswap) -> None:
    assert len(list(merged.glob("*.safetensors"))) == 3
    done = turnswap("verify", merged, "--json")
    assert done.exit_code == 0
    report = json.loads(done.stdout)
    assert report["status"] == "verified"
    assert report["problems"] == []
    assert report["tensors"] == {"donor": 30, "blend": 18, "recipient": 27}
    assert "verified" in turnswap("verify", merged).stdout


NAME = "model.layers.4.mlp.up_proj.weight"


def flip_a_bit(content: dict[str, torch.Tensor]) -> None:
    content[NAME].view(torch.int16)[0, 0] ^= 1


def negate_a_zero(content: dict[str, torch.Tensor]) -> None:
    content[NAME][0, 0] = -0.0


def spoil(value: float) -> Callable[[dict[str, torch.Tensor]], None]:
    def change(content: dict[str, torch.Tensor]) -> None:
        content[NAME][0, 0] = value

    return change


def retype(content: dict[str, torch.Tensor]) -> None:
    content[NAME] = content[NAME].float()


def reshape(content: dict[str, torch.Tensor]) -> None:
    content[NAME] = content[NAME].T.contiguous()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flip_a_bit, "is not, bit for bit, the recipient's (middle)"),
        (spoil(float("nan")), "holds NaN or infinite values"),
        (spoil(float("inf")), "holds NaN or infinite values"),
        (retype, "is torch.float32, declared torch.bfloat16"),
        (reshape, "is not, bit for bit, the recipient's"),
        (lambda content: content.pop(NAME), "missing"),
        (lambda content: content.update({f"{NAME}_2": torch.zeros(2)}), "not declared, but there"),
    ],
)
def test_a_changed_tensor_is_found_and_named(
    merged: Path, turnswap: Turnswap, change: Callable[[dict[str, torch.Tensor]], object], said: str
) -> None:
    rewrite(merged, change)
    done = turnswap("verify", merged, "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert report["status"] == "differs"
    assert all(problem.startswith(NAME) for problem in report["problems"])
    assert any(said in problem for problem in report["problems"])


def test_minus_zero_for_zero_is_found(merged_once: Path, tmp_path: Path, turnswap: Turnswap) -> None:
    for name in ("recipient", "donor"):
        shutil.copytree(merged_once / name, tmp_path / name)
        rewrite(tmp_path / name, lambda content: content[NAME].zero_())
    merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out")
    assert turnswap("verify", "out").exit_code == 0
    rewrite(tmp_path / "out", negate_a_zero)
    done = turnswap("verify", "out")
    assert done.exit_code == 1
    assert NAME in done.stdout


def test_a_blend_of_another_share_is_found(merged: Path, turnswap: Turnswap) -> None:
    text = (merged / "mergekit_config.yml").read_text()
    (merged / "mergekit_config.yml").write_text(text.replace("transition: 1", "transition: 1\n  blend: 0.4"))
    done = turnswap("verify", merged, "--json")
    problems = json.loads(done.stdout)["problems"]
    assert len(problems) == 18
    assert all("the declared blend (donor's share 0.4" in problem for problem in problems)


def test_swapped_recipient_and_donor_are_found(merged: Path, merged_once: Path, turnswap: Turnswap) -> None:
    (merged.parent / "other.yml").write_text(recipe(merged_once / "donor", merged_once / "recipient"))
    done = turnswap("verify", merged, "--config", "other.yml", "--json")
    assert done.exit_code == 1
    report = json.loads(done.stdout)
    assert len(report["problems"]) == report["tensors"]["donor"] + report["tensors"]["recipient"]


@pytest.mark.parametrize(
    "change", [{"rms_norm_eps": 0.5}, {"rope_parameters": {"rope_type": "default", "rope_theta": 5}}]
)
def test_a_changed_configuration_is_found(merged: Path, turnswap: Turnswap, change: dict[str, object]) -> None:
    edit_json(merged / "config.json", **change)
    done = turnswap("verify", merged)
    assert done.exit_code == 1
    assert f"config.json: {next(iter(change))} is" in done.stdout


def test_a_configuration_that_names_another_type_is_found(merged: Path, turnswap: Turnswap) -> None:
    edit_json(merged / "config.json", dtype="float32")
    assert "dtype is torch.float32, declared bfloat16" in turnswap("verify", merged).stdout


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dtype": "float16"}, "dtype is 'float16', the recipient's is 'bfloat16'"),
        ({"torch_dtype": "float16"}, "torch_dtype is float16, but dtype is bfloat16"),
        ({"parts": {"dtype": "float16", "torch_dtype": "float32"}}, "parts.torch_dtype is float32, but parts.dtype is"),
    ],
)
def test_without_a_declared_type_the_configurations_is_the_recipients(
    merged_once: Path, tmp_path: Path, turnswap: Turnswap, change: dict[str, object], said: str
) -> None:
    out = merge(recipe(merged_once / "recipient", merged_once / "donor", dtype=None), tmp_path / "out")
    assert turnswap("verify", out, "--load").exit_code == 0
    edit_json(out / "config.json", **change)
    problems = json.loads(turnswap("verify", out, "--load", "--json").stdout)["problems"]
    assert any(said in problem for problem in problems), problems


def test_a_nested_type_is_the_recipients_or_the_declared_one() -> None:
    ours = {"text_config": {"dtype": "float32"}, "vision_config": {"dtype": "float16"}}
    theirs = {"text_config": {"dtype": "bfloat16"}, "vision_config": {"dtype": "bfloat16"}}
    assert _retyped(theirs, ours, "float32") == ours | {"vision_config": {"dtype": "bfloat16"}}
    assert _compared({"part": {"torch_dtype": "float16"}}) == {"part": {"dtype": "float16"}}


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("config.json", {"hidden_size": "abc"}, "'hidden_size'"),
        ("generation_config.json", [1], "generation_config.json: it is [1], the recipient's is {"),
        ("tokenizer_config.json", [1], "tokenizer_config.json: it is [1], the recipient's is {"),
    ],
)
def test_a_file_of_a_wrong_form_is_a_problem_and_named(
    merged: Path, turnswap: Turnswap, file: str, content: object, said: str
) -> None:
    if isinstance(content, dict):
        edit_json(merged / file, **content)
    else:
        (merged / file).write_text(json.dumps(content))
    done = turnswap("verify", merged, "--json")
    assert done.exit_code == 1
    problems = json.loads(done.stdout)["problems"]
    assert any(problem.startswith(file) and said in problem for problem in problems), problems


def test_a_changed_tokenizer_or_template_is_found(merged: Path, turnswap: Turnswap) -> None:
    (merged / "chat_template.jinja").write_text("{{ messages }}")
    assert "the chat template is not the recipient's" in turnswap("verify", merged).stdout
    tokenizer = json.loads((merged / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"] |= {"a": 5, "b": 6}
    edit_json(merged / "tokenizer.json", model=tokenizer["model"])
    assert "tokenizer.json: vocab.a is 5, the recipient's is 64" in turnswap("verify", merged).stdout
    (merged / "tokenizer.json").unlink()
    done = turnswap("verify", merged)
    assert done.exit_code == 1
    assert "tokenizer.json: missing" in done.stdout


@pytest.mark.parametrize(
    ("remove", "said"),
    [
        ("config.json", "config.json is missing"),
        ("mergekit_config.yml", "mergekit_config.yml is missing"),
        ("model-00002-of-00003.safetensors", "its index names model-00002-of-00003.safetensors"),
        ("*.safetensors*", "holds no weights"),
    ],
)
def test_a_folder_that_lacks_a_file_is_incomplete(merged: Path, turnswap: Turnswap, remove: str, said: str) -> None:
    for path in merged.glob(remove):
        path.unlink()
    done = turnswap("verify", merged, "--write-provenance")
    assert done.exit_code == 1
    assert done.stdout.startswith("incomplete")
    assert said in " ".join(done.stdout.split())
    assert not (merged / "layer_swap.json").exists()


def test_a_file_that_is_cut_short_is_incomplete(merged: Path, turnswap: Turnswap) -> None:
    path = merged / "model-00002-of-00003.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    done = turnswap("verify", merged)
    assert (done.exit_code, done.stdout.split()[0]) == (1, "incomplete")
    assert "cut short" in done.stdout


def test_a_folder_that_is_not_there_is_incomplete(turnswap: Turnswap) -> None:
    done = turnswap("verify", "nowhere", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["status"] == "incomplete"


def test_a_source_that_is_gone_is_a_users_mistake_to_mend(merged: Path, turnswap: Turnswap) -> None:
    text = (merged / "mergekit_config.yml").read_text().replace("/donor", "/moved")
    (merged / "mergekit_config.yml").write_text(text)
    done = turnswap("verify", merged)
    assert done.exit_code == 1
    assert "moved is no folder here" in " ".join(done.stderr.split())


def test_provenance_holds_plan_versions_and_the_hash_of_every_file(
    merged: Path, merged_once: Path, turnswap: Turnswap
) -> None:
    for _ in range(2):  # a second time it replaces what it wrote
        done = turnswap("verify", merged, "--write-provenance")
        assert done.exit_code == 0, done.stdout
    written = json.loads((merged / "layer_swap.json").read_text())
    assert len(written["plan"]["tensors"]) == 75
    assert {"python", "turnswap", "mergekit", "torch", "transformers"} <= written["versions"].keys()
    assert written["sources"]["donor"]["model"] == str(merged_once / "donor")

    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    for role in ("recipient", "donor"):
        files = {path.name: digest(path) for path in (merged_once / role).iterdir()}
        assert written["sources"][role]["sha256"] == files
    later = {"README.md", "layer_swap.json", "SHA256SUMS", "provenance.intoto.json"}
    outputs = {path.name: digest(path) for path in merged.iterdir() if path.name not in later}
    assert written["output"]["sha256"] == outputs
    card = (merged / "README.md").read_text()
    assert card.count("## Provenance") == 1
    assert "## Merge Details" in card
    assert all(value in card for value in written["output"]["sha256"].values())


def test_a_model_card_that_cannot_be_written_stays_as_it_was(
    merged: Path, turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = (merged / "README.md").read_text()

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full_disk)  # the last step of a file that is written whole
    done = turnswap("verify", merged, "--write-provenance")
    assert done.exit_code == 1
    assert "README.md cannot be written: No space left" in " ".join(done.stderr.split())
    assert (merged / "README.md").read_text() == card
    assert not (merged / "layer_swap.json").exists()
    assert not list(merged.glob(".*.part"))


def test_provenance_is_not_written_for_what_is_not_verified(merged: Path, turnswap: Turnswap) -> None:
    rewrite(merged, flip_a_bit)
    card = (merged / "README.md").read_text()
    assert turnswap("verify", merged, "--write-provenance").exit_code == 1
    assert not (merged / "layer_swap.json").exists()
    assert (merged / "README.md").read_text() == card
