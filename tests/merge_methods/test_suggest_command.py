"""``turnswap suggest``: what it writes and prints, what it refuses, and the analysis that it reads back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from tests.conftest import Turnswap
from turnswap.core.errors import UserError
from turnswap.merge_methods.analysis import analyze_references
from turnswap.merge_methods.analysis_file import _checksum, as_json, from_json, read_analysis
from turnswap.merge_methods.configuration import read_configuration
from turnswap.merge_methods.proposal import open_experts, propose

from .conftest import contents
from .models import MergeOptions, save_model
from .test_analysis import changed, noise
from .test_suggest import scaled

OPTIONS = MergeOptions(quiet=True)
GROWN = {"recipient": (0.02, 0.02, 0.06, 0.06, 0.04, 0.04), "donor": (0.06, 0.06, 0.02, 0.02, 0.04, 0.06)}


@pytest.fixture(scope="session")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with base, recipient, donor, a stranger, and the analysis of the three under relative names."""
    root = tmp_path_factory.mktemp("family")
    base = save_model(root / "base", dtype=torch.float32, layers=6)
    for role, shares in GROWN.items():
        scaled(base, root / role, shares, shares, 0.01 if role == "donor" else 0.02)
    save_model(root / "stranger", seed=9, dtype=torch.float32, layers=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        found = as_json(analyze_references("base", "recipient", "donor", OPTIONS))
    (root / "found").mkdir()
    (root / "found/analysis.json").write_text(json.dumps(found), "utf-8")
    return root


@pytest.fixture
def suggest(turnswap: Turnswap, family: Path, monkeypatch: pytest.MonkeyPatch) -> Turnswap:
    """The command, run where analyze ran."""
    monkeypatch.chdir(family)
    return lambda *arguments: turnswap("suggest", *arguments)


@pytest.fixture
def analysed(family: Path) -> dict[str, Any]:
    return json.loads((family / "found/analysis.json").read_text("utf-8"))  # type: ignore[no-any-return]


def test_without_a_rule_every_rule_is_shown_and_nothing_is_written(suggest: Turnswap, family: Path) -> None:
    before = contents(family)
    done = suggest("found")
    assert done.exit_code == 0, done.output
    assert contents(family) == before
    letters = dict(line.split() for line in done.output.splitlines()[1:5])
    # Both grew by 0.24 and 0.26 in sum: the last layer's shares are 0.167 and 0.231.
    assert letters == {"paper": "DbRRbD", "ratio": "DDRRRD", "shin-hwang": "DDRRRD", "alignment": "nothing"}
    assert "no middle that is more aligned" in done.output
    assert "arXiv 2601.22620" in done.output


def test_a_rule_writes_a_configuration_that_plans_alike(suggest: Turnswap, turnswap: Turnswap, tmp_path: Path) -> None:
    out = tmp_path / " ".join(["new folder"] * 10) / "layerswap.yml"
    done = suggest("found", "--rule", "ratio", "-o", out)
    assert done.exit_code == 0, done.output
    text = out.read_text("utf-8")
    # A command is one line, however long: it is there to be copied.
    assert text.startswith(f"# mergekit-yaml '{out}' ./merged\n")
    assert "the analysis found:" in text
    assert "0.23077" in text  # 0.06 / 0.26, the donor's share in layer 0
    content = yaml.safe_load(text)
    assert content["parameters"] == {
        "bottom": 2, "top": 1, "transition": 0, "embeddings": "donor", "head": "donor",
    }  # fmt: skip
    read_configuration(out)
    planned = turnswap("plan", out)
    assert planned.exit_code == 0
    assert planned.output.strip() in done.output
    assert f"Written: {out}" in done.output


def test_without_a_file_standard_output_is_the_configuration_alone(suggest: Turnswap, family: Path) -> None:
    before = contents(family)
    done = suggest("found/analysis.json", "--rule", "shin-hwang", "--granularity", "module", "--blend", "0.3")
    assert done.exit_code == 0, done.output
    parameters = yaml.safe_load(done.stdout)["parameters"]
    assert [entry.get("filter") for entry in parameters["layers"]] == [".self_attn.", ".mlp.", None]
    assert parameters["blend"] == 0.3
    assert "zone" in done.stderr
    assert contents(family) == before


def test_json_goes_to_standard_output_alone(suggest: Turnswap, tmp_path: Path) -> None:
    every = json.loads(suggest("found", "--json").stdout)
    assert [entry["rule"] for entry in every] == ["paper", "ratio", "shin-hwang", "alignment"]
    assert "no middle" in every[3]["refused"]
    out = tmp_path / "layerswap.yml"
    one = json.loads(suggest("found", "--rule", "ratio", "--json", "-o", out).stdout)
    assert one["configuration"] == out.read_text("utf-8")
    assert one["figures"][0]["d"] == pytest.approx(0.06 / 0.26 - 0.02 / 0.24, rel=1e-4)


def test_models_instead_of_an_analysis_are_analysed_first(suggest: Turnswap) -> None:
    models = ("--base", "base", "--recipient", "recipient", "--donor", "donor")
    done = suggest(*models, "--rule", "ratio")
    assert done.exit_code == 0, done.output
    assert yaml.safe_load(done.stdout) == yaml.safe_load(suggest("found", "--rule", "ratio").stdout)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Expected the folder of an analysis, or --base"),
        (("--base", "base", "--donor", "donor"), "Expected the folder of an analysis, or --base"),
        (("found", "--base", "base"), "Expected the folder of an analysis, or --base"),
        (("found", "-o", "out.yml"), "Name one: --rule paper"),
        (("found", "--rule", "ratio", "--threshold", "0.1", "-o", "out.yml"), "--threshold is for shin-hwang"),
        (("found", "--rule", "alignment", "-o", "out.yml"), "no middle that is more aligned"),
        (("found", "--rule", "shin-hwang", "--blend", "2", "-o", "out.yml"), "blend: expected"),
        (("found", "--rule", "paper", "--accept", "colour", "-o", "out.yml"), "colour cannot be accepted"),
        (("base", "--rule", "paper", "-o", "out.yml"), "cannot be read as an analysis"),
    ],
)
def test_what_is_refused_leaves_nothing(suggest: Turnswap, family: Path, arguments: tuple[str, ...], told: str) -> None:
    before = contents(family)
    done = suggest(*arguments)
    assert done.exit_code == 1
    assert told in " ".join(done.output.split())
    assert contents(family) == before


