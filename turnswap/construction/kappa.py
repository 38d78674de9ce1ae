"""How far people agree on what they have decided: Cohen's kappa, by pairs of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

RESAMPLES, SEED = 10_000, 0  # of the interval


@dataclass(frozen=True)
class Agreement:
    """How far two reviewers agree on what both have decided.

    Attributes:
        reviewers: the two.
        n: how much both have decided.
        agreed: of these, the share with the same decision; None for none.
        kappa: Cohen's; None where it is undefined, for the ``reason``.
        interval: 95 %, percentile bootstrap over what was decided (seeded); None where kappa is undefined in more than
            5 % of the resamples, for the ``reason``. Other undefined resamples are left out.
    """

    reviewers: tuple[str, str]
    n: int
    agreed: float | None
    kappa: float | None
    interval: tuple[float, float] | None
    reason: str | None = None


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Agreement beyond chance, ``(p_o - p_e) / (1 - p_e)`` (Cohen 1960, A coefficient of agreement for nominal scales).

    ``p_o`` is the share of equal pairs, ``p_e`` the sum over categories of the product of both raters' shares. None
    where there are no pairs, or where both raters used one and the same category throughout: ``p_e`` is 1.
    """
    (kappa,) = _kappas(_table(pairs)[None])
    return None if np.isnan(kappa) else float(kappa)


def agreements(decisions: Mapping[str, Mapping[str, str]]) -> list[Agreement]:
    """Every pair of reviewers, by what each has decided per key."""
    found = []
    for one, other in combinations(sorted(decisions), 2):
        keys = [key for key in decisions[one] if key in decisions[other]]
        found.append(_between((one, other), [(decisions[one][key], decisions[other][key]) for key in keys]))
    return found


def _between(reviewers: tuple[str, str], pairs: Sequence[tuple[str, str]]) -> Agreement:
    n, kappa = len(pairs), cohen_kappa(pairs)
    if not n:
        return Agreement(reviewers, 0, None, None, None, "nothing was decided by both")
    agreed = sum(one == other for one, other in pairs) / n
    if kappa is None:
        return Agreement(reviewers, n, agreed, None, None, "both gave the same decision everywhere")
    # Resampling pairs is drawing how often each kind of pair comes.
    table = _table(pairs)
    drawn = np.random.default_rng(SEED).multinomial(n, table.ravel() / n, RESAMPLES)
    kappas = _kappas(drawn.reshape(RESAMPLES, *table.shape))
    if np.isnan(kappas).mean() > 0.05:
        reason = "no interval: kappa is undefined in more than 5 % of the resamples"
        return Agreement(reviewers, n, agreed, kappa, None, reason)
    low, high = np.nanpercentile(kappas, [2.5, 97.5])
    return Agreement(reviewers, n, agreed, kappa, (float(low), float(high)))


def _table(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """How often each decision of the first met each of the second."""
    categories = sorted({decision for pair in pairs for decision in pair})
    table = np.zeros((len(categories), len(categories)))
    for one, other in pairs:
        table[categories.index(one), categories.index(other)] += 1
    return table


def _kappas(tables: np.ndarray) -> np.ndarray:
    """Kappa of each table, NaN where it is undefined."""
    n = tables.sum(axis=(1, 2))
    observed = n * np.einsum("rii->r", tables)
    by_chance = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1)
    possible = n * n - by_chance
    with np.errstate(invalid="ignore"):
        return np.where(possible > 0, (observed - by_chance) / possible, np.nan)
