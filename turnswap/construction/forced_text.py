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

from .conflict_rules import Demand

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
        return min(min(map(self._words, self._counts(text))) for text in self.texts)

    def _counts(self, text: str) -> Sequence[int]:
        return counting.count_words(text), counting.count_words_cjk(text)

    def _words(self, words: int) -> int:
        return self.copies * (words - 1) + 1 if words else 0


def literal(word: str) -> str | None:
    """The word that a keyword stands for; None where it is a pattern."""
    return None if is_regex(word) and _SPECIAL.search(word) else word


def forced(demand: Demand) -> list[Forced]:
    """What the instruction forces into a reply."""
    kwargs = demand.kwargs
    match demand.id:
        case "keywords:existence":
            return _literals(kwargs["keywords"])
        case "keywords:frequency" if kwargs["relation"] == "at least" and kwargs["frequency"] > 0:
            return _literals([kwargs["keyword"].strip()], kwargs["frequency"])
        case "startend:end_checker":
            return _text(kwargs["end_phrase"].strip(), right=("", '"'))
        case "combination:repeat_prompt":
            return _text(kwargs["prompt_to_repeat"].strip(), left=("",))
        case "length_constraints:nth_paragraph_first_word":
            return _text(kwargs["first_word"], left=("", " ", '"'), right=("", " ", "."))
        case "detectable_format:multiple_sections" if kwargs["num_sections"] > 0:
            return _literals([kwargs["section_spliter"].strip()], kwargs["num_sections"], right=("1", " 1"))
        case "detectable_content:postscript":
            known = {"P.S.": ("p.s.", "p. s."), "P.P.S": ("p.p.s", "p. p.s", "p.p. s", "p. p. s")}
            marker = kwargs["postscript_marker"]
            return [Forced(known[marker])] if marker in known else _literals([marker])
        case "detectable_format:constrained_response":
            return [Forced(tuple(f"My answer is {answer}." for answer in ("yes", "no", "maybe")))]
    return []


def _literals(words: Sequence[str], copies: int = 1, right: tuple[str, ...] = _FREE) -> list[Forced]:
    return [Forced((word,), copies, right=right) for each in words if (word := literal(each))]


def _text(text: str, left: tuple[str, ...] = _FREE, right: tuple[str, ...] = _FREE) -> list[Forced]:
    return [Forced((text,), left=left, right=right)] if text else []
