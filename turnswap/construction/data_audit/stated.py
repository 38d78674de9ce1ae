"""What a prompt states about counts: from which number to which, of what, and in which words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import regex

from .numbers import WORDING, Number, numbers_in

_SENTENCE = regex.compile(r"(?<=[.!?])(?<!\b(?:i\.e|e\.g|ex|etc|P\.S)\.)\s+|(?<=[。！？।])|\n")
_CLAUSE = regex.compile(r"[,;:!?，；：。！？।،؛؟\n]|\.(?!\d)|--")
_ASIDE = regex.compile(r"\([^()\d\n]*\)|（[^（）\d\n]*）|\*[^*\n]+\*")
_FLAGS = regex.IGNORECASE
_REACH = 28  # characters behind a number in which what it counts is looked for, some adjectives long
_WORDS_BETWEEN = 4
_LABELLED = ("paragraphs", "nth", "bullets", "sections", "placeholders", "highlights")  # "point 1" is no count

Sides = tuple[int | None, int | None]


class Stated(NamedTuple):
    """A count that a prompt states.

    Attributes:
        low, high: the least and the most, None where it states none.
        numbers: as they stand in the prompt.
        bare: whether no word says whether it is a least, a most or exact: "5 sections".
        place: where the number starts in its sentence.
        quote: the words of the prompt.
    """

    low: int | None
    high: int | None
    numbers: tuple[int, ...]
    bare: bool
    place: int
    quote: str


def sentences_of(text: str) -> list[str]:
    """A prompt's sentences and lines; one that is quoted may be cut."""
    return [part for part in _SENTENCE.split(text) if part.strip()]


def counts_in(sentence: str, unit: str | None, language: str) -> list[Stated]:
    """Each count of a unit in a sentence; those that are only about so many are left out.

    Args:
        sentence: of a prompt.
        unit: what is counted: one of the names in ``wording.toml``, of which ``times`` also takes "twice"; None for
            what is counted in none of them.
        language: the code of the prompt's.
    """
    wording = WORDING.get(language, {})
    units = wording.get("units", {})
    pattern = units.get(unit) if unit else "|".join(units.values()) or None
    if pattern is None or not regex.search(wording.get("needs", {}).get(unit, ""), sentence, _FLAGS):
        return []
    plain = _without_asides(sentence)
    found = []
    for number, partner, before, after in _numbers_among_words(plain, language):
        of_unit = (number.times and unit == "times") or _counts(before, after, pattern, unit, wording)
        if of_unit == (unit is None):
            continue
        if regex.search(wording.get("each", "(?!)"), before, _FLAGS):  # a count within each part
            continue
        made = _sides(number, partner, before, after, wording)
        label = made and made[3] and unit in _LABELLED and regex.search(rf"(?:{pattern})\s*$", before, _FLAGS)
        if made and not label:
            quote = sentence[max(0, number.start - len(before)) : (partner or number).end + len(after)].strip()
            found.append(Stated(*made, number.start, quote))
            if made[3] and (open_sides := _open_sides(number.value, after, wording)):
                found[-1:] = [Stated(*sides, made[2], False, number.start, quote) for sides in open_sides]
    return found


def _without_asides(sentence: str) -> str:
    """What stands in brackets or is an example does not part a number from what it counts."""
    return _ASIDE.sub(lambda aside: " " * len(aside.group()), sentence)


def every_count_in(sentence: str, language: str) -> Iterator[Stated]:
    """Each number of a sentence, whatever it counts, as :func:`counts_in` reads it; ranges and "about 5" left out."""
    wording = WORDING.get(language, {"gap": 0})
    for number, partner, before, after in _numbers_among_words(_without_asides(sentence), language):
        if partner is None and (made := _sides(number, None, before, after, wording)):
            yield Stated(*made, number.start, sentence[max(0, number.start - len(before)) : number.end + len(after)])


def _numbers_among_words(text: str, language: str) -> Iterator[tuple[Number, Number | None, str, str]]:
    """Each number, what closes its range, and the words of its clause before and behind it."""
    numbers, skip = numbers_in(text, language), False
    for at, number in enumerate(numbers):
        if skip:  # the second of a range
            skip = False
            continue
        following = numbers[at + 1] if at + 1 < len(numbers) else None
        partner = following if following and _is_range(text, number, following, WORDING.get(language, {})) else None
        skip = partner is not None
        start = numbers[at - 1].end if at else 0
        end = numbers[at + 2 if skip else at + 1].start if at + (2 if skip else 1) < len(numbers) else len(text)
        before, after = text[start : number.start], text[(partner or number).end : end]
        yield number, partner, _CLAUSE.split(before)[-1], _CLAUSE.split(after)[0]


def _is_range(text: str, number: Number, other: Number, wording: dict[str, str]) -> bool:
    between = wording.get("between", r"\s*[-–—]\s*")
    return other.value > number.value and regex.fullmatch(between, text[number.end : other.start], _FLAGS) is not None


def _counts(before: str, after: str, pattern: str, unit: str | None, wording: dict[str, dict[str, str]]) -> bool:
    """Whether a number between these counts the unit: in the next words, or earlier where the next say of nothing."""
    match = regex.search(pattern, after[:_REACH], _FLAGS)
    if match and len(after[: match.start()].split()) <= _WORDS_BETWEEN:
        return True
    others = "|".join(other for name, other in wording["units"].items() if name != unit)
    if others and regex.search(others, after[:_REACH], _FLAGS):
        return False
    return regex.search(pattern, before, _FLAGS) is not None


def _sides(
    number: Number, partner: Number | None, before: str, after: str, wording: dict[str, str]
) -> tuple[int | None, int | None, tuple[int, ...], bool] | None:
    value = number.value
    if partner:
        return value, partner.value, (value, partner.value), False
    told = dict(_relations(before, after, wording))
    if "about" in told:
        return None
    forbids, behind = wording.get("forbids", "(?!)"), wording.get("forbids_behind", "(?!)")
    if regex.search(forbids, before, _FLAGS) or regex.search(behind, after, _FLAGS):
        if "more" in told:
            return None, value, (value,), False
        if "less" in told:
            return value, None, (value,), False
    for name, low, high in (
        ("at_least", value, None),
        ("at_most", None, value),
        ("more", value + 1, None),
        ("less", None, value - 1),
        ("exact", value, value),
    ):
        if name in told:
            return low, high, (value,), False
    return value, value, (value,), True


def _open_sides(value: int, after: str, wording: dict[str, str]) -> list[Sides]:
    """Both readings of words that leave open whether the number itself is meant, such as 以下."""
    if regex.match(wording.get("after_some_more", "(?!)"), after, _FLAGS):
        return [(value, None), (value + 1, None)]
    if regex.match(wording.get("after_some_less", "(?!)"), after, _FLAGS):
        return [(None, value), (None, value - 1)]
    return []


def _relations(before: str, after: str, wording: dict[str, str]) -> Iterator[tuple[str, None]]:
    """What the words behind a number make of it; else the nearest ones before it, and of several there the longest."""
    for name in ("at_least", "at_most", "more", "less"):
        if (pattern := wording.get(f"after_{name}")) and regex.match(pattern, after, _FLAGS):
            yield name, None
            return
    near: list[tuple[int, int, str]] = []
    for name in ("at_least", "at_most", "more", "less", "exact", "about"):
        matches = list(regex.finditer(wording.get(name, "(?!)"), before, _FLAGS))
        if matches and len(before) - matches[-1].end() <= int(wording["gap"]):
            near.append((matches[-1].end(), -matches[-1].start(), name))
    if near:
        yield max(near)[2], None
