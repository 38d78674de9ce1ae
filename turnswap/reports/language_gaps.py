"""Which languages a model is better and worse in, on the source prompts that all of them share: asked alike."""

from __future__ import annotations

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
    sums, rows = summary.sums, []
    several = len(sums) > 1 and summary.model.has_samples
    shared = sorted(set.intersection(*(set(each.sources) for each in sums.values()))) if several else []
    if len(shared) >= _FEWEST:
        kept = {code: Sums(tuple(shared), each.pairs[np.isin(each.sources, shared)]) for code, each in sums.items()}
        found = {code: one.only(AVERAGE) for code, one in estimate(kept, summary.resampling).items()}
        for code in sums:
            (gap,) = figures_of(difference(found[MACRO], found[code]), summary.resampling.level)
            rows.append((code, float(found[code].values[0]), gap.value, gap.low, gap.high))
    return pd.DataFrame(rows, columns=["language", "average", "gap", "low", "high"]), len(shared)


def gap_sheets(summary: Summary) -> list[Sheet]:
    """The gaps as a table, the best language first; none where there are none."""
    frame, shared = language_gaps(summary)
    if frame.empty:
        return []
    columns: dict[str, Column] = {"language": "language", "average": (percent, "average")}
    columns |= {"Δ to mean": (points, "gap"), "interval": INTERVAL}
    title = f"{summary.model.name}: languages on the same source prompts"
    return [sheet_of(title, frame.sort_values("gap", ascending=False), columns, 1, notes_of("gaps", shared=shared))]
