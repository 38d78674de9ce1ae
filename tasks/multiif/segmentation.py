"""Words as a reader of the language counts them.

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

# Written without spaces between words.
UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}ー々〆"

_BOUNDARY = regex.compile(r"(?w)\b", regex.V1)
_WORD = regex.compile(r"[\p{L}\p{N}]")
_CHARACTER = regex.compile(r"[\p{Han}\p{Hiragana}\p{Katakana}ー々〆]")

_HALF = regex.compile(r"[\ud800-\udfff]")  # of a surrogate pair: JSON can hold one, UTF-8 cannot

# Their readers count characters, 字 or 文字, as the published grader does, unless they are asked for words.
_COUNTED_IN_CHARACTERS = ("zh", "ja", "yue")
# Blanks are taken whole, and no number starts inside another: on a long run of either the search stays linear.
_NUMBER = r"((?<!\d)\d[\d,]{0,11}+|(?<![〇零一二两兩三四五六七八九十百千])[〇零一二两兩三四五六七八九十百千]{1,12}+)"
_AROUND = r"(?:多|余|餘|左右|以上|以下|以内|程度)?\s*+[个個]?\s*+"
_WORDS_ASKED_FOR = regex.compile(
    rf"(?:{_NUMBER}\s*+[个個]?\s*+[-~–至到]\s*+)?{_NUMBER}\s*+{_AROUND}{_AROUND}[的の]?\s*+"
    r"(?:英文|英语|英語|中文|不同的?)?(?:单词|單詞|词|詞|単語|語)"
    rf"|(?:[词詞][语語]?[数數]量?|単語数|語数)[^\d。！？]{{0,8}}?{_NUMBER}"
)
_HYPHEN = regex.compile(r"(?<=[\p{L}\p{M}\p{N}])[-\u2010\u2011](?=[\p{L}\p{N}])")
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
    """Whether a Chinese or Japanese prompt asks for so many words (词, 単語), where 字 and 文字 are characters.

    "No more than 100" is graded as less than 101, so the number before counts too.
    """
    asked = {
        int(found.replace(",", "")) if found[0].isdecimal() else han_value(found)
        for prompt in prompts
        for match in _WORDS_ASKED_FOR.finditer(unicodedata.normalize("NFKC", prompt))
        for found in match.groups()
        if found
    }
    return not asked.isdisjoint((number, number - 1))


def han_value(numeral: str) -> int:
    """The value of a number below ten thousand in Han numerals: 三百 is 300, 十二 12, 二〇 20."""
    values = [2 if character in "两兩" else int(unicodedata.numeric(character)) for character in numeral]
    if max(values) < 10:
        return int("".join(map(str, values)))
    total, digit = 0, None
    for value in values:
        if value >= 10:
            total += (1 if digit is None else digit) * value
            digit = None
        else:
            digit = value
    return total + (digit or 0)


def count_words(text: str, language: str, in_words: bool = False, hyphenated: bool = True) -> int:
    """Words of ``text``; in Chinese, Cantonese and Japanese characters, each other word counting as one.

    ``hyphenated``: a word with a hyphen inside, such as avant-hier, is one. So is one with an apostrophe: l'eau.
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
    if hyphenated:
        text = _HYPHEN.sub("", text)
    return characters + sum(1 for segment in _BOUNDARY.split(text) if _WORD.search(segment))
