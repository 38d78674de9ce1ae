"""Intervals over seeds: what another seed would show, not what more documents would."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

Interval: TypeAlias = tuple[float, float]

RESAMPLES = 10_000


def t_interval(values: Sequence[float]) -> Interval:
    """Student's 95 % interval of the mean over seeds.

    >>> low, high = t_interval([0.1, 0.2, 0.3])
    >>> round(low, 3), round(high, 3)
    (-0.048, 0.448)
    """
    half = float(stats.t.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    mean = statistics.fmean(values)
    return mean - half, mean + half


def bootstrap_interval(differences: Sequence[Sequence[float]], seed: int = 0) -> Interval:
    """The 95 % percentile interval of the mean difference: seeds are drawn anew, and in each its documents.

    Args:
        differences: per seed and document, of two rows on the same documents.
        seed: of the resampling.
    """
    rng = np.random.default_rng(seed)
    of = [np.asarray(one, dtype=float) for one in differences]
    means = np.empty(RESAMPLES)
    for number in range(RESAMPLES):
        drawn = rng.integers(len(of), size=len(of))
        means[number] = np.mean([rng.choice(of[one], len(of[one])).mean() for one in drawn])
    low, high = np.percentile(means, (2.5, 97.5))
    return float(low), float(high)
