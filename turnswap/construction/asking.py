"""Questions with checked answers: one repetition, then a reason."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

from .llm import LLM, Question

T = TypeVar("T")


def ask_checked(llm: LLM, questions: Sequence[Question], checks: Sequence[Callable[[str], T]]) -> list[T | ValueError]:
    """What the checks make of the answers, in order; the last ValueError where two answers were no good.

    A question whose answer fails its check is repeated once, with the reason as ``problem`` in its payload.

    Raises:
        UserError: see :meth:`LLM.ask`.
    """
    made: list[T | ValueError] = [
        _read(answer, check) for answer, check in zip(llm.ask(questions), checks, strict=True)
    ]
    failed = [number for number, each in enumerate(made) if isinstance(each, ValueError)]
    again = [
        dataclasses.replace(questions[number], payload={**questions[number].payload, "problem": str(made[number])})
        for number in failed
    ]
    for number, answer in zip(failed, llm.ask(again), strict=True):
        made[number] = _read(answer, checks[number])
    return made


def _read(answer: str, check: Callable[[str], T]) -> T | ValueError:
    try:
        return check(answer)
    except ValueError as error:
        return error
