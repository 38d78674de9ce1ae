"""A leaderboard as tables for a terminal and Markdown, as CSV, as JSON, and as a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from turnswap.core.journal import plain
from turnswap.core.pages import json_for_script, render_page
from turnswap.tasks.multiif.languages import name_of
from turnswap.tasks.multiif.metrics import TURNS

from . import sheets
from .leaderboard import Board, Pair, Row
from .published import SOURCE
from .sheets import HEADLINE, Sheet, difference_interval, notes_of, p_value, percent, points, with_interval
from .table import Scores
from .words import say_board

TITLE = "Multi-IF leaderboard"
_DIGITS = 6  # of intervals in a page, which has hundreds per model


def as_sheets(board: Board, *, wide: bool) -> list[Sheet]:
    """The ranking in one wide table, or in two that fit a terminal: languages in one of their own."""
    header, below, pairs = ["rank", "model", *HEADLINE], (board.notes, board.signatures), pair_sheets(board.pairs)
    names = [row.model + " (published)" * row.is_published for row in board.rows]
    left = [[row.shown_rank, name, *_headline(row.overall)] for row, name in zip(board.rows, names, strict=True)]
    right = [[percent(row.languages[code].average.value) for code in board.languages] for row in board.rows]
    if wide:
        rows = [[*one, *other] for one, other in zip(left, right, strict=True)]
        return [Sheet(TITLE, [*header, *board.languages], rows, 2, *below, say_board(board)), *pairs]
    rows = [[*one[:2], *other] for one, other in zip(left, right, strict=True)]
    by_language = Sheet("By language: mean of the turns", [*header[:2], *board.languages], rows, 2, *below)
    return [Sheet(TITLE, header, left, 2, says=say_board(board)), *pairs, by_language]


def pair_sheets(pairs: Sequence[Pair]) -> list[Sheet]:
    """Pairs of ranked models, the clearest difference first; nothing where there is none."""
    header = ["B", "A", "B - A", "interval", "p", "corrected", ""]
    rows = []
    for pair in sorted(pairs, key=lambda pair: np.nan_to_num(-pair.gap.value)):
        tested = [p_value(pair.p), p_value(pair.corrected), "tie" if pair.better is None else "B is better"]
        rows.append([pair.b, pair.a, points(pair.gap.value), difference_interval(pair.gap), *tested])
    return [Sheet("Model against model", header, rows, 2, notes_of("pairs", n=len(rows)))] if rows else []


def _headline(scores: Scores) -> list[str]:
    return [with_interval(scores.average), *(percent(turn.value) for turn in scores.turns), points(scores.change)]


def as_csv(board: Board) -> str:
    """A row per model: the ranking's columns, then every language and turn; figures are fractions of 1."""
    frame = pd.DataFrame(map(_csv_row, board.rows), dtype=object)  # numbers stay as they are beside empty cells
    return frame.to_csv(index=False, lineterminator="\n")


def _csv_row(row: Row) -> dict[str, object]:
    average, each = row.overall.average, row.languages.items()
    return {
        "rank": row.rank,
        "tied": None if row.rank is None else int(row.tied),
        "model": row.model,
        "published": SOURCE if row.is_published else None,
        "average": average.value,
        "average_low": average.low,
        "average_high": average.high,
        **_by_turn("turn", row.overall),
        "turn1_to_turn3": row.overall.change,
        **{code: scores.average.value for code, scores in each},
        **{name: value for code, scores in each for name, value in _by_turn(f"{code}_turn", scores).items()},
        "signature": row.signature,
    }


def _by_turn(prefix: str, scores: Scores) -> dict[str, float]:
    return {f"{prefix}{turn}": figure.value for turn, figure in zip(TURNS, scores.turns, strict=True)}


def as_json(board: Board) -> dict[str, Any]:
    """Everything, for other programs; figures are fractions of 1, null where there is none."""
    models = [
        {
            "model": row.model,
            "rank": row.rank,
            "tied": row.tied,
            "published": SOURCE if row.is_published else None,
            **_figures(row.overall),
            "turn1_to_turn3": row.overall.change,
            "languages": {code: _figures(scores) for code, scores in row.languages.items()},
            "signature": row.signature or None,
        }
        for row in board.rows
    ]
    pairs = [
        {"a": p.a, "b": p.b, "difference": vars(p.gap), "p": p.p, "corrected": p.corrected, "better": p.better}
        for p in board.pairs
    ]
    said = {"says": say_board(board), "languages": list(board.languages)}
    return {**said, "models": plain(models), "pairs": plain(pairs), "notes": list(board.notes)}


def _figures(scores: Scores) -> dict[str, Any]:
    by_turn = {f"turn{turn}": vars(figure) for turn, figure in zip(TURNS, scores.turns, strict=True)}
    return {"average": vars(scores.average), **by_turn}


def as_page(board: Board, title: str = TITLE, pages: Mapping[str, str] | None = None) -> str:
    """One self-contained page: a plain table that a few lines of script make sortable, with a language picker.

    Args:
        board: the ranking.
        title: its heading.
        pages: model -> address of a page of its own.
    """
    # What the script computes with. The paper's average over all languages is its own, not one of its languages.
    data = [
        {
            "published": row.is_published,
            "scores": [[figure.value for figure in scores.turns] for scores in row.languages.values()],
            "overall": [figure.value for figure in row.overall.turns],
            "choices": row.choices and np.round(row.choices, _DIGITS).tolist(),
        }
        for row in board.rows
    ]
    at = {row.model: number for number, row in enumerate(board.rows) if not row.is_published}
    choices = [np.round(pair.choices, _DIGITS).tolist() for pair in board.pairs]
    pairs = [{"a": at[p.a], "b": at[p.b], "choices": each} for p, each in zip(board.pairs, choices, strict=True)]
    return render_page(
        "turnswap.reports",
        "leaderboard.html.j2",
        title,
        ["leaderboard.css", "leaderboard.js"],
        sentence=say_board(board),
        board=board,
        pages=pages or {},
        names={code: name_of(code) for code in board.languages},
        turns=TURNS,
        sheets=sheets,
        matrix={(a, b): pair for pair in board.pairs for a, b in ((pair.a, pair.b), (pair.b, pair.a))},
        data=json_for_script(plain({"rows": data, "pairs": pairs})),
    )
