"""Every figure of a run with its interval: seeded bootstrap over source prompts, vectorised.

Conversations of one source prompt are variants and translations of it and share its difficulty. So whole source prompts
are drawn, once for all languages together, and every figure is computed again: a cluster bootstrap (Davison and Hinkley
1997, §3.8) with Poisson weights (Chamandy et al. 2012), drawn from the seed and the source prompt's name, so that a
part, the whole and another model are drawn alike. ``benchmarks/coverage.py`` shows how often these intervals hold.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from turnswap.tasks.multiif import metrics
from turnswap.tasks.multiturn.lm_eval_contract import WithStandardError

from .runs import LoggedConversation

Array = NDArray[np.float64]
# Source prompts that a p-value needs: of fewer, a bootstrap knows too little of how much they differ.
FEWEST = 20
ALPHA = 0.05  # what is called significant
MACRO, POOLED = "macro", "pooled"

OVERALL = tuple(f"turn{turn}_overall_acc" for turn in metrics.TURNS)
# The mean of the turns' overall accuracies: what a leaderboard sorts by.
AVERAGE = "overall_acc"
AVERAGES: tuple[str, ...] = (AVERAGE, f"{AVERAGE}{metrics.COMPLETED}")
# Those of :data:`OVERALL` and over completed replies alone.
_MEANS: tuple[str, ...] = (*OVERALL, *(f"{name}{metrics.COMPLETED}" for name in OVERALL))
_POSSIBLE = metrics.aggregations(repeats=2).items()
RATIOS: tuple[str, ...] = tuple(name for name, figure in _POSSIBLE if figure == WithStandardError(metrics.ratio))
FIGURES: tuple[str, ...] = (*RATIOS, *_MEANS, *AVERAGES)
_PARTS = [[RATIOS.index(name.replace(AVERAGE, part)) for part in metrics.ACCURACIES] for name in _MEANS]


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn: number of resamples, seed, and coverage."""

    resamples: int = 10_000
    seed: int = 0
    level: float = 0.95


@dataclass(frozen=True)
class Sums:
    """A language's conversations, added up by source prompt.

    Attributes:
        sources: the source prompts, sorted.
        pairs: numerator and denominator of every ratio: shape ``(len(sources), len(RATIOS), 2)``.
    """

    sources: tuple[str, ...]
    pairs: NDArray[np.int64]


@dataclass(frozen=True)
class Estimate:
    """A value per figure, and its value in every resample.

    Attributes:
        values: shape ``(len(FIGURES),)``; NaN where a denominator is 0.
        replicates: shape ``(resamples, len(FIGURES))``.
        sources: on how many source prompts each figure rests; over languages, the fewest of one.
    """

    values: Array
    replicates: Array
    sources: NDArray[np.int64]

    def only(self, name: str) -> Estimate:
        """One of :data:`FIGURES` alone."""
        column = FIGURES.index(name)
        own = slice(column, column + 1)
        return Estimate(self.values[own], self.replicates[:, own].copy(), self.sources[own])

    def interval(self, level: float) -> tuple[Array, Array]:
        """Lower and upper bound per figure: percentiles over the resamples in which the figure exists.

        Percentiles are too narrow for few source prompts; they are expanded to what Student's t would give (Hesterberg
        2015, §5.3). NaN where there are fewer than two.
        """
        bounds = np.full((2, len(self.values)), np.nan)
        known = ~np.isnan(self.values) & (self.sources > 1)
        n = self.sources[known]
        tails = ndtr(stdtrit(n - 1, (1 - level) / 2) * np.sqrt(n / (n - 1)))
        ranked = np.sort(self.replicates[:, known], axis=0)  # what does not exist comes last
        exist = (~np.isnan(ranked)).sum(axis=0)
        # As many resamples lie outside as p_values needs to see outside, the data itself counted: the two agree.
        outside = np.clip(np.floor(tails * (exist + 1)).astype(int) - 1, 0, exist - 1)
        for row, at in zip(bounds, (outside, exist - 1 - outside), strict=True):
            row[known] = ranked[at, np.arange(len(n))]
        return bounds[0], bounds[1]


def add_up(conversations: Sequence[LoggedConversation]) -> Sums:
    """Numerators and denominators of every ratio by source prompt."""
    sources, place = np.unique([c.source or c.key for c in conversations], return_inverse=True)
    pairs = np.zeros((len(sources), len(RATIOS), 2), dtype=np.int64)
    np.add.at(pairs, place, [[c.values.get(name, (0, 0)) for name in RATIOS] for c in conversations])
    return Sums(tuple(map(str, sources)), pairs)


def compute(sums: Sums) -> dict[str, float]:
    """Every figure of these conversations, by name; without the means of the turns, which lm-eval does not have."""
    values = from_sums(sums.pairs.sum(axis=0, dtype=np.float64))
    return {name: float(value) for name, value in zip(FIGURES, values, strict=True) if name not in AVERAGES}


