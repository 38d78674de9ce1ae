"""Swaps of models whose embeddings are their head too: what comes from one place, whatever zones touch it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnswap.merge_methods.recipe import Recipe
from turnswap.merge_methods.swap_plan import layer_sources
from turnswap.merge_methods.zones import PARAMETER_NAMES, SwapParameters

NOTE = "embeddings and head are one tensor in these models: it is what embeddings say, and follows the first layer else"


def is_tied(recipe: Recipe) -> bool:
    """Whether the recipient's embeddings are its head too."""
    return any(tensor.weight.place.part == "tied" for tensor in recipe.tensors.values())


def with_tied_ends(parameters: Mapping[str, Any], n_layers: int) -> dict[str, Any]:
    """A swap's parameters with one choice for embeddings and head, where they would be two.

    The embeddings' own choice goes before the head's. Without either, both follow the first layer.

    >>> with_tied_ends({"bottom": 2, "top": 0, "transition": 0}, 6)["embeddings"]
    'donor'
    """
    settled = dict(parameters)
    if settled.get("embeddings"):
        settled.pop("head", None)
    elif not settled.get("head"):
        placed = {name: value for name, value in settled.items() if name in PARAMETER_NAMES}
        first, *_, last = layer_sources(SwapParameters(**placed), n_layers)
        if first.same != last.same:
            settled["embeddings"] = first.origin
    return settled
