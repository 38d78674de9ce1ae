"""Text that an instruction forces into every reply that follows it, and the least that this text costs.

Keywords are regular expressions to the published grader; one with special characters is taken to force nothing here,
so that what is concluded from forced text is never too much.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from turnswap.tasks.multiif import text as counting
from turnswap.tasks.multiif.instructions.patterns import is_regex

_SPECIAL = re.compile(r"[\\.^$*+?{}\[\]|()]")
_FREE = ("", " ", "x")  # what may stand beside it: an end of the reply, a character that parts words, or one of a word


@dataclass(frozen=True)
class Forced:
    """One of ``texts`` must occur, ``copies`` times without overlap, between some ``left`` and some ``right``."""

    texts: tuple[str, ...]
    copies: int = 1
    left: tuple[str, ...] = _FREE
    right: tuple[str, ...] = _FREE

    def in_context(self) -> list[str]:
        """Every way in which it may stand."""
        return [left + text + right for text in self.texts for left in self.left for right in self.right]

    def least(self, count: Callable[[str], int]) -> int:
        """The least number of what is counted in it."""
        return self.copies * min(map(count, self.texts))

    def least_words(self) -> int:
        """The least number of words, by any method of counting; copies may be written together."""
        counts = [min(counting.count_words(text), counting.count_words_cjk(text)) for text in self.texts]
        return min(self.copies * (count - 1) + 1 if count else 0 for count in counts)


def literal(word: str) -> str | None:
    """The word that a keyword stands for; None where it is a pattern."""
    return None if is_regex(word) and _SPECIAL.search(word) else word


def literals(words: Sequence[str], copies: int = 1, right: tuple[str, ...] = _FREE) -> list[Forced]:
    """Each of these keywords, so often."""
    return [Forced((word,), copies, right=right) for each in words if (word := literal(each))]


def phrase(text: str, left: tuple[str, ...] = _FREE, right: tuple[str, ...] = _FREE) -> list[Forced]:
    """A text as it is; nothing for an empty one."""
    return [Forced((text,), left=left, right=right)] if text else []
