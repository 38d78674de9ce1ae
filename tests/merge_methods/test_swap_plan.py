"""Which layer comes from where: the pure functions, parameter by parameter, and what they refuse."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from turnswap.core.errors import UserError
from turnswap.merge_methods.swap_plan import Place, layer_sources, source_of
from turnswap.merge_methods.zones import SwapParameters, parse_layers, ramp, resolve_depths

SHORT = {"donor": "D", "recipient": "R", "blend": "b", "pretrained": "P"}


def letters(n_layers: int, **parameters: Any) -> str:
    """One letter per layer."""
    return "".join(SHORT[source.origin] for source in layer_sources(SwapParameters(**parameters), n_layers))


def shares(n_layers: int, **parameters: Any) -> list[float]:
    """The donor's share in each layer."""
    return [source.donor_share for source in layer_sources(SwapParameters(**parameters), n_layers)]


def refusal(n_layers: int, **parameters: Any) -> str:
    with pytest.raises(UserError) as raised:
        letters(n_layers, **parameters)
    return str(raised.value)


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
    ("parameters", "expected"),
    [
        ({"bottom": 2, "top": 1, "transition": 0}, "DDRRRRRRRD"),
        ({"bottom": 2, "top": 1, "transition": 2}, "DDbbRRRbbD"),
        ({"bottom": 2, "top": 1, "bottom_transition": 3, "top_transition": 0}, "DDbbbRRRRD"),
        ({"bottom": 2, "top": 1, "transition": 1, "top_transition": 2}, "DDbRRRRbbD"),
        ({"bottom": 3, "top": 0, "transition": 1}, "DDDbRRRRRR"),  # no top zone, no transition to it
        ({"bottom": 0, "top": 3, "transition": 1}, "RRRRRRbDDD"),
        ({"bottom": 0, "top": 0, "transition": 1}, "RRRRRRRRRR"),
        ({"bottom": 10, "top": 0, "transition": 0}, "DDDDDDDDDD"),
        ({"bottom": 4, "top": 4, "transition": 1}, "DDDDbbDDDD"),
        ({"bottom": 2, "top": 1, "transition": 1, "invert": True}, "RRbDDDDDbR"),
        ({"bottom": 2, "top": 0, "transition": 1, "invert": True}, "RRbDDDDDDD"),
        ({"layers": "0-2,9"}, "DDDRRRRRRD"),
        ({"layers": "9,0-2"}, "DDDRRRRRRD"),
        ({"layers": " 0 - 2 , 9 "}, "DDDRRRRRRD"),
        ({"layers": 4}, "RRRRDRRRRR"),
        ({"layers": 0}, "DRRRRRRRRR"),
        ({"layers": "4-4"}, "RRRRDRRRRR"),
        ({"layers": "0-9"}, "DDDDDDDDDD"),
        ({"layers": "0-2,9", "blend_layers": "3,8"}, "DDDbRRRRbD"),
        ({"layers": "0-2,9", "blend_layers": "3,8", "invert": True}, "RRRbDDDDbR"),
        ({"layers": "0-2,9", "blend_layers": 5}, "DDDRRbRRRD"),
        ({"bottom": 2, "top": 1, "transition": 0, "blend_layers": "4-5"}, "DDRRbbRRRD"),
        ({"bottom": 2, "top": 1, "transition": 0, "revert": "4-5"}, "DDRRPPRRRD"),
        ({"bottom": 2, "top": 1, "transition": 0, "revert": 2, "blend_layers": "3"}, "DDPbRRRRRD"),
        ({"layers": "0-1", "revert": "2-9"}, "DDPPPPPPPP"),
        ({"layers": "2-9", "invert": True, "revert": "2-3"}, "DDPPRRRRRR"),
        ({"bottom": 2, "top": 1, "transition": 1, "blend": 1.0}, "DDDRRRRRDD"),  # nothing is blended: copies
        ({"bottom": 2, "top": 1, "transition": 1, "blend": 0.0}, "DDRRRRRRRD"),
        ({"layers": "0", "blend_layers": "5", "blend": 1.0}, "DRRRRDRRRR"),
    ],
)
def test_each_way_of_saying_it_gives_its_layers(parameters: dict[str, Any], expected: str) -> None:
    assert letters(10, **parameters) == expected


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


def test_both_ramps_fall_from_the_donors_zone_towards_the_middle() -> None:
    assert shares(10, bottom=1, top=1, transition=3) == [1, 0.75, 0.5, 0.25, 0, 0, 0.25, 0.5, 0.75, 1]
    assert shares(10, bottom=1, top=1, transition=3, blend=0.25) == [
        1, 0.625, 0.25, 0.125, 0, 0, 0.125, 0.25, 0.625, 1,
    ]  # fmt: skip


