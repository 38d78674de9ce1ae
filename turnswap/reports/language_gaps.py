"""Which languages a model is better and worse in, on the source prompts that all of its languages share.

Languages hold different conversations, so that their figures differ by what was asked, too. On shared source prompts
the question is the same in each, and the draws are.
"""

from __future__ import annotations

from functools import reduce

import numpy as np
import pandas as pd

from .figures import AVERAGE, MACRO, Sums, difference, estimate
from .sheets import INTERVAL, Column, Sheet, notes_of, percent, points, sheet_of
from .table import Summary, figures_of

_FEWEST = 2  # source prompts that an interval needs


def language_gaps(summary: Summary) -> tuple[pd.DataFrame, int]:
    """Every language against the plain mean of all.

    Returns:
        A row per ``language``: its ``average`` over the turns, the ``gap`` to the mean of the languages, and the gap's
        interval ``low`` to ``high``; and on how many source prompts that rests. No rows where there is one language, a
        language has no samples, or they share fewer than two source prompts.
    """
    columns = ["language", "average", "gap", "low", "high"]
    if len(summary.model.languages) < 2 or not summary.model.has_samples:
        return pd.DataFrame(columns=columns), 0
    sums = summary.sums
    shared = reduce(set.intersection, (set(each.sources) for each in sums.values()))
    if len(shared) < _FEWEST:
        return pd.DataFrame(columns=columns), len(shared)
    kept = {code: _only(each, shared) for code, each in sums.items()}
    found = {code: one.only(AVERAGE) for code, one in estimate(kept, summary.resampling).items()}
    rows = []
    for code in sums:
        (gap,) = figures_of(difference(found[MACRO], found[code]), summary.resampling.level)
        rows.append((code, float(found[code].values[0]), gap.value, gap.low, gap.high))
    return pd.DataFrame(rows, columns=columns), len(shared)


def _only(sums: Sums, sources: set[str]) -> Sums:
    kept = np.array([source in sources for source in sums.sources])
    return Sums(tuple(source for source in sums.sources if source in sources), sums.pairs[kept])


def gap_sheets(summary: Summary) -> list[Sheet]:
    """The gaps as a table, the best language first; none where there are none."""
    frame, shared = language_gaps(summary)
    if frame.empty:
        return []
    columns: dict[str, Column] = {"language": "language", "average": (percent, "average")}
    columns |= {"Δ to mean": (points, "gap"), "interval": INTERVAL}
    title = f"{summary.model.name}: languages on the same source prompts"
    return [sheet_of(title, frame.sort_values("gap", ascending=False), columns, 1, notes_of("gaps", shared=shared))]
