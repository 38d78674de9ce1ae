"""Every finding in a data set: per kind how many, and per finding what the prompt says beside what the kwargs grade."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.tasks.multiif.dataset import Source, load_every_language
from turnswap.tasks.multiif.instructions import INSTRUCTIONS
from turnswap.tasks.multiif.left_out import COLUMNS

from ..conflicts import conflicts_of
from ..forms import as_csv
from ..instructions import ids
from .contradictions import count_finding
from .numbers import WORDING
from .quotes import cut, quote_of
from .slots import Slot, slots_of
from .words import words_finding

# Each kind of finding, and what it means; in the order in which they are shown.
KINDS = {
    "quantity": "the prompt states a number that is not the graded one",
    "relation": "the prompt states a relation (at least, at most, exactly) that is not the graded one",
    "words": "the prompt names a word, phrase, letter or marker that is not the graded one",
    "object": "the prompt asks for something else than is graded",
    "language": "the prompt asks for a language that is not the graded one",
    "unfollowable": "no reply can follow it",
    "conflict": "no reply passes all of these strictly",
    "tension": "only an odd reply passes all of these",
    "repeated": "the conversation has it already",
    "unfailable": "no reply can fail it",
}
SEVERITIES = {"tension": "odd", "repeated": "adds nothing", "unfailable": "adds nothing"}
_AT_LEAST_ZERO = (ids.PLACEHOLDERS, ids.HIGHLIGHTS, ids.SECTIONS)


@dataclass(frozen=True)
class Finding:
    """What is found about one slot, or about some that do not go together.

    Attributes:
        key: the conversation's.
        language: its language's English name.
        turn: from 1: the slots' own, or the one in which the last of them comes.
        positions: the slots' places in the turn's list of instructions, from 1.
        instruction_ids: theirs.
        kind: one of :data:`KINDS`.
        severity: ``mismatch``, ``impossible`` (strictly and loosely), ``impossible strictly`` (loosely a reply can
            pass), ``odd`` or ``adds nothing``.
        prompt_says: in words quoted from the prompt.
        kwargs_grade: in words.
    """

    key: str
    language: str
    turn: int
    positions: tuple[int, ...]
    instruction_ids: tuple[str, ...]
    kind: str
    severity: str
    prompt_says: str
    kwargs_grade: str


@dataclass(frozen=True)
class Audit:
    """All findings in a data set of so many conversations and slots; ``by_digits``: languages without checked words."""

    findings: Sequence[Finding]
    conversations: int
    slots: int
    by_digits: Sequence[str]

    def only(self, kinds: Sequence[str]) -> list[Finding]:
        """The findings of some kinds, by kind, in the order of the data."""
        return [each for kind in KINDS if kind in kinds for each in self.findings if each.kind == kind]


def audit_data(path: Path) -> Audit:
    """Hold the prompts of a CSV in the published format against its kwargs.

    Raises:
        UserError: the file cannot be read, or a row is malformed.
    """
    conversations = load_every_language(Source("csv", str(path)))
    slots = [list(slots_of(conversation)) for conversation in conversations]
    findings = [
        replace(each, prompt_says=cut(each.prompt_says), kwargs_grade=cut(each.kwargs_grade))
        for conversation, here in zip(conversations, slots, strict=True)
        for each in findings_of(conversation, here)
    ]
    codes = {str(c["language"]): here[0].language for c, here in zip(conversations, slots, strict=True) if here}
    without = [name for name, code in codes.items() if WORDING.get(code, {"unchecked": True}).get("unchecked")]
    return Audit(findings, len(conversations), sum(map(len, slots)), without)


def findings_of(conversation: Mapping[str, Any], slots: Sequence[Slot]) -> Iterator[Finding]:
    """All findings in one conversation, given its slots (:func:`.slots_of`)."""
    language = str(conversation["language"])
    seen: list[Slot] = []
    for slot in slots:
        found = [slot_finding(slot)]
        if twin := next((each for each in seen if (each.id, each.kwargs) == (slot.id, slot.kwargs)), None):
            where = f"turn {twin.turn}: {quote_of(twin)}" if twin.turn < slot.turn else "this turn, listed twice"
            found.append(("repeated", f"{quote_of(slot)} (as in {where})", slot.graded))
        seen.append(slot)
        instruction = INSTRUCTIONS[slot.id]
        if reason := instruction.why_unsatisfiable(slot.kwargs):
            found.append(("unfollowable", quote_of(slot), f"{slot.graded}: {reason}"))
        elif _cannot_fail(slot):
            found.append(("unfailable", quote_of(slot), slot.graded))
        for kind, says, grades in filter(None, found):
            severity = SEVERITIES.get(kind, "impossible" if kind == "unfollowable" else "mismatch")
            yield Finding(slot.key, language, slot.turn, (slot.position,), (slot.id,), kind, severity, says, grades)
    yield from _conflicts(conversation, slots)


def slot_finding(slot: Slot) -> tuple[str, str, str] | None:
    """The kind, what the prompt says and what the kwargs grade, where these are two things; None where not."""
    found = count_finding(slot) or words_finding(slot)
    return (*found, slot.graded) if found else None


def _cannot_fail(slot: Slot) -> bool:
    """Whether every reply that is not blank passes."""
    if slot.id == ids.REPEAT and not slot.kwargs["prompt_to_repeat"].strip():
        return True
    if slot.relation == "at least":
        # A reply without words, such as "...", is a sentence to the grader.
        return (slot.number or 0) <= (1 if slot.id == ids.SENTENCES else 0)
    return slot.id in _AT_LEAST_ZERO and (slot.number or 0) <= 0


def _conflicts(conversation: Mapping[str, Any], slots: Sequence[Slot]) -> Iterator[Finding]:
    by_place = {}
    for slot in slots:  # of a list that is rewritten later, the last
        by_place[slot.position] = slot
    for turn, conflict in conflicts_of(conversation):
        rule, places = conflict.rule, tuple(at + 1 for at in conflict.positions)
        concerned = [by_place[place] for place in places]
        kind, severity = "tension", "odd"
        if rule.severity == "impossible":
            kind = "conflict" if len(places) > 1 else "unfollowable"
            severity = "impossible" if rule.loose == "impossible" else "impossible strictly"
        if kind == "unfollowable" and INSTRUCTIONS[concerned[0].id].why_unsatisfiable(concerned[0].kwargs):
            continue  # told of the slot itself
        says = " × ".join(cut(quote_of(slot), 200 // len(concerned)) for slot in concerned)
        grades = f"{' × '.join(slot.graded for slot in concerned)}: {rule.reason}"
        told = conversation["key"], str(conversation["language"]), turn, places, tuple(slot.id for slot in concerned)
        yield Finding(*told, kind, severity, says, grades)


def write_audit(findings: Sequence[Finding], path: Path) -> None:
    """The findings as CSV, one a line; places and ids of a finding of several slots are parted by spaces.

    Raises:
        UserError: there is nothing to write, or the file cannot be written.
    """
    if not findings:
        raise UserError("Nothing was found of these kinds, so there is nothing to write.", "No file was written.")
    rows = [
        {
            "key": each.key,
            "language": each.language,
            "turn": str(each.turn),
            "position": " ".join(map(str, each.positions)),
            "instruction_id": " ".join(each.instruction_ids),
            "kind": each.kind,
            "severity": each.severity,
            "prompt_says": each.prompt_says,
            "kwargs_grade": each.kwargs_grade,
        }
        for each in findings
    ]
    assert set(COLUMNS) <= set(rows[0])
    write_whole(path, as_csv(rows, list(rows[0])).encode("utf-8-sig"))
