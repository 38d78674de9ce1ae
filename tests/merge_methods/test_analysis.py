"""``turnswap analyze``: where fine-tuning changed two experts."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.conftest import Turnswap
from turnswap.core.errors import UserError
from turnswap.merge_methods.analysis import analyze_references
from turnswap.merge_methods.analysis_file import Analysis, Cell, as_rows

from .models import MergeOptions, save_model, tensors

Q = "model.layers.{}.self_attn.q_proj.weight"


def changed(base: Path, folder: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> Path:
    """A copy of a model whose tensors were changed."""
    folder.mkdir()
    for file in base.iterdir():
        if file.suffix != ".safetensors":
            (folder / file.name).write_bytes(file.read_bytes())
    content = load_file(base / "model.safetensors")
    save_file(
        {name: change(name, tensor).contiguous() for name, tensor in content.items()},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    return folder


def noise(seed: int, share: float) -> Callable[[str, torch.Tensor], torch.Tensor]:
    """Every tensor moved by this share of its norm."""
    generator = torch.Generator().manual_seed(seed)

    def change(name: str, tensor: torch.Tensor) -> torch.Tensor:
        moved = torch.randn(tensor.shape, generator=generator)
        return (tensor.float() + share * tensor.float().norm() / moved.norm() * moved).to(tensor.dtype)

    return change


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_model(tmp_path / "base", dtype=torch.float32)


def analyzed(base: object, recipient: object, donor: object) -> Analysis:
    return analyze_references(str(base), str(recipient), str(donor), MergeOptions(quiet=True))


def cell(analysis: Analysis, layer: int | None, component: str) -> Cell:
    (found,) = [each for each in analysis.cells if (each.layer, each.component) == (layer, component)]
    return found


def test_every_figure_of_a_layer_and_component(base: Path, tmp_path: Path) -> None:
    recipient, donor = changed(base, tmp_path / "r", noise(1, 0.05)), changed(base, tmp_path / "d", noise(2, 0.1))
    found = analyzed(base, recipient, donor)
    weights = [tensors(folder) for folder in (base, recipient, donor)]
    for component, name in [("q", Q), ("down", "model.layers.{}.mlp.down_proj.weight")]:
        before, r, d = (each[name.format(3)].double() for each in weights)
        expected = cell(found, 3, component)
        for role, after in (("recipient", r), ("donor", d)):
            change = getattr(expected, role)
            assert change.mean_absolute == pytest.approx(float((after - before).abs().mean()), rel=1e-5)
            assert change.relative == pytest.approx(float((after - before).norm() / before.norm()), rel=1e-5)
            assert change.changed == pytest.approx(float((after != before).double().mean()))
        cosine = torch.nn.functional.cosine_similarity((r - before).flatten(), (d - before).flatten(), dim=0)
        assert expected.cosine == pytest.approx(float(cosine), abs=1e-5)
        assert expected.parameters == before.numel()
    assert found.n_layers == 8
    layers = {each.layer for each in found.cells}
    assert layers == {None, *range(8)}
    assert [each.component for each in found.cells if each.layer is None] == ["embeddings", "head"]


def test_what_did_not_change_is_0_and_has_no_direction(base: Path, tmp_path: Path) -> None:
    def one(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor * 1.5 if name == Q.format(2) else tensor

    found = analyzed(base, changed(base, tmp_path / "r", one), changed(base, tmp_path / "d", noise(1, 0.1)))
    here, elsewhere = cell(found, 2, "q"), cell(found, 5, "up")
    assert here.recipient.relative == pytest.approx(0.5)
    assert (here.recipient.changed, here.recipient.rows) == (1, 1)
    assert (elsewhere.recipient.mean_absolute, elsewhere.recipient.changed, elsewhere.recipient.rows) == (0, 0, 0)
    assert elsewhere.cosine != elsewhere.cosine
    assert [row["cosine"] for row in as_rows(found) if (row["layer"], row["component"]) == (5, "up")] == [None, None]


def test_rows_and_heads_among_the_most_changed(base: Path, tmp_path: Path) -> None:
    def second_head(name: str, tensor: torch.Tensor) -> torch.Tensor:
        moved = tensor.clone()
        if name == Q.format(1):  # 4 heads of 8 rows
            moved[8:16] *= 2
        if name == "model.layers.4.self_attn.o_proj.weight":  # heads are columns here
            moved[:, 0:8] *= 2
        return moved

    found = analyzed(base, changed(base, tmp_path / "r", second_head), base)
    assert cell(found, 1, "q").recipient.heads == 0.25
    assert cell(found, 1, "q").recipient.rows == 0.25
    assert cell(found, 4, "o").recipient.heads == 0.25
    assert cell(found, 0, "q").recipient.heads == 0
    assert cell(found, 1, "up").recipient.heads is None


@pytest.mark.parametrize("kind", ["mixtral", "qwen3-moe", "gpt-neox", "qwen3-tied", "smollm3", "gemma3-tied"])
def test_every_parameter_of_every_architecture_has_its_place(tmp_path: Path, kind: str) -> None:
    base = save_model(tmp_path / "base", kind, dtype=torch.float32)
    found = analyzed(base, changed(base, tmp_path / "r", noise(1, 0.1)), base)
    held = sum(tensor.numel() for name, tensor in tensors(base).items() if "inv_freq" not in name)
    assert sum(each.parameters for each in found.cells) == held
    assert not [each for each in found.cells if each.component == "other"]
    assert found.relative("recipient") == pytest.approx(0.1, rel=0.01)
    if kind in ("mixtral", "qwen3-moe"):
        assert cell(found, 0, "router").recipient.relative > 0
        gates = [each for each in found.cells if each.layer == 0 and "gate" in each.component]
        assert sum(each.parameters for each in gates) >= 4 * 16 * 32  # all experts together


@pytest.mark.parametrize("rslora", [False, True])
def test_an_adapter_is_analysed_as_if_it_were_merged(base: Path, tmp_path: Path, rslora: bool) -> None:
    import peft
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base)
    config = peft.LoraConfig(
        r=4, lora_alpha=16, target_modules=["q_proj", "down_proj"], use_rslora=rslora, modules_to_save=["lm_head"],
        alpha_pattern={"layers.3.self_attn.q_proj": 40},
    )  # fmt: skip
    adapted = peft.get_peft_model(model, config)
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name or "modules_to_save" in name:
            parameter.data.add_(torch.randn_like(parameter), alpha=0.05)
    adapted.save_pretrained(tmp_path / "adapter")
    adapted.merge_and_unload().save_pretrained(tmp_path / "merged")
    donor = changed(base, tmp_path / "d", noise(2, 0.1))
    found = as_rows(analyzed(base, f"{base}+{tmp_path / 'adapter'}", donor))
    expected = as_rows(analyzed(base, tmp_path / "merged", donor))
    for one, other in zip(found, expected, strict=True):
        assert {n: v for n, v in one.items() if not isinstance(v, float)} == {
            n: v for n, v in other.items() if not isinstance(v, float)
        }
        figures = [name for name, value in one.items() if isinstance(value, float) and name not in ("rows", "heads")]
        assert [one[name] for name in figures] == pytest.approx([other[name] for name in figures], rel=1e-4, abs=1e-6)
    touched = {(row["layer"], row["component"]) for row in found if row["expert"] == "recipient" and row["changed"]}
    assert touched == {(layer, part) for layer in range(8) for part in ("q", "down")} | {(None, "head")}


def test_an_adapter_of_another_kind_or_model_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    a = {"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": torch.zeros(2, 32)}

    def written(config: dict[str, Any], content: dict[str, torch.Tensor]) -> str:
        (adapter / "adapter_config.json").write_text(json.dumps(config), "utf-8")
        save_file(content, adapter / "adapter_model.safetensors")
        return f"{base}+{adapter}"

    with pytest.raises(UserError, match="no plain LoRA adapter"):
        analyzed(base, written({"peft_type": "LORA", "use_dora": True}, a), base)
    stranger = {"base_model.model.model.layers.77.self_attn.q_proj.lora_A.weight": torch.zeros(2, 32)}
    with pytest.raises(UserError, match="belongs to no weight of the model"):
        analyzed(base, written({"peft_type": "LORA"}, stranger), base)
    (adapter / "adapter_model.safetensors").write_bytes(b"short")
    with pytest.raises(UserError, match="cannot be read"):
        analyzed(base, f"{base}+{adapter}", base)


def test_models_of_other_shapes_are_refused_naming_both_values(base: Path, tmp_path: Path) -> None:
    other = save_model(tmp_path / "other", layers=6, dtype=torch.float32)
    with pytest.raises(UserError, match=r"layers.*8.*6"):
        analyzed(base, other, base)


def test_the_command_shows_heat_maps_and_writes_all_files(turnswap: Turnswap, base: Path, tmp_path: Path) -> None:
    donor = changed(base, tmp_path / "<img src=x onerror=alert(1)>", noise(2, 0.1))
    recipient = changed(base, tmp_path / "r", noise(1, 0.05))
    done = turnswap("analyze", "--base", base, "--recipient", recipient, "--donor", donor, "-o", "out")
    assert done.exit_code == 0, done.output
    assert "recipient: ||change|| / ||ancestor||, in per cent" in done.output
    assert "Does the donor come from the base? yes" in done.output
    content = json.loads((tmp_path / "out/analysis.json").read_text("utf-8"))
    assert content["ancestor"]["recipient"]["verdict"] == "yes"
    with (tmp_path / "out/analysis.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(content["cells"]) == 2 * (8 * 8 + 2)
    for name in ("recipient", "donor", "difference", "cosine"):
        assert (tmp_path / f"out/{name}.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "out/analysis.html").read_text("utf-8")
    assert "<img src=x" not in page


def test_json_goes_to_standard_output_alone(turnswap: Turnswap, base: Path) -> None:
    done = turnswap("analyze", "--base", base, "--recipient", base, "--donor", base, "--json")
    assert json.loads(done.stdout)["layers"] == 8


def test_a_missing_model_ends_in_a_message(turnswap: Turnswap, base: Path) -> None:
    done = turnswap("analyze", "--base", base, "--recipient", "./nowhere", "--donor", base)
    assert done.exit_code == 1
    assert "./nowhere is no folder here" in done.output
