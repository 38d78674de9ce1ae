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
    told = [regex.escape(cue).replace(r"\*", r"\w*") for cue in cues.split()]
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
    translation = plain(translation)
    for sentence in map(plain, sentences_of(source)):
        present = frozenset(regex.findall(r"\w+", sentence))
        for word in _WORDS:
            if present & {word, f"{word}s", f"{word}es", f"{word}ed", f"{word}ing"}:
                yield from _taken_wrong(word, sentence, translation, language)


def _taken_wrong(word: str, sentence: str, translation: str, language: str) -> Iterator[tuple[str, str]]:
    meanings = _meanings(word)
    told = [len(set(meaning.cues.findall(sentence))) for meaning in meanings]
    best = max(told)
    right = meanings[told.index(best)].words.get(language)
    if not best or told.count(best) > 1 or right is None or right.search(translation):
        return
    for meaning, count in zip(meanings, told, strict=True):
        wrong = meaning.words.get(language)
        if count < best and wrong and (match := wrong.search(translation)):
            yield word, match.group()
