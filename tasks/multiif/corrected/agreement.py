"""How far verdicts agree with readers: by language and instruction, and by what each correction changes.

Labels are not ours to give away: ``agreement.json`` beside this file holds counts alone; docs/scripts/corrected.py
writes it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from ..grading import grade_reply
from .corrections import corrections
from .grading import grade_corrected, rules_in_use
from .labels import Label

FILE = "agreement.json"
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True)
class Share:
    """``right`` of ``n``, with its 95 % interval after Wilson 1927, which holds for few and for all of them too."""

    right: float
    n: float

    @property
    def value(self) -> float:
        """The share, 0 to 1; NaN of none."""
        return self.right / self.n if self.n else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Its lower and upper bound; 0 and 1 of none."""
        square = _Z * _Z
        middle = (self.right + square / 2) / (self.n + square)
        half = _Z / (self.n + square) * math.sqrt(self.right * (1 - self.right / (self.n or 1)) + square / 4)
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        """``86 % [76, 92]``; ``–`` of none."""
        low, high = (f"{100 * bound:.0f}" for bound in self.interval)
        return f"{100 * self.value:.0f} % [{low}, {high}]" if self.n else "–"


@dataclass(frozen=True)
class Judged:
    """A label and the strict verdicts on it; ``changed_by`` names the corrections without which another one comes."""

    label: Label
    published: bool
    corrected: bool
    changed_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """So many of ``n`` labels the ``published`` and the ``corrected`` verdicts agree with."""

    n: int = 0
    published: int = 0
    corrected: int = 0

    def __add__(self, other: Cell) -> Cell:
        """Both together."""
        return Cell(self.n + other.n, self.published + other.published, self.corrected + other.corrected)


@dataclass(frozen=True)
class Agreement:
    """What labels say of the verdicts.

    Attributes:
        rules: the corrected rules, as results name them.
        cells: by language, then instruction.
        changes: of each correction, how many verdicts on labelled replies it changed, and of these how many to the
            readers'.
    """

    rules: str
    cells: Mapping[str, Mapping[str, Cell]]
    changes: Mapping[str, Share]

    def of(self, language: str | None = None, instruction_id: str | None = None) -> Cell:
        """The labels of a language and an instruction; of all where none is named."""
        rows = [row for code, row in self.cells.items() if language in (None, code)]
        found = (cell for row in rows for id_, cell in row.items() if instruction_id in (None, id_))
        return sum(found, Cell())

    def worse(self) -> list[tuple[str, str, Cell]]:
        """Language and instruction of every cell in which corrected verdicts agree less often than published ones."""
        every = ((code, id_, cell) for code, row in self.cells.items() for id_, cell in row.items())
        return [each for each in every if each[2].corrected < each[2].published]

    def unlabelled(self, codes: Iterable[str]) -> list[str]:
        """Those of some languages that nobody labelled a reply of."""
        return [code for code in codes if code not in self.cells]


def judge(label: Label) -> Judged:
    """Grade a labelled reply by both sets of rules, and once more without each correction of its instruction."""
    asked = ([label.instruction_id], [label.kwargs])

    def corrected(*without: str) -> bool:
        return grade_corrected(label.reply, *asked, label.language, label.prompts, frozenset(without))[0].strict

    now = corrected()
    concerned = [each.name for each in corrections() if label.instruction_id in each.instructions]
    changed_by = tuple(name for name in concerned if corrected(name) != now)
    return Judged(label, grade_reply(label.reply, *asked)[0].strict, now, changed_by)


def measure(judged: Sequence[Judged]) -> Agreement:
    """What these labels say of the rules that are installed."""
    cells: dict[str, dict[str, Cell]] = {}
    for each in sorted(judged, key=lambda each: (each.label.language, each.label.instruction_id)):
        row, id_ = cells.setdefault(each.label.language, {}), each.label.instruction_id
        agreed = (each.published == each.label.reader, each.corrected == each.label.reader)
        row[id_] = row.get(id_, Cell()) + Cell(1, *map(int, agreed))
    changes = {}
    for correction in corrections():
        changed = [each for each in judged if correction.name in each.changed_by]
        right = sum(each.corrected == each.label.reader for each in changed)
        changes[correction.name] = Share(right, len(changed))
    return Agreement(rules_in_use(), cells, changes)


def weighed(judged: Sequence[Judged]) -> tuple[Share, Share]:
    """How often the published and the corrected verdicts agree among the replies that the labelled ones stand for.

    Each counts by its weight; the intervals are of as many replies as the weights are worth (Kish 1965).
    """
    weights = [each.label.weight for each in judged]
    worth = sum(weights) ** 2 / sum(weight**2 for weight in weights) if weights else 0.0

    def share(verdicts: Iterable[bool]) -> Share:
        agreed = sum(weight for weight, right in zip(weights, verdicts, strict=True) if right)
        return Share(worth * agreed / (sum(weights) or 1), worth)

    return (
        share(each.published == each.label.reader for each in judged),
        share(each.corrected == each.label.reader for each in judged),
    )


def as_json(agreement: Agreement) -> str:
    """The counts as ``agreement.json`` holds them: of a cell n, published, corrected; of a correction right, n."""
    cells = {
        f"{code} {id_}": [cell.n, cell.published, cell.corrected]
        for code, row in agreement.cells.items()
        for id_, cell in row.items()
    }
    changes = {name: [share.right, share.n] for name, share in agreement.changes.items()}
    text = json.dumps({"rules": agreement.rules, "cells": cells, "changes": changes}, indent=1)
    return re.sub(r"\[\s+([^]]*?)\s+\]", lambda row: f"[{' '.join(row[1].split())}]", text) + "\n"  # a line per row


def from_json(text: str) -> Agreement:
    """The counts that :func:`as_json` wrote."""
    content = json.loads(text)
    cells: dict[str, dict[str, Cell]] = {}
    for key, counts in content["cells"].items():
        language, id_ = key.split(" ")
        cells.setdefault(language, {})[id_] = Cell(*counts)
    return Agreement(content["rules"], cells, {name: Share(*counts) for name, counts in content["changes"].items()})


@cache
def measured() -> Agreement:
    """The agreement that was measured last, from the counts beside this file."""
    return from_json((files(__package__) / FILE).read_text("utf-8"))
