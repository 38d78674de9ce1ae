"""Agreement between reviewers: Cohen's kappa."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

RESAMPLES, SEED = 10_000, 0


@dataclass(frozen=True)
class Agreement:
    """How far two reviewers agree on what both have decided.

    Attributes:
        reviewers: the two.
        n: conversations that both have decided.
        agreed: of these, the share with the same decision; None for none.
        kappa: Cohen's; None where it is undefined, for the ``reason``.
        interval: 95 %, percentile bootstrap over conversations (seeded); None where kappa is undefined in more than
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
    n = len(pairs)
    first, second = Counter(one for one, _ in pairs), Counter(other for _, other in pairs)
    by_chance = sum(first[category] * second[category] for category in first)
    if by_chance == n * n:
        return None
    observed = sum(one == other for one, other in pairs)
    return (n * observed - by_chance) / (n * n - by_chance)


def agreements(decisions: Mapping[str, Mapping[str, str]]) -> list[Agreement]:
    """Every pair of reviewers, by what each has decided per key."""
    found = []
    for one, other in combinations(sorted(decisions), 2):
        keys = [key for key in decisions[one] if key in decisions[other]]
        found.append(_between((one, other), [(decisions[one][key], decisions[other][key]) for key in keys]))
    return found


def _between(reviewers: tuple[str, str], pairs: Sequence[tuple[str, str]]) -> Agreement:
    n = len(pairs)
    if not n:
        return Agreement(reviewers, 0, None, None, None, "no conversation was decided by both")
    agreed, kappa = sum(one == other for one, other in pairs) / n, cohen_kappa(pairs)
    if kappa is None:
        return Agreement(reviewers, n, agreed, None, None, "both used one and the same decision throughout")
    resampled = _resampled(pairs)
    if len(resampled) < 0.95 * RESAMPLES:
        reason = "no interval: kappa is undefined in more than 5 % of the resamples"
        return Agreement(reviewers, n, agreed, kappa, None, reason)
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Agreement(reviewers, n, agreed, kappa, (float(low), float(high)))


def _resampled(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """Kappa of every resample in which it is defined. Resampling pairs is drawing how often each kind of pair comes."""
    categories = sorted({decision for pair in pairs for decision in pair})
    size, n = len(categories), len(pairs)
    table = np.zeros((size, size))
    for one, other in pairs:
        table[categories.index(one), categories.index(other)] += 1
    generator = np.random.default_rng(SEED)
    tables = generator.multinomial(n, table.ravel() / n, RESAMPLES).reshape(RESAMPLES, size, size)
    observed = n * np.einsum("rii->r", tables)
    by_chance = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1)
    defined = by_chance < n * n
    kappas: np.ndarray = (observed[defined] - by_chance[defined]) / (n * n - by_chance[defined])
    return kappas
