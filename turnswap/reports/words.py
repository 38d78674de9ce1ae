"""What a report, a comparison or a ranking says, in one sentence, and how sure it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from turnswap.tasks.multiif.languages import name_of

from .compare import Comparison
from .figures import ALPHA, FEWEST
from .leaderboard import Board
from .sheets import p_value, percent, points
from .table import Figure, Summary


def say_report(summaries: Sequence[Summary]) -> str:
    """The best model's average and how it falls from turn to turn; of several, that the order is no test."""
    averages = [summary.scores(summary.headline_scope).average.value for summary in summaries]
    best = summaries[int(np.nan_to_num(averages, nan=-1.0).argmax())]
    scores = best.scores(best.headline_scope)
    if scores.average.value != scores.average.value:
        return f"{best.model.name} has no average: no conversation of a language has all turns."
    said = f"{best.model.name} reaches {percent(scores.average.value)} % {_over(best)}{_between(scores.average, best)}"
    change = scores.change
    by = points(abs(change))[1:]
    moves = "is the same in" if by == "0.0" else f"{'falls' if change < 0 else 'rises'} by {by} points from"
    said += f"; accuracy {moves} turn 1 {'and' if by == '0.0' else 'to'} turn 3."
    if len(summaries) > 1:
        said = f"Of {len(summaries)} models {said} Run turnswap compare to see whether it is better than the others."
    return said


def _over(summary: Summary) -> str:
    languages = list(summary.model.languages)
    over = f"in {name_of(languages[0])}" if len(languages) == 1 else f"over {len(languages)} languages"
    return f"overall accuracy {over}, averaged over the turns"


def _between(figure: Figure, summary: Summary) -> str:
    if figure.low != figure.low or figure.is_point:
        why = "its interval has no width" if figure.is_point else "it has no interval"
        return f" (how sure that is cannot be said: {why})"
    sources = summary.sources(summary.headline_scope)
    level = f"{summary.resampling.level:.0%}"
    return f" ({level} interval {percent(figure.low)} to {percent(figure.high)}, from {sources} {summary.unit})"


def say_comparison(comparison: Comparison) -> str:
    """Which model is better, by how much and how surely; or what the data leave open."""
    found = comparison.differences
    row = found[found["primary"]].to_dict("records")[0]
    a, b = comparison.a.model.name, comparison.b.model.name
    over, level = _over(comparison.a), f"{comparison.a.resampling.level:.0%}"
    if row["p"] != row["p"]:
        return f"Too few source prompts to say which of {a} and {b} is better: it takes {FEWEST} in each language."
    p = f"p = {p_value(row['p'])}".replace("= <", "< ")
    interval = f"{level} interval {points(row['low'])} to {points(row['high'])}, {p}"
    if row["p"] < ALPHA:
        better, worse = (b, a) if row["gap"] > 0 else (a, b)
        by = points(abs(row["gap"]))[1:]
        return f"{better} is better than {worse} by {by} points of {over} (B - A: {interval})."
    return (
        f"No difference between {a} and {b} is shown in {over}: B - A is {points(row['gap'])} points ({interval}). "
        "That is no proof that they are equal: differences within the interval remain possible."
    )


def say_board(board: Board) -> str:
    """Who leads, alone or with whom."""
    first = [row.model for row in board.rows if row.rank == 1]
    ranked = [row for row in board.rows if row.rank is not None]
    if not ranked:
        return "No model is ranked: none has an average with an interval."
    if len(ranked) == 1:
        return f"Only {first[0]} is ranked; there is no other model to compare it with."
    if len(first) == 1:
        tied = [pair for pair in board.pairs if first[0] in (pair.a, pair.b) and pair.better is None]
        if tied:
            return f"{first[0]} is first, but not significantly better than {len(tied)} others."
        others = f"each of the other {len(ranked) - 1} ranked models" if ranked[2:] else "the other ranked model"
        return f"{first[0]} is first: significantly better than {others}."
    names = ", ".join(first[:3]) + (f" and {len(first) - 3} more" if len(first) > 3 else "")
    worse = len(ranked) - len(first)
    rest = f"; {worse} other{'s are' if worse > 1 else ' is'} significantly worse than one of them" if worse else ""
    return f"{names} share the first rank: none is significantly better than another of them{rest}."
