"""Which layer comes from where, and embeddings and head: the pure functions, parameter by parameter."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from turnswap.core.errors import UserError
from turnswap.merge_methods.swap_plan import Place, layer_sources, source_of
from turnswap.merge_methods.zones import SwapParameters

from .planned import SHORT, letters, shares, zones


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


def test_none_names_no_layer_so_that_a_swap_can_be_the_recipient_or_the_plain_average() -> None:
    assert letters(6, layers="none") == "RRRRRR"
    assert letters(6, layers="none", invert=True) == "DDDDDD"
    assert shares(6, layers="none", blend_layers="0-5") == 6 * [0.5]
    assert letters(6, bottom=1, top=1, transition=0, blend_layers="none", revert="none") == "DRRRRD"
