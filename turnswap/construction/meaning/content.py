"""Content of a back-translation beside the source's, both in English: what is missing, what was added, what is another.

Paraphrases replace words, so both sides then have words of their own; what is omitted or added leaves one side with
none, or with far fewer. The words that stand for each other are in ``content.toml``.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from functools import cache
from importlib.resources import files
from typing import Any

import regex
from nltk.stem.snowball import EnglishStemmer

from ..data_audit.numbers import values_of

_TABLES: dict[str, Any] = tomllib.loads((files(__package__) / "content.toml").read_text("utf-8"))
_WORD = regex.compile(r"[\p{L}]+(?:['’-]\p{L}+)*")
_CONTRACTED = regex.compile(r"n['’]t\b|['’](?:ve|re|m|s|ll|d)\b")
_LEADS = regex.compile("from|to|by|for|of|with|against|and|or|versus|vs|between|than|nor|both")
_PRONOUN = regex.compile(r"\b(?:he|she|it|they|him|her|them|his|its|their)\b")
_FIRST = regex.compile(r"(?:^|[.!?:]\s+|\n)(?:(?:please|now|then|also|and|but),?\s+)*(\p{L}+)")

_PER_WORD = 5  # words with content for which one more may come or go
_LONG, _FREE = 10, 0.25  # words with content of a long text; the share of them that a free rendering has otherwise
_IN_A_ROW = 3  # words that are a part of a sentence


@cache
def stem_of(word: str) -> str:
    """Of an English word in small letters."""
    return str(_stemmer().stem(word.removesuffix("'s").removesuffix("’s")))


@cache
def _stemmer() -> EnglishStemmer:
    return EnglishStemmer()


@cache
def _empty() -> frozenset[str]:
    """Stems without content; numbers are :mod:`.demands`'s."""
    return frozenset(map(stem_of, [*_TABLES["empty"].split(), *values_of("en")]))


def is_empty(word: str) -> bool:
    """Whether an English word carries no content."""
    return stem_of(word) in _empty()


@cache
def _light() -> frozenset[str]:
    """Stems that a paraphrase adds or drops."""
    return frozenset(map(stem_of, _TABLES["light"].split()))


@cache
def _groups() -> dict[str, frozenset[int]]:
    """By stem, the sets of words that say the same."""
    found: dict[str, set[int]] = {}
    for number, line in enumerate(_TABLES["same"].split(",")):
        for word in line.split():
            found.setdefault(stem_of(word), set()).add(number)
    return {stem: frozenset(numbers) for stem, numbers in found.items()}


@cache
def _sayings() -> regex.Pattern[str]:
    """Whatever no paraphrase renders word by word."""
    return regex.compile(rf"\b(?:{'|'.join(regex.escape(each.strip()) for each in _TABLES['idioms'].split(','))})\b")


@cache
def _kinds() -> dict[str, dict[int, int]]:
    """By word, the kinds that it is one of, and which one of each."""
    found: dict[str, dict[int, int]] = {}
    for number, line in enumerate(_TABLES["kinds"].strip().split("\n")):
        for which, names in enumerate(line.split()):
            for name in names.split("/"):
                found.setdefault(stem_of(name), {})[number] = which
    return found


def content_of(text: str) -> dict[str, str]:
    """The words that carry content, by stem, in order."""
    found: dict[str, str] = {}
    for word in _WORD.findall(_CONTRACTED.sub(" ", text.casefold())):
        for part in [word] if stem_of(word) in _groups() else word.split("-"):
            if len(part) > 1 and stem_of(part) not in _empty():
                found.setdefault(stem_of(part), part)
    return found


def same(one: str, other: str) -> bool:
    """Whether two stems say the same: one word, two of a set, or forms that the stemmer keeps apart."""
    if one == other or _groups().get(one, frozenset()) & _groups().get(other, frozenset()):
        return True
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) >= 4 and (longer.startswith(shorter) or (len(shorter) >= 6 and longer.startswith(shorter[:-2])))


def is_free(source: str, back: str) -> bool:
    """Whether a long text is rendered freely: a good part of its words with content has none in the other text."""
    size = len(content_of(source))
    return size >= _LONG and len(_without(source, frozenset(), back)) > size * _FREE


