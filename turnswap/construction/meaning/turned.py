"""What changed its place from a source to its back-translation, both in English: sides, roles, ways, and degrees.

All words of the source are still there, so no list of words shows it. Each marker (before, I, from) is bound to the
first word of content after it; markers that exchanged their words are a change.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import regex

from .content import is_empty, same, stem_of

_WORD = regex.compile(r"\p{L}+(?:['’-]\p{L}+)*")
_MARKERS = (("before", "after"), ("above", "below"), ("i", "you"), ("first", "last"), ("first", "second"))
_SKIPPED = frozenset(
    "a an the my your his her its our their this that these those some any of to in on at for from with am are is was "
    "were be been i'm you're if and then please as all each every very so too".split()
)
_PERSONS = frozenset("i you he she it we they".split())
_SUBJECTS = {"me": "i", "him": "he", "them": "they", "us": "we"}
_FROM_TO = regex.compile(
    r"\b(?:from|the) (?:the )?(?:most |least )?(\p{L}+) (?:ones? )?(?:first )?to (?:the )?(?:most |least )?(\p{L}+)"
)


def differences(source: str, back: str) -> Iterator[tuple[str, str]]:
    """What the source says of two things that the back-translation says of them the other way round.

    Args:
        source: an English text without quoted words and protected spans.
        back: another.
    """
    one, two = (_WORD.findall(text.casefold().replace("’", "'")) for text in (source, back))
    yield from _exchanged(one, two)
    if "by" not in one + two:  # the passive turns them rightly
        yield from _roles(one, two)
    yield from _sent(one, two)
    yield from _ways(source.casefold(), back.casefold())
    yield from _degrees(one, two)


def _exchanged(one: list[str], two: list[str]) -> Iterator[tuple[str, str]]:
    for first, second in _MARKERS:
        mine, theirs = _bound(one, first, second), _bound(two, first, second)
        if not (mine and theirs):
            continue
        (a, b), (c, d) = mine, theirs
        if same(stem_of(a), stem_of(d)) and not same(stem_of(a), stem_of(b)) and not same(stem_of(a), stem_of(c)):
            yield f"{first} {a}, {second} {b}", f"{first} {c}, {second} {d}"


def _bound(words: list[str], first: str, second: str) -> tuple[str, str] | None:
    """The words that two markers lead, where each stands once."""
    found = []
    for marker in (first, second):
        places = [place for place, word in enumerate(words) if word.partition("'")[0] == marker]
        if len(places) != 1:
            return None
        after = [word for word in words[places[0] + 1 :] if word not in _SKIPPED][:1]
        found += after
    return (found[0], found[1]) if len(found) == 2 else None


def _sent(one: list[str], two: list[str]) -> Iterator[tuple[str, str]]:
    """From somebody, where the source has to."""
    (to, from_), (others_to, others_from) = ((_led(words, "to"), _led(words, "from")) for words in (one, two))
    for word in (to & others_from) - from_ - others_to:
        yield f"to {word}", f"from {word}"
    for word in (from_ & others_to) - to - others_from:
        yield f"from {word}", f"to {word}"


def _led(words: list[str], by: str) -> frozenset[str]:
    """What a preposition leads, without articles and the like."""
    plain = [word for word in words if word == by or word not in _SKIPPED]
    return frozenset(after for word, after in zip(plain, plain[1:], strict=False) if word == by and after != by)


def _roles(one: list[str], two: list[str]) -> Iterator[tuple[str, str]]:
    """Who does it to whom: what stands on both sides of a word."""
    others = {stem_of(verb): (left, right) for left, verb, right in _around(two)}
    for left, verb, right in _around(one):
        before, after = others.get(stem_of(verb), ("", ""))
        if before and (stem_of(left), stem_of(right)) == (stem_of(after), stem_of(before)) and verb not in _PERSONS and stem_of(left) != stem_of(right):
            yield f"{left} {verb} {right}", f"{before} {verb} {after}"


def _around(words: list[str]) -> list[tuple[str, str, str]]:
    plain = [_SUBJECTS.get(word, word) for word in words if word not in _SKIPPED]
    return list(zip(plain, plain[1:], plain[2:], strict=False))


def _ways(source: str, back: str) -> Iterator[tuple[str, str]]:
    """From the last to the first, where the source goes from the first to the last."""
    ways = [(match[1], match[2], match.group()) for match in _FROM_TO.finditer(back)]
    for match in _FROM_TO.finditer(source):
        turned = [way for start, end, way in ways if _alike(match[1], end) and _alike(match[2], start)]
        kept = any(_alike(match[1], start) and _alike(match[2], end) for start, end, _ in ways)
        if turned and not kept:
            yield match.group(), turned[0]


def _degrees(one: list[str], two: list[str]) -> Iterator[tuple[str, str]]:
    """Less of it where the source has more, never where it has always, or the other way round."""
    for mine, theirs in (("less", "more"), ("more", "less"), ("never", "always"), ("always", "never")):
        for word, other in product(_degree(one, mine), _degree(two, theirs)):
            if _alike(word, other):
                yield f"{mine} {word}", f"{theirs} {other}"


def _degree(words: list[str], which: str) -> list[str]:
    led = [after for word, after in zip(words, words[1:], strict=False) if word == which and not is_empty(after)]
    return led + [word for word in words if which == "more" and len(word) > 5 and word.endswith("er")]


def _alike(one: str, other: str) -> bool:
    """Big and biggest, scary and scarier."""
    bare = [regex.sub(r"(?:iest|ier|est|er|y|e)$", "", word) for word in (one, other)]
    short, long = sorted(bare, key=len)
    return one == other or len(short) > 2 and long.startswith(short) and len(long) - len(short) < 2
