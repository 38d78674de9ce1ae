"""Several donors in one recipe: each gives its own layers, and two share a layer only by shares."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mergekit.options import MergeOptions

from tests.conftest import Turnswap
from turnswap.merge_methods.configuration import parse_configuration
from turnswap.merge_methods.recipe import read_recipe
from turnswap.merge_methods.verify import verify

from .models import LAYERS, merge, recipe, same, save_model, tensors

Refusal = Callable[..., str]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    names = ("recipient", "swahili", "telugu", "pretrained")
    return {name: save_model(root / name, seed=seed) for seed, name in enumerate(names, 1)}


def union(models: dict[str, Path], swahili: Any, telugu: Any, shared: Any = None, **more: Any) -> str:
    listed = [
        {"model": str(models["swahili"]), "parameters": swahili},
        {"model": str(models["telugu"]), "parameters": telugu},
        {"model": str(models["pretrained"]), "parameters": {"role": "pretrained"}},
    ]
    return recipe(models["recipient"], "", shared or {"accept": "tokenizer"}, models=listed, **more)


def layer(folder: Path, number: int) -> Any:
    return tensors(folder)[f"model.layers.{number}.mlp.up_proj.weight"]


def test_each_donor_gives_its_own_layers(models: dict[str, Path], tmp_path: Path) -> None:
    merged = merge(union(models, {"layers": "0-1"}, {"layers": "6-7"}), tmp_path / "merged")
    for number in range(LAYERS):
        source = "swahili" if number < 2 else "telugu" if number > 5 else "recipient"
        assert same(layer(merged, number), layer(models[source], number)), number
    found = tensors(merged)
    assert same(found["model.embed_tokens.weight"], tensors(models["swahili"])["model.embed_tokens.weight"])
    assert same(found["lm_head.weight"], tensors(models["telugu"])["lm_head.weight"])
    report = verify(merged, MergeOptions())
    assert (report.status, report.tensors.keys()) == ("verified", {"recipient", "donor", "donor2"})


def test_zones_and_filters_are_each_donors_own(models: dict[str, Path], tmp_path: Path) -> None:
    swahili = {"bottom": [{"filter": "mlp", "value": 3}, {"value": 0}], "transition": 1}
    merged = merge(union(models, swahili, {"top": 2}), tmp_path / "merged")
    ours, theirs = tensors(models["recipient"]), tensors(models["swahili"])
    found = tensors(merged)
    assert same(layer(merged, 2), layer(models["swahili"], 2))
    name = "model.layers.3.mlp.up_proj.weight"
    assert same(found[name], ((ours[name].float() + theirs[name].float()) / 2).bfloat16())
    attention = "model.layers.2.self_attn.q_proj.weight"
    assert same(found[attention], ours[attention])
    assert same(layer(merged, 6), layer(models["telugu"], 6))


def test_two_donors_blend_a_layer_by_their_shares(models: dict[str, Path], tmp_path: Path) -> None:
    swahili, telugu = {"layers": "0", "blend_layers": "4", "blend": 0.25}, {"layers": "7", "blend_layers": "4"}
    merged = merge(union(models, swahili, telugu), tmp_path / "merged")
    parts = [layer(models[name], 4).float() for name in ("recipient", "swahili", "telugu")]
    expected = (0.25 * parts[0] + 0.25 * parts[1] + 0.5 * parts[2]).bfloat16()
    assert same(layer(merged, 4), expected)
    assert verify(merged, MergeOptions()).status == "verified"


@pytest.mark.parametrize(
    ("swahili", "telugu", "said"),
    [
        ({"layers": "0-4"}, {"layers": "4-7"}, ["Several donors claim layer 4", "donor (layers 0-4)", "blend_layers"]),
        (
            {"layers": "0", "blend_layers": "3", "blend": 0.6},
            {"layers": "7", "blend_layers": "3", "blend": 0.6},
            ["Several donors claim layer 3", "make 1 at most"],
        ),
        ({"layers": "0"}, {}, ["donor2 has no layers of its own", 'layers: "0-4"']),
        ({"layers": "0"}, {"layers": "7", "revert": "3"}, ["revert stands under", "top-level parameters"]),
    ],
)
def test_what_two_donors_cannot_both_give_is_refused(
    models: dict[str, Path], refusal: Refusal, swahili: Any, telugu: Any, said: list[str]
) -> None:
    message = refusal(union(models, swahili, telugu))
    assert [part for part in said if part not in message] == []


def test_a_donor_that_is_listed_twice_is_refused(models: dict[str, Path], refusal: Refusal) -> None:
    message = refusal(union(models | {"telugu": models["swahili"]}, {"layers": "0"}, {"layers": "7"}))
    assert f"{models['swahili']} is listed twice" in message


def test_the_plan_draws_each_donor_by_its_letter(models: dict[str, Path]) -> None:
    content = yaml.safe_load(union(models, {"layers": "0-1"}, {"layers": "6-7"}, {"revert": "3"}))
    assert read_recipe(parse_configuration(content), MergeOptions()).letters == "DDRPRREE"


def test_the_ancestor_is_checked_for_every_donor(models: dict[str, Path], tmp_path: Path, turnswap: Turnswap) -> None:
    (tmp_path / "swap.yml").write_text(union(models, {"layers": "0-1"}, {"layers": "6-7"}), "utf-8")
    done = turnswap("plan", "swap.yml", "--check-ancestor", "--json")
    assert done.exit_code == 0, done.output
    plan = json.loads(done.stdout)
    weights = {role: tensors(folder) for role, folder in models.items()}
    for change in plan["changes"]:
        assert change.keys() == {"name", "recipient", "donor", "donor2", "cosine", "cosine2"}
        held = {role: weights[role][change["name"]].float().flatten() for role in models}
        moved = {role: held[role] - held["pretrained"] for role in ("recipient", "swahili", "telugu")}
        assert change["donor2"] == pytest.approx(float(moved["telugu"].norm() / held["pretrained"].norm()))
        cosine = torch.nn.functional.cosine_similarity(moved["recipient"], moved["telugu"], dim=0)
        assert change["cosine2"] == pytest.approx(float(cosine), abs=1e-5)
    far = [warning.partition(" is far from")[0] for warning in plan["warnings"] if "is far from" in warning]
    assert far == [str(models[name]) for name in ("recipient", "swahili", "telugu")]
    assert "cosine with donor2" in turnswap("plan", "swap.yml", "--check-ancestor").stdout


def test_each_donor_may_have_its_own_transitions(models: dict[str, Path]) -> None:
    zones = {"bottom": 1, "bottom_transition": 1, "top": 1, "top_transition": 1}
    content = yaml.safe_load(union(models, zones, {"layers": "4"}))
    assert read_recipe(parse_configuration(content), MergeOptions()).letters == "DbRRERbD"


@pytest.mark.parametrize(
    ("shared", "said"),
    [
        ({"embeddings": "donor"}, ["Several donors claim embeddings", "Write embeddings: donor under one of them"]),
        ({"invert": True}, ["invert is for one donor"]),
    ],
)
def test_what_is_said_for_all_donors_at_once_gets_true_advice(
    models: dict[str, Path], refusal: Refusal, shared: Any, said: list[str]
) -> None:
    message = refusal(union(models, {"layers": "0-1"}, {"layers": "7"}, shared))
    assert [part for part in said if part not in message] == []
