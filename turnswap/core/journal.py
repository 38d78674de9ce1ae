"""Files of JSON lines that grow while work is done: what is in them stays, whatever becomes of the process."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .errors import UserError, reason_of
from .files import write_whole


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; none where there is no file.

    A last line without its newline is what a killed run left of a write, and is left out.

    Raises:
        UserError: the file cannot be read, or a line in between is no JSON object.
    """
    if not path.exists():
        return []
    try:
        # Not splitlines, which would also split at separators within a string.
        *lines, _unfinished = path.read_bytes().decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {reason_of(error)}.") from error
    return [content for _, content in parse_lines(lines, path)]


def parse_lines(lines: Iterable[str], path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of lines of JSON, with their numbers from 1; blank lines hold none. NaN, which JSON lacks, is None.

    Raises:
        UserError: a line is no JSON object; it names ``path``, the file they are from.
    """
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            content = json.loads(line, parse_constant=lambda _: None)
        except ValueError as error:
            raise UserError(
                f"{path}, line {number}, is broken JSON ({error}).", "Repair or delete this line."
            ) from error
        if not isinstance(content, dict):
            raise UserError(f"{path}, line {number}, is no JSON object.", "Repair or delete this line.")
        yield number, content


def plain(value: Any) -> Any:
    """Figures as every reader of JSON takes them: NaN as null, and what JSON does not know as a text.

    >>> plain({"value": float("nan"), "low": 0.5, "where": Path("a")})
    {'value': None, 'low': 0.5, 'where': 'a'}
    """
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (str, int)) else str(value)


def as_line(content: Mapping[str, Any]) -> str:
    """One line of such a file; NaN, which JSON lacks, must have become null before: see :func:`plain`."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False) + "\n"


class Journal:
    """A file of JSON lines that one process appends to.

    Attributes:
        path: of the file.
        lines: what was in it when it was opened. Half a line at its end, left by a process that was killed, is cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = read_jsonl(path)
        if path.exists() and not (content := path.read_bytes()).endswith(b"\n"):
            os.truncate(path, content.rfind(b"\n") + 1)

    def start(self, lines: Iterable[Mapping[str, Any]]) -> None:
        """Make the file hold these lines and nothing else, in one step.

        Raises:
            UserError: it cannot be written.
        """
        write_whole(self.path, "".join(map(as_line, lines)))

    def append(self, *contents: Mapping[str, Any]) -> None:
        """Add lines, which are on disk when this returns.

        Raises:
            UserError: the file cannot be written.
        """
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write("".join(map(as_line, contents)))
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror or error}.") from None
