"""Words of the data found in a reply: as written or in another form, whole words, and no accident of neighbours."""

from __future__ import annotations

import unicodedata
from collections.abc import Set
from functools import lru_cache

import regex

from .layout import plain
from .morphology import is_form, one_spelling
from .segmentation import UNSPACED, base_language, dictionary_bounds, segmenter

_ONE_QUOTE = str.maketrans(dict.fromkeys("“”„«»「」『』〝〞", '"'))
# Ways to write the apostrophe and the hyphen, and what no reader sees.
_SAME = str.maketrans(
    dict.fromkeys("’‘ʼ＇", "'") | dict.fromkeys("‐‑‒–−", "-") | dict.fromkeys("\u00ad\u200b\u2060\ufeff", "")
)

_SPACED = rf"[[\p{{L}}\p{{M}}\p{{N}}]--[{UNSPACED}]]"  # no _, which is Markdown's around a word
_WORD = regex.compile(rf"{_SPACED}+", regex.V1)
_STARTS_SPACED = regex.compile(_SPACED, regex.V1)
_ENDS_SPACED = regex.compile(rf"{_SPACED}\Z", regex.V1)
_HANGUL_END = regex.compile(r"\p{Hangul}\Z")
_UNSPACED_ONLY = regex.compile(rf"[{UNSPACED}\p{{M}}]{{2,}}")
# What has other signs or digits, such as C++ and 3.5, has no forms.
_INFLECTS = regex.compile(r"[\p{L}\p{M}\s'-]+")
# Arabic writes the article and short prepositions together with the word.
_ARABIC = regex.compile(r"\p{Arabic}")
_ARABIC_BEFORE = r"(?:[وف]?(?:[بك]?ال|لل|[بكل])?)"
# The ``\b`` of Python's re, which takes a vowel sign of Hindi for no part of a word.
_PUBLISHED_BOUND = r"(?:(?<![\p{L}\p{N}_])(?=[\p{L}\p{N}_])|(?<=[\p{L}\p{N}_])(?![\p{L}\p{N}_]))"


@lru_cache(maxsize=256)
def folded(text: str) -> str:
    """One form of all ways to write a text: Unicode's NFKC, straight apostrophes and hyphens, nothing invisible."""
    return unicodedata.normalize("NFKC", text.translate(_SAME))


def touches(before: str, behind: str) -> bool:
    """Whether letters of one word stand on both sides of a place in a text, in scripts that part words by spaces."""
    return bool(_ENDS_SPACED.search(before) and _STARTS_SPACED.match(behind))


def as_read(text: str) -> str:
    """A phrase as its reader takes it, however it is written: without emphasis and case, with one kind of each mark."""
    text = one_spelling(plain(folded(text))).translate(_ONE_QUOTE)
    return regex.sub(r"\s+(?=[!?:;\"])|(?<=\")\s+", "", text)


def count(
    reply: str, keyword: str, language: str, without: Set[str] = frozenset(), published_bounds: bool = False
) -> int:
    r"""How often a keyword occurs as a word or words, in any form of it, case ignored.

    Args:
        reply: the text to look in.
        keyword: one word or several, each of which may be inflected.
        language: the code of the language that decides about forms.
        without: names of corrections that are switched off.
        published_bounds: whether, without the correction ``word-boundaries``, it must stand between ``\b``; else it is
            found anywhere then.

    Returns:
        The number of places, none of which overlap.
    """
    text, word = (reply, keyword) if "same-characters" in without else (folded(reply), folded(keyword))
    text, word = text.lower(), word.lower().strip()
    if not word:
        return 0
    code = base_language(language)
    inflected = code if "inflected-forms" not in without and _INFLECTS.fullmatch(word) else None
    pieces = tuple(_pieces(text, word, inflected, "spelling-variants" not in without))
    if "word-boundaries" not in without:
        pattern = _bounded(word, pieces)
    else:
        bound = _PUBLISHED_BOUND if published_bounds else ""
        pattern = _compiled(bound, pieces, bound, gap="")
    accidents = frozenset() if "no-accidental-words" in without else _accidents(text, word, code)
    return sum(1 for match in pattern.finditer(text) if match.start() not in accidents)


def starts_with(text: str, word: str, language: str) -> bool:
    """Whether the first word or words of ``text`` are ``word``, quotation marks and Markdown before them ignored."""
    text, word = _from_first_letter(folded(text).lower()), _from_first_letter(folded(word).lower())
    if not word or 0 in _accidents(text, word, base_language(language)):
        return False
    return _bounded(word, tuple(_pieces(text, word, None, True))).match(text) is not None


def _from_first_letter(text: str) -> str:
    return regex.sub(r"\A[^\p{L}\p{N}]+(?=.*[\p{L}\p{N}])", "", text, flags=regex.DOTALL).strip()


def _pieces(text: str, keyword: str, inflected: str | None, variants: bool) -> list[str | tuple[str, ...]]:
    """A keyword as strings, to be found as they are, and the words of ``text`` that may stand for each of its words."""
    pieces: list[str | tuple[str, ...]] = []
    end = 0
    for run in _WORD.finditer(keyword):
        word = run[0]
        found = {
            other
            for other in _words(text)
            if other == word
            or (variants and one_spelling(other) == one_spelling(word))
            or (inflected and is_form(other, word, inflected))
        }
        pieces += keyword[end : run.start()], tuple(sorted(found | {word}, key=len, reverse=True))
        end = run.end()
    return [*pieces, keyword[end:]]


@lru_cache(maxsize=64)
def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text))


def _bounded(word: str, pieces: tuple[str | tuple[str, ...], ...]) -> regex.Pattern[str]:
    """No letter of a script with spaces touches it, Korean particles aside, and it is no first half of a character."""
    before, after = "", r"(?!\p{M})"
    if _STARTS_SPACED.match(word):
        before = rf"(?<!{_SPACED})" + (_ARABIC_BEFORE if _ARABIC.match(word) else "")
    if _ENDS_SPACED.search(word) and not _HANGUL_END.search(word):
        after += rf"(?!{_SPACED})"
    return _compiled(before, pieces, after)


@lru_cache(maxsize=4096)
def _compiled(
    before: str, pieces: tuple[str | tuple[str, ...], ...], after: str, gap: str = r"[*_`~]*\s+[*_`~]*"
) -> regex.Pattern[str]:
    """``gap``: what may stand between the words of a keyword, Markdown's marks around one of them too."""
    body = ""
    for piece in pieces:
        if not isinstance(piece, str):
            body += f"(?:{'|'.join(map(regex.escape, piece))})"
        elif gap:
            body += gap.join(map(regex.escape, regex.split(r"\s+", piece)))
        else:
            body += regex.escape(piece)
    return regex.compile(before + body + after, regex.V1)


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
