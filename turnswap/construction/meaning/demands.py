"""Demands of a prompt, read from its words in each language: numbers and their relations, negation, and poles.

A pole is one way of two or more: uppercase or lowercase, top or bottom. The words are in ``poles.toml`` and in
``data_audit/wording.toml``; nothing is read in a language without words.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import regex

from ..data_audit.numbers import numbers_in
from ..data_audit.stated import every_count_in

POLES: dict[str, dict[str, Any]] = tomllib.loads((files(__package__) / "poles.toml").read_text("utf-8"))
BY_PARTS = ("zh", "ja", "ko", "hi", "yue")  # words are found inside others, as they inflect or are not parted
_SETTINGS = ("negation", "strongly", "harmless", "needed")
_LEAST = {"at_least": "at least", "at_most": "at most"}
_SAID_BY_UNITS = {2: "both|pairs?|couple|double|twin|half", 7: "week", 10: "decade", 12: "dozen|year", 14: "fortnight"}
_SAID_BY_UNITS |= {6: "half a dozen", 24: "day|dozen", 52: "year", 60: "hour|minute", 100: "century|hundred"}


class Reading(NamedTuple):
    """What one text demands.

    Attributes:
        numbers: all from 2 on.
        bounds: the numbers that are a least (``at least``) or a most (``at most``).
        poles: by group, the words that name a pole, by the pole's place.
        negated: the word that negates plainly, "" where none does.
        restricting: all words that may negate or restrict.
    """

    numbers: frozenset[int]
    bounds: dict[int, str]
    poles: dict[str, dict[int, str]]
    negated: str
    restricting: frozenset[str]


def plain(text: str) -> str:
    """As it is searched: one form of each letter, small, without marks that Arabic may leave out."""
    text = unicodedata.normalize("NFC", text).casefold().replace("’", "'")
    return regex.sub(r"[\u064b-\u0652\u0640]", "", text)


def _either(words: str, language: str, parts: bool) -> str:
    """A pattern for any of a list of words, the longest first."""
    found = sorted(filter(None, (plain(word).strip() for word in words.split(","))), key=len, reverse=True)
    made = [regex.escape(word).replace(r"\*", r"[\w\p{M}]*").replace(r"\ \~", r"(?: [\w'-]+){1,4}?") for word in found]
    if parts:
        return "|".join(made)
    end = r"[\w\p{M}]{0,4}" if language == "ar" else ""
    start = "(?:[وفبلك]{0,2}(?:ال|ل)?)" if language == "ar" else ""
    return rf"(?<![\w\p{{M}}'])(?:{start}(?:{'|'.join(made)}){end})(?![\w\p{{M}}])" if made else "(?!)"


@cache
def _patterns(language: str) -> dict[str, regex.Pattern[str]]:
    """By group, a pattern whose n-th group is the n-th pole."""
    made = {}
    for group, poles in POLES.get(language, {}).items():
        if group not in _SETTINGS:
            words = [
                (word.strip(), place) for place, pole in enumerate(poles) for word in pole.split(",") if word.strip()
            ]
            words.sort(key=lambda each: -len(each[0]))
            either = [
                rf"(?P<p{place}_{n}>{_either(word, language, language in BY_PARTS)})"
                for n, (word, place) in enumerate(words)
            ]
            made[group] = regex.compile("|".join(either) or "(?!)")
    return made


@cache
def _negations(language: str, setting: str) -> regex.Pattern[str]:
    words = POLES.get(language, {}).get(setting, "")
    if language == "ar":  # short words, which are parts of many
        found = "|".join(regex.escape(plain(word).strip()) for word in words.split(",") if word.strip())
        ends = "" if setting == "strongly" else r"(?!\w)"
        return regex.compile(rf"(?<!\w)[وف]?(?:{found or '(?!)'}){ends}")
    return regex.compile(_either(words, language, language in ("zh", "ja", "ko")) or "(?!)")


def sentences_counts(text: str, language: str) -> dict[int, str]:
    """The numbers that are a least or a most, where the text does not also say otherwise of them."""
    found: dict[int, set[str]] = {}
    for each in every_count_in(text, language):
        side = "" if each.bare else "at most" if each.low is None else "at least" if each.high is None else "exactly"
        found.setdefault(each.numbers[0], set()).add(side)
    return {value: next(iter(sides)) for value, sides in found.items() if len(sides) == 1}


def read(text: str, language: str) -> Reading:
    """What a text demands, as far as the words of its language are known.

    Args:
        text: without quoted words, code and the like.
        language: its code, without a region.
    """
    searched = regex.sub(
        r"\b(two|three|four|half a) dozen",
        lambda m: {"t": "24", "h": "6"}.get(m[1][0], m[0]) if m[1] != "three" else "36",
        text,
    )
    wording, text = POLES.get(language, {}), plain(text)
    poles: dict[str, dict[int, str]] = {}
    for group, pattern in _patterns(language).items():
        for match in pattern.finditer(text):
            place = int((match.lastgroup or "p0_").split("_")[0][1:])
            poles.setdefault(group, {}).setdefault(place, match.group())
    bare = text
    for harmless in wording.get("harmless", ()):
        bare = regex.sub(harmless, " ", bare)
    strong = _negations(language, "strongly").search(bare)
    return Reading(
        frozenset(number.value for number in numbers_in(searched, language) if number.value > 1),
        sentences_counts(searched, language),
        poles,
        strong.group() if strong else "",
        frozenset(_negations(language, "negation").findall(text)) if wording.get("negation") else frozenset({"?"}),
    )


def differences(
    source: str, other: str, language: str, other_language: str, back: str | None = None, poles: bool = True
) -> Iterator[tuple[str, str]]:
    """Each demand of the source that the other text states otherwise: what the source says, and what the other.

    Args:
        source: a text without quoted words and protected spans.
        other: another.
        language: the source's code.
        other_language: the other's. Of texts in one language more is known: there a demand can be lost.
        back: what the other text is translated back to. Where it says the same in other words than the source, the
            other text may too: another pole or a missing negation is none there.
        poles: without them numbers, their relations and negation are compared alone.
    """
    one, two = read(source, language), read(other, other_language)
    same = language == other_language
    yield from _numbers(one, two, source, other, same)
    opposite, opposed = _flipped(one, two)
    if back is not None and _says_otherwise(one, read(back, language)):
        return
    if opposite and bool(one.negated) != bool(two.negated):  # not in capitals is in small letters
        return
    if one.negated and not two.negated and not two.restricting - one.restricting:
        yield one.negated, "no negation"
    if same and two.negated and not one.negated and not one.restricting - two.restricting:
        yield "no negation", two.negated
    if not poles:
        return
    yield from opposed
    if same:
        yield from _turned(plain(source), plain(other))
        ranks, theirs = one.poles.get("rank", {}), two.poles.get("rank", {})
        if theirs and not theirs.keys() - ranks.keys() and (lost := ranks.keys() - theirs.keys() - _FIRST_AND_LAST):
            yield ", ".join(ranks[place] for place in lost), ", ".join(theirs.values())
    for group in POLES.get(other_language, {}).get("needed", ()):
        if group in one.poles and group not in two.poles and not (one.negated or two.negated):
            yield next(iter(one.poles[group].values())), "nothing of the kind"


def _says_otherwise(one: Reading, back: Reading) -> bool:
    """Whether a back-translation negates where the source does not, or names other poles."""
    others = any(poles.keys() != back.poles[group].keys() for group, poles in one.poles.items() if group in back.poles)
    return bool(one.negated) != bool(back.negated) or others


def _turned(source: str, other: str) -> Iterator[tuple[str, str]]:
    """From the last to the first, where the source goes from the first to the last."""
    ways = {(match[1], match[2]): match.group() for match in _FROM_TO.finditer(other)}
    for match in _FROM_TO.finditer(source):
        if match[1] != match[2] and (match[2], match[1]) in ways and (match[1], match[2]) not in ways:
            yield match.group(), ways[match[2], match[1]]


_FROM_TO = regex.compile(r"\bfrom (?:the )?(\w+) to (?:the )?(\w+)")
_FIRST_AND_LAST = frozenset({0, 1})
_NEGATED = ("case", "place", "formality", "length", "tone", "mood", "cheer", "ease", "truth", "merit", "amount", "rank")


def _flipped(one: Reading, two: Reading) -> tuple[bool, list[tuple[str, str]]]:
    """Groups of which the two name other poles; and whether one is such that "not this" may be that."""
    found, opposite = [], False
    for group, poles in one.poles.items():
        others = two.poles.get(group, {})
        if group == "amount" and (one.bounds or two.bounds):  # fewer than 5
            continue
        if others and not poles.keys() & others.keys():
            found.append((", ".join(poles.values()), ", ".join(others.values())))
            opposite |= group in _NEGATED
    return opposite, found


def _numbers(one: Reading, two: Reading, source: str, other: str, same: bool) -> Iterator[tuple[str, str]]:
    lost, added = one.numbers - two.numbers, two.numbers - one.numbers
    if same:
        lost = frozenset(value for value in lost if not _said(value, other))
        added = frozenset(value for value in added if not _said(value, source))
    alone = (lost or added) - {2}  # "separate the two" and "separate them"
    if (lost and added) or (same and alone):
        yield _listed(lost), _listed(added)
    for value, side in one.bounds.items():
        if value == 1:  # nothing longer than one line
            continue
        theirs = two.bounds.get(value, side)
        if {side, theirs} == {"at least", "at most"} or (
            {side, theirs} & {"at least", "at most"} and "exactly" in (side, theirs)
        ):
            yield f"{side} {value}", f"{theirs} {value}"


def _said(value: int, text: str) -> bool:
    return (
        value in _SAID_BY_UNITS and regex.search(rf"\b(?:{_SAID_BY_UNITS[value]})", text, regex.IGNORECASE) is not None
    )


def _listed(values: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(values))) or "no such number"
