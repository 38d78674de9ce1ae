"""Slots to be left out of the corrected figures: those that a CSV names, such as ``turnswap audit`` writes."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnswap.core.cells import lines_of, original
from turnswap.core.errors import UserError

COLUMNS = ("key", "turn", "position")
_WITHOUT = ",without "
_ADVICE = "Expected a CSV file as turnswap audit FILE.csv -o audit.csv writes it, made from the same data."


@dataclass(frozen=True)
class LeftOut:
    """Slots by conversation.

    Attributes:
        turns: key of a conversation -> place of an instruction in its list, from 0 -> the first turn, from 1, in which
            it is left out; in those after it is too.
        name: what the rules of the figures are called behind their own name, such as
            ``,without 47 audited slots (sha256:1a2b3c4d)``; empty where no slot is left out.
    """

    turns: Mapping[str, Mapping[int, int]]
    name: str = ""

    def of(self, key: str, turn: int) -> frozenset[int]:
        """The places, from 0, that are left out in a turn of a conversation."""
        return frozenset(place for place, first in self.turns.get(key, {}).items() if first <= turn)


NOTHING = LeftOut({})


def graded_by(rules: str) -> str:
    """The corrected rules alone of a name that may also tell of slots left out."""
    return rules.partition(_WITHOUT)[0]


def read_left_out(path: Path, conversations: Iterable[Mapping[str, Any]]) -> LeftOut:
    """The slots that a file names: every row is of one conversation, one turn and one or more places, from 1.

    Args:
        path: a CSV with the columns :data:`COLUMNS`; ``instruction_id`` is held against the data where it is there.
        conversations: all of the data, of every language.

    Raises:
        UserError: the file cannot be read, names nothing, or names what the data do not hold.
    """
    try:
        content = path.read_bytes()
        header, *lines = lines_of(content) or [[]]
        rows: list[dict[str, str]] = [dict(zip(header, map(original, line), strict=False)) for line in lines]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"metadata leave_out: {path} cannot be read as CSV in UTF-8: {error}.", _ADVICE) from error
    if not rows:
        raise UserError(f"metadata leave_out: {path} names no slot.", _ADVICE)
    if missing := [column for column in COLUMNS if rows[0].get(column) is None]:
        raise UserError(f"metadata leave_out: {path} has no column {missing[0]!r}.", _ADVICE)
    by_key = {str(each["key"]): each["turns"] for each in conversations}
    turns: dict[str, dict[int, int]] = {}
    for number, row in enumerate(rows, 1):
        try:
            here = turns.setdefault(row["key"], {})
            for place in _places(row, by_key):
                here[place] = min(here.get(place, 9), int(row["turn"]))
        except ValueError as error:
            raise UserError(f"metadata leave_out: {path}, row {number}: {error}.", _ADVICE) from None
    slots, digest = sum(map(len, turns.values())), hashlib.sha256(content).hexdigest()[:8]
    return LeftOut(turns, f"{_WITHOUT}{slots} audited slots (sha256:{digest})")


def _places(row: Mapping[str, Any], by_key: Mapping[str, Any]) -> list[int]:
    """The places of a row, from 0, all of which the data have."""
    if row["key"] not in by_key:
        raise ValueError(f"the data hold no conversation {row['key']!r}")
    turns = by_key[row["key"]]
    if not str(row["turn"]).isdecimal() or not 1 <= int(row["turn"]) <= len(turns):
        raise ValueError(f"conversation {row['key']} has no turn {row['turn']!r}, but {len(turns)}")
    ids = turns[int(row["turn"]) - 1]["instruction_ids"]
    places = [int(place) - 1 if place.isdecimal() else -1 for place in str(row["position"]).split()]
    if not places or not all(0 <= place < len(ids) for place in places):
        raise ValueError(f"turn {row['turn']} of {row['key']} has no position {row['position']!r}, but 1 to {len(ids)}")
    asked = " ".join(ids[place] for place in places)
    if row.get("instruction_id") not in (None, "", asked):
        raise ValueError(f"position {row['position']} of {row['key']} is {asked}, not {row['instruction_id']}")
    return places
