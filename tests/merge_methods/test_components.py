"""The components of models whose attention or MLP is of another kind: by name in an analysis, as modules of a swap."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
import yaml
from mergekit.options import MergeOptions
from rich.console import Console

from turnswap.commands.analysis_view import show_analysis
from turnswap.core.errors import UserError
from turnswap.merge_methods.analysis_file import as_json, as_rows, from_json
from turnswap.merge_methods.compatibility import open_model
from turnswap.merge_methods.layer_figures import module_filters
from turnswap.merge_methods.layout import component_of
from turnswap.merge_methods.proposal import open_experts, propose

from .test_analysis import analyzed, changed, noise
from .zoo import save_kind
from .zoo_kinds import KINDS

OPTIONS = MergeOptions(quiet=True)
DENSE, EXPERTS = {"gate", "up", "down"}, {"expert gate", "expert up", "expert down"}
SHARED = {"shared gate", "shared up", "shared down"}
ATTENTION, LATENT = {"q", "k", "v", "o"}, {"q_a", "q_b", "kv_a", "kv_b", "o"}


@pytest.mark.parametrize(("kind", "layer", "expected"), [
    ("deepseek-v2", 0, LATENT | DENSE),
    ("deepseek-v3", 2, LATENT | {"router"} | EXPERTS | SHARED),
    ("deepseek-v3.2", 2, LATENT | {"indexer", "router"} | EXPERTS | SHARED),
    ("kimi-linear", 0, ATTENTION | {"linear"} | DENSE),
    ("qwen2-moe", 1, ATTENTION | {"router"} | EXPERTS | SHARED),
    ("gpt-oss", 1, ATTENTION | {"attention", "router", "expert gate+up", "expert down"}),
    ("granitemoeshared", 1, ATTENTION | {"router", "expert gate+up", "expert down", "shared gate+up", "shared down"}),
    ("dbrx", 1, {"qkv", "o", "router"} | EXPERTS),
    ("qwen3-next", 0, {"qkv", "o", "linear", "router"} | EXPERTS | SHARED),
    ("afmoe", 0, ATTENTION | {"attention"} | DENSE),  # its attention has a gate, which is not the MLP's
    ("lfm2", 0, {"conv"} | DENSE),
    ("jamba", 0, {"mamba"} | DENSE),
    ("falcon-h1", 0, ATTENTION | {"mamba"} | DENSE),
    ("rwkv", 1, {"q", "k", "v", "o", "recurrent", "gate", "up", "down", "mlp"}),
    ("gemma4", 1, ATTENTION | DENSE | {"per layer input", "other"}),  # a factor for the whole layer
])  # fmt: skip
def test_the_components_of_a_layer(tmp_path: Path, kind: str, layer: int, expected: set[str]) -> None:
    try:
        KINDS[kind].settings()
    except AttributeError as error:
        pytest.skip(f"this transformers is older than the model: {error}")
    weights = open_model(str(save_kind(tmp_path / "model", KINDS[kind], 1)), OPTIONS).layout.weights.values()
    held = {component_of(weight) for weight in weights if weight.place.layer == layer}
    assert held - {"norms"} == expected


@pytest.mark.parametrize(("kind", "attention", "mlp", "told"), [
    ("deepseek-v3", [".self_attn."], [".mlp."], "Here q_a, q_b, kv_a, kv_b, router,"),
    ("lfm2", [".self_attn.", ".conv."], [".feed_forward."], "conv count as attention, whose place they take"),
    ("gpt-oss", [".self_attn."], [".mlp."], "there is no gate, up, down"),
])  # fmt: skip
def test_modules_of_another_kind_are_taken_whole_and_the_deviation_is_said(
    tmp_path: Path, kind: str, attention: list[str], mlp: list[str], told: str
) -> None:
    base = save_kind(tmp_path / "base", KINDS[kind], 1)
    experts = [changed(base, tmp_path / f"e{seed}", noise(seed, 0.1)) for seed in (1, 2)]
    found = from_json(json.loads(json.dumps(as_json(analyzed(base, *experts)))))
    assert {row["component"] for row in as_rows(found)} >= {"embeddings", "o", "norms"}
    made = propose(open_experts(found, OPTIONS), "shin-hwang", {"granularity": "module"})
    filters = module_filters(open_model(str(base), OPTIONS).layout)
    assert {name: sorted(texts) for name, texts in filters.items()} == {
        "attention": sorted(attention), "mlp": sorted(mlp),
    }  # fmt: skip
    assert told in " ".join(made.suggestion.notes)
    assert told in " ".join(made.text.replace("\n#  ", "").split())
    given = yaml.safe_load(made.text)["parameters"]["layers"]
    assert {entry["filter"] for entry in given if "filter" in entry} == {*attention, *mlp}


def test_layers_of_unlike_components_are_told_of(tmp_path: Path) -> None:
    base = save_kind(tmp_path / "base", KINDS["deepseek-v2"], 1)  # the first layer is dense
    experts = [changed(base, tmp_path / f"e{seed}", noise(seed, 0.1)) for seed in (1, 2)]
    notes = propose(open_experts(analyzed(base, *experts), OPTIONS), "shin-hwang").suggestion.notes
    assert any("layers do not all hold the same components" in note for note in notes)
    assert not any(cell.recipient.heads for cell in analyzed(base, *experts).cells)  # of unlike sizes


def test_a_plain_model_needs_no_word_on_it(tmp_path: Path) -> None:
    base = save_kind(tmp_path / "base", KINDS["llama"], 1)
    experts = [changed(base, tmp_path / f"e{seed}", noise(seed, 0.1)) for seed in (1, 2)]
    notes = propose(open_experts(analyzed(base, *experts), OPTIONS), "shin-hwang").suggestion.notes
    assert not any("published" in note or "layers do not" in note for note in notes)


def test_every_component_is_shown_in_a_narrow_terminal(tmp_path: Path) -> None:
    base = save_kind(tmp_path / "base", KINDS["deepseek-v3"], 1)
    console = Console(width=80, file=io.StringIO(), record=True)
    show_analysis(console, analyzed(base, base, base))
    shown = console.export_text()
    for word in ("q_a", "kv_b", "router", "shared", "expert", "head"):
        assert len(re.findall(rf"\b{word}\b", shown)) >= 3, word
    assert "…" not in shown


def test_a_block_that_holds_both_is_refused(tmp_path: Path) -> None:
    layout = open_model(str(save_kind(tmp_path / "model", KINDS["nemotron-h"], 1)), OPTIONS).layout
    with pytest.raises(UserError, match="mixer holds"):
        module_filters(layout)
