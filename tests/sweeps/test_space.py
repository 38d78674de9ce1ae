"""Spaces: what may vary, and which swap each point is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
import pytest

from turnswap.core.errors import UserError
from turnswap.sweeps.configurations import Planner
from turnswap.sweeps.controls import placements
from turnswap.sweeps.settings import read_settings
from turnswap.sweeps.space import Space

from ..merge_methods.models import LAYERS, save_model


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    for kind in ("llama", "qwen3-tied"):
        for seed, name in enumerate(("recipient", "donor", "donor2")):
            save_model(root / kind / name, kind, seed)
    return root


def opened(models: Path, space: Any, several: bool = False, kind: str = "llama") -> tuple[Planner, Space]:
    donors = [str(models / kind / name) for name in (("donor", "donor2") if several else ("donor",))]
    content = {"recipient": str(models / kind / "recipient"), "donor": donors, "select_on": "t", "metric": "m"}
    planner = Planner(read_settings(None, content | {"space": space, "trials": 1}))
    return planner, Space(planner.settings.space, planner.donors, planner.recipe.recipient.layout)


def at(space: Space, point: dict[str, Any]) -> dict[str, Any]:
    """The parameters at a point."""
    return space.suggest(optuna.trial.FixedTrial(point))


def drawn(space: Space, number: int = 30) -> list[dict[str, Any]]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    return [space.suggest(study.ask()) for _ in range(number)]


def test_zones_and_blends_are_drawn_from_ranges_and_lists(models: Path) -> None:
    planner, space = opened(
        models,
        {
            "bottom": "0-3",
            "top": {"low": 0, "high": 4, "step": 2},
            "transition": 1,
            "blend": "0-1",
            "blend_method": ["linear", "slerp"],
        },
    )
    found = drawn(space)
    assert {one["bottom"] for one in found} == {0, 1, 2, 3}
    assert {one["top"] for one in found} == {0, 2, 4}
    assert {one["transition"] for one in found} == {1}
    assert {one["blend_method"] for one in found} == {"linear", "slerp"}
    assert len({one["blend"] for one in found}) == 30
    assert {planner.point("p", one, {}).layers[0] for one in found if one["top"] < 4} == {"R", "D"}


def test_steps_of_a_share_are_steps(models: Path) -> None:
    _, space = opened(models, {"layers": ["0"], "blend": {"low": 0, "high": 1, "step": 0.25}})
    assert {one["blend"] for one in drawn(space)} == {0, 0.25, 0.5, 0.75, 1}


@pytest.mark.parametrize(("per", "modules"), [("layers", [""]), ("modules", ["attention", "mlp"])])
def test_shares_of_0_and_1_are_the_recipients_and_the_donors_own_tensors(
    models: Path, per: str, modules: list[str]
) -> None:
    planner, space = opened(models, {"shares": per, "embeddings": ["recipient"], "head": ["recipient"]})
    names = list(space.parts[""])
    shares = [name for name in names if name.startswith("share")]
    assert len(shares) == LAYERS * len(space.filters)
    ends = {"embeddings": "recipient", "head": "recipient"}

    def plan(values: dict[str, float]) -> str:
        return planner.plan("p", "swap", at(space, values | ends)).plan

    assert plan(dict.fromkeys(shares, 0.0)) == planner.plan("q", "swap", {"layers": "none"} | ends).plan
    first = {name: float(name.split()[1] == "0") for name in shares}
    if per == "layers":
        assert plan(first) == planner.plan("q", "swap", {"layers": "0"} | ends).plan
        mixed = planner.read(at(space, {**first, "share 3": 0.25, "share 4": 0.75} | ends))
        assert mixed.letters == "DRRbbRRR"
        found = {
            t.weight.place.layer: t.source.donor_share for t in mixed.tensors.values() if t.source.origin == "blend"
        }
        assert found == {3: 0.25, 4: 0.75}
    else:
        recipe = planner.read(at(space, first | ends))
        of_donor = {name for name, tensor in recipe.tensors.items() if tensor.source.origin == "donor"}
        assert of_donor
        assert all(name.startswith("model.layers.0.") and "norm" not in name.split(".")[3] for name in of_donor)
        one = dict.fromkeys(shares, 0.0) | {f"share 2 {next(iter(space.filters))}": 0.3}
        changed = {name: t.source.donor_share for name, t in planner.read(at(space, one | ends)).tensors.items()}
        assert {share for name, share in changed.items() if name.startswith("model.layers.2.")} == {0.0, 0.3}
        assert {share for name, share in changed.items() if not name.startswith("model.layers.2.")} == {0.0}


def test_controls_of_shares_have_the_same_shares_elsewhere_and_the_same_ends(models: Path) -> None:
    planner, space = opened(models, {"shares": "layers", "blend_method": ["slerp"]})
    values: dict[str, Any] = {"blend_method": "slerp"} | {
        f"share {n}": [1.0, 0.5, 0.25, 0.0][min(n, 3)] for n in range(LAYERS)
    }
    best = planner.point("best", at(space, values), space.shares(values))
    controls, notes = placements(planner, space, best, 5)
    assert not notes
    assert len({one.plan for one in (best, *controls)}) == 6

    def shares(one: Any) -> tuple[list[float], list[float]]:
        """By layer, in order of size, and outside of layers."""
        tensors = planner.read(one.parameters).tensors.values()
        by_layer = {t.weight.place.layer: t.source.donor_share for t in tensors if t.weight.place.layer is not None}
        return sorted(by_layer.values()), [t.source.donor_share for t in tensors if t.weight.place.layer is None]

    assert all(shares(one) == shares(best) for one in controls)
    assert {one.parameters["blend_method"] for one in controls} == {"slerp"}


def test_one_of_several_donors_is_chosen(models: Path) -> None:
    planner, space = opened(models, {"donors": "one", "bottom": [2], "top": [1], "transition": [0]}, several=True)
    letters = {planner.point("p", one, {}).layers for one in drawn(space)}
    assert letters == {"DDRRRRRD", "EERRRRRE"}


def test_shares_of_one_of_several_donors_are_drawn(models: Path) -> None:
    planner, space = opened(models, {"donors": "one", "shares": "layers"}, several=True)
    point = {"donor": "donor2"} | {f"share {n}": float(n == 2) for n in range(LAYERS)}
    best = planner.point("p", at(space, point), space.shares(point))
    assert best.layers == "RRERRRRR"
    controls, _ = placements(planner, space, best, LAYERS)
    assert {"".join(sorted(one.layers)) for one in controls} == {"ERRRRRRR"}
    assert len({one.plan for one in controls}) == LAYERS - 1


def test_several_donors_have_dimensions_of_their_own(models: Path) -> None:
    planner, space = opened(
        models,
        {"donor": {"layers": ["0", "0-1"]}, "donor2": {"layers": ["7"]}, "blend_method": ["linear"]},
        several=True,
    )
    assert {planner.point("p", one, {}).layers for one in drawn(space)} == {"DRRRRRRE", "DDRRRRRE"}


@pytest.mark.parametrize("space", [{"bottom": "0-3", "top": "0-2", "transition": [0, 1]}, {"shares": "layers"}])
def test_points_of_tied_models_make_swaps(models: Path, space: dict[str, Any]) -> None:
    planner, found = opened(models, space, kind="qwen3-tied")
    for parameters in drawn(found, 10):
        planner.point("p", parameters, {})


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"depth": "0-3"}, "space: depth is no dimension. There are: shares, donors, bottom"),
        ({"bottom": "3-0"}, "space: bottom cannot be '3-0'"),
        ({"bottom": "a-b"}, "space: bottom cannot be 'a-b'"),
        ({"bottom": []}, "space: bottom cannot be []"),
        ({"bottom": None}, "space: bottom cannot be None"),
        ({"bottom": "0.5-2"}, "space: bottom cannot be"),
        ({"bottom": {"low": 0}}, "space: bottom cannot be {'low': 0}"),
        ({"bottom": {"low": 0, "high": 3, "step": 0}}, "space: bottom cannot be"),
        ({"blend": {"low": 0, "high": 1, "step": -0.5}}, "space: blend cannot be"),
        ({"layers": [["0", "1"]]}, "space: layers cannot be [['0', '1']]"),
        ({"layers": [{"filter": "mlp", "value": "0"}]}, "space: layers cannot be"),
        ({"shares": "tensors"}, "space: shares cannot be 'tensors'"),
        ({"shares": {"per": "layers", "low": 0.5, "high": 2}}, "They lie between low: 0 and high: 1"),
        ({"shares": {"per": "layers", "lowest": 0}}, "space: shares cannot be"),
        ({"shares": "layers", "bottom": "0-3"}, "space: shares cannot be"),
        ({"donors": "all", "bottom": "0-3"}, "space: donors cannot be 'all'"),
        ({"donor": "0-3"}, "space: donor: expected dimensions, got '0-3'"),
        ({"donor2": {"bottom": "0-3"}}, "space: donor2 is no dimension"),
        ({"donors": "one"}, "space: there is no dimension"),
    ],
    ids=str,
)
def test_malformed_spaces_are_refused_in_words(models: Path, space: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as raised:
        opened(models, space)
    assert words in str(raised.value)