def test_an_inverted_ramp_rises_towards_the_donors_middle_and_blend_is_still_the_donors_share() -> None:
    assert shares(10, bottom=1, top=1, transition=3, blend=0.25, invert=True) == [
        0, 0.125, 0.25, 0.625, 1, 1, 0.625, 0.25, 0.125, 0,
    ]  # fmt: skip
    assert shares(6, layers="0-1", blend_layers="2", blend=0.25, invert=True) == [0, 0, 0.25, 1, 1, 1]


EMBEDDINGS, HEAD, TIED = Place("embeddings"), Place("head"), Place("tied")


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "DD"),
        ({"bottom": 0}, "RD"),
        ({"top": 0}, "DR"),
        ({"invert": True}, "RR"),
        ({"bottom": 0, "invert": True}, "DR"),
        ({"layers": "1-30"}, "RR"),
        ({"layers": "0"}, "DR"),
        ({"layers": "5", "blend_layers": "0,31"}, "bb"),
        ({"layers": "5", "blend_layers": "0,31", "blend": 0.0}, "RR"),
        ({"bottom": 0, "top": 0, "revert": "0,31"}, "RR"),  # reverting names layers, nothing else
        ({"embeddings": "recipient"}, "RD"),
        ({"head": "recipient"}, "DR"),
        ({"embeddings": "blend", "head": "recipient"}, "bR"),
        ({"embeddings": "blend", "head": "blend", "blend": 1.0}, "DD"),
        ({"bottom": 0, "top": 0, "embeddings": "donor", "head": "donor"}, "DD"),
        ({"invert": True, "embeddings": "donor"}, "DR"),  # a choice is never inverted
    ],
)
def test_embeddings_and_head_follow_their_ends_unless_chosen(parameters: dict[str, Any], expected: str) -> None:
    swap = SwapParameters(**parameters)
    assert "".join(SHORT[source_of(place, swap, 32).origin] for place in (EMBEDDINGS, HEAD)) == expected


def test_embeddings_and_head_say_why() -> None:
    swap = SwapParameters(head="blend", blend=0.25)
    embeddings, head = source_of(EMBEDDINGS, swap, 32), source_of(HEAD, swap, 32)
    assert (embeddings.donor_share, embeddings.why) == (1.0, "follows bottom 5")
    assert (head.donor_share, head.why) == (0.25, "head: blend")


def test_a_layers_tensor_has_its_layers_source_and_what_is_outside_stays_with_the_recipient() -> None:
    everything = SwapParameters(layers="0-7", embeddings="donor", head="donor")
    for layer in range(8):
        assert source_of(Place("layer", layer), everything, 8) == layer_sources(everything, 8)[layer]
    for swap in (everything, SwapParameters(layers="0", invert=True)):
        assert source_of(Place("outside"), swap, 8).origin == "recipient"


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({}, "D"),  # both ends agree
        ({"invert": True}, "R"),
        ({"bottom": 0, "embeddings": "donor"}, "D"),  # one choice decides for both
        ({"bottom": 0, "head": "donor"}, "D"),
        ({"bottom": 0, "embeddings": "recipient"}, "R"),
        ({"top": 0, "head": "blend"}, "b"),
        ({"embeddings": "recipient", "head": "recipient"}, "R"),
        ({"embeddings": "blend", "head": "donor", "blend": 1.0}, "D"),  # both are the donor's, whatever they are called
    ],
)
def test_tied_embeddings_come_from_where_both_ends_agree_or_the_user_says(
    parameters: dict[str, Any], expected: str
) -> None:
    assert SHORT[source_of(TIED, SwapParameters(**parameters), 32).origin] == expected


@pytest.mark.parametrize(
    ("parameters", "embeddings", "head"),
    [
        ({"bottom": 0}, "from the recipient (follows middle)", "from the donor (follows top 2)"),
        ({"top": 0}, "from the donor (follows bottom 5)", "from the recipient (follows middle)"),
        (
            {"embeddings": "donor", "head": "recipient"},
            "from the donor (embeddings: donor)",
            "from the recipient (head: recipient)",
        ),
        (
            {"embeddings": "blend", "head": "donor"},
            "from the blend (embeddings: blend)",
            "from the donor (head: donor)",
        ),
    ],
)
def test_a_contradiction_over_tied_embeddings_is_refused_with_both_sources(
    parameters: dict[str, Any], embeddings: str, head: str
) -> None:
    swap = SwapParameters(**parameters)
    with pytest.raises(UserError) as raised:
        source_of(TIED, swap, 32)
    assert embeddings in str(raised.value)
    assert head in str(raised.value)
    assert source_of(HEAD, swap, 32) != source_of(EMBEDDINGS, swap, 32)  # untied: both as told


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


