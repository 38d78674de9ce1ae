"""What an instruction is: an id, the kwargs it needs, and a check of a reply.

A check is a plain function ``check(reply, **kwargs) -> bool``, registered by the :func:`instruction`
decorator. Its kwargs are described once by a :class:`Kwarg` each, so that a data set is refused when it is
loaded instead of when its replies are graded. What a native reader would say instead, where the published rule errs,
is a second check, registered by :func:`corrects`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

Relation = Literal["at least", "less than"]


class MalformedInstruction(ValueError):
    """An unknown instruction id, or kwargs that its check cannot use; the message says what was expected."""


@dataclass(frozen=True)
class Kwarg:
    """One keyword argument of an instruction.

    Attributes:
        expected: completes the sentence "expected …".
        accepts: whether a check can use the value.
        published: whether the published grader uses the value as it stands: it replaces some by random ones and
            raises on others, so their verdicts cannot be reproduced and are counted as ungradeable.
        is_text: whether it holds words of the conversation's language: a translation translates them.
        may_be_blank: whether an instruction with a blank word can be followed, and asks for something.
    """

    expected: str
    accepts: Callable[[Any], bool]
    published: Callable[[Any], bool] = lambda value: True
    is_text: bool = False
    may_be_blank: bool = True


@dataclass(frozen=True)
class Instruction:
    """A verifiable instruction.

    Attributes:
        id: such as ``keywords:existence``.
        check: ``check(reply, **kwargs)`` tells whether the reply follows it.
        kwargs: what the check takes.
        unreproducible: tells of a reply whether this machine cannot grade it as published.
        least: how many of what a relation bounds are in every reply: one sentence, say.
        published: tells of parsed kwargs whether the published grader uses them together, where each by itself is not
            enough (see :attr:`Kwarg.published`).
        hopeless: tells of parsed kwargs why no reply can follow them, beside blank words and too low a number.
        corrected: ``corrected(reply, asked, **kwargs)``, what a native reader would say; None where that is the same.
        counted: ``counted(reply, asked, **kwargs)``, the number to compare with the one asked for; by the published
            rules where ``asked`` is None. None where nothing is counted, or it is not kept.
    """

    id: str
    check: Callable[..., bool]
    kwargs: Mapping[str, Kwarg]
    unreproducible: Callable[[str], bool] | None = None
    least: int = 0
    published: Callable[..., bool] | None = None
    hopeless: Callable[..., str | None] | None = None
    corrected: Callable[..., bool] | None = None
    counted: Callable[..., int] | None = None

    def parse(self, raw: Mapping[str, object]) -> dict[str, Any]:
        """The kwargs for :attr:`check`: whole floats become ints, nulls that no check asks for are dropped.

        Raises:
            MalformedInstruction: a kwarg is missing, unknown, or not what its check needs.
        """
        given = {name: value for name, value in raw.items() if value is not None or name in self.kwargs}
        if unknown := sorted(set(given) - set(self.kwargs)):
            raise MalformedInstruction(
                f"{self.id}: unknown kwarg {unknown[0]!r}; expected {', '.join(self.kwargs) or 'no kwargs'}"
            )
        parsed: dict[str, Any] = {}
        for name, kwarg in self.kwargs.items():
            if name not in given:
                raise MalformedInstruction(f"{self.id}: kwarg {name!r} is missing; expected {kwarg.expected}")
            value = given[name]
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if not kwarg.accepts(value):
                raise MalformedInstruction(f"{self.id}: kwarg {name!r} is {value!r}; expected {kwarg.expected}")
            parsed[name] = value
        return parsed

    def as_published(self, kwargs: Mapping[str, Any]) -> bool:
        """Whether the published grader grades these (parsed) kwargs as they stand."""
        each = all(kwarg.published(kwargs[name]) for name, kwarg in self.kwargs.items())
        return each and (self.published is None or self.published(**kwargs))

    @property
    def bound(self) -> tuple[str, str] | None:
        """The names of the kwargs that bound a count, number and relation; None where none do."""
        relations = [name for name, kwarg in self.kwargs.items() if kwarg is RELATION]
        numbers = [name for name, kwarg in self.kwargs.items() if kwarg in (COUNT, ANY_COUNT)]
        return (numbers[0], relations[0]) if relations and numbers else None

    def why_unsatisfiable(self, kwargs: Mapping[str, Any]) -> str | None:
        """Why no reply can follow these (parsed) kwargs, or what makes them ask for nothing; None where one can.

        By the corrected rules, which leave such an instruction out.
        """
        for name, kwarg in self.kwargs.items():
            words = kwargs[name] if isinstance(kwargs[name], list) else [kwargs[name]]
            if not kwarg.may_be_blank and not all(word.strip() for word in words):
                return "it names an empty word (the published grader draws one at random)"
        if self.bound:
            number, relation = (kwargs[name] for name in self.bound)
            if relation == "less than" and number <= self.least:
                return f"it asks for fewer than {number}"
        return self.hopeless(**kwargs) if self.hopeless else None


INSTRUCTIONS: dict[str, Instruction] = {}

Check = Callable[..., bool]


def instruction(
    id: str,
    *,
    unreproducible: Callable[[str], bool] | None = None,
    least: int = 0,
    published: Callable[..., bool] | None = None,
    hopeless: Callable[..., str | None] | None = None,
    **kwargs: Kwarg,
) -> Callable[[Check], Check]:
    """Register a check under an instruction id; the arguments are the attributes of :class:`Instruction`."""

    def register(check: Check) -> Check:
        INSTRUCTIONS[id] = Instruction(id, check, kwargs, unreproducible, least, published, hopeless)
        return check

    return register


class Asked(NamedTuple):
    """What a reply must be read with.

    Attributes:
        language: the code of the language that it is to be in.
        prompts: the user's turns up to it.
        without: names of corrections that are switched off, to measure what each does.
    """

    language: str
    prompts: Sequence[str] = ()
    without: frozenset[str] = frozenset()

    def by(self, correction: str) -> bool:
        """Whether a correction is in force, by its name in ``corrected/corrections.toml``."""
        return correction not in self.without


def corrects(id: str, by: str = "") -> Callable[[Check], Check]:
    """Register ``check(reply, asked, **kwargs)`` as the corrected check of an instruction, see :class:`Asked`.

    Its reason and a reply on which the two checks differ are in ``corrected/corrections.toml``. Where the correction
    ``by``, on which it rests, is switched off, the published check holds.
    """

    def register(check: Check) -> Check:
        published = INSTRUCTIONS[id]

        def corrected(reply: str, asked: Asked, **kwargs: Any) -> bool:
            return check(reply, asked, **kwargs) if asked.by(by) else published.check(reply, **kwargs)

        INSTRUCTIONS[id] = replace(published, corrected=corrected if by else check)
        return check

    return register


def counts(id: str) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Register ``count(reply, asked, **kwargs)`` as what an instruction counts, see :attr:`Instruction.counted`."""

    def register(count: Callable[..., int]) -> Callable[..., int]:
        INSTRUCTIONS[id] = replace(INSTRUCTIONS[id], counted=count)
        return count

    return register


def compares(count: int, relation: Relation, threshold: int) -> bool:
    """``at least`` is ≥, ``less than`` is <."""
    return count >= threshold if relation == "at least" else count < threshold


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# A negative number is replaced at random by the published grader, except where it does not check the number.
COUNT = Kwarg("a whole number", _is_int, published=lambda value: value >= 0)
ANY_COUNT = Kwarg("a whole number", _is_int)
RELATION = Kwarg("'at least' or 'less than'", lambda value: value in ("at least", "less than"))
TEXT = Kwarg("a string", lambda value: isinstance(value, str), is_text=True)
PHRASE = replace(TEXT, may_be_blank=False)  # a text that is looked for
