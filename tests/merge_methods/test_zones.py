"""How deep the zones are: the paper's, scaled or as told; and lists and depths that do not fit, which are refused."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from turnswap.core.errors import UserError
from turnswap.merge_methods.zones import SwapParameters, parse_layers, ramp, resolve_depths

from .planned import letters, refusal, shares, zones


def test_without_parameters_a_model_of_32_layers_gets_the_papers_zones() -> None:
    assert letters(32) == "DDDDDb" + 23 * "R" + "bDD"
    assert shares(32) == [1.0] * 5 + [0.5] + [0.0] * 23 + [0.5] + [1.0] * 2
    notes = resolve_depths(SwapParameters(), 32).notes
    assert [note.split(":")[0] for note in notes] == [
        "bottom = 5",
        "top = 2",
        "bottom_transition = 1",
        "top_transition = 1",
    ]
    assert all("the paper's default for 32 layers" in note for note in notes)


def test_a_default_that_the_user_replaced_is_not_noted() -> None:
    assert letters(32, bottom=8) == 8 * "D" + "b" + 20 * "R" + "bDD"
    assert not any(note.startswith("bottom =") for note in resolve_depths(SwapParameters(bottom=8), 32).notes)
    assert resolve_depths(SwapParameters(8, 2, 1), 32).notes == ()


@pytest.mark.parametrize(
    ("n_layers", "expected"),
    [
        (4, "DbbD"),
        (8, "DbRRRRbD"),
        (24, "DDDDb" + 16 * "R" + "bDD"),
        (30, "DDDDDb" + 21 * "R" + "bDD"),
        (32, "DDDDDb" + 23 * "R" + "bDD"),
        (48, 8 * "D" + "bb" + 33 * "R" + "bbDDD"),  # 7.5 and 1.5 halves round up
        (80, 13 * "D" + "bbb" + 56 * "R" + "bbb" + 5 * "D"),
    ],
)
def test_auto_scales_the_papers_zones_to_the_depth_of_the_model(n_layers: int, expected: str) -> None:
    assert letters(n_layers, bottom="auto", top="auto", transition="auto") == expected


def test_auto_says_what_it_came_to() -> None:
    depths = resolve_depths(SwapParameters(bottom="auto", top=3, transition="auto"), 80)
    assert depths.notes == (
        "bottom = 13: auto, 5 of 32 layers scaled to 80",
        "bottom_transition = 3: auto, 1 of 32 layers scaled to 80",
        "top_transition = 3: auto, 1 of 32 layers scaled to 80",
    )


def test_auto_for_a_model_too_shallow_for_four_zones_is_refused_with_what_it_came_to() -> None:
    message = refusal(3, bottom="auto", top="auto", transition="auto")
    assert "bottom 1, top 1, bottom_transition 1, top_transition 1 make 4 layers, the model has 3" in message


@pytest.mark.parametrize(
    ("width", "blend", "expected"),
    [
        (0, 0.5, []),
        (1, 0.5, [0.5]),
        (1, 0.3, [0.3]),
        (2, 0.5, [2 / 3, 1 / 3]),
        (3, 0.5, [0.75, 0.5, 0.25]),
        (3, 0.25, [0.625, 0.25, 0.125]),
        (7, 0.5, [0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
    ],
)
def test_a_wide_transition_runs_linearly_from_zone_to_middle(width: int, blend: float, expected: list[float]) -> None:
    assert ramp(width, blend) == pytest.approx(expected, abs=1e-15)
    if width % 2:
        assert ramp(width, blend)[width // 2] == blend  # to the last bit


@pytest.mark.parametrize("name", ["layers", "blend_layers", "revert"])
@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0-8", "layer 8 is outside the model, whose 8 layers are 0-7"),
        ("99", "layer 99 is outside the model, whose 8 layers are 0-7"),
        ("0-999999999999", "layer 999999999999 is outside"),
        ("5-2", "the range 5-2 runs backwards. Write 2-5"),
        ("2-4,4-5", "the ranges of '2-4,4-5' overlap in layer 4"),
        ("3,3", "the ranges of '3,3' overlap in layer 3"),
        ("", "expected layers such as '0-4,30-31', got ''"),
        ("2,", "got '2,'"),
        ("-2", "got '-2'"),
        (-2, "got -2"),
        ("2..4", "got '2..4'"),
        ("two", "got 'two'"),
        ("2-", "got '2-'"),
        ("1.5", "got '1.5'"),
    ],
)
def test_a_list_of_layers_that_is_none_is_refused_with_its_name_and_value(
    name: str, value: str | int, said: str
) -> None:
    with_it = {"layers": "7", name: value}
    assert refusal(8, **with_it).startswith(f"{name}: ")
    assert said in refusal(8, **with_it)
    with pytest.raises(UserError):
        parse_layers(value, 8, name)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (
            {"bottom": 5, "top": 3, "transition": 1},
            "bottom 5, top 3, bottom_transition 1, top_transition 1 make 10 layers, the model has 8",
        ),
        ({"bottom": 40, "top": 0, "transition": 0}, "bottom 40, top 0"),
        ({"bottom": 1, "top": 1, "transition": 1, "top_transition": 6}, "top_transition 6 make 9 layers"),
        ({"bottom": -1, "top": 1, "transition": 1}, "bottom: expected 0 or more layers, got -1"),
        ({"bottom": 1, "top": 1, "transition": -2}, "bottom_transition: expected 0 or more layers, got -2"),
        ({"top": 1, "transition": 1}, "bottom is not given"),
        ({"bottom": 1, "transition": 1}, "top is not given"),
        ({"bottom": 1, "top": 1}, "transition is not given"),
        ({"bottom": 1, "top": 1, "top_transition": 1}, "transition is not given"),
        ({}, "the paper's defaults (5, 2, 1) are for 32 layers; this model has 8. Give a number (bottom: 1)"),
        ({"layers": "0", "bottom": 1}, "layers and bottom are two ways of saying the same"),
        ({"layers": "0", "top": 0}, "layers and top are two ways"),
        ({"layers": "0", "transition": "auto"}, "layers and transition are two ways"),
        ({"layers": "0", "top_transition": 1}, "layers and top_transition are two ways"),
        ({"layers": "0-2", "blend_layers": "2-3"}, "blend_layers: layer 2 is already taken: layers 0-2"),
        (
            {"bottom": 1, "top": 1, "transition": 1, "blend_layers": "0"},
            "blend_layers: layer 0 is already taken: bottom 1",
        ),
        ({"bottom": 1, "top": 1, "transition": 1, "blend_layers": "1"}, "layer 1 is already taken: bottom transition"),
        (
            {"bottom": 1, "top": 1, "transition": 1, "blend": 0.0, "blend_layers": "6"},
            "layer 6 is already taken: top transition",
        ),
        ({"layers": "0-2", "revert": "2-3"}, "revert: layer 2 is already taken: layers 0-2"),
        ({"bottom": 1, "top": 1, "transition": 1, "revert": "7"}, "revert: layer 7 is already taken: top 1"),
        ({"bottom": 1, "top": 1, "transition": 1, "revert": "1"}, "layer 1 is already taken: bottom transition"),
        ({"layers": "0", "blend_layers": "3", "revert": "3"}, "revert: layer 3 is already taken: blend_layers 3"),
        ({"bottom": 1, "top": 1, "transition": 0, "invert": True, "revert": "3"}, "layer 3 is already taken: middle"),
    ],
)
def test_zones_that_do_not_fit_are_refused_with_their_values(parameters: dict[str, Any], said: str) -> None:
    assert said in refusal(8, **parameters)


@pytest.mark.parametrize("blend", [-0.1, 1.1, 50, float("nan"), float("inf")])
def test_a_share_outside_0_to_1_is_refused_even_where_nothing_is_blended(blend: float) -> None:
    assert f"blend: expected the donor's share, 0 to 1, got {blend}" in refusal(8, layers="0", blend=blend)
    assert f"got {blend}" in refusal(8, bottom=1, top=1, transition=1, blend=blend)


@settings(max_examples=200, deadline=None)
@given(zones(), st.integers(1, 20))
def test_any_zones_that_do_not_fit_are_refused(drawn: tuple[int, dict[str, int], Fraction], excess: int) -> None:
    n_layers, depths, _ = drawn
    assume(depths["bottom"] and depths["top"])
    depths = depths | {"bottom": depths["bottom"] + n_layers - sum(depths.values()) + excess}
    assert f"make {n_layers + excess} layers, the model has {n_layers}" in refusal(n_layers, **depths)
