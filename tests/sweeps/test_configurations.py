"""What a search tries: files, grids of tied models, equal swaps, and controls."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from turnswap.core.errors import UserError
from turnswap.sweeps.configurations import Planner, join_equal
from turnswap.sweeps.controls import placements
from turnswap.sweeps.settings import read_settings

from ..merge_methods.models import LAYERS as TINY_LAYERS
from ..merge_methods.models import pair, save_model
from .sweeping import copying, own_tasks_alone, settings_of

__all__ = ["copying", "own_tasks_alone"]  # fixtures


def test_a_swap_may_be_a_file_of_the_same_models(copying: Path, tmp_path: Path) -> None:
    path = tmp_path / "layerswap.yml"
    settings = settings_of(copying, swaps={"suggested": str(path)})
    content = {
        "merge_method": "layer_swap", "base_model": settings.recipient, "models": [{"model": settings.donor}],
        "parameters": {"bottom": 1, "top": 1, "transition": [{"filter": "mlp", "value": 1}, {"value": 0}]},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content), "utf-8")
    (found,), _ = Planner(settings).swaps()
    assert (found.name, found.layers) == ("suggested", "D*RR*D")
    path.write_text(yaml.safe_dump(content | {"base_model": str(copying / "tasks")}), "utf-8")
    with pytest.raises(UserError, match="for another recipient"):
        Planner(settings).swaps()


def test_controls_keep_what_is_not_placed_and_end_where_placements_do(tmp_path: Path) -> None:
    recipient = save_model(tmp_path / "r", "qwen3-tied", 1)
    donor = save_model(tmp_path / "d", "qwen3-tied", 2)
    settings = read_settings(
        None,
        {"recipient": str(recipient), "donor": str(donor), "select_on": "t", "metric": "m",
         "swaps": {"one": {"layers": "0", "blend_layers": "1", "blend": 0.3, "embeddings": "donor"},
                   "narrow": {"layers": "0", "embeddings": "recipient", "head": "recipient"}}},
    )  # fmt: skip
    planner = Planner(settings)
    (one, narrow), _ = planner.swaps()
    drawn, notes = placements(planner, None, one, 5)
    assert not notes
    for control in drawn:
        assert sorted(control.layers) == sorted(one.layers)
        recipe = planner.read(control.parameters)
        assert recipe.tensors["model.embed_tokens.weight"].source.origin == "donor"
        assert {t.source.donor_share for t in recipe.tensors.values() if t.source.origin == "blend"} == {0.3}
    drawn, notes = placements(planner, None, narrow, 100)
    assert len(drawn) == TINY_LAYERS - 1
    assert notes == [f"{TINY_LAYERS - 1} random placements instead of 100: there are not enough of that width"]


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    recipient, donor = pair(tmp_path_factory.mktemp("tied"), "qwen3-tied")
    return {"recipient": str(recipient), "donor": str(donor), "select_on": "t", "metric": "m"}


ENDS = ["donor", "recipient"]


@pytest.mark.parametrize(
    ("grid", "sources"),
    [
        ({"embeddings": ENDS, "head": ENDS}, {"embeddings=donor": "donor", "embeddings=recipient": "recipient"}),
        ({"embeddings": ["donor"], "head": ["recipient"]}, {"": "donor"}),
        ({"head": ENDS}, {"head=donor": "donor", "head=recipient": "recipient"}),
        ({"bottom": [0, 2]}, {"bottom=0": "recipient", "bottom=2": "donor"}),
        ({"bottom": [0, 2], "invert": [True]}, {"bottom=0": "donor", "bottom=2": "recipient"}),
        ({"bottom": [0, 2], "top": [0]}, {"bottom=0": "recipient", "bottom=2": "donor"}),
    ],
    ids=str,
)
def test_tied_embeddings_work_in_every_cell_of_a_grid(
    tied: dict[str, Any], grid: dict[str, Any], sources: dict[str, str]
) -> None:
    planner = Planner(read_settings(None, tied | {"grid": {"bottom": [2], "top": [1]} | grid}))
    swaps, notes = planner.swaps()
    found = {
        swap.name: planner.read(swap.parameters).tensors["model.embed_tokens.weight"].source.origin for swap in swaps
    }
    assert len(found) == len(sources)
    for said, source in sources.items():
        assert [origin for name, origin in found.items() if said in name] == [source], found
    expected = ("head" in grid and "embeddings" in grid) or grid.get("bottom") == [0, 2]
    assert any("one tensor in these models" in note for note in notes) == expected


def test_swaps_of_one_name_that_differ_are_refused_and_of_one_plan_are_joined(copying: Path) -> None:
    planner = Planner(settings_of(copying))
    one, same = (planner.plan(n, "swap", p) for n, p in (("a", {"layers": "0"}), ("b", {"layers": "0", "blend": 0.2})))
    (joined,) = join_equal([one, same])
    assert (joined.name, joined.also) == ("a", ("b",))
    with pytest.raises(UserError, match="Two different swaps are called a"):
        join_equal([one, planner.plan("a", "swap", {"layers": "1"})])
