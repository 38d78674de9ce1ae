"""Sheets that people fill in: as CSV for spreadsheets, and as one page for a browser with the same columns.

The page needs no network, keeps what is filled in in the browser, and exports it as CSV. What was filled in is read
back strictly: a row that does not fit is a problem, and its line is told.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas as pd

from turnswap.core.cells import lines_of, neutral, original
from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.core.pages import json_for_script, render_page

from .records import digest

T = TypeVar("T")
_SHOWN = 20  # problems in a message


@dataclass(frozen=True)
class Form:
    """A kind of sheet.

    Attributes:
        name: of its files, such as ``audit`` for ``audit.csv`` and ``audit.html``.
        title: of its page, whose template is ``template``, a child of ``form.html.j2``.
        columns: of its CSV. Every form has ``key``, ``digest``, ``decision``, ``comment`` and ``reviewer``.
        filled_in: those that are empty at first.
        decisions: by the keys that choose them on the page.
        edits: columns to fill in that start as the text of another one, and that one.
    """

    name: str
    title: str
    template: str
    columns: tuple[str, ...]
    filled_in: tuple[str, ...]
    decisions: Mapping[str, str]
    edits: Mapping[str, str] = field(default_factory=dict)

    def fixed(self, row: Mapping[str, str]) -> dict[str, str]:
        """What of a row nobody fills in."""
        return {column: row[column] for column in self.columns if column not in self.filled_in}


def as_csv(rows: Sequence[Mapping[str, str]], columns: Sequence[str]) -> str:
    """Rows as CSV, no cell a formula."""
    cells = [[neutral(row.get(column, "")) for column in columns] for row in rows]
    return str(pd.DataFrame(cells, columns=list(columns)).to_csv(index=False, lineterminator="\r\n"))


def read_csv(form: Form, content: bytes, name: str) -> list[dict[str, str]]:
    """The rows of a sheet that was filled in, as they were before :func:`as_csv`. Line breaks are LF.

    Spreadsheets part columns by semicolons or tabs where commas are decimal: the first line tells.

    Raises:
        UserError: it is no CSV in UTF-8, or a column is missing, unknown, or there twice.
    """
    try:
        header, *lines = lines_of(content) or [[]]
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not in UTF-8: {error}.", 'Save it as "CSV UTF-8".') from error
    except csv.Error as error:
        raise UserError(f"{name} is no CSV: {error}.", "Save it again, or export it from the page.") from error
    if missing := [column for column in form.columns if column not in header]:
        raise UserError(
            f"{name} lacks the columns {', '.join(missing)}.",
            f"Fill in a copy of {form.name}.csv and keep all its columns.",
        )
    if unknown := [column for column in header if column not in form.columns]:
        raise UserError(f"{name} has columns that no sheet has: {', '.join(map(repr, unknown))}.", "Remove them.")
    if len(header) > len(form.columns):
        raise UserError(f"{name} has a column twice.", "Remove one of them.")
    for number, line in enumerate(lines, 1):
        if len(line) != len(header):
            raise UserError(
                f"{name}, row {number}, has {len(line)} cells; expected {len(header)} {_line(number)}.",
                "Save it again as CSV.",
            )
    return [
        {column: original(cell.replace("\r\n", "\n")) for column, cell in zip(header, line, strict=True)}
        for line in lines
    ]


def _line(row: int) -> str:
    """Where a spreadsheet shows a row of data (from 1): below the header."""
    return f"(line {row + 1} in a spreadsheet)"


def stays(form: Form, folder: Path, rows: Sequence[Mapping[str, str]], advice: str) -> bool:
    """Whether the CSV that is there has these rows and something filled in.

    Raises:
        UserError: it has something filled in, and other rows: ``advice`` says what to do.
    """
    path = folder / f"{form.name}.csv"
    there = read_csv(form, path.read_bytes(), str(path)) if path.exists() else []
    if not any(row[column].strip() for row in there for column in form.filled_in):
        return False
    new = read_csv(form, csv_file(form, rows), str(path))
    if list(map(form.fixed, there)) != list(map(form.fixed, new)):
        raise UserError(f"{path} has decisions filled in, and the sheet would change: other rows or texts.", advice)
    return True


def csv_file(form: Form, rows: Sequence[Mapping[str, str]]) -> bytes:
    """The CSV, marked as UTF-8 as Excel asks for it."""
    return as_csv(rows, form.columns).encode("utf-8-sig")


def write_form(form: Form, folder: Path, rows: Sequence[Mapping[str, str]], advice: str, **values: Any) -> None:
    """The CSV and the page of rows with nothing filled in, unless there are the same already (:func:`stays`).

    Args:
        form: which kind.
        folder: where to.
        rows: a text for each column.
        advice: what to do where the CSV that is there has other rows and something filled in.
        **values: what the page's template gets beside the rows.

    Raises:
        UserError: that is the case, or a file cannot be written.
    """
    if stays(form, folder, rows, advice):
        return
    write_whole(folder / f"{form.name}.csv", csv_file(form, rows))
    fixed = list(map(form.fixed, rows))
    data = {"name": form.name, "columns": form.columns, "keys": form.decisions, "edits": form.edits}
    # Texts reach the page through the template, which escapes them, and as JSON that cannot end its element.
    page = render_page(
        "turnswap.construction",
        form.template,
        form.title,
        ["form.css", "form.js"],
        form=form,
        rows=rows,
        data=json_for_script({**data, "sheet": digest(fixed), "rows": fixed}),
        **values,
    )
    write_whole(folder / f"{form.name}.html", page)


def decision_of(form: Form, row: Mapping[str, str]) -> tuple[str, str]:
    """What was decided in a row, and by whom.

    Raises:
        ValueError: it is no decision of the form, or nobody's.
    """
    decision, reviewer, known = row["decision"].strip().lower(), reviewer_of(row), form.decisions.values()
    if decision not in known:
        came = f"{row['decision']!r} is no decision" if decision else "something is filled in, but no decision"
        raise ValueError(f"{came}; expected {', '.join(known)}")
    if not reviewer:
        raise ValueError("the column reviewer is empty")
    return decision, reviewer


def reviewer_of(row: Mapping[str, str]) -> str:
    """Who filled in a row."""
    return " ".join(row["reviewer"].split())


def read_filled_in(
    form: Form, files: Mapping[str, bytes], read: Callable[[Mapping[str, str], str], T]
) -> tuple[list[T], list[str]]:
    """What ``read`` makes of the rows of some files, in order, and what is wrong with the others, a line for each.

    Args:
        form: which kind of sheet they are.
        files: their contents by name. Rows with nothing filled in are left out.
        read: a row of a file; it raises ValueError with what is wrong.

    Raises:
        UserError: a file is no such sheet.
    """
    found: list[T] = []
    problems: list[str] = []
    names: dict[str, str] = {}  # "Asha" and "asha" are one reader, called as first written
    for name, content in files.items():
        seen: dict[tuple[str, str], int] = {}
        for number, row in enumerate(read_csv(form, content, name), 1):
            if not any(row[column].strip() for column in form.filled_in if column != "reviewer"):
                continue
            row["reviewer"] = names.setdefault(reviewer_of(row).casefold(), reviewer_of(row))
            try:
                made = read(row, name)
                earlier = seen.setdefault((row["key"], row["reviewer"]), number)
                if earlier != number:
                    raise ValueError(f"{row['reviewer']} decided it in row {earlier} already")
                found.append(made)
            except ValueError as problem:
                problems.append(f"{name}, row {number}, {row['key'] or '(no key)'}: {problem} {_line(number)}")
    return found, problems


def refusal(problems: Sequence[str], advice: str) -> UserError:
    """What to raise where rows cannot be used."""
    more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
    return UserError(
        "\n".join(
            [f"{len(problems)} {'rows' if len(problems) > 1 else 'row'} cannot be used:", *problems[:_SHOWN], *more]
        ),
        advice,
    )