def from_sums(sums: Array) -> Array:
    """Figures from summed numerators and denominators: ``(…, len(RATIOS), 2)`` to ``(…, len(FIGURES))``."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = sums[..., 0] / sums[..., 1]
    means = np.stack([ratios[..., columns].mean(axis=-1) for columns in _PARTS], axis=-1)
    averages = means.reshape(*means.shape[:-1], len(AVERAGES), -1).mean(axis=-1)
    return np.concatenate([ratios, means, averages], axis=-1)


def resampled(sums: NDArray[Any], sources: Sequence[str], resampling: Resampling) -> Array:
    """Sums over source prompts in every resample.

    Args:
        sums: whole numbers per source prompt: shape ``(…, len(sources), width)``.
        sources: their names, from which their weights are drawn: Poisson with mean 1.
        resampling: how to draw.

    Returns:
        Shape ``(…, resamples, width)``.
    """
    times = np.stack([_weights(source, resampling.resamples, resampling.seed) for source in sources], axis=1)
    # Sums below 2**24, which single precision adds up exactly.
    return (times @ sums.astype(np.float32)).astype(np.float64)


@lru_cache(maxsize=4096)
def _weights(source: str, resamples: int, seed: int) -> NDArray[np.float32]:
    """How often a source prompt is in each resample."""
    own = int.from_bytes(hashlib.sha256(source.encode()).digest()[:8])
    return np.random.default_rng([seed, own]).poisson(1, resamples).astype(np.float32)


def estimate(by_language: Mapping[str, Sums], resampling: Resampling) -> dict[str, Estimate]:
    """Every figure per language, and over the languages.

    Args:
        by_language: language code -> sums, see :func:`add_up`.
        resampling: how to draw.

    Returns:
        Language code -> estimate; with more than one language also ``macro``, the plain mean of the languages (the
        paper's average), and ``pooled``, all conversations as if of one language (what the published code prints).
    """
    estimates, total, together = {}, np.zeros(()), np.zeros(())
    for code, sums in by_language.items():
        flat = resampled(sums.pairs.reshape(len(sums.sources), -1), sums.sources, resampling)
        drawn, own = flat.reshape(resampling.resamples, len(RATIOS), 2), sums.pairs.sum(axis=0, dtype=np.float64)
        estimates[code] = Estimate(from_sums(own), from_sums(drawn), _sources_of(sums))
        total, together = total + own, together + drawn
    if len(by_language) > 1:
        estimates[MACRO] = mean(list(estimates.values()))
        estimates[POOLED] = Estimate(from_sums(total), from_sums(together), estimates[MACRO].sources)
    return estimates


def mean(estimates: Sequence[Estimate]) -> Estimate:
    """The plain mean of several languages' estimates."""
    values, replicates = ([getattr(each, name) for each in estimates] for name in ("values", "replicates"))
    fewest = np.min([each.sources for each in estimates], axis=0)
    return Estimate(np.mean(values, axis=0), np.mean(replicates, axis=0), fewest)


def _sources_of(sums: Sums) -> NDArray[np.int64]:
    """On how many source prompts each figure rests: of a mean, the fewest of one of its parts."""
    ratios = (sums.pairs[..., 1] > 0).sum(axis=0)
    means = np.stack([ratios[columns].min() for columns in _PARTS])
    return np.concatenate([ratios, means, means.reshape(len(AVERAGES), -1).min(axis=1)])


def difference(one: Estimate, other: Estimate) -> Estimate:
    """``other`` minus ``one``, resample by resample: both must come from the same conversations and draws."""
    fewest = np.minimum(one.sources, other.sources)
    return Estimate(other.values - one.values, other.replicates - one.replicates, fewest)


def p_values(gap: Estimate) -> Array:
    """Two-sided p-value of no difference, per figure, by paired bootstrap.

    Twice the share of resamples on the other side of 0, the data itself counted once so that it is never 0 (Davison and
    Hinkley 1997, §4.4), expanded as intervals are: below ``1 - level`` where they leave 0 out. NaN where a figure does
    not exist, or rests on fewer than :data:`FEWEST` source prompts; 1 where nothing differs at all.
    """
    known = ~np.isnan(gap.replicates)
    # Ratios of equal sums may differ in the last bit; such a difference is none.
    sides = [((sign * gap.replicates <= 1e-12) & known).sum(axis=0) for sign in (1, -1)]
    share = np.minimum(0.5, (1 + np.min(sides, axis=0)) / (1 + known.sum(axis=0)))
    n = np.maximum(gap.sources, 2)
    p = 2 * stdtr(n - 1, ndtri(share) * np.sqrt((n - 1) / n))
    return np.where(np.isnan(gap.values) | (gap.sources < FEWEST), np.nan, p)


def resamples_needed(tests: int, sources: int) -> int:
    """How many resamples let one of so many p-values be below :data:`ALPHA` when it is corrected for all of them."""
    share = ndtr(stdtrit(sources - 1, ALPHA / (2 * tests)) * np.sqrt(sources / (sources - 1)))
    return math.ceil(1 / float(share))


def holm(p: Array) -> Array:
    """Holm's step-down correction (Holm 1979) for as many comparisons as there are known p-values."""
    ranked = pd.Series(p).dropna().sort_values()
    steps = ranked * np.arange(len(ranked), 0, -1)
    return np.asarray(steps.cummax().clip(upper=1).reindex(range(len(p))), dtype=np.float64)
