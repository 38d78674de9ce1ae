"""Words of the data found in a reply: as written, whole characters, and no accident of neighbouring words."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import regex

from .segmentation import UNSPACED, base_language, dictionary_bounds, segmenter

# Ways to write the apostrophe, and what no reader sees.
_SAME = str.maketrans(dict.fromkeys("’‘ʼ＇", "'") | dict.fromkeys("\u00ad\u200b\u2060\ufeff", ""))

_SPACED = rf"[[\p{{L}}\p{{M}}\p{{N}}_]--[{UNSPACED}]]"
_STARTS_SPACED = regex.compile(_SPACED, regex.V1)
_ENDS_SPACED = regex.compile(rf"{_SPACED}\Z", regex.V1)
_HANGUL_END = regex.compile(r"\p{Hangul}\Z")
_UNSPACED_ONLY = regex.compile(rf"[{UNSPACED}\p{{M}}]{{2,}}")
# Arabic writes the article and short prepositions together with the word.
_ARABIC = regex.compile(r"\p{Arabic}")
_ARABIC_BEFORE = r"(?:[وف]?(?:[بك]?ال|لل|[بكل])?)"

# Languages that inflect at the end of words: what starts with a keyword is a form of it, what only holds it is not.
_INFLECTED_AT_THE_END = frozenset(("en", "fr", "ru", "hi", "es", "it", "pt"))


@lru_cache(maxsize=256)
def folded(text: str) -> str:
    """One form of all ways to write a text: Unicode's NFKC, straight apostrophes, nothing invisible."""
    return unicodedata.normalize("NFKC", text.translate(_SAME))


def count(reply: str, keyword: str, language: str) -> int:
    """How often a keyword occurs, case ignored, forms of it with an ending included."""
    starts = base_language(language) in _INFLECTED_AT_THE_END
    return sum(1 for _ in _found(reply, keyword, language, starts=starts, ends=False))


def contains_word(reply: str, word: str, language: str) -> bool:
    """Whether a word occurs as such: with nothing attached to it in scripts that part words by spaces."""
    return any(_found(reply, word, language, starts=True, ends=True))


def starts_with(text: str, word: str, language: str) -> bool:
    """Whether the first word or words of ``text`` are ``word``, quotation marks and Markdown before them ignored."""
    text, word = _from_first_letter(folded(text)), _from_first_letter(folded(word))
    return bool(word) and any(start == 0 for start in _found(text, word, language, starts=True, ends=True))


def _from_first_letter(text: str) -> str:
    return regex.sub(r"\A[^\p{L}\p{N}]+(?=.*[\p{L}\p{N}])", "", text, flags=regex.DOTALL).strip()


def _found(reply: str, word: str, language: str, *, starts: bool, ends: bool) -> Iterator[int]:
    """Where ``word`` is found, literally.

    ``starts`` and ``ends``: only where no other letter of a spaced script stands before it, or behind it.
    """
    text, word = folded(reply), folded(word).strip()
    if not word:
        return
    accidental = _accidents(text, word, base_language(language))
    for match in _pattern(word, starts, ends).finditer(text):
        if (match.end() - len(word)) not in accidental:
            yield match.start()


@lru_cache(maxsize=4096)
def _pattern(word: str, starts: bool, ends: bool) -> regex.Pattern[str]:
    before, after = "", r"(?!\p{M})"  # never the first half of a character: कम is not in कमी
    if starts and _STARTS_SPACED.match(word):
        before = rf"(?<!{_SPACED})" + (_ARABIC_BEFORE if _ARABIC.match(word) else "")
    # Korean particles follow without a space.
    if ends and _ENDS_SPACED.search(word) and not _HANGUL_END.search(word):
        after += rf"(?!{_SPACED})"
    return regex.compile(before + regex.escape(word) + after, regex.V1 | regex.IGNORECASE)


def _accidents(text: str, word: str, language: str) -> frozenset[int]:
    """Where a word of a script without spaces only seems to stand: 和服 in 产品和服务.

    There it begins or ends inside a word of ICU's dictionary and goes on into the next one. Only for a word that is
    in the dictionary itself, as others may be cut anywhere. Without the dictionary no place is known to be one.
    """
    if segmenter() is None or not _UNSPACED_ONLY.fullmatch(word) or word not in text:
        return frozenset()
    if len(dictionary_bounds(word, language)) != 2:
        return frozenset()
    bounds = set(dictionary_bounds(text, language))
    places = set()
    place = text.find(word)
    while place >= 0:
        end = place + len(word)
        crosses = any(inside in bounds for inside in range(place + 1, end))
        if crosses and not (place in bounds and end in bounds):
            places.add(place)
        place = text.find(word, place + 1)
    return frozenset(places)