def test_strangers_are_refused_unless_told_otherwise(suggest: Turnswap, tmp_path: Path) -> None:
    models = ("--base", "base", "--recipient", "recipient", "--donor", "stranger", "--rule", "paper")
    out = tmp_path / "layerswap.yml"
    refused = suggest(*models, "-o", out)
    assert refused.exit_code == 1
    assert "experts of one ancestor, and whether the donor comes from base is judged 'no'" in " ".join(
        refused.output.split()
    )
    assert not out.exists()
    assert suggest(*models, "-o", out, "--anyway").exit_code == 0
    assert "Warning: whether the donor comes from base is judged 'no'" in out.read_text("utf-8")


def test_a_likely_ancestor_is_a_warning(family: Path, tmp_path: Path) -> None:
    shares = (0.02, 0.02, 0.02, 0.02, 0.02, 0.5)
    donor = scaled(family / "base", tmp_path / "donor", shares, shares, 0.02)
    analysis = analyze_references(str(family / "base"), str(family / "recipient"), str(donor), OPTIONS)
    made = propose(open_experts(analysis, OPTIONS), "paper")
    assert "judged 'likely'" in made.warnings[0]
    assert "# Warning: whether the donor comes from" in made.text


def test_models_are_looked_for_where_analyze_ran(suggest: Turnswap, tmp_path: Path, family: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    done = suggest(family / "found", "--rule", "paper")
    assert done.exit_code == 1
    assert "recipient is no folder here" in done.output
    assert "from where turnswap analyze ran" in " ".join(done.output.split())


def test_an_analysis_of_other_models_is_refused(family: Path) -> None:
    found = analyze_references(*(str(family / role) for role in ("base", "recipient", "donor")), OPTIONS)
    cells = [dataclasses.replace(cell, parameters=cell.parameters + (cell.component == "up")) for cell in found.cells]
    with pytest.raises(UserError, match="is not the model that was analysed"):
        open_experts(dataclasses.replace(found, cells=cells), OPTIONS)


def test_an_analysis_comes_back_as_it_was(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", "qwen3-moe", dtype=torch.float32, layers=3)

    def some(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor if ".1." in name else noise(3, 0.1)(name, tensor)

    found = analyze_references(*map(str, (base, changed(base, tmp_path / "r", some), base)), OPTIONS)
    content = as_json(found)
    (tmp_path / "analysis.json").write_text(json.dumps(content), "utf-8")
    back = read_analysis(tmp_path)
    assert repr(back) == repr(found)  # NaN is unequal to itself
    assert as_json(back) == content


def _row(change: dict[str, Any], number: int = 3) -> Callable[[dict[str, Any]], None]:
    return lambda content: content["cells"][number].update(change)


@pytest.mark.parametrize(
    "alter",
    [
        lambda c: c.pop("sha256"),
        lambda c: [row.pop("ancestor_norm") for row in c["cells"]],
        lambda c: c.pop("cells"),
        lambda c: c["cells"].pop(),
        lambda c: [c["cells"].pop(2), c["cells"].pop(2)] and c["cells"].extend(c["cells"][:2]),
        lambda c: c.update(layers=7),
        lambda c: c["ancestor"]["donor"].update(verdict="no"),
        _row({"relative": -0.1}),
        _row({"relative": "0.1"}),
        _row({"relative": float("nan")}),
        _row({"relative": None}),
        _row({"relative": 0.0}),
        _row({"cosine": 0.5}),
        _row({"expert": "recipient"}),
        _row({"colour": 1}),
        lambda c: [row.update(component="pooler") for row in c["cells"][2:4]],
        lambda c: c["models"].pop("donor"),
        lambda c: c["models"].update(donor="stranger"),
    ],
)
def test_an_altered_analysis_is_refused(analysed: dict[str, Any], alter: Callable[[dict[str, Any]], object]) -> None:
    from_json(json.loads(json.dumps(dict(reversed(analysed.items())))))  # another order alters nothing
    alter(analysed)
    with pytest.raises(UserError, match=r"it was altered\. Run turnswap analyze again, with -o"):
        from_json(analysed)


@pytest.mark.parametrize(
    "wrong",
    [
        {"cells": [1, 2]},
        {"cells": None},
        {"layers": "six"},
        {"layers": 1},
        {"models": 3},
        {"ancestor": {}},
        {"cells": []},
    ],
)
def test_an_analysis_of_another_form_is_refused_though_its_checksum_is_right(
    analysed: dict[str, Any], wrong: dict[str, Any]
) -> None:
    content = analysed | wrong
    with pytest.raises(UserError, match="not an analysis that this version"):
        from_json(content | {"sha256": _checksum(content)})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(suggest: Turnswap, family: Path, tmp_path: Path, value: float) -> None:
    def spoilt(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.index_fill(0, torch.tensor([0]), value) if name == "model.layers.2.mlp.up_proj.weight" else tensor

    donor = changed(family / "base", tmp_path / "donor", spoilt)
    done = suggest("--base", "base", "--recipient", "recipient", "--donor", donor, "--anyway")
    assert done.exit_code == 1
    assert f"model.layers.2.mlp.up_proj.weight cannot be compared: of the donor ({donor})" in " ".join(
        done.output.split()
    )


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b'{"cells": 3}', b"[" * 100_000])
def test_a_file_that_is_no_analysis_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "analysis.json").write_bytes(content)
    with pytest.raises(UserError, match="analysis"):
        read_analysis(tmp_path)


@pytest.mark.parametrize("mark", ["\n", "\r", "\x85", "\u2028", "\x1b[2J"])
def test_a_models_name_cannot_end_the_comment(family: Path, tmp_path: Path, mark: str) -> None:
    name = f"expert{mark}base_model: another #"
    (tmp_path / name).symlink_to(family / "recipient")
    models = (str(family / "base"), str(tmp_path / name), str(family / "donor"))
    origin = f"found{mark}merge_method: linear"
    analysis = analyze_references(*models, OPTIONS)
    text = propose(open_experts(analysis, OPTIONS), "paper", origin=origin, output=f"a{mark}dtype: float16").text
    assert mark not in text or mark == "\n"
    loaded = yaml.safe_load(text)
    assert list(loaded) == ["merge_method", "base_model", "models", "parameters"]
    assert (loaded["merge_method"], loaded["base_model"]) == ("layer_swap", models[1])
    comments = text.partition("merge_method: layer_swap\n")[0]
    assert all(line.startswith("# ") for line in comments.splitlines() if line)


def test_adapters_need_a_cache_and_the_comment_says_so(family: Path, tmp_path: Path) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(family / "base")
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "down_proj"]))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.02)
    adapted.save_pretrained(tmp_path / "adapter")
    names = (str(family / "base"), f"{family / 'base'}+{tmp_path / 'adapter'}", str(family / "donor"))
    made = propose(open_experts(analyze_references(*names, OPTIONS), OPTIONS), "shin-hwang")
    assert made.text.startswith("# mergekit-yaml layerswap.yml ./merged --lora-merge-cache ./merged-adapters\n")
    assert yaml.safe_load(made.text)["base_model"] == names[1]
