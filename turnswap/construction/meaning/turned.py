"""What changed its place from a source to its back-translation, both in English: sides, roles, ways, and degrees.

All words of the source are still there, so no list of words shows it. Each marker (before, I, from) is bound to the
first word of content after it; markers that exchanged their words are a change.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, pairwise, product

import regex

from .content import is_empty, stem_of

_WORD = regex.compile(r"\p{L}+(?:['’-]\p{L}+)*")
_MARKERS = frozenset(["i", "you"])
_SKIPPED = frozenset(  # one string is shorter than forty
    regex.findall(
        r"\w+",
        "a an the my your his her its our their this that these those some any of to in on at for from with am are is "
        "was were be been if and then please as all each every very so too",
    )
)
_PERSONS = frozenset(["i", "you", "he", "she", "it", "we", "they"])
_SUBJECTS = {"me": "i", "him": "he", "them": "they", "us": "we"}
_OWNED = regex.compile(r"([\p{L}-]+)['’]s ([\p{L}-]+)")
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
    one, two = ([word.removesuffix("'m").removesuffix("'re") for word in words] for words in (one, two))
    yield from _exchanged(one, two)
    if "by" not in one + two:  # the passive turns them rightly
        yield from _roles(one, two)
    yield from _sent(one, two)
    yield from _owned(source.casefold(), back.casefold())
    yield from _ways(source.casefold(), back.casefold())
    yield from _degrees(one, two)


def _exchanged(one: list[str], two: list[str]) -> Iterator[tuple[str, str]]:
    """Two words that each lead what the other one led: keep this and change that."""
    mine, theirs = _next(one), _next(two)
    moved = sorted(word for word in mine.keys() & theirs.keys() if mine[word] != theirs[word])
    for first, second in combinations(moved, 2):
        a, b, c, d = mine[first], mine[second], theirs[first], theirs[second]
        if a == d and b == c and not (is_empty(a) and is_empty(b)) and not {a, b} & {first, second}:
            yield f"{first} {a}, {second} {b}", f"{first} {c}, {second} {d}"


def _next(words: list[str]) -> dict[str, str]:
    """By word that stands once, the stem of what follows, without articles and the like."""
    plain = [word for word in words if word in _MARKERS or word not in _SKIPPED]
    return {word: stem_of(after) for word, after in pairwise(plain) if plain.count(word) == 1 and after not in _MARKERS}


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
    return frozenset(after for word, after in pairwise(plain) if word == by and after != by)


def _roles(one: list[str], two: list[str]) -> Iterator[tuple[str, str]]:
    """Who does it to whom: what stands on both sides of a word."""
    others = {stem_of(verb): (left, right) for left, verb, right in _around(two)}
    for left, verb, right in _around(one):
        before, after = others.get(stem_of(verb), ("", ""))
        if (
            before
            and (stem_of(left), stem_of(right)) == (stem_of(after), stem_of(before))
            and verb not in _PERSONS
            and stem_of(left) != stem_of(right)
        ):
            yield f"{left} {verb} {right}", f"{before} {verb} {after}"


def _around(words: list[str]) -> list[tuple[str, str, str]]:
    plain = [_SUBJECTS.get(word, word) for word in words if word not in _SKIPPED]
    return list(zip(plain, plain[1:], plain[2:], strict=False))


def _owned(source: str, back: str) -> Iterator[tuple[str, str]]:
    """Somebody's something, where the source has something's somebody."""
    theirs = set(_OWNED.findall(back))
    for owner, thing in _OWNED.findall(source):
        if (thing, owner) in theirs:
            yield f"{owner}'s {thing}", f"{thing}'s {owner}"


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
    led = [after for word, after in pairwise(words) if word == which and not is_empty(after)]
    return led + [word for word in words if which == "more" and len(word) > 5 and word.endswith("er")]


def _alike(one: str, other: str) -> bool:
    """Big and biggest, scary and scarier."""
    bare = [regex.sub(r"(?:iest|ier|est|er|y|e)$", "", word) for word in (one, other)]
    short, long = sorted(bare, key=len)
    return one == other or (len(short) > 2 and long.startswith(short) and len(long) - len(short) < 2)
