"""What an instruction is: an id, the kwargs it needs, and a check of a reply.

A check is a plain function ``check(reply, **kwargs) -> bool``, registered by the :func:`instruction`
decorator. Its kwargs are described once by a :class:`Kwarg` each, so that a data set is refused when it is
loaded instead of when its replies are graded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Relation = Literal["at least", "less than"]


class MalformedInstruction(ValueError):
    """An unknown instruction id, or kwargs that its check cannot use; the message says what was expected."""


@dataclass(frozen=True)
class Kwarg:
    """One keyword argument of an instruction.

    ``expected`` completes the sentence "expected …". ``published`` tells whether the published grader uses
    the value as it stands: it replaces some by random ones and raises on others, so their verdicts cannot be
    reproduced and are counted as ungradeable.
    """

    expected: str
    accepts: Callable[[Any], bool]
    published: Callable[[Any], bool] = lambda value: True


@dataclass(frozen=True)
class Instruction:
    """A verifiable instruction: ``check(reply, **kwargs)`` tells whether the reply follows it."""

    id: str
    check: Callable[..., bool]
    kwargs: Mapping[str, Kwarg]
    unreproducible: Callable[[str], bool] | None = None

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
        return all(kwarg.published(kwargs[name]) for name, kwarg in self.kwargs.items())


INSTRUCTIONS: dict[str, Instruction] = {}


def instruction(
    id: str, *, unreproducible: Callable[[str], bool] | None = None, **kwargs: Kwarg
) -> Callable[[Callable[..., bool]], Callable[..., bool]]:
    """Register a check under an instruction id.

    ``unreproducible`` tells of a reply whether this machine cannot grade it as published.
    """

    def register(check: Callable[..., bool]) -> Callable[..., bool]:
        INSTRUCTIONS[id] = Instruction(id, check, kwargs, unreproducible)
        return check

    return register


def compares(count: int, relation: Relation, threshold: int) -> bool:
    """``at least`` is ≥, ``less than`` is <."""
    return count >= threshold if relation == "at least" else count < threshold


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_str(value: Any) -> bool:
    return isinstance(value, str)


# A negative number is replaced at random by the published grader, where it checks the number at all.
COUNT = Kwarg("a whole number", _is_int, published=lambda value: value >= 0)
RELATION = Kwarg("'at least' or 'less than'", lambda value: value in ("at least", "less than"))
TEXT = Kwarg("a string", _is_str)
