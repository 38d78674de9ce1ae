"""Words and letters that must or must not occur."""

from __future__ import annotations

import re
from typing import Any

from .. import matching
from .patterns import PATTERN, PATTERNS, compile_word, compiles, is_usable
from .spec import COUNT, RELATION, Asked, Kwarg, Relation, compares, corrects, instruction


def _is_letter(value: Any) -> bool:
    # "İ" has two characters in lower case, on which the published grader raises.
    return isinstance(value, str) and len(value) == 1 == len(value.lower()) and "a" <= value.lower() <= "z"


# Anything but a single Latin letter is replaced at random by the published grader (``#`` in 1122:18:en).
LETTER = Kwarg("a letter", lambda value: isinstance(value, str), published=_is_letter, may_be_blank=False)


_REGEX_SIGN = re.compile(r"[.^$*+?{}\[\]\\|()]")


def _count(reply: str, word: str, asked: Asked, bound: str = "") -> int:
    """How often a reader finds a word. ``bound``: what the published pattern has on both sides of it."""
    if not asked.by("literal-words") and _REGEX_SIGN.search(word):
        return len(compile_word(word, bound, bound, re.IGNORECASE).findall(reply))
    return matching.count(reply, word, asked.language, asked.without, published_bounds=bool(bound))


@instruction("keywords:existence", published=lambda keywords: all(map(is_usable, keywords)), keywords=PATTERNS)
def existence(reply: str, keywords: list[str]) -> bool:
    """Each keyword is found, case ignored."""
    return all(compile_word(word, flags=re.IGNORECASE).search(reply) for word in keywords)


@corrects("keywords:existence")
def _existence(reply: str, asked: Asked, keywords: list[str]) -> bool:
    return all(_count(reply, word, asked) for word in keywords)


def _counts_keyword(keyword: str, **_: object) -> bool:
    # An empty keyword is replaced at random. One that does not compile is caught here, and nowhere else.
    return bool(keyword) and (is_usable(keyword.strip()) or not compiles(keyword.strip()))


@instruction("keywords:frequency", published=_counts_keyword, keyword=PATTERN, frequency=COUNT, relation=RELATION)
def frequency(reply: str, keyword: str, frequency: int, relation: Relation) -> bool:
    """The keyword is found often or seldom enough, case ignored.

    As published, one that does not compile fails whatever the relation, and a blank one stands at every character.
    An empty one is never found.
    """
    if not compiles(keyword.strip()):
        return False
    found = len(compile_word(keyword.strip(), flags=re.IGNORECASE).findall(reply)) if keyword else 0
    return compares(found, relation, frequency)


@corrects("keywords:frequency")
def _frequency(reply: str, asked: Asked, keyword: str, frequency: int, relation: Relation) -> bool:
    return compares(_count(reply, keyword, asked), relation, frequency)


@instruction(
    "keywords:forbidden_words",
    published=lambda forbidden_words: all(is_usable(word, r"\b", r"\b") for word in forbidden_words),
    forbidden_words=PATTERNS,
)
def forbidden_words(reply: str, forbidden_words: list[str]) -> bool:
    """None of the words stands between word boundaries, case ignored."""
    return not any(compile_word(word, r"\b", r"\b", re.IGNORECASE).search(reply) for word in forbidden_words)


@corrects("keywords:forbidden_words")
def _forbidden_words(reply: str, asked: Asked, forbidden_words: list[str]) -> bool:
    return not any(_count(reply, word, asked, r"\b") for word in forbidden_words)


@instruction("keywords:letter_frequency", letter=LETTER, let_frequency=COUNT, let_relation=RELATION)
def letter_frequency(reply: str, letter: str, let_frequency: int, let_relation: Relation) -> bool:
    """The letter occurs often or seldom enough in the lowercased reply. An empty letter never occurs."""
    found = reply.lower().count(letter.lower()) if letter else 0
    return compares(found, let_relation, let_frequency)
