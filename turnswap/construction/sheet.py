"""The audit's sheets: what reviewers fill in, as CSV for spreadsheets and as one page for a browser.

Both have the same columns. The page needs no network, keeps what is filled in in the browser, and exports it as CSV.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.core.pages import json_for_script, render_page
from turnswap.tasks.multiif.languages import name_of

from .records import DraftConversation, digest, json_text

TURNS = (1, 2, 3)
EDITED = (*(f"edited_{turn}" for turn in TURNS), "edited_kwargs")
FILLED_IN = ("decision", *EDITED, "satisfying_reply", "comment", "reviewer")
_TEXTS = [f"{text}_{turn}" for turn in TURNS for text in ("source", "translation", "back_translation")]
_LAST_TURN = ("instructions", "source_kwargs", "kwargs")
COLUMNS = ("key", "digest", "language", "returned", *_TEXTS, *_LAST_TURN, "scores", "problems", *FILLED_IN)
DECISIONS = ("accept", "edit", "reject")

# What spreadsheets take for a formula; behind an apostrophe they show it as text.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def neutral(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; :func:`original` is its inverse."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def original(cell: str) -> str:
    """What :func:`neutral` was given; also of a cell typed with a leading apostrophe, as spreadsheets have it."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def text_digest(conversation: DraftConversation) -> str:
    """Of what a reviewer judges: language, turns, and the source's."""
    content = conversation.as_json()
    return digest(content["key"], content["language"], content["turns"], source_of(conversation))


def source_of(conversation: DraftConversation) -> Mapping[str, Any] | None:
    """Language and turns of the source, as JSON; None for what is no translation."""
    source = conversation.note("translate").get("source")
    return source if isinstance(source, Mapping) else None


def row_of(conversation: DraftConversation, returned: str = "", problem: str = "") -> dict[str, str]:
    """The row of a conversation, nothing filled in; with why it came back, if it did, and what else to know."""
    note, last = conversation.note("translate"), conversation.last
    source = (source_of(conversation) or {}).get("turns", [])
    prompts = {
        "translation": conversation.prompts,
        "source": [turn["prompt"] for turn in source],
        "back_translation": note.get("back", ()),
    }
    row = dict.fromkeys(COLUMNS, "")
    row |= {f"{name}_{number}": prompt for name, each in prompts.items() for number, prompt in enumerate(each, 1)}
    return row | {
        "key": conversation.key,
        "digest": text_digest(conversation),
        "language": conversation.language,
        "returned": returned,
        "instructions": ", ".join(last.instruction_ids),
        "source_kwargs": json_text(source[-1]["kwargs"]) if source else "",
        "kwargs": json_text(last.kwargs),
        "scores": _scores(note.get("figures") or {}),
        "problems": "; ".join(filter(None, [problem, *note.get("warnings", ())])),
    }


def _scores(figures: Mapping[str, Any]) -> str:
    shown = ("chrf", "chrf_plus_plus", "bleu", "turn_chrf", "length_ratio", "language_check", "found")
    return ", ".join(f"{name}: {json_text(figures[name])}" for name in shown if figures.get(name) is not None)


def as_csv(rows: Sequence[Mapping[str, str]], columns: Sequence[str] = COLUMNS) -> str:
    """Rows as CSV, no cell a formula."""
    cells = [[neutral(row.get(column, "")) for column in columns] for row in rows]
    text: str = pd.DataFrame(cells, columns=list(columns)).to_csv(index=False, lineterminator="\r\n")
    return text


def read_csv(content: bytes, name: str) -> list[dict[str, str]]:
    """The rows of a sheet that was filled in, as they were before :func:`as_csv`. Line breaks are LF.

    Spreadsheets part columns by semicolons or tabs where commas are decimal: the first line tells.

    Raises:
        UserError: it is no CSV in UTF-8, or a column is missing, unknown, or there twice.
    """
    try:
        text = content.decode("utf-8-sig")
        first = text.split("\n", 1)[0]
        csv.field_size_limit(10**9)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
        header, *lines = [line for line in reader if any(line)] or [[]]
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not in UTF-8: {error}.", 'Save it as "CSV UTF-8".') from error
    except csv.Error as error:
        raise UserError(f"{name} is no CSV: {error}.", "Save it again, or export it from the page.") from error
    if missing := [column for column in COLUMNS if column not in header]:
        raise UserError(
            f"{name} lacks the columns {', '.join(missing)}.", "Fill in a copy of audit.csv, all columns kept."
        )
    if unknown := [column for column in header if column not in COLUMNS]:
        raise UserError(f"{name} has columns that no sheet has: {', '.join(map(repr, unknown))}.", "Remove them.")
    if len(header) > len(COLUMNS):
        raise UserError(f"{name} has a column twice.", "Remove one of them.")
    for number, line in enumerate(lines, 1):
        if len(line) != len(header):
            raise UserError(
                f"{name}, row {number}, has {len(line)} cells; expected {len(header)}.", "Save it again as CSV."
            )
    return [
        {column: original(cell.replace("\r\n", "\n")) for column, cell in zip(header, line, strict=True)}
        for line in lines
    ]


def write_sheets(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """``audit.csv`` and ``audit.html`` of rows as :func:`row_of` makes them, unless there are the same already.

    Raises:
        UserError: the CSV that is there has other conversations and something filled in, or a file cannot be written.
    """
    path, content = folder / "audit.csv", as_csv(rows).encode("utf-8-sig")
    if path.exists():
        there = read_csv(path.read_bytes(), str(path))
        filled = any(row[column].strip() for row in there for column in FILLED_IN)
        if filled and list(map(_fixed, there)) == list(map(_fixed, read_csv(content, str(path)))):
            return
        if filled:
            raise UserError(
                f"{path} has decisions filled in, and the sheet would change: other conversations or texts.",
                "Save it under another name, name that under audit.reviews, and delete audit.csv.",
            )
    write_whole(path, content)
    write_whole(folder / "audit.html", as_page(rows))


def _fixed(row: Mapping[str, str]) -> dict[str, str]:
    return {column: row[column] for column in COLUMNS if column not in FILLED_IN}


def as_page(rows: Sequence[Mapping[str, str]]) -> str:
    """The page. Texts reach it through the template, which escapes them, and as JSON that cannot end its element."""
    fixed = list(map(_fixed, rows))
    return render_page(
        "turnswap.construction",
        "sheet.html.j2",
        "Audit of translated conversations",
        ["sheet.css", "sheet.js"],
        rows=rows,
        turns=TURNS,
        decisions=DECISIONS,
        names={language: name_of(language) for language in sorted({row["language"] for row in rows})},
        data=json_for_script({"columns": COLUMNS, "sheet": digest(fixed), "rows": fixed}),
    )
