"""``turnswap analyze`` where a layer's numbers do not stand in tensors of its own, or stand in them the other way."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import torch
from mergekit.options import MergeOptions

from turnswap.merge_methods.analysis import analyze_references
from turnswap.merge_methods.analysis_file import as_json, as_rows, from_json
from turnswap.merge_methods.module_graph import ModuleGraph
from turnswap.merge_methods.proposal import open_experts, propose

from .models import tensors
from .test_analysis import analyzed, cell, changed, noise
from .zoo import save_kind
from .zoo_kinds import KINDS

OPTIONS = MergeOptions(quiet=True)
SLICED = {"model.embed_tokens_per_layer.weight": 1, "model.per_layer_model_projection.weight": 0}


def test_a_tensor_with_a_slice_per_layer_counts_in_each_layer(tmp_path: Path) -> None:
    base = save_kind(tmp_path / "base", KINDS["gemma3n"], 1)

    def third_slices(name: str, tensor: torch.Tensor) -> torch.Tensor:
        moved = tensor.clone()
        if name in SLICED:
            moved.chunk(8, SLICED[name])[3].mul_(1.5)
        return moved

    found = analyzed(base, changed(base, tmp_path / "r", third_slices), base)
    relative = [cell(found, layer, "per layer").recipient.relative for layer in range(8)]
    assert relative == pytest.approx([0, 0, 0, 0.5, 0, 0, 0, 0], rel=0.01)
    sizes = [sum(tensor.numel() for name, tensor in tensors(base).items() if name in SLICED) // 8] * 8
    assert [cell(found, layer, "per layer").parameters for layer in range(8)] == sizes
    assert cell(found, None, "embeddings").recipient.relative == 0
    assert sum(each.parameters for each in found.cells) == sum(tensor.numel() for tensor in tensors(base).values())
    experts = [changed(base, tmp_path / f"e{seed}", noise(seed, 0.1)) for seed in (1, 2)]
    assert propose(open_experts(analyzed(base, *experts), OPTIONS), "shin-hwang").recipe.n_layers == 8


def test_a_shared_block_counts_once_in_the_first_of_its_layers(tmp_path: Path) -> None:
    base = save_kind(tmp_path / "base", KINDS["zamba2"], 1)
    recipient, donor = changed(base, tmp_path / "r", noise(1, 0.05)), changed(base, tmp_path / "d", noise(2, 0.1))
    found = analyzed(base, recipient, donor)
    (note,) = found.notes
    assert note.startswith("Layers ")
    first = int(note.rpartition("layer ")[2].rstrip("."))
    assert cell(found, first, "gate+up").recipient.relative == pytest.approx(0.05, rel=0.05)
    held = tensors(base)
    assert sum(each.parameters for each in found.cells) == sum(tensor.numel() for tensor in held.values())
    assert {each.component for each in found.cells if each.layer is None} == {"embeddings", "head"}
    back = from_json(json.loads(json.dumps(as_json(found))))
    assert list(back.notes) == [note]
    made = propose(open_experts(back, OPTIONS), "shin-hwang")
    assert made.suggestion.parameters["shared"] == "recipient"


def test_layers_beyond_the_last_are_a_component_of_their_own(tmp_path: Path) -> None:
    kind = KINDS["deepseek-v3-prediction-layer"]
    base = save_kind(tmp_path / "base", kind, 1)

    def prediction(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor * 1.5 if f"layers.{kind.n_layers}." in name else tensor

    found = analyzed(base, changed(base, tmp_path / "r", prediction), base)
    assert cell(found, None, "prediction").recipient.relative == pytest.approx(0.5, rel=0.01)
    assert [each.component for each in found.cells if each.layer is None] == ["embeddings", "prediction", "head"]
    assert all(each.recipient.relative == 0 for each in found.cells if each.component != "prediction")


def test_rows_and_heads_of_gpt2_are_those_of_its_matrices_the_right_way_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = save_kind(tmp_path / "base", dataclasses.replace(KINDS["gpt2"], n_layers=4), 1)

    def some(name: str, tensor: torch.Tensor) -> torch.Tensor:
        moved = tensor.clone()
        if name.endswith("0.mlp.c_fc.weight"):  # stored as [in, out]: these columns are rows
            moved[:, :5] *= 1.5
        if name.endswith("1.attn.c_proj.weight"):
            moved[8:16] *= 1.5  # the second of 4 heads
        return moved

    def turned(name: str, tensor: torch.Tensor) -> torch.Tensor:
        is_conv1d = name.rpartition(".c_")[2] in ("fc.weight", "proj.weight", "attn.weight")
        return tensor.T.contiguous() if is_conv1d else tensor

    found = analyzed(base, changed(base, tmp_path / "r", some), changed(base, tmp_path / "d", noise(2, 0.1)))
    width = tensors(base)["transformer.h.0.mlp.c_fc.weight"].shape[1]
    assert cell(found, 0, "up").recipient.rows == pytest.approx(5 / (width + 1), abs=0.02)  # its bias is a row, too
    assert cell(found, 1, "o").recipient.heads == 0.25
    monkeypatch.setattr(ModuleGraph, "is_transposed", lambda self, target: False)
    linear = [changed(tmp_path / name, tmp_path / f"{name}-linear", turned) for name in ("base", "r", "d")]
    for one, other in zip(as_rows(found), as_rows(analyze_references(*map(str, linear), OPTIONS)), strict=True):
        figures = [name for name, value in one.items() if isinstance(value, float)]
        assert one | dict.fromkeys(figures) == other | dict.fromkeys(figures)
        assert [one[name] for name in figures] == pytest.approx([other[name] for name in figures], rel=1e-5)