@st.composite
def zones(draw: st.DrawFn) -> tuple[int, dict[str, int], Fraction]:
    """A depth, four zones that fit into it, and a share that a float holds exactly."""
    n_layers = draw(st.integers(1, 100))
    left, depths = n_layers, {}
    for name in draw(st.permutations(["bottom", "top", "bottom_transition", "top_transition"])):
        depths[name] = draw(st.integers(0, left))
        left -= depths[name]
    return n_layers, depths, Fraction(draw(st.integers(0, 64)), 64)


@settings(max_examples=200, deadline=None)
@given(zones())
def test_any_zones_that_fit_lie_where_they_should_and_leave_no_layer_out(
    drawn: tuple[int, dict[str, int], Fraction],
) -> None:
    n_layers, depths, blend = drawn
    sources = layer_sources(SwapParameters(**depths, blend=float(blend)), n_layers)
    edges = {end: depths[f"{end}_transition"] if depths[end] else 0 for end in ("bottom", "top")}
    assert len(sources) == n_layers
    for layer, source in enumerate(sources):
        from_top = n_layers - 1 - layer
        if layer < depths["bottom"] or from_top < depths["top"]:
            assert (source.origin, source.donor_share) == ("donor", 1)
        elif layer < depths["bottom"] + edges["bottom"]:
            assert source.why == "bottom transition"
        elif from_top < depths["top"] + edges["top"]:
            assert source.why == "top transition"
        else:
            assert (source.origin, source.donor_share) == ("recipient", 0)
        whole = {0.0: "recipient", 1.0: "donor"}
        assert source.origin == whole.get(source.donor_share, "blend")
        assert 0 <= source.donor_share <= 1
    for end in ("bottom", "top"):  # from a zone inwards, the donor's share never rises
        falling = [source.donor_share for source in sources if source.why == f"{end} transition"]
        assert len(falling) == edges[end]
        assert falling == sorted(falling, reverse=end == "bottom")


@settings(max_examples=200, deadline=None)
@given(zones())
def test_an_inverted_swap_is_the_plain_one_with_the_models_exchanged(
    drawn: tuple[int, dict[str, int], Fraction],
) -> None:
    n_layers, depths, blend = drawn
    plain = layer_sources(SwapParameters(**depths, blend=float(1 - blend)), n_layers)
    inverted = layer_sources(SwapParameters(**depths, blend=float(blend), invert=True), n_layers)
    exchanged = {"donor": "recipient", "recipient": "donor", "blend": "blend"}
    assert [source.origin for source in inverted] == [exchanged[source.origin] for source in plain]
    assert [source.donor_share for source in inverted] == pytest.approx([1 - source.donor_share for source in plain])


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, 3), min_size=n, max_size=n))))
def test_any_partition_comes_out_as_it_was_named(drawn: tuple[int, list[int]]) -> None:
    n_layers, chosen = drawn
    named = {
        name: ",".join(str(layer) for layer, choice in enumerate(chosen) if choice == number)
        for number, name in ((1, "layers"), (2, "blend_layers"), (3, "revert"))
    }
    assume(named["layers"])
    expected = "".join("RDbP"[choice] for choice in chosen)
    assert letters(n_layers, **{name: value for name, value in named.items() if value}) == expected


@settings(max_examples=200, deadline=None)
@given(zones(), st.integers(1, 20))
def test_any_zones_that_do_not_fit_are_refused(drawn: tuple[int, dict[str, int], Fraction], excess: int) -> None:
    n_layers, depths, _ = drawn
    assume(depths["bottom"] and depths["top"])
    depths = depths | {"bottom": depths["bottom"] + n_layers - sum(depths.values()) + excess}
    assert f"make {n_layers + excess} layers, the model has {n_layers}" in refusal(n_layers, **depths)


def test_none_names_no_layer_so_that_a_swap_can_be_the_recipient_or_the_plain_average() -> None:
    assert letters(6, layers="none") == "RRRRRR"
    assert letters(6, layers="none", invert=True) == "DDDDDD"
    assert shares(6, layers="none", blend_layers="0-5") == 6 * [0.5]
    assert letters(6, bottom=1, top=1, transition=0, blend_layers="none", revert="none") == "DRRRRD"
