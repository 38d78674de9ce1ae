"""Numbers in a text, in digits of any script, in words, and in Han numerals."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple

import regex

from turnswap.tasks.multiif.segmentation import han_value

WORDING: dict[str, dict[str, Any]] = tomllib.loads((files(__package__) / "wording.toml").read_text("utf-8"))
_DIGITS = regex.compile(r"(?<![\d.,])\d{1,3}(?:[,.\u00a0\u202f ]\d{3})+(?!\d)|(?<![\d.])\d++(?![.,]\d)")
_HAN = regex.compile(r"[〇零一二三四五六七八九十百千]+")
_LONGEST = 20  # characters of a number that anybody counts to


class Number(NamedTuple):
    """A number that stands at ``start`` to ``end`` of a text; ``times`` where the word itself counts times: twice."""

    value: int
    start: int
    end: int
    times: bool = False


@cache
def values_of(language: str) -> dict[str, int]:
    """The words that are numbers in a language, as far as ``wording.toml`` has them."""
    pairs = (pair.split("=") for pair in WORDING.get(language, {}).get("numbers", "").split())
    return {word: int(value) for word, value in pairs}


@cache
def _words(language: str) -> regex.Pattern[str] | None:
    words = values_of(language)
    if not words:
        return None
    either = "|".join(sorted(map(regex.escape, words), key=len, reverse=True))
    if language == "zh":
        return regex.compile(either)
    word = rf"(?:{either})(?:-(?:{either}))?"
    if language == "en":
        # "one hundred and fifty" is one number; "one hundred and two hundred" are two
        small = rf"(?!(?:hundred|thousand|once|single|dozen)\b){word}\b"
        big = r"(?:hundred|thousand)\b"
        word = rf"(?:{small}\s+)?{big}(?:\s+{big}|\s+(?:and\s+)?{small}(?!\s+{big})|\s+{small}\s+{big})*+|{word}"
    return regex.compile(rf"(?<![\w\p{{M}}])(?:{word})(?![\w\p{{M}}])", regex.IGNORECASE)


def numbers_in(text: str, language: str) -> list[Number]:
    """All cardinal numbers, in order; ordinals (2nd, 第2) are none.

    Args:
        text: of a prompt.
        language: its code, such as ``zh``; it decides which words are numbers.
    """
    wording = WORDING.get(language, {})
    read = {_DIGITS: _from_digits, _HAN: han_value} if language in ("zh", "ja", "yue") else {_DIGITS: _from_digits}
    found = [
        Number(value_of(match.group()), *match.span())
        for numerals, value_of in read.items()
        for match in numerals.finditer(text)
        if len(match.group()) <= _LONGEST
    ]
    if pattern := _words(language):
        told = values_of(language)
        for match in pattern.finditer(text):
            parts = match.group().casefold().replace("-", " ").split()
            times = parts[0] in wording.get("times", ())
            found.append(Number(_from_words([told[part] for part in parts if part in told]), *match.span(), times))
    behind, before = wording.get("ordinal_behind", "(?!)"), wording.get("ordinal_before", "(?!)")
    counted = (
        number
        for number in found
        if not regex.match(behind, text[number.end : number.end + _LONGEST], regex.IGNORECASE)
        and not regex.search(before, text[max(0, number.start - _LONGEST) : number.start])
    )
    return sorted(counted, key=lambda number: number.start)


def _from_digits(digits: str) -> int:
    return int("".join(character for character in digits if character.isdecimal()))


def _from_words(values: list[int]) -> int:
    """2, 100, 50 is 250; what stands before a thousand is multiplied by it."""
    total, part = 0, 0
    for value in values:
        if value == 100 and part < 100:
            part = (part or 1) * value
        elif value == 1000:
            total, part = total + (part or 1) * value, 0
        else:
            part += value
    return total + part
