"""Whether a prompt in any language states an instruction as its kwargs grade it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..data_audit.contradictions import count_finding
from ..data_audit.numbers import WORDING
from ..data_audit.slots import COUNTED, Slot
from ..data_audit.stated import counts_in, sentences_of
from ..instructions import ids
from ..instructions.making import listed
from ..records import Turn
from ..statements import stating
from .demands import POLES, read
from .differences import own_words

_CASES = {ids.UPPER: (0, "capital letters"), ids.LOWER: (1, "small letters")}
_UNITS = {each: COUNTED[each] for each in (ids.WORDS, ids.SENTENCES)}
_LIST = re.compile(r"([:：])\s*\n\s*")  # what follows belongs to the sentence before
_END = 1  # of the poles "place"
Beside = Sequence[tuple[str, Mapping[str, Any]]]


def stated_otherwise(prompt: str, id: str, kwargs: Mapping[str, Any], language: str, beside: Beside = ()) -> list[str]:
    """What a prompt states otherwise than an instruction's kwargs: number, unit, relation, polarity, position, or case.

    Args:
        prompt: of the turn that brings the instruction.
        id: the instruction's.
        kwargs: the instruction's.
        language: the code of the prompt's. What is not known of it is not looked at.
        beside: the other instructions that the turn brings.

    Returns:
        Sentences for people; none where nothing is stated otherwise, or nothing can be read.
    """
    return [f"{id}: the prompt {each}" for each in otherwise(prompt, id, kwargs, language, beside)]


def otherwise(prompt: str, id: str, kwargs: Mapping[str, Any], language: str, beside: Beside = ()) -> Iterator[str]:
    """The same, without saying where: ``states 'weniger als 80 Wörter', graded is at least 80 words``.

    A sentence of ours states what is graded.
    """
    if stating(prompt, id, kwargs, language):
        return iter(())
    slot = Slot("", language.partition("-")[0], 1, 1, id, kwargs, prompt, beside)
    return (f"states {says!r}, graded is {slot.graded}" for says in _otherwise(slot))


def turns_otherwise(turns: Sequence[Turn], language: str) -> dict[tuple[int, int], list[str]]:
    """What each turn's prompt states otherwise than the instructions that it brings: by turn and place, from 1."""
    found, known = {}, 0
    for number, turn in enumerate(turns, 1):
        new = turn.instructions[known:]
        for at, (id_, kwargs) in enumerate(new):
            beside = [*new[:at], *new[at + 1 :]]
            if told := stated_otherwise(turn.prompt, id_, kwargs, language, beside):
                found[number, known + at + 1] = told
        known = len(turn.instructions)
    return found


def _otherwise(slot: Slot) -> Iterator[str]:
    found = count_finding(slot)
    if found and not found[1].startswith("names no"):  # of a number that is not found, nothing else is known
        yield found[1]
    elif other := _other_unit(slot):
        yield other
    if slot.id in _CASES:
        case = read(own_words(slot.prompt), slot.language)
        if case.poles.get("case", {}).keys() == {1 - _CASES[slot.id][0]} and not case.negated:
            yield ", ".join(case.poles["case"].values())
    texts = [text for value in slot.kwargs.values() for text in listed(value) if isinstance(text, str) and text.strip()]
    prompt = _LIST.sub(r"\1 ", slot.prompt)
    named = [each for each in sentences_of(prompt) if any(text.strip().lower() in each.lower() for text in texts)]
    if slot.id == ids.FORBIDDEN and named and not any(read(each, slot.language).restricting for each in named):
        yield named[-1].strip()
    if slot.id == ids.END and named:
        places = [read(own_words(each), slot.language).poles.get("place", {}) for each in named]
        if all(place and _END not in place for place in places):
            yield named[-1].strip()


def _other_unit(slot: Slot) -> str | None:
    """A count as the kwargs have it, but of another unit: 200 sentences for 200 words; None where the own is there."""
    if slot.id not in _UNITS or {id_ for id_, _ in slot.beside} & {*_UNITS}:
        return None
    parts, unit = sentences_of(slot.prompt), _UNITS[slot.id]
    if unit not in WORDING.get(slot.language, {}).get("units", {}) or any(
        counts_in(part, unit, slot.language) for part in parts
    ):
        return None
    others = [each for part in parts for other in _UNITS.values() for each in counts_in(part, other, slot.language)]
    return next((each.quote for each in others if each[:2] == slot.sides), None)


def unread(turns: Sequence[Turn], language: str) -> str | None:
    """That nothing is known of how a language states instructions, in words; None where something is.

    In some languages only the words that negate are known: they say something of words to avoid alone.
    """
    base = language.partition("-")[0]
    words = POLES.get(base, {})
    if base in WORDING or "place" in words:
        return None
    avoided = "negation" in words and ids.FORBIDDEN in turns[-1].instruction_ids
    return f"no constraint{' but words to avoid' if avoided else ''} was read in this language ({language})"


def instructions_otherwise(
    source: Sequence[Turn], translated: Sequence[Turn], back: Sequence[str], languages: tuple[str, str]
) -> list[str]:
    """Each instruction that its turn's translation or back-translation states otherwise, where the source does not.

    Args:
        source: the turns; each turn's instructions extend those of the turn before.
        translated: theirs in the other language.
        back: the turns' prompts, translated back.
        languages: codes of the source's and of the translation's.
    """
    again = [replace(turn, prompt=prompt) for turn, prompt in zip(source, back, strict=True)]
    known, there = turns_otherwise(source, languages[0]), turns_otherwise(translated, languages[1])
    home = turns_otherwise(again, languages[0])
    found: list[str] = []
    for place in sorted({*there, *home} - {*known}):
        found += [f"turn {place[0]}: {each}" for each in there.get(place, ())]
        found += [f"turn {place[0]}, translated back: {each}" for each in home.get(place, ())]
    return found
