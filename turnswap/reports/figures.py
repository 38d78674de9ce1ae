"""Every figure of a run with its interval: seeded bootstrap over conversations, vectorised.

Each metric is Σ numerators / Σ denominators over conversations, ``overall`` the mean of four of them (see
:mod:`turnswap.tasks.multiif.metrics`). A resample draws conversations, the independent unit, with replacement
and recomputes all of them; languages are resampled apart, because their sizes are fixed by the benchmark. The
interval is the percentile one (Efron and Tibshirani 1993, chapter 13).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turnswap.tasks.multiif import metrics
from turnswap.tasks.multiif.dataset import LANGUAGES
from turnswap.tasks.multiturn.lm_eval_contract import WithStandardError

from .runs import LoggedConversation

Array = NDArray[np.float64]
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
_CHUNK = 1 << 20  # drawn conversations at a time: their indices stay in the processor's cache


@dataclass(frozen=True)
class Resampling:
    """How intervals are drawn: number of resamples, seed, and coverage."""

    resamples: int = 10_000
    seed: int = 0
    level: float = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value per figure, and its value in every resample.

    Attributes:
        values: shape ``(len(FIGURES),)``; NaN where a denominator is 0.
        replicates: shape ``(resamples, len(FIGURES))``.
    """

    values: Array
    replicates: Array

    def interval(self, level: float) -> tuple[Array, Array]:
        """Lower and upper bound per figure: percentiles over the resamples in which the figure exists."""
        tail = 50 * (1 - level)
        bounds = np.full((2, len(self.values)), np.nan)
        known = ~np.isnan(self.values)
        if known.any():
            bounds[:, known] = np.nanpercentile(self.replicates[:, known], [tail, 100 - tail], axis=0)
        return bounds[0], bounds[1]


def as_arrays(conversations: Sequence[LoggedConversation]) -> NDArray[np.int64]:
    """Each conversation's numerator and denominator of every ratio: shape ``(n, len(RATIOS), 2)``."""
    return np.array([[c.values.get(name, (0, 0)) for name in RATIOS] for c in conversations], dtype=np.int64)


def compute(pairs: NDArray[Any]) -> dict[str, float]:
    """Every figure of these conversations, by name; without the means of the turns, which lm-eval does not have."""
    values = from_sums(pairs.sum(axis=0, dtype=np.float64))
    return {name: float(value) for name, value in zip(FIGURES, values, strict=True) if name not in AVERAGES}


def from_sums(sums: Array) -> Array:
    """Figures from summed numerators and denominators: ``(…, len(RATIOS), 2)`` to ``(…, len(FIGURES))``."""
    with np.errstate(invalid="ignore", divide="ignore"):
        ratios = sums[..., 0] / sums[..., 1]
    means = np.stack([ratios[..., columns].mean(axis=-1) for columns in _PARTS], axis=-1)
    averages = means.reshape(*means.shape[:-1], len(AVERAGES), -1).mean(axis=-1)
    return np.concatenate([ratios, means, averages], axis=-1)


def resampled_sums(pairs: NDArray[Any], language: str, resampling: Resampling) -> Array:
    """The sums in every resample: shape ``(resamples, len(RATIOS), 2)``.

    The draws depend on the seed, the language and the number of conversations alone: two models that ran the
    same conversations in the same order are resampled alike, which is what a paired comparison needs.
    """
    n, width = len(pairs), pairs.shape[1] * pairs.shape[2]
    if language in LANGUAGES:
        number = list(LANGUAGES).index(language)
    else:  # the same for a language in every run
        number = int.from_bytes(hashlib.sha256(language.encode()).digest()[:4])
    generator = np.random.default_rng([resampling.seed, number])
    flat = pairs.reshape(n, width).astype(np.float64)
    sums = np.empty((resampling.resamples, width))
    step = max(1, _CHUNK // n)
    for start in range(0, resampling.resamples, step):
        rows = min(step, resampling.resamples - start)
        drawn = generator.integers(0, n, size=(rows, n), dtype=np.int32)
        drawn += np.arange(rows, dtype=np.int32)[:, None] * n
        times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        sums[start : start + rows] = times.astype(np.float64) @ flat
    return sums.reshape(resampling.resamples, *pairs.shape[1:])


def estimate(by_language: Mapping[str, NDArray[Any]], resampling: Resampling) -> dict[str, Estimate]:
    """Every figure per language, and over the languages.

    Args:
        by_language: language code -> pairs, see :func:`as_arrays`.
        resampling: how to draw.

    Returns:
        Language code -> estimate; with more than one language also ``macro``, the plain mean of the languages (the
        paper's average), and ``pooled``, all conversations as if of one language (what the published code prints).
    """
    sums = {code: resampled_sums(pairs, code, resampling) for code, pairs in by_language.items()}
    totals = {code: pairs.sum(axis=0, dtype=np.float64) for code, pairs in by_language.items()}
    estimates = {code: Estimate(from_sums(totals[code]), from_sums(sums[code])) for code in by_language}
    if len(by_language) > 1:
        values = np.mean([each.values for each in estimates.values()], axis=0)
        estimates[MACRO] = Estimate(values, np.mean([each.replicates for each in estimates.values()], axis=0))
        total, drawn = sum(totals.values(), np.zeros(())), sum(sums.values(), np.zeros(()))
        estimates[POOLED] = Estimate(from_sums(total), from_sums(drawn))
    return estimates


def difference(one: Estimate, other: Estimate) -> Estimate:
    """``other`` minus ``one``, resample by resample: both must come from the same conversations and draws."""
    return Estimate(other.values - one.values, other.replicates - one.replicates)


def p_values(gap: Estimate) -> Array:
    """Two-sided p-value of no difference, per figure, by paired bootstrap.

    The share of resamples that lie at least as far from the difference as the difference lies from 0, counting
    the data itself once: (1 + #) / (1 + resamples), so that it is never 0. As in sacreBLEU (Post 2018), after
    Riezler and Maxwell 2005, §3. NaN where a figure does not exist; 1 where the difference is exactly 0.
    """
    centred = np.abs(gap.replicates - gap.values)
    known = ~np.isnan(gap.replicates)
    # Ratios of equal sums may differ in the last bit; such a difference is none.
    as_far = (centred >= np.abs(gap.values) - 1e-12) & known
    share = (1 + as_far.sum(axis=0)) / (1 + known.sum(axis=0))
    return np.where(np.isnan(gap.values), np.nan, share)


def holm(p: Array) -> Array:
    """Holm's step-down correction (Holm 1979) for as many comparisons as there are known p-values."""
    corrected = np.full_like(p, np.nan)
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known])]
    steps = p[order] * np.arange(len(order), 0, -1)
    corrected[order] = np.minimum(1, np.maximum.accumulate(steps)) if len(order) else steps
    return corrected
