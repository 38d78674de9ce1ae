"""Paired differences of rows: intervals over seeds and items, sign-flip tests, Holm's correction, power."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
RESAMPLES = 10_000


def hierarchical_interval(by_seed: Sequence[Floats], seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean difference: seeds are drawn anew, and in each its items."""
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for at in range(RESAMPLES):
        drawn = rng.integers(len(by_seed), size=len(by_seed))
        means[at] = np.mean([rng.choice(by_seed[one], len(by_seed[one])).mean() for one in drawn])
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)


def sign_flip(differences: Floats, seed: int = 0) -> float:
    """Two-sided p-value: how often a mean as far from 0 arises where each difference may as well have the other sign.

    >>> sign_flip(np.array([1.0] * 20)) < 0.001
    True
    >>> sign_flip(np.zeros(20))
    1.0
    """
    other = differences[differences != 0]
    if not len(other):
        return 1.0
    rng = np.random.default_rng(seed)
    observed = abs(other.sum()) - 1e-9
    hits = 0
    for _ in range(RESAMPLES // 1000):
        signs = rng.integers(0, 2, size=(1000, len(other))) * 2.0 - 1
        hits += int((np.abs(signs @ other) >= observed).sum())
    return (hits + 1) / (RESAMPLES + 1)


def holm(values: Mapping[str, float]) -> dict[str, float]:
    """p-values adjusted for there being several.

    >>> holm({"a": 0.01, "b": 0.04})
    {'a': 0.02, 'b': 0.04}
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for at, name in enumerate(sorted(values, key=values.__getitem__)):
        largest = max(largest, min(1.0, (len(values) - at) * values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in values}


def power(discordant: float, effect: float, items: int, level: float, repeats: int = 4000, seed: int = 0) -> float:
    """How often a sign-flip test of ``items`` pairs finds an effect, by simulation.

    Args:
        discordant: the share of items that one row has right and the other wrong.
        effect: the true difference of accuracies; at most ``discordant``.
        items: of all seeds together.
        level: of the test.
        repeats: how many studies are simulated.
        seed: of the simulation.
    """
    rng = np.random.default_rng(seed)
    gains = (discordant + effect) / 2
    drawn = rng.multinomial(items, [gains, discordant - gains, 1 - discordant], size=repeats)
    differing = drawn[:, 0] + drawn[:, 1]
    # The exact sign-flip distribution of differences of +1 and -1 is the binomial's.
    from scipy.stats import binom  # type: ignore[import-untyped]

    larger = np.maximum(drawn[:, 0], drawn[:, 1])
    p = np.minimum(1.0, 2 * binom.sf(larger - 1, differing, 0.5))
    return float((p < level).mean())
