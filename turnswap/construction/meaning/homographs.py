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
_SHORT = 3  # letters of a beginning that many words share: they may add only a few
_FAR = 5  # words between a cue and the word that make it weak, as it may belong to something else


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
    made = []
    for part in parts:
        start = r"\w*" if language == "de" and len(part) > _SHORT else _PREFIXES.get(language, "")  # Tennisgericht
        end = r"\w?\b" if part.endswith("_") else r"\w{0,4}\b" if len(part) <= _SHORT else ""
        made.append(f"(?:{start})(?:{part.removesuffix('_')}){end}")
    return rf"(?<!\w)(?:{'|'.join(made)})"


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


def _told(word: str, text: str) -> list[float]:
    """By meaning, how much its cues in the text weigh; 0 where all that there is is one far from the word."""
    spans = [match.span() for match in regex.finditer(rf"\b(?:{'|'.join(_forms(word))})\b(?:'s)?", text)]
    told = []
    for meaning in _meanings(word):
        weights: dict[str, float] = {}
        for cue in meaning.cues.finditer(text):
            apart = min(_words_between(span, cue.span(), text) for span in spans) if spans else _FAR
            weight = 2 if apart == 0 else 1 if apart < _FAR else 0.5  # "tennis court"; "a court for tennis"
            weights[cue.group()] = max(weights.get(cue.group(), 0), weight)
        total = sum(weights.values())
        told.append(total if total >= 1 else 0)
    return told


def _words_between(one: tuple[int, int], other: tuple[int, int], text: str) -> int:
    """How many words part two places of a text; 0 where one holds the other."""
    first, second = sorted((one, other))
    return len(regex.findall(r"\w+", text[first[1] : second[0]]))


def _taken_wrong(word: str, sentence: str, whole: str, translation: str, language: str) -> Iterator[tuple[str, str]]:
    meanings = _meanings(word)
    told = _told(word, sentence)
    if not any(told) and sum(counts := _told(word, whole)) == max(counts) > 2:  # other sentences, if they agree
        told = counts
    best = max(told)
    right = meanings[told.index(best)].words.get(language)
    if not best or told.count(best) > 1 or right is None or right.search(translation):
        return
    for meaning, count in zip(meanings, told, strict=True):
        wrong = meaning.words.get(language)
        if count < best and wrong and (match := wrong.search(translation)):
            yield word, match.group()
