"""Whether a prompt in any language states an instruction as its kwargs grade it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..data_audit.contradictions import count_finding
from ..data_audit.numbers import WORDING
from ..data_audit.slots import COUNTED, Slot
from ..data_audit.stated import counts_in, sentences_of
from ..instructions import ids
from ..instructions.making import listed
from ..records import Turn
from .demands import read
from .differences import own_words

_CASES = {ids.UPPER: (0, "capital letters"), ids.LOWER: (1, "small letters")}
_LENGTHS = (ids.WORDS, ids.SENTENCES, ids.PARAGRAPHS)
_END = 1  # of the poles "place"


def stated_otherwise(prompt: str, id: str, kwargs: Mapping[str, Any], language: str) -> list[str]:
    """What a prompt states otherwise than an instruction's kwargs: number, unit, relation, polarity, position, or case.

    Args:
        prompt: of the turn that brings the instruction.
        id: the instruction's.
        kwargs: the instruction's.
        language: the code of the prompt's. What is not known of it is not looked at.

    Returns:
        Sentences for people; none where nothing is stated otherwise, or nothing can be read.
    """
    base = language.partition("-")[0]
    slot = Slot("", base, 1, 1, id, kwargs, prompt)
    return [f"{id}: the prompt states {says!r}, graded is {slot.graded}" for says in _otherwise(slot)]


def _otherwise(slot: Slot) -> Iterator[str]:
    found = count_finding(slot)
    if found and not found[1].startswith("names no"):  # of a number that is not found, nothing else is known
        yield found[1]
    elif slot.id in _LENGTHS:
        yield from _of_another_unit(slot)
    if slot.id in _CASES:
        case = read(own_words(slot.prompt), slot.language)
        if case.poles.get("case", {}).keys() == {1 - _CASES[slot.id][0]} and not case.negated:
            yield ", ".join(case.poles["case"].values())
    texts = [text for value in slot.kwargs.values() for text in listed(value) if isinstance(text, str) and text.strip()]
    named = [each for each in sentences_of(slot.prompt) if any(text.strip().lower() in each.lower() for text in texts)]
    if slot.id == ids.FORBIDDEN and named and not any(read(each, slot.language).restricting for each in named):
        yield named[-1].strip()
    if slot.id == ids.END and named:
        places = [read(own_words(each), slot.language).poles.get("place", {}) for each in named]
        if all(place and _END not in place for place in places):
            yield named[-1].strip()


def _of_another_unit(slot: Slot) -> Iterator[str]:
    """The words that state the number of words of something else that is counted, such as sentences."""
    stated = {
        id_: [each for part in sentences_of(slot.prompt) for each in counts_in(part, COUNTED[id_], slot.language)]
        for id_ in _LENGTHS
    }
    known = COUNTED[slot.id] in WORDING.get(slot.language, {}).get("units", {})
    if known and not stated.pop(slot.id):
        found = (each for every in stated.values() for each in every)
        yield from (each.quote for each in found if not each.bare and each[:2] == slot.sides)


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
    found: list[str] = []
    known = 0
    for number, (one, two, three) in enumerate(zip(source, translated, back, strict=True), 1):
        for (id_, kwargs), (_, theirs) in list(zip(one.instructions, two.instructions, strict=True))[known:]:
            if not stated_otherwise(one.prompt, id_, kwargs, languages[0]):
                found += [f"turn {number}: {each}" for each in stated_otherwise(two.prompt, id_, theirs, languages[1])]
                again = stated_otherwise(three, id_, kwargs, languages[0])
                found += [f"turn {number}, translated back: {each}" for each in again]
        known = len(one.instruction_ids)
    return found
