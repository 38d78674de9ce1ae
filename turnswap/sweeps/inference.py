"""What figures of swaps can say: differences with intervals, and what choosing the best of many does to them.

Documents of one source, a *cluster*, are drawn together, once for all tasks and configurations, with Poisson weights
(Davison and Hinkley 1997, §3.8; Chamandy et al. 2012): what a paired comparison needs.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from turnswap.core.errors import UserError

Array = NDArray[np.float64]
RESAMPLES = 5_000
SLOW_RESAMPLES = 199, 1_000  # at least and at most, where each takes an aggregation in Python
SLOW_ITEMS = 2_000_000  # that all of these may aggregate: a minute or so
FEWEST = 20  # clusters that a p-value needs: of fewer, a bootstrap knows too little of how much they differ
# Aggregations by name, since what equals lm-eval's mean may be another: what they make of a ratio of two sums.
_LM_EVAL = "lm_eval.api.metrics"
_OF_RATIOS: dict[tuple[str, str], Callable[[Array], Array]] = {
    (_LM_EVAL, "mean"): np.asarray,
    ("numpy", "mean"): np.asarray,
    (_LM_EVAL, "brier_score"): np.asarray,
    (_LM_EVAL, "perplexity"): lambda means: np.exp(-means),
    (_LM_EVAL, "weighted_perplexity"): lambda means: np.exp(-means),
    (_LM_EVAL, "bits_per_byte"): lambda means: -means / math.log(2),
}
_SAME = 1e-12  # figures that differ by less differ by rounding


class Part(NamedTuple):
    """What one task adds to an objective's figure, a weighted mean over its tasks."""

    metric: str  # as in the table of documents: ``acc,none``
    aggregation: Callable[[list[Any]], Any]  # lm-eval's: ``task.aggregation()["acc"]``
    weight: float = 1.0  # all together are 1


@dataclass(frozen=True)
class Drawn:
    """An objective's figures of several configurations, and in every resample of their documents."""

    names: Sequence[str]
    figures: Array  # (configurations,)
    replicates: Array  # (resamples, configurations)
    clusters: int  # on how many the figures rest; of several tasks, the fewest of one


class Difference(NamedTuple):
    """A paired difference of figures with its 95 % interval and two-sided p-value; NaN where there is none."""

    value: float
    low: float
    high: float
    p: float


def figure(table: pd.DataFrame, parts: Mapping[str, Part]) -> float:
    """An objective's figure: the mean over its tasks (the keys of ``parts``), each as lm-eval aggregates it."""
    return float(draw({"": table}, parts, resamples=0).figures[0])


