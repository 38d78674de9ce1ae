"""Natural text of a language, to try instructions on: everyday sentences, and how it puts words together."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from importlib.resources import files
from itertools import cycle, islice

from .vocabulary import UNSPACED, scripts_of, words_of

_TABLES = tomllib.loads((files(__package__) / "natural.toml").read_text("utf-8"))
_QUOTES = {code: marks for marks, codes in _TABLES["quotes"].items() for code in codes.split()}
_COMMAS = {script: comma for comma, scripts in _TABLES["commas"].items() for script in scripts.split()}
# A word that most languages with Latin letters have, by a letter that few of their words have.
WITH_LETTER: dict[str, str] = _TABLES["with_letter"]
_STOPS = ".!?。！？।۔።;؟"
_SENTENCE = re.compile(rf"[^\n{_STOPS}]+[{_STOPS}]*")
_MARKS = frozenset('<>[]{}*_#`|"“”„«»「」『』《》')  # a sentence with these may name a format, or show it
_SHORTEST = 3  # words of a sentence that is taken from a conversation
_HANGUL, _FINALS = 0xAC00, 28  # the first syllable of Unicode, and the number of ends that a syllable may have
_SENTENCES = 3  # of a passage


@dataclass(frozen=True)
class Prose:
    """Sentences of one language, and what it writes them with.

    Attributes:
        language: its code.
        sentences: one or more.
        origin: where they are from, for people.
        comma: its comma; empty where it has none.
        quotes: how it opens and closes a quotation.
        spaced: whether blanks part its words.
        hangul: whether particles follow its words without a blank.
    """

    language: str
    sentences: tuple[str, ...]
    origin: str
    comma: str
    quotes: tuple[str, str]
    spaced: bool
    hangul: bool

    @property
    def between(self) -> str:
        """What parts sentences."""
        return " " if self.spaced or self.sentences[0][-1] not in _STOPS else ""

    def text(self, number: int, start: int = 0) -> str:
        """So many sentences in a row."""
        return self.between.join(islice(cycle(self.sentences), start, start + number))

    @property
    def passages(self) -> list[str]:
        """Short replies, no two of which begin alike."""
        starts = range(0, max(len(self.sentences) - 1, 1), 2)
        return [self.text(_SENTENCES, start) for start in starts]

    def words(self, number: int) -> list[str]:
        """Words of its sentences, one after another."""
        found = words_of([self.text(len(self.sentences))]) or list(self.sentences)
        return list(islice(cycle(found), number))

    def sized(self, count: Callable[[str], int], most: int) -> str:
        """The longest text that starts with its first sentence and of which ``count`` counts no more than ``most``."""
        parts = self.text(len(self.sentences)).split() if self.spaced else list(self.text(len(self.sentences)))
        space = " " if self.spaced else ""

        def begin(size: int) -> str:
            return space.join(islice(cycle(parts), size))

        high = 1
        while count(begin(high)) <= most and high < 10_000:
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if count(begin(middle)) <= most else (low, middle)
        return begin(low)

    def holding(self, word: str, times: int) -> list[str]:
        """Texts that hold a word so often, a sentence each, in every way in which the language usually writes it."""
        number = max(times, _SENTENCES)
        chosen = list(islice(cycle(self.sentences), number))
        return [
            self.between.join(way(each) if n < times else each for n, each in enumerate(chosen))
            for way in self._ways(word)
        ]

    def _ways(self, word: str) -> list[Callable[[str], str]]:
        if not word:
            return []
        space = " " if self.spaced else ""
        if self.hangul and _HANGUL <= ord(word[-1]) < 0xD7A4:
            final = (ord(word[-1]) - _HANGUL) % _FINALS > 0
            return [partial(_in_front, f"{word}{particle} ") for particle in ("은이을" if final else "는가를")]
        return [partial(_before_stop, space + word), partial(_in_front, f"{word}: " if self.spaced else word)]


def _in_front(text: str, sentence: str) -> str:
    return text + sentence


def _before_stop(text: str, sentence: str) -> str:
    body = sentence.rstrip(_STOPS + " ")
    return body + text + sentence[len(body) :]


def prose_of(
    language: str, texts: Sequence[str] = (), unwanted: Callable[[str], bool] = lambda sentence: False
) -> Prose | None:
    """Natural text of a language: sentences that turnswap brings, else those of ``texts``, less unwanted ones.

    None where there is none.
    """
    found, origin = _packaged(language), "everyday sentences of the language"
    if not found:
        sentences = [each.strip() for text in texts for each in _SENTENCE.findall(text)]
        plain = (each for each in dict.fromkeys(sentences) if _MARKS.isdisjoint(each))
        found = tuple(each for each in plain if len(words_of([each])) >= _SHORTEST)
        origin = "sentences of the conversation"
    found = tuple(each for each in found if not unwanted(each))
    return _prose(language, found, origin) if found else None


@cache
def _packaged(language: str) -> tuple[str, ...]:
    base = language.partition("-")[0]
    # Sentences in another script than the code names are none of the language's.
    return tuple(_TABLES["sentences"].get(base, ())) if scripts_of(base) == scripts_of(language) else ()


@lru_cache(maxsize=256)
def _prose(language: str, sentences: tuple[str, ...], origin: str) -> Prose:
    base, scripts = language.partition("-")[0], scripts_of(language)
    marks = _QUOTES.get(base, '""')
    opening, closing = marks[0], marks[-1]
    if " " in marks:
        opening, closing = f"{opening} ", f" {closing}"
    # Japanese has three scripts, of which kana decide; other languages have one comma.
    commas = [_COMMAS[script] for script in ("HIRAGANA", *sorted(scripts)) if script in scripts and script in _COMMAS]
    spaced, hangul = not scripts & UNSPACED, "HANGUL" in scripts
    return Prose(language, sentences, origin, commas[0] if commas else ",", (opening, closing), spaced, hangul)