def differences(source: str, back: str, names: str, most: int) -> Iterator[tuple[str, str]]:
    """What the source says and the back-translation does not, or the other way round; what each says in its place.

    Args:
        source: an English text without quoted words and protected spans.
        back: another.
        names: a text whose words are no content: the translation, with names that stay as they are.
        most: words that one side may have more of its own than the other, where both have some.
    """
    if not _sayings().search(source.casefold()):
        yield from _another_of_a_kind(source, back)
    known = _light() | frozenset(map(stem_of, _WORD.findall(names.casefold())))
    mine, theirs = _without(source, known, back), _without(back, known, source)
    yield from _left_out(source, back, mine, theirs)
    most = min(most, 1 + len(content_of(source)) // _PER_WORD)
    spare = _spare(source, back, most if mine and theirs else 0, most)
    spare += len(theirs) > len(mine) and bool(_PRONOUN.search(source.casefold()))  # her, in Korean, is that friend
    if abs(len(mine) - len(theirs)) > spare:
        yield ", ".join(mine) or "nothing more", ", ".join(theirs) or "nothing of the kind"


def _left_out(source: str, back: str, mine: Sequence[str], theirs: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Words in a row, of which some carry content, that stand in the source with nothing in their place."""
    one, two = (_WORD.findall(_CONTRACTED.sub(" ", text.casefold())) for text in (source, back))
    small = [word for word in mine if word in source]  # not of a name
    if theirs or _sayings().search(source.casefold()):
        return
    for kind, start, end, _, _ in SequenceMatcher(
        None, list(map(stem_of, one)), list(map(stem_of, two)), autojunk=False
    ).get_opcodes():
        lost = set(small) & set(one[start:end])
        if (
            kind == "delete"
            and end - start >= _IN_A_ROW
            and lost
            and (len(lost) > 1 or lost == {word for word in one[start:end] if not is_empty(word)})
        ):
            yield " ".join(one[start:end]), "nothing of the kind"


def _spare(source: str, back: str, short: int, most: int) -> int:
    """How many more words of its own one side may have: the more freely the rest is rendered, the more.

    Where the shorter text stands in the longer one nearly word for word, a single further word is a change.
    """
    one, two = (frozenset(map(stem_of, _WORD.findall(text.casefold()))) for text in (source, back))
    free = min(len(one - two), len(two - one))
    saying, size = 3 if _sayings().search(source.casefold()) else 0, len(content_of(source))
    return saying + (short + size // 9 if free <= 1 else most + max(0, size - 6) // 2)


def _without(text: str, known: frozenset[str], other: str) -> list[str]:
    """The words with content of which the other text has none that says the same, with or without content.

    The first of a sentence is what is asked for, which goes by many words: it is left out.
    """
    first = frozenset(map(stem_of, _FIRST.findall(text.casefold())))
    stems = {
        stem_of(part)
        for word in _WORD.findall(_CONTRACTED.sub(" ", other.casefold()))
        for part in (word, *word.split("-"))
    }
    return [
        word
        for stem, word in content_of(text).items()
        if stem not in known | first and not any(same(stem, each) for each in stems)
    ]


def quoted(source: Sequence[str], back: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Quoted words that have nothing in common with those in their place."""
    for one, other in zip(source, back, strict=True) if len(source) == len(back) else ():
        mine, theirs = (list(map(stem_of, _WORD.findall(text.casefold()))) for text in (one, other))
        if (
            mine
            and theirs
            and not any(
                same(word, another) or word[:3] == another[:3] or word in another or another in word
                for word in mine
                for another in theirs
            )
        ):
            yield one, other


def _another_of_a_kind(source: str, back: str) -> Iterator[tuple[str, str]]:
    """A day of the week for another, or two that changed their places."""
    one, two = _named(source), _named(back)
    for kind, words in one.items():
        others = two.get(kind, [])
        before, after = [which for which, _, _ in words], [which for which, _, _ in others]
        lost = [word for which, word, _ in words if which not in after]
        added = [word for which, word, _ in others if which not in before]
        if lost and added and not any(same(stem_of(word), stem_of(other)) for word in lost for other in added):
            yield ", ".join(lost), ", ".join(added)
        if sorted(before) != sorted(after) or before == after or len(set(before)) < len(before):
            continue
        led = {which: by for which, _, by in others}
        if all(led[which] != by for which, _, by in words) or not any(by for _, _, by in (*words, *others)):
            yield ", ".join(word for _, word, _ in words), ", ".join(word for _, word, _ in others)


def _named(text: str) -> dict[int, list[tuple[int, str, str]]]:
    """By kind, those that are named, each with its word and what leads it: a preposition, or what joins it."""
    found: dict[int, list[tuple[int, str, str]]] = {}
    led = ""
    for word in _WORD.findall(text.casefold()):
        if _LEADS.fullmatch(word):
            led = word
        kinds = _kinds().get(stem_of(word), {})
        for kind, which in kinds.items():
            found.setdefault(kind, []).append((which, word, led))
        led = "" if kinds else led
    return found
