"""Words from the data that the published grader uses as unescaped regular expressions.

``C++`` is a regex there, and so is ``¿qué?``: verdicts depend on it. What does not compile is matched
literally, and so is a pattern whose matching time is not bounded by a small multiple of the reply's length:
a word from a data set must not be able to hang a run. Both are reported as ungradeable-as-published.
"""

from __future__ import annotations

import re
import warnings
from functools import lru_cache
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

from .spec import Kwarg

_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)
_ONE_CHARACTER = (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN, op.CATEGORY)
_MAX_CHOICES = 8
_SPECIAL = frozenset(".^$*+?{}[]()|\\")  # a word without any is a regex for itself, wherever it stands


@lru_cache(maxsize=4096)
def compiles(pattern: str) -> bool:
    """Whether ``re`` takes it for a regex; the published grader raises where not."""
    if _SPECIAL.isdisjoint(pattern):
        return True
    try:
        # "possible nested set": published code compiles it all the same
        with warnings.catch_warnings(action="ignore"):
            re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


@lru_cache(maxsize=4096)
def is_regex(word: str) -> bool:
    """Whether ``word`` compiles and is bounded: no backreference or lookaround, at most 8 choices (optional
    parts, alternatives), no repeat of more than one character, and an unbounded one only at the very end.
    """
    if _SPECIAL.isdisjoint(word):
        return True
    if not compiles(word):
        return False
    with warnings.catch_warnings(action="ignore"):
        items = list(_parser.parse(word))
    choices = _choices(items[:-1], last=False) + _choices(items[-1:], last=True)
    return choices <= _MAX_CHOICES


def _choices(items: list[Any], *, last: bool) -> int:
    """The number of points at which matching may branch; more than allowed where it is not bounded."""
    total = 0
    for operator, argument in items:
        if operator in _REPEATS:
            _, most, body = argument
            single = len(body) == 1 and body[0][0] in _ONE_CHARACTER
            if most == 1:
                total += 1 + _choices(list(body), last=False)
            elif single and (last or most <= _MAX_CHOICES):
                total += 1 if last else most
            else:
                return _MAX_CHOICES + 1
        elif operator is op.BRANCH:
            total += sum(1 + _choices(list(branch), last=False) for branch in argument[1])
        elif operator is op.SUBPATTERN:
            total += _choices(list(argument[-1]), last=False)
        elif operator not in (*_ONE_CHARACTER, op.AT):
            return _MAX_CHOICES + 1
    return total


def is_usable(word: str, before: str = "", after: str = "") -> bool:
    """Whether ``word`` is a usable regex, also where the published grader puts it: between ``before`` and ``after``."""
    return _SPECIAL.isdisjoint(word) or (is_regex(word) and compiles(before + word + after))


@lru_cache(maxsize=4096)
def compile_word(word: str, before: str = "", after: str = "", flags: int = 0) -> re.Pattern[str]:
    """``before + word + after`` compiled, the word as a regex where it is a usable one, else literally."""
    with warnings.catch_warnings(action="ignore"):
        return re.compile(before + (word if is_usable(word, before, after) else re.escape(word)) + after, flags)


def _is_word_list(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)


PATTERN = Kwarg("a string", lambda value: isinstance(value, str), is_text=True, may_be_blank=False)
PATTERNS = Kwarg("a list of one or more strings", _is_word_list, is_text=True, may_be_blank=False)
