"""The record of an instruction: all that the construction knows beside its check, every part of it optional.

Keywords are regular expressions to the published grader; one with special characters is taken to force no text here, so
that what is concluded from forced text is never too much.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnswap.tasks.multiif import text as counting
from turnswap.tasks.multiif.instructions import get_instruction
from turnswap.tasks.multiif.instructions.patterns import is_regex

from .draw import Draw
from .shape import Shape

Kwargs = Mapping[str, Any]
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


@dataclass(frozen=True)
class Making:
    """What data sets are made with. A part that is missing is a gap that the user is told of, never an error.

    Attributes:
        id: the instruction's.
        draw: kwargs that go with a conversation's next turn, None where none do. Without it the instruction cannot be
            drawn: it comes with seeds alone.
        weight: how often to draw it, relative to the others.
        named: what a request must name, see :func:`must_contain`.
        own_numbers: numbers that a request may hold beside those of the kwargs: six asterisks.
        exact: whether its number is exact, so that a request must not say "at least".
        shape: adds what it asks to the shape of a reply. Without it no reply is constructed for it.
        forces: the text that it forces into every reply.
        unsuitable: why it cannot be had in a language, by its code and scripts; None where it can. Without it, it can
            be had in any.
        warning: what the published rule makes of it in a language of these scripts; None for nothing odd.
        fixed_text: tells a text of the kwargs that stays as it is in a translation.
        wrong_text: why a translation cannot stand in the kwargs; None where it can.
        from_prompts: whether its text is usually one of the prompts, and is translated with it.
        plain: what it asks, in plain words for people, in the form of ``plain.toml``, which comes first.
    """

    id: str
    draw: Callable[[Draw], dict[str, Any] | None] | None = None
    weight: float = 1.0
    named: Callable[[Kwargs], Sequence[str]] | None = None
    own_numbers: frozenset[int] = frozenset()
    exact: bool = False
    shape: Callable[[Shape, Kwargs], None] | None = None
    forces: Callable[[Kwargs], list[Forced]] = lambda kwargs: []
    unsuitable: Callable[[str, frozenset[str]], str | None] | None = None
    warning: Callable[[frozenset[str]], str | None] = lambda scripts: None
    fixed_text: Callable[[str], bool] = lambda text: False
    wrong_text: Callable[[str], str | None] = lambda text: None
    from_prompts: bool = False
    plain: str = ""


MAKINGS: dict[str, Making] = {}


def making(id: str, **parts: Any) -> None:
    """Register what is known of an instruction; the arguments are the attributes of :class:`Making`.

    Raises:
        MalformedInstruction: there is no such instruction.
    """
    MAKINGS[get_instruction(id).id] = Making(id, **parts)


def making_of(id: str) -> Making:
    """What is known of an instruction; of one that nobody described, nothing.

    Raises:
        MalformedInstruction: there is no such instruction.
    """
    return MAKINGS.get(id) or Making(get_instruction(id).id)


def nothing_to_draw(draw: Draw) -> dict[str, Any]:
    """For :attr:`Making.draw` of an instruction without kwargs."""
    return {}


def must_contain(id: str, kwargs: Kwargs) -> list[str]:
    """What a reader must find in a request: numbers in digits, texts of the kwargs, markers, and what is meant.

    Ordinals are given as ``2nd``. Where nobody described the instruction: every text, relation and number.

    Raises:
        MalformedInstruction: there is no such instruction.
    """
    if named := making_of(id).named:
        return list(named(kwargs))
    return [str(each) for name in get_instruction(id).kwargs for each in listed(kwargs[name])]


def is_of_any_language(id: str, kwargs: Kwargs) -> bool:
    """Whether it goes with a reply in another language than the conversation's: it asks for no words of a language."""
    return making_of(id).unsuitable is None and not texts_of(id, kwargs)


def texts_of(id: str, kwargs: Kwargs) -> list[str]:
    """The texts of kwargs that are of the conversation's language: those that a translation translates."""
    return [text for name in text_kwargs(id, kwargs) for text in listed(kwargs[name])]


def text_kwargs(id: str, kwargs: Kwargs) -> list[str]:
    """The names of the kwargs that hold such texts. Letters, numbers, relations and codes of languages are none."""
    fixed = making_of(id).fixed_text
    texts = [name for name, kwarg in get_instruction(id).kwargs.items() if kwarg.is_text]
    return [name for name in texts if not any(map(fixed, listed(kwargs[name])))]


def with_texts(id: str, kwargs: Kwargs, texts: Sequence[str]) -> dict[str, Any]:
    """The kwargs with these in place of :func:`texts_of`."""
    left, made = list(texts), dict(kwargs)
    for name in text_kwargs(id, kwargs):
        new = [left.pop(0) for _ in listed(kwargs[name])]
        made[name] = new if isinstance(kwargs[name], list | tuple) else new[0]
    return made


def listed(value: Any) -> list[Any]:
    """The items of a kwarg that is a list, or its one value."""
    return list(value) if isinstance(value, list | tuple) else [value]
