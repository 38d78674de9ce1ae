"""Swaps of models that are numbers of layers alone: in letters, in shares, refused, and drawn."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import strategies as st

from turnswap.core.errors import UserError
from turnswap.merge_methods.swap_plan import layer_sources
from turnswap.merge_methods.zones import SwapParameters

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


@st.composite
def zones(draw: st.DrawFn) -> tuple[int, dict[str, int], Fraction]:
    """A depth, four zones that fit into it, and a share that a float holds exactly."""
    n_layers = draw(st.integers(1, 100))
    left, depths = n_layers, {}
    for name in draw(st.permutations(["bottom", "top", "bottom_transition", "top_transition"])):
        depths[name] = draw(st.integers(0, left))
        left -= depths[name]
    return n_layers, depths, Fraction(draw(st.integers(0, 64)), 64)
