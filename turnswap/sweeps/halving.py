"""Successive halving (Jamieson & Talwalkar 2016, arXiv 1502.07943): many swaps on few documents, few on all.

Each rung takes eta times as many documents as the one before, among them all of that one's, and hands on the best
1/eta of the swaps. All that tie with the last of these go on too, so that order never decides.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

from .documents import Documents

FEWEST = 10  # documents in the first rung: fewer tell swaps apart by chance alone


def cuts(n_swaps: int, n_documents: int, eta: int) -> int:
    """How many rungs come before the one on all documents: the last has at least eta swaps to choose from."""
    found = 0
    while n_swaps >= eta ** (found + 2) or (found == 0 and n_swaps > eta):
        found += 1
    while found and n_documents // eta**found < FEWEST:
        found -= 1
    return found


def rungs(documents: Documents, n_cuts: int, eta: int, seed: int) -> list[dict[str, Sequence[int]]]:
    """The documents of every rung, the last being all of them.

    Each task's are drawn in an order shuffled by the seed: data sets are often sorted. At least one of each task.
    """
    found: list[dict[str, Sequence[int]]] = [{} for _ in range(n_cuts)]
    for task, numbers in documents.items():
        shuffled = list(numbers)
        random.Random(f"halving {seed} {task}").shuffle(shuffled)
        for number, rung in enumerate(found):
            rung[task] = sorted(shuffled[: math.ceil(len(shuffled) / eta ** (n_cuts - number))])
    return [*found, dict(documents)]


def goodness(figure: float, higher_is_better: bool) -> float:
    """The larger, the better; minus infinity for NaN."""
    return -math.inf if math.isnan(figure) else figure if higher_is_better else -figure


def survivors(figures: Mapping[str, float], eta: int, higher_is_better: bool) -> set[str]:
    """The best 1/eta (rounded up), and all that tie with the last of them; a figure that is NaN is the worst."""
    good = {name: goodness(figure, higher_is_better) for name, figure in figures.items()}
    bar = sorted(good.values(), reverse=True)[math.ceil(len(good) / eta) - 1]
    return {name for name, value in good.items() if value >= bar}
