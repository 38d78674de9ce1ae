"""Demands of a prompt, read from its words in each language: numbers and their relations, negation, and poles.

A pole is one way of two or more: uppercase or lowercase, top or bottom. The words are in ``poles.toml`` and in
``data_audit/wording.toml``; nothing is read in a language without words.
"""

from __future__ import annotations

import tomllib
import unicodedata
from collections.abc import Collection, Iterator
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import regex

from ..data_audit.numbers import numbers_in
from ..data_audit.stated import every_count_in
from .counts import parts_of, said_by_units, said_plainly

POLES: dict[str, dict[str, Any]] = tomllib.loads((files(__package__) / "poles.toml").read_text("utf-8"))
BY_PARTS = ("zh", "ja", "ko", "hi", "yue")  # words are found inside others, as they inflect or are not parted
_SETTINGS = ("negation", "strongly", "harmless", "needed")
_ELIDING = ("fr", "it")  # nell'ultima


class Reading(NamedTuple):
    """What one text demands.

    Attributes:
        numbers: all from 2 on.
        bounds: by number, ``at least``, ``at most`` or ``exactly``; "" where no word says which.
        limits: per such number what is allowed, so that "fewer than ten" is "at most nine".
        poles: by group, the words that name a pole, by the pole's place.
        negated: the word that negates plainly, "" where none does.
        restricting: all words that may negate or restrict.
    """

    numbers: frozenset[int]
    bounds: dict[int, str]
    limits: dict[int, tuple[int | None, int | None]]
    poles: dict[str, dict[int, str]]
    negated: str
    restricting: frozenset[str]


class Difference(NamedTuple):
    """What the source says, and what the other text says; whether it is another pole, and no number or negation."""

    mine: str
    theirs: str
    of_poles: bool = False


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
    before = r"\w\p{M}" if language in _ELIDING else r"\w\p{M}'"
    start = "(?:[وفبلك]{0,2}(?:ال|ل)?)" if language == "ar" else ""
    return rf"(?<![{before}])(?:{start}(?:{'|'.join(made)}){end})(?![\w\p{{M}}])" if made else "(?!)"


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


def read(text: str, language: str) -> Reading:
    """What a text demands, as far as the words of its language are known.

    Args:
        text: without quoted words, code and the like.
        language: its code, without a region.
    """
    searched = said_plainly(text) if language == "en" else text
    wording, text = POLES.get(language, {}), plain(text)
    if language == "en":
        text = _NO_RANK.sub(" ", text)
    poles: dict[str, dict[int, str]] = {}
    for group, pattern in _patterns(language).items():
        for match in pattern.finditer(text):
            place = int((match.lastgroup or "p0_").split("_")[0][1:])
            poles.setdefault(group, {}).setdefault(place, match.group())
    if language == "en" and len(poles.get("case", ())) > 1:
        poles["case"] = _wanted(text, poles["case"])
    bare = text
    for harmless in wording.get("harmless", ()):
        bare = regex.sub(harmless, " ", bare)
    bare = _TOLD.sub(" ", bare) if language == "en" else bare
    strong = _negations(language, "strongly").search(bare)
    sides: dict[int, set[str]] = {}
    limits = {}
    for each in every_count_in(searched, language):
        side = "" if each.bare else "at most" if each.low is None else "at least" if each.high is None else "exactly"
        sides.setdefault(each.numbers[0], set()).add(side)
        if None in each[:2]:
            limits[each.numbers[0]] = each[:2]
    return Reading(
        frozenset(number.value for number in numbers_in(searched, language) if number.value > 1),
        {value: next(iter(said)) for value, said in sides.items() if len(said) == 1},  # none that is said in two ways
        limits,
        poles,
        strong.group() if strong else "",
        frozenset(_negations(language, "negation").findall(text)) if wording.get("negation") else frozenset({"?"}),
    )


def _wanted(text: str, poles: dict[int, str]) -> dict[int, str]:
    """The poles without those that are named only to be refused: in capitals, not in small letters."""
    refused = r"\b(?:no|not|never|without|nor|than|instead of)(?: (?:in|use|using|any|the|with)){0,2} "
    kept = {
        place: word
        for place, word in poles.items()
        if not regex.search(rf"{refused}{regex.escape(word)}|{regex.escape(word)}(?: letters?)?,? (?:are|is) not", text)
    }
    return kept or poles


