"""Words of two meanings: whether a translation holds the word of the meaning that its source does not tell.

A back-translation cannot show it, since both meanings are one word in the source's language. ``homographs.toml`` has
the words, and what is not in it is not judged.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import regex

from ..data_audit.stated import sentences_of
from .demands import BY_PARTS, plain

_WORDS: dict[str, list[str]] = tomllib.loads((files(__package__) / "homographs.toml").read_text("utf-8"))
_PREFIXES = {"ar": "[وفبلك]{0,2}(?:ال|ل)?", "sw": r"\w{0,3}"}


class Meaning(NamedTuple):
    """One meaning of a word: a pattern for the words around it, and by language one for its translations."""

    cues: regex.Pattern[str]
    words: dict[str, regex.Pattern[str]]


@cache
def _meanings(word: str) -> tuple[Meaning, ...]:
    return tuple(_meaning(line) for line in _WORDS[word])


def _meaning(line: str) -> Meaning:
    cues, _, translations = line.partition("|")
    told = [regex.escape(cue).replace(r"\*", r"\w*").replace("_", " ") for cue in cues.split()]
    by_language = regex.findall(r"(\w\w):(.+?)(?=\s+\w\w:|$)", translations.strip())
    words = {language: regex.compile(_pattern(listed, language)) for language, listed in by_language}
    return Meaning(regex.compile(rf"\b(?:{'|'.join(told)})(?:'s)?\b"), words)


def _pattern(listed: str, language: str) -> str:
    """Beginnings of words; one that ends in ``_`` is a whole word, or has an ending of one letter."""
    parts = [regex.escape(plain(part)) for part in listed.split(",")]
    if language in BY_PARTS:
        return "|".join(parts)
    parts = [part.removesuffix("_") + r"\w?\b" if part.endswith("_") else part for part in parts]
    german = r"\w*" if language == "de" else ""  # Tennisgericht
    return rf"(?<!\w)(?:{_PREFIXES.get(language, german)})(?:{'|'.join(parts)})"


def differences(source: str, translation: str, language: str) -> Iterator[tuple[str, str]]:
    """The source's word, and the word of another meaning that stands in the translation.

    Args:
        source: in English.
        translation: of the source.
        language: the code of the translation's.
    """
    translation, whole = plain(translation), plain(source)
    for sentence in map(plain, sentences_of(source)):
        present = frozenset(regex.findall(r"\w+", sentence))
        for word in _WORDS:
            if present & _forms(word):
                yield from _taken_wrong(word, sentence, whole, translation, language)


@cache
def _forms(word: str) -> frozenset[str]:
    """A word as it may stand in a sentence: "stories", "tapped", "racing"; not "tired", which is another word."""
    doubled, cut = word + word[-1], word[:-1]
    forms = {word, f"{word}s", f"{word}es", f"{word}ed", f"{word}ing", f"{doubled}ed", f"{doubled}ing"}
    return frozenset(forms | ({f"{cut}ies"} if word.endswith("y") else {f"{cut}ing"} if word.endswith("e") else set()))


def _told(word: str, text: str) -> list[int]:
    """By meaning, how many different words of the text tell it; one beside the word, as in "tennis court", is two."""
    either = "|".join(_forms(word))
    beside = regex.compile(rf"\b(?:{either})(?:'s)?[ -]\Z"), regex.compile(rf"(?:'s)?[ -](?:{either})\b")
    found: list[dict[str, int]] = [{} for _ in _meanings(word)]
    for counts, meaning in zip(found, _meanings(word), strict=True):
        for cue in meaning.cues.finditer(text):
            near = beside[0].search(text, 0, cue.start()) or beside[1].match(text, cue.end())
            counts[cue.group()] = max(counts.get(cue.group(), 0), 2 if near or word in cue.group().split() else 1)
    return [sum(counts.values()) for counts in found]


def _taken_wrong(word: str, sentence: str, whole: str, translation: str, language: str) -> Iterator[tuple[str, str]]:
    meanings = _meanings(word)
    told = _told(word, sentence)
    if not any(told) and sum(counts := _told(word, whole)) == max(counts) > 1:  # other sentences, if they agree
        told = counts
    best = max(told)
    right = meanings[told.index(best)].words.get(language)
    if not best or told.count(best) > 1 or right is None or right.search(translation):
        return
    for meaning, count in zip(meanings, told, strict=True):
        wrong = meaning.words.get(language)
        if count < best and wrong and (match := wrong.search(translation)):
            yield word, match.group()
