"""Which swaps are tried, and how one is chosen without looking at the target task."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from .settings import Settings

Parameters = dict[str, Any]
ENDS = {"embeddings": "recipient", "head": "recipient"}  # the same in all models of the study, and tied
PAPER: Parameters = {"bottom": "auto", "top": "auto", "transition": "auto"} | ENDS  # 5, 2 and 1 of 32, scaled


def candidates(settings: Settings) -> list[Parameters]:
    """The swaps that one is chosen from."""
    return [
        {"bottom": bottom, "top": top, "transition": 0} | ENDS
        for bottom in settings.bottoms
        for top in settings.tops
        if bottom or top
    ]


def placed(layers: Sequence[int]) -> Parameters:
    """A swap of these layers."""
    return {"layers": ",".join(map(str, sorted(layers))) or "none"} | ENDS


def average(share: float, n_layers: int) -> Parameters:
    """Every layer blended, with this share of the donor's."""
    return {"layers": "none", "blend_layers": f"0-{n_layers - 1}", "blend": share} | ENDS


def random_placements(width: int, n_layers: int, count: int, seed: int) -> list[Parameters]:
    """Different placements of as many donor layers."""
    rng = random.Random(f"placements {seed}")
    found: list[tuple[int, ...]] = []
    while len(found) < count:
        layers = tuple(sorted(rng.sample(range(n_layers), width)))
        if layers not in found:
            found.append(layers)
    return [placed(layers) for layers in found]


def middle(width: int, n_layers: int) -> Parameters:
    """As many donor layers in the middle of the model."""
    first = (n_layers - width) // 2
    return placed(range(first, first + width))


def width_of(parameters: Parameters) -> int:
    """How many donor layers a candidate has."""
    return int(parameters["bottom"]) + int(parameters["top"])


def chosen(scores: Sequence[Mapping[str, float]], recipient: Mapping[str, float], allowance: float) -> int:
    """Which of several is chosen: the least perplexity of those that keep the skill in English.

    What keeps it has a mean log-likelihood of the right answers that is at most the allowance under the recipient's.
    Where none has, the one with the highest.

    >>> several = [{"log_likelihood": -0.5, "perplexity": 9}, {"log_likelihood": -0.6, "perplexity": 7}]
    >>> chosen(several, {"log_likelihood": -0.48}, 0.05)
    0
    """
    least = recipient["log_likelihood"] - allowance - 1e-9
    keeping = [at for at, score in enumerate(scores) if score["log_likelihood"] >= least]
    if keeping:
        return min(keeping, key=lambda at: scores[at]["perplexity"])
    return max(range(len(scores)), key=lambda at: scores[at]["log_likelihood"])