def draw(
    tables: Mapping[str, pd.DataFrame], parts: Mapping[str, Part], resamples: int = RESAMPLES, seed: int = 0
) -> Drawn:
    """An objective's figures of configurations, by name, and their figures in resamples of the same documents.

    ``resamples``: at most. Of aggregations without a closed form they are fewer, the fewer the more is compared.
    """
    values = {task: [_values(table, task, part) for table in tables.values()] for task, part in parts.items()}
    in_each = [{cluster for clusters, _ in of_task for cluster in clusters} for of_task in values.values()]
    place = {cluster: number for number, cluster in enumerate(sorted(set().union(*in_each)))}
    slow = [items for task, part in parts.items() if _key(part) not in _OF_RATIOS for _, items in values[task]]
    if slow:
        least, most = SLOW_RESAMPLES
        resamples = min(resamples, most, max(least, SLOW_ITEMS // max(1, sum(map(len, slow)))))
    times = np.random.default_rng(seed).poisson(1, (resamples, len(place))).astype(float)
    figures, replicates = np.zeros(len(tables)), np.zeros((resamples, len(tables)))
    for task, part in parts.items():
        for clusters, alike in itertools.groupby(enumerate(values[task]), lambda each: each[1][0]):
            weights = times[:, [place[cluster] for cluster in clusters]]
            for column, (_, items) in alike:
                figures[column] += part.weight * _aggregated(items, part)
                replicates[:, column] += part.weight * _resampled(items, weights, part)
    return Drawn(tuple(tables), figures, replicates, min(map(len, in_each)))


def _values(table: pd.DataFrame, task: str, part: Part) -> tuple[list[str], list[Any]]:
    """The cluster of each document of a task, and its value of the metric."""
    rows = table[(table["task"] == task) & (table["metric"] == part.metric)]
    if rows.empty:
        raise UserError(f"No document of {task} has a value of {part.metric}.", "Use another metric.")
    both = zip(rows["value"].tolist(), rows["raw"].tolist(), strict=True)
    return rows["cluster"].tolist(), [json.loads(raw) if isinstance(raw, str) else value for value, raw in both]


def _aggregated(items: list[Any], part: Part) -> float:
    try:
        found = part.aggregation(list(items)) if items else math.nan  # ours may change its list
    except OverflowError:  # a perplexity beyond what a float holds
        return math.inf
    return float(found) if isinstance(found, (int, float, np.number)) else math.nan


def _key(part: Part) -> tuple[str, str]:
    return getattr(part.aggregation, "__module__", ""), getattr(part.aggregation, "__name__", "")


def _resampled(items: list[Any], weights: Array, part: Part) -> Array:
    key = _key(part)
    with np.errstate(all="ignore"):
        if key in _OF_RATIOS:
            each = map(part.aggregation, ([item] for item in items)) if key[1] == "brier_score" else items
            sums = np.array(list(each), dtype=float)
            above, below = (weights @ (sums if sums.ndim == 2 else np.stack([sums, np.ones(len(sums))], axis=1))).T
            return _OF_RATIOS[key](above / below)
    repeated = (map(itertools.repeat, items, row) for row in weights.astype(int).tolist())
    return np.array([_aggregated([*itertools.chain(*each)], part) for each in repeated])


def differences(drawn: Drawn, to: str) -> dict[str, Difference]:
    """Each configuration's difference to one of them, such as the recipient, taken by itself.

    The interval reaches as far to either side as 95 % of the resamples move; ``p`` is the share that move further than
    the difference is from 0, counting the data itself once: at most 0.05 where the interval leaves 0 out. Both are
    expanded to what Student's t would give, for few clusters (Hesterberg 2015, §5.3). Of a winner that was chosen on
    these documents it says too much; on others it holds, also for the winner and a control that was selected alike.

    Where no resample moves a difference, chance cannot be told: of few clusters there is no interval, and where the
    difference is not 0 no p-value.
    """
    return dict(zip(drawn.names, _differences(drawn, drawn.names, to, together=False), strict=True))


def best_of(drawn: Drawn, winner: str, tried: Sequence[str], to: str) -> Difference:
    """The difference of a winner to another configuration, on the very documents on which it was chosen.

    Its interval holds for all of ``tried`` at once, and so for whichever was chosen, by whatever rule (Berk et al.
    2013): it reaches as many standard errors as none of them moves beyond in 95 % of the resamples (the max statistic:
    Westfall and Young 1993; Romano and Wolf 2005). That takes a list that was laid down, such as a grid. A search that
    learns from these figures could have tried more than it did: there it holds less often than 95 %, see
    ``benchmarks/selection.py``.
    """
    return _differences(drawn, tried, to, together=True)[list(tried).index(winner)]


def _differences(drawn: Drawn, of: Sequence[str], to: str, together: bool) -> list[Difference]:
    at, reference = [drawn.names.index(name) for name in of], drawn.names.index(to)
    n, resamples = drawn.clusters, len(drawn.replicates)
    with np.errstate(all="ignore"):
        values = drawn.figures[at] - drawn.figures[reference]
        moved = drawn.replicates[:, at] - drawn.replicates[:, [reference]] - values
        known = ~np.isnan(moved)
        errors = np.sqrt(np.where(known, moved**2, 0).sum(axis=0) / known.sum(axis=0))
        moves = errors > _SAME
        scaled = np.where(moves & known, np.abs(moved) / errors, 0)
        if together:
            scaled[:] = scaled.max(axis=1, keepdims=True)
        critical = np.sort(scaled, axis=0)[math.ceil(0.95 * (resamples + 1)) - 1]
        wider = math.sqrt(n / (n - 1)) if n > 1 else math.nan
        half = np.where(moves, -stdtrit(n - 1, ndtr(-critical)) * wider * errors, 0 * values * wider)
        observed = np.where(np.abs(values) > _SAME, -ndtri(stdtr(n - 1, -np.abs(values) / errors / wider)), 0)
        p = (1 + (scaled >= observed).sum(axis=0)) / (1 + resamples)
        stuck = ~moves & (np.abs(values) > _SAME)
    another = np.array(at) != reference
    half = np.where(~moves & another & (n < FEWEST), np.nan, half)
    p = np.where(np.isnan(half) | stuck | (n < FEWEST), np.nan, p)
    columns = (values, values - half, values + half, p)
    return [Difference(*map(float, each)) for each in zip(*columns, strict=True)]


def non_dominated(
    figures: Sequence[Sequence[float]], higher_is_better: Sequence[bool], feasible: Sequence[bool]
) -> list[bool]:
    """Which points no other beats in one objective without losing in another: the Pareto front.

    Equal points all belong to it or none; one that breaks a constraint, or has no figure, never does.
    """
    points = np.asarray(figures, dtype=float).reshape(-1, len(higher_is_better)) * np.where(higher_is_better, 1, -1)
    stand = np.asarray(feasible, dtype=bool) & ~np.isnan(points).any(axis=1)
    return [
        bool(ok and not ((points[stand] >= point).all(axis=1) & (points[stand] > point).any(axis=1)).any())
        for ok, point in zip(stand, points, strict=True)
    ]


def tie_broken(
    figure: float, n_documents: Sequence[int], log_likelihood: float, higher_is_better: bool = True
) -> float:
    """The figure, moved a little by how likely the right answers are, so that equal figures of a few documents differ.

    Only shares of right answers tie, and their means over tasks, of which ``n_documents`` is the size of each: they lie
    on a grid. None moves by more than a millionth of a step, and a figure off the grid stays, so unequal figures keep
    their order. ``log_likelihood`` is the mean over documents; NaN, where there is none, breaks no tie.
    """
    steps = len(n_documents) * math.lcm(*n_documents)
    if math.isnan(log_likelihood) or not math.isfinite(figure) or abs(figure * steps - round(figure * steps)) > 1e-6:
        return figure
    likely = 1e-6 / (1 + max(0.0, -log_likelihood))  # from 0 to a millionth
    return (round(figure * steps) + (likely if higher_is_better else -likely)) / steps
