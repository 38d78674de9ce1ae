"""Tables for a terminal and for Markdown, from one description."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnswap.core.errors import visible
from turnswap.tasks.multiif.metrics import TURNS

from .figures import MACRO, POOLED
from .runs import Model
from .table import Figure

TURN_NAMES = [f"turn {turn}" for turn in TURNS]
HEADLINE = ("average", *TURN_NAMES, "Δ 1→3")  # of overall accuracy
POINT = "zero width"
TEXTS = tomllib.loads(Path(__file__).with_name("notes.toml").read_text("utf-8"))
_NAMED = 4  # models in a title
SCOPES = {MACRO: "macro mean", POOLED: "pooled"}  # what is over the languages, as tables call it
# A column of a table: a frame's, as text; or how it is shown, and from which columns of the frame.
Column = str | tuple[Callable[..., str], *tuple[str, ...]]


@dataclass(frozen=True)
class Sheet:
    """A table with a title and lines below it; signatures are set as code where there is such a thing.

    The first ``text_columns`` columns hold text, the others figures. ``says`` stands above it: what it says in words.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    text_columns: int = 1
    notes: Sequence[str] = field(default_factory=tuple)
    signatures: Sequence[str] = field(default_factory=tuple)
    says: str = ""

    @property
    def below(self) -> list[str]:
        """What stands below the table: its notes, and what an interval without width means where there is one."""
        has_points = any(f"[{POINT}]" in cell for row in self.rows for cell in row)
        return [*self.notes, *(notes_of("zero_width") if has_points else [])]


def notes_of(of: str, **values: object) -> list[str]:
    """What stands below a table, by its name in ``notes.toml``."""
    return [line.format(**values) for line in TEXTS["below"][of]]


def title_of(what: str, models: Sequence[Model]) -> str:
    """``Multi-IF: org/a, org/b, 2026-10-03``: what tells one page, and one printout, from another."""
    days = sorted({f"{datetime.fromtimestamp(model.when, UTC):%Y-%m-%d}" for model in models if model.when})
    names = [model.name for model in models]
    names[_NAMED:] = [f"and {len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return f"{what}: {', '.join([*names, *[' to '.join(dict.fromkeys((days[0], days[-1])))]] if days else names)}"


def percent(value: float) -> str:
    """``61.2``: accuracies are shown in per cent; ``–`` where there is none."""
    return "–" if value != value else f"{100 * value:.1f}"


def interval(figure: Figure) -> str:
    """``[59.8–62.5]``; nothing where there is none. One without width is called so."""
    if figure.is_point:
        return f"[{POINT}]"
    return "" if figure.low != figure.low else f"[{percent(figure.low)}–{percent(figure.high)}]"


def with_interval(figure: Figure) -> str:
    """``61.2 [59.8–62.5]``."""
    return f"{percent(figure.value)} {interval(figure)}".rstrip()


def points(value: float) -> str:
    """A difference in percentage points, with its sign."""
    return "–" if value != value else f"{100 * value:+.1f}"


def difference_interval(gap: Figure) -> str:
    """``[-0.4, +1.2]``, in percentage points; ``–`` where there is none."""
    if gap.low != gap.low:
        return "–"
    return f"[{POINT}]" if gap.is_point else f"[{points(gap.low)}, {points(gap.high)}]"


def p_value(p: float) -> str:
    """With four digits; ``–`` where there is none."""
    return "–" if p != p else f"{p:.4f}" if p >= 0.0001 else "<0.0001"


def scope_name(scope: str) -> str:
    """A language's code as it is; ``macro mean``, ``pooled``."""
    return SCOPES.get(scope, scope)


def cells(frame: pd.DataFrame, column: Column) -> list[str]:
    """One column of a table, from a frame."""
    show, *names = (str, column) if isinstance(column, str) else column
    return [show(*values) for values in zip(*(frame[name] for name in names), strict=True)]


def sheet_of(title: str, frame: pd.DataFrame, columns: Mapping[str, Column], *more: Any) -> Sheet:
    """A frame as a table: ``columns`` are by their headers, ``more`` is what a :class:`Sheet` takes after its rows."""
    rows = zip(*(cells(frame, column) for column in columns.values()), strict=True)
    return Sheet(title, [*columns], [list(row) for row in rows], *more)


SHARE: Column = (lambda *figure: with_interval(Figure(*figure)), "share", "low", "high")
INTERVAL: Column = (lambda *gap: difference_interval(Figure(*gap)), "gap", "low", "high")


def print_sheets(console: Console, sheets: Sequence[Sheet]) -> None:
    """Print tables to a terminal. Names from outside are shown as they are, never as rich's markup."""
    for sheet in sheets:
        if sheet.says:
            console.print(Text(visible(sheet.says)), soft_wrap=True)
            console.print()
        table = Table(title=Text(visible(sheet.title), style="bold"), title_justify="left", box=box.SIMPLE_HEAD)
        for number, name in enumerate(sheet.header):
            table.add_column(Text(name), justify="left" if number < sheet.text_columns else "right", overflow="fold")
        for row in sheet.rows:
            table.add_row(*(Text(visible(cell)) for cell in row))
        console.print(table)
        for note in (*sheet.below, *sheet.signatures):
            console.print(Text(visible(note), style="dim"), soft_wrap=True)
    console.print()


def as_markdown(sheets: Sequence[Sheet]) -> str:
    """The tables in Markdown as GitHub and the Hugging Face Hub render it."""
    lines = []
    for sheet in sheets:
        marks = ["---" if number < sheet.text_columns else "---:" for number in range(len(sheet.header))]
        table = [map(_markdown, sheet.header), marks, *(map(_markdown, row) for row in sheet.rows)]
        lines += [_markdown(sheet.says), ""] if sheet.says else []
        lines += [f"### {_markdown(sheet.title)}", "", *(f"| {' | '.join(cells)} |" for cells in table), ""]
        below = [f"{_markdown(note)}  " for note in sheet.below]
        below += [f"`{visible(line).replace('`', chr(39))}`  " for line in sheet.signatures]
        lines += [*below, ""] if below else []
    return "\n".join(lines) + "\n"


def _markdown(text: str) -> str:
    escaped = "".join("\\" + c if c in "\\`*_[]<>|#~$" else c for c in visible(text))
    return escaped.replace("&", "&amp;")
