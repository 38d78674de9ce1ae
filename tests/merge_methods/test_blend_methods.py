"""Blends by mergekit's own methods: bit for bit what mergekit alone makes of the same models."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mergekit.merge_methods import merge_tensors
from mergekit.options import MergeOptions

from turnswap.merge_methods.recipe import read_recipe
from turnswap.merge_methods.verify import verify

from .models import merge, recipe, same, save_model, tensors

Refusal = Callable[..., str]
BLENDED = "model.layers.2."


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    names = ("recipient", "donor", "pretrained")
    return {name: save_model(root / name, seed=seed) for seed, name in enumerate(names, 1)}


def swap(models: dict[str, Path], parameters: dict[str, Any], of_donor: Any = None, of_recipient: Any = None) -> str:
    """Layer 2 is a blend."""
    listed = [
        {"model": str(models["recipient"]), "parameters": of_recipient or {}},
        {"model": str(models["donor"]), "parameters": of_donor or {}},
        {"model": str(models["pretrained"]), "parameters": {"role": "pretrained"}},
    ]
    zones = {"layers": "0", "blend_layers": "2", "embeddings": "recipient", "head": "recipient"}
    return recipe(models["recipient"], "", zones | parameters, models=listed)


def stock(models: dict[str, Path], method: str, base: str | None, names: list[str], weights: Any, **shared: Any) -> str:
    """The merge of whole models by mergekit alone."""
    listed = [{"model": str(models[name]), "parameters": weights.get(name, {})} for name in names]
    content = {"merge_method": method, "models": listed, "parameters": shared, "dtype": "bfloat16"}
    return yaml.safe_dump(content | ({"base_model": str(models[base])} if base else {}))


HALVES = {"recipient": {"weight": 0.4}, "donor": {"weight": 0.6}}
DENSE = {name: given | {"density": 0.5} for name, given in HALVES.items()}
BOTH = ["recipient", "donor"]


@pytest.mark.parametrize(
    ("method", "shared", "per_model", "base", "names"),
    [
        ("linear", {}, HALVES, None, BOTH),
        ("linear", {"normalize": False}, {"recipient": {"weight": 0.9}, "donor": {"weight": 0.4}}, None, BOTH),
        ("slerp", {"t": 0.3}, {}, "recipient", BOTH),
        ("nearswap", {"t": 0.01}, {}, "recipient", BOTH),
        ("task_arithmetic", {"lambda": 0.8}, HALVES, "pretrained", [*BOTH, "pretrained"]),
        ("ties", {"normalize": False}, DENSE, "pretrained", [*BOTH, "pretrained"]),
        ("nuslerp", {"nuslerp_flatten": False}, HALVES, "pretrained", [*BOTH, "pretrained"]),
        ("sce", {"select_topk": 0.5}, {}, "pretrained", [*BOTH, "pretrained"]),
        ("karcher", {}, {}, None, BOTH),
    ],
)
def test_a_blend_by_a_method_of_mergekits_equals_mergekits_own_merge(
    models: dict[str, Path],
    tmp_path: Path,
    method: str,
    shared: Any,
    per_model: Any,
    base: str | None,
    names: list[str],
) -> None:
    given = {"blend_method": method} | shared
    text = swap(models, given, per_model.get("donor"), per_model.get("recipient"))
    ours = merge(text, tmp_path / "ours")
    alone = tensors(merge(stock(models, method, base, names, per_model, **shared), tmp_path / "alone"))
    blended = [name for name in alone if name.startswith(BLENDED)]
    assert len(blended) == 9
    found = tensors(ours)
    assert [name for name in blended if not same(found[name], alone[name])] == []
    assert same(
        found["model.layers.0.mlp.up_proj.weight"], tensors(models["donor"])["model.layers.0.mlp.up_proj.weight"]
    )
    assert verify(ours, MergeOptions()).status == "verified"


def test_a_method_that_draws_is_seeded_for_each_tensor(models: dict[str, Path], tmp_path: Path) -> None:
    given = {"blend_method": "dare_ties", "density": 0.5, "weight": 0.5}
    first = merge(swap(models, given), tmp_path / "first")
    other = tensors(merge(swap(models, given | {"seed": 1}), tmp_path / "other"))
    found, name = tensors(first), f"{BLENDED}mlp.up_proj.weight"
    assert verify(first, MergeOptions()).status == "verified"
    assert not same(found[name], other[name])
    torch.manual_seed(zlib.crc32(f"0 {name}".encode()))
    inputs = [tensors(models[role])[name] for role in ("recipient", "donor", "pretrained")]
    alone = merge_tensors(inputs, "dare_ties", parameters={"density": 0.5, "weight": 0.5}, base_index=2, name=name)
    assert same(found[name], alone)


def test_without_weights_a_blend_has_its_shares(models: dict[str, Path], tmp_path: Path) -> None:
    name = f"{BLENDED}mlp.up_proj.weight"
    quarter = tensors(merge(swap(models, {"blend_method": "slerp", "blend": 0.25}), tmp_path / "quarter"))
    said = tensors(merge(swap(models, {"blend_method": "slerp", "t": 0.25}), tmp_path / "said"))
    assert same(quarter[name], said[name])


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"blend_method": "tise"}, ["tise is no merge method", "ties"]),
        ({"blend_method": "layer_swap"}, ["layer_swap is no merge method"]),
        ({"density": 0.5}, ["density is no parameter of layer_swap"]),
        ({"blend_method": "ties", "density": "much"}, ["ties cannot blend", "density"]),
        ({"blend_method": "slerp", "t": [0, 1]}, ["t: ", "gradient"]),
    ],
)
def test_a_method_or_parameter_that_will_not_do_is_named(
    models: dict[str, Path], refusal: Refusal, parameters: dict[str, Any], said: list[str]
) -> None:
    message = refusal(swap(models, parameters))
    assert [part for part in said if part not in message] == []


def test_a_method_of_task_vectors_needs_the_ancestor(models: dict[str, Path], refusal: Refusal) -> None:
    text = recipe(models["recipient"], models["donor"], {"layers": "0", "blend_layers": "2", "blend_method": "ties"})
    assert "ties needs the pretrained model" in refusal(text)


@pytest.mark.parametrize(
    ("parameters", "of_donor", "said"),
    [
        ({"blend_method": "sce", "blend": 0.1}, None, ["blend has no effect with blend_method: sce", "Remove blend"]),
        ({"weight": 0, "blend_method": "linear"}, None, ["make 0 together"]),
        ({"blend_method": ["ties", "slerp"]}, None, ["blend_method: ", "gradient"]),
        (
            {"blend_method": "ties", "density": 0.5},
            {"normalize": False},
            ["normalize stands under", "top-level parameters"],
        ),
    ],
)
def test_a_setting_without_effect_is_refused(
    models: dict[str, Path], refusal: Refusal, parameters: dict[str, Any], of_donor: Any, said: list[str]
) -> None:
    message = refusal(swap(models, parameters, of_donor))
    assert [part for part in said if part not in message] == []


def test_the_plan_tells_the_weights_that_are_used(models: dict[str, Path]) -> None:
    def told(parameters: dict[str, Any]) -> str:
        planned = read_recipe(yaml.safe_load(swap(models, parameters)), MergeOptions()).tensors
        mix = planned[f"{BLENDED}mlp.up_proj.weight"].source.mix
        assert mix is not None
        return mix.told

    assert told({}) == "0.50"
    assert told({"blend_method": "slerp", "t": 0.9}) == "slerp 0.90"
    assert told({"blend_method": "ties", "weight": 3}) == "ties 3.00"
    assert told({"blend_method": "sce"}) == "sce"
    notes = read_recipe(
        yaml.safe_load(recipe(models["recipient"], models["donor"], {"layers": "0", "blend_method": "slerp"})),
        MergeOptions(),
    ).notes
    assert "blend_method has no effect: no layer is blended" in notes
