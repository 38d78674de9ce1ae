"""Counts that a prompt states otherwise than the kwargs grade them: another quantity, or another relation."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import regex

from ..instructions import ids
from .numbers import WORDING, numbers_in, values_of
from .slots import COUNTED, Slot
from .stated import Sides, Stated, counts_in, sentences_of

_CLAUSE = regex.compile(r"[,;，；、]")
_ALL_NUMBERS = ("en", "zh")  # languages of which all numbers in words are read, elsewhere only those of wording.toml
_ALWAYS_IN_DIGITS = 100
_FEWEST_NAMED = 2  # up to it, a prompt may say "a", "without", or "part your answer from its reasons"


def count_finding(slot: Slot) -> tuple[str, str] | None:
    """The kind, ``quantity`` or ``relation``, and what the prompt says; None where both say the same, or none is known.

    A prompt that states a count twice is taken by the statement that fits.
    """
    unit = COUNTED.get(slot.id)
    if unit is None or slot.number is None:
        return None
    if unasked := _may_be_none(slot):
        return "relation", unasked
    stated = [each for each in _statements(slot, unit) if each[:2] not in list(_beside(slot)) or _fits(each, slot)]
    if not stated:
        return _unnamed(slot)
    if any(_fits(each, slot) for each in stated):
        return None
    same = [each for each in stated if slot.number in each.numbers or _shares_a_side(each, slot)]
    return ("relation", same[0].quote) if same else ("quantity", stated[0].quote)


def _statements(slot: Slot, unit: str) -> Iterator[Stated]:
    """What the prompt states of what the slot counts, the nearest to the word counted first."""
    target = str(slot.kwargs.get("keyword", slot.kwargs.get("letter", ""))).strip()
    for sentence in sentences_of(slot.prompt):
        found = counts_in(sentence, unit, slot.language)
        if slot.id == ids.SECTIONS and not found and (splitter := slot.kwargs["section_spliter"].strip()):
            found = counts_in(sentence.replace(splitter, "SPLITTER"), unit, slot.language)
        if target:
            place = _place(target, sentence)
            if place is None:
                continue
            found.sort(key=lambda each: (each.place < place, abs(each.place - place)))
        yield from found


def _place(target: str, sentence: str) -> int | None:
    """Where a keyword or letter stands in a sentence; None where it does not."""
    pattern = regex.escape(target)
    if regex.match(r"\p{Latin}", target):
        pattern = rf"(?<!\p{{Latin}}){pattern}(?!\p{{Latin}})"
    match = regex.search(pattern, sentence, regex.IGNORECASE)
    return match.start() if match else None


def _fits(stated: Stated, slot: Slot) -> bool:
    """Whether the slot grades what is stated, another slot of its turn the other side of it."""
    low, high = slot.sides
    if stated.bare:  # "5 sections": exactly so many to one reader, at least so many to another
        return stated.low in (low, high) and slot.relation is None
    others = [other for other in _beside(slot) if other is not None]
    if low is not None and high is not None:
        return (stated.low, stated.high) == (low, high)
    mine, rest = (0, 1) if low is not None else (1, 0)
    theirs = (stated.low, stated.high)
    if theirs[mine] != slot.sides[mine]:
        return False
    if slot.id in (ids.WORDS, ids.SENTENCES) and rest == 0 and stated.low == 1:  # every reply has one
        return True
    return theirs[rest] is None or any(other[rest] == theirs[rest] for other in others)


def _shares_a_side(stated: Stated, slot: Slot) -> bool:
    return any(mine is not None and mine == side for mine, side in zip(slot.sides, stated, strict=False))


def _beside(slot: Slot) -> Iterator[Sides]:
    """What the other slots of the turn grade of the same count."""
    for id_, kwargs in slot.beside:
        other = Slot(slot.key, slot.language, slot.turn, 0, id_, kwargs, slot.prompt)
        if id_ == slot.id and _counted(kwargs) == _counted(slot.kwargs):
            yield other.sides
        elif id_ == ids.EXISTENCE and _counted(slot.kwargs) in [word.strip().lower() for word in kwargs["keywords"]]:
            yield 1, None


def _counted(kwargs: Mapping[str, Any]) -> str:
    return str(kwargs.get("keyword", kwargs.get("letter", ""))).strip().lower()


def _may_be_none(slot: Slot) -> str | None:
    """The words that ask for a keyword in one clause and for fewer than some in another: none at all passes."""
    wording = WORDING.get(slot.language, {})
    if slot.id != ids.FREQUENCY or slot.relation != "less than" or not wording.get("joins"):
        return None
    if any(low == 1 for low, _ in _beside(slot)):
        return None
    for sentence in sentences_of(slot.prompt):
        clauses = _CLAUSE.split(sentence)
        for first, second in itertools.pairwise(clauses):
            asks = _place(slot.kwargs["keyword"].strip(), first) is not None
            asks = asks and regex.search(wording["includes"], first, regex.IGNORECASE) is not None
            asks = asks and not regex.search(wording["forbids"], first, regex.IGNORECASE)
            joined = regex.match(wording["joins"], second, regex.IGNORECASE)
            if asks and joined and not numbers_in(first, "") and counts_in(second, "times", slot.language):
                return sentence.strip()
    return None


def _unnamed(slot: Slot) -> tuple[str, str] | None:
    """A number that the prompt does not hold, or with a unit that no instruction counts: 20 lines for 20 words."""
    number = slot.number or 0
    if slot.id in (ids.WORDS, ids.SENTENCES):
        for each in (
            each for sentence in sentences_of(slot.prompt) for each in counts_in(sentence, None, slot.language)
        ):
            if not each.bare and number in each.numbers and each[:2] == slot.sides:
                return "quantity", each.quote
    readable = slot.language in _ALL_NUMBERS or number in values_of(slot.language).values()
    if number <= _FEWEST_NAMED or not (readable or number > _ALWAYS_IN_DIGITS):
        return None
    if {number, number - 1} & {each.value for each in numbers_in(slot.prompt, slot.language)}:
        return None
    return "quantity", f"names no {number}"
