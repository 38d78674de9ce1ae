"""CSV as spreadsheets read and write it."""

from __future__ import annotations

import csv
import io
import re

# What spreadsheets take for a formula; behind an apostrophe they show it as text.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def neutral(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; :func:`original` is its inverse."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def original(cell: str) -> str:
    """What :func:`neutral` was given; also of a cell typed with a leading apostrophe, as spreadsheets have it."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def lines_of(content: bytes) -> list[list[str]]:
    """The cells of each line of a CSV that are not all empty, as they stand there.

    Spreadsheets part columns by semicolons or tabs where commas are decimal: the first line tells.

    Raises:
        UnicodeDecodeError: it is not in UTF-8.
        csv.Error: it is no CSV.
    """
    text = content.decode("utf-8-sig")
    first = text.split("\n", 1)[0]
    before = csv.field_size_limit(10**9)  # of the whole process
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
        return [line for line in reader if any(line)]
    finally:
        csv.field_size_limit(before)