def differences(
    source: str,
    other: str,
    language: str,
    other_language: str,
    back: str | None = None,
    *,
    freely: bool = False,
    whole: bool = True,
) -> Iterator[Difference]:
    """Each demand of the source that the other text states otherwise.

    Args:
        source: a text without quoted words and protected spans.
        other: another.
        language: the source's code.
        other_language: the other's. Of texts in one language more is known: there a demand can be lost.
        back: what the other text is translated back to. Where it says the same in other words than the source, the
            other text may too: another pole or a missing negation is none there.
        freely: whether the other text renders a long one freely: of negation and most poles nothing is known then.
        whole: whether these are whole prompts. In a sentence of one, a number may be left to the sentence before.
    """
    one, two = read(source, language), read(other, other_language)
    same = language == other_language
    for mine, theirs in _numbers(one, two, source, other, same and whole):
        yield Difference(mine, theirs)
    opposite, flipped = _flipped(one, two, _SURE if freely else None)
    opposed = [Difference(mine, theirs, of_poles=True) for mine, theirs in flipped]
    if back is not None and _says_otherwise(one, read(back, language)):
        return
    if freely:
        yield from opposed
        return
    if opposite and bool(one.negated) != bool(two.negated):  # not in capitals is in small letters
        return
    if one.negated and not two.negated and not two.restricting - one.restricting:
        yield Difference(one.negated, "no negation")
    if same and two.negated and not one.negated and not one.restricting - two.restricting:
        yield Difference("no negation", two.negated)
    yield from opposed
    ranks, others = one.poles.get("rank", {}), two.poles.get("rank", {})
    lost, added = ranks.keys() - others.keys() - _FIRST_AND_LAST, others.keys() - ranks.keys()
    if others and lost and (same or added) and ranks.keys() & others.keys():
        yield Difference(", ".join(ranks[place] for place in lost), ", ".join(others.values()), of_poles=True)
    for group in POLES.get(other_language, {}).get("needed", ()):
        if group in one.poles and group not in two.poles and not (one.negated or two.negated):
            yield Difference(next(iter(one.poles[group].values())), "nothing of the kind", of_poles=True)


def _says_otherwise(one: Reading, back: Reading) -> bool:
    """Whether a back-translation negates where the source does not, or names other poles."""
    others = any(poles.keys() != back.poles[group].keys() for group, poles in one.poles.items() if group in back.poles)
    return bool(one.negated) != bool(back.negated) or others


# A negation that tells of something and demands nothing: "I did not", "that is not", "we cannot".
_TOLD = regex.compile(
    r"\b(?:i|we|he|she|they|it|that|this|there|who|which|nobody|he's|she's|it's|that's|i'm|we're|they're)"
    r"(?: (?:am|is|are|was|were|do|does|did|have|has|had|can|ca|could|would|will|wo))?(?:n't| not|not)\b"
    r"(?! (?:want|need|like|wish))"
)
_EXACT = regex.compile(r"\b(?:exactly|precisely)\b", regex.IGNORECASE)  # "only 4" may be "at most 4"
_SURE = ("case", "order", "direction", "tense", "person")  # poles that no free rendering turns
_FIRST_AND_LAST = frozenset({0, 1})
_NO_RANK = regex.compile(
    r"\b(?:first|last|second) (?:time|name|names|of all|aid|year|week|weekend|night|month|but not)\b"
    r"|\btoo \w+|\bat all\b|\bsome (?=\d|two|three|four|five|ten)"
)
_NEGATED = ("case", "place", "formality", "length", "tone", "mood", "cheer", "ease", "truth", "merit", "amount", "rank")


def _flipped(one: Reading, two: Reading, groups: Collection[str] | None = None) -> tuple[bool, list[tuple[str, str]]]:
    """Groups of which the two name other poles; and whether one is such that "not this" may be that."""
    found, opposite = [], False
    for group, poles in one.poles.items():
        if groups is not None and group not in groups:
            continue
        others = two.poles.get(group, {})
        if group == "amount" and (one.bounds or two.bounds):  # fewer than 5
            continue
        if group == "rank" and others.keys() <= one.poles.get("place", {}).keys():  # at the end is last
            continue
        if others and not poles.keys() & others.keys():
            found.append((group, ", ".join(poles.values()), ", ".join(others.values())))
            opposite |= group in _NEGATED
    flipped = [group for group, _, _ in found]
    if "amount" in flipped and any(group in _NEGATED[:-2] for group in flipped):  # less formal is more casual
        return False, []
    return opposite, [(mine, theirs) for _, mine, theirs in found]


def _numbers(one: Reading, two: Reading, source: str, other: str, same: bool) -> Iterator[tuple[str, str]]:
    lost, added = one.numbers - two.numbers, two.numbers - one.numbers
    kept = set(one.limits.values()) & set(two.limits.values())
    lost = frozenset(value for value in lost if one.limits.get(value) not in kept)
    added = frozenset(value for value in added if two.limits.get(value) not in kept)
    lost -= {value for value in lost if value + 12 in added and regex.search(rf"\b{value}(?::\d\d)? ?p\.?m", source)}
    added -= {value + 12 for value in one.numbers - lost}
    made = {value: parts_of(value, added) for value in lost}
    added -= frozenset().union(*made.values())
    lost = frozenset(value for value in lost if not made[value])
    if same:
        lost = frozenset(value for value in lost if not said_by_units(value, other))
        added = frozenset(value for value in added if not said_by_units(value, source))
    alone = (lost or added) - {2}  # "separate the two" and "separate them"
    if (lost and added) or (same and alone):
        yield _listed(lost), _listed(added)
    for value, side in one.bounds.items():
        theirs = two.bounds.get(value, side)
        if {side, theirs} == {"at least", "at most"} or (
            value > 1  # one sentence at most is one sentence
            and _EXACT.search(source)
            and {side, theirs} & {"at least", "at most"}
            and "exactly" in (side, theirs)
        ):
            yield f"{side} {value}", f"{theirs} {value}"


def _listed(values: frozenset[int]) -> str:
    return ", ".join(map(str, sorted(values))) or "no such number"
