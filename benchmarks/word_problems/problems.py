"""English word problems to train on, and the same problems in English and in Spanish to evaluate on."""

from __future__ import annotations

import functools
import itertools
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

Language: TypeAlias = Literal["english", "spanish"]
Part: TypeAlias = Literal["train", "select", "report"]

TEXTS = Path(__file__).parent / "texts"
RESULTS = range(1, 10)
OPERANDS = range(2, 13)  # not 1: every noun is plural
QUESTION = {"english": "Question", "spanish": "Pregunta"}
ANSWER = {"english": "Answer", "spanish": "Respuesta"}
OTHERS = 3  # wrong answers that the right one is held against
STEPS = {"english": "Steps", "spanish": "Pasos"}


@dataclass(frozen=True)
class Problem:
    """A question, what its answer is, and what it is not.

    Attributes:
        template: its number among those of its part.
        question: in the languages it is written in.
        steps: the equations that lead to the answer.
        answer: the number asked for.
        others: equations of the same numbers with other signs, which lead to other whole numbers.
    """

    template: int
    question: dict[str, str]
    steps: str
    answer: int
    others: tuple[str, ...]

    def prompt(self, language: Language) -> str:
        """What stands before the steps."""
        return f"{QUESTION[language]}: {self.question[language]}\n{STEPS[language]}:"

    def worked(self, language: Language) -> str:
        """The steps and the answer, after :meth:`prompt`."""
        return f" {self.steps}\n{ANSWER[language]}: {self.answer}"


@functools.cache
def templates() -> dict[str, Any]:
    """What ``texts/templates.json`` holds."""
    found: dict[str, Any] = json.loads((TEXTS / "templates.json").read_text("utf-8"))
    return found


@functools.cache
def numbers_of(kind: str) -> dict[int, list[tuple[int, ...]]]:
    """By result, the numbers that a formula such as ``(a-b)/c`` takes: every step a whole number from 1 to 18."""
    found: dict[int, list[tuple[int, ...]]] = {result: [] for result in RESULTS}
    for numbers in itertools.product(OPERANDS, repeat=sum(letter in kind for letter in "abc")):
        values = [value for _, value in steps_of(kind, numbers)]
        if values[-1] in RESULTS and all(value == int(value) and 1 <= value <= 18 for value in values):
            found[int(values[-1])].append(numbers)
    return {result: some for result, some in found.items() if some}


def steps_of(kind: str, numbers: tuple[int, ...]) -> list[tuple[str, float]]:
    """The equations' left sides and their values, from left to right.

    >>> steps_of("(a-b)/c", (14, 2, 3))
    [('14 - 2', 12), ('12 / 3', 4.0)]
    """
    signs = [letter for letter in kind if letter in "+-*/"]
    value: float = numbers[0]
    steps = []
    for sign, number in zip(signs, numbers[1:], strict=True):
        left = f"{value:g} {sign} {number}"
        value = {"+": value + number, "-": value - number, "*": value * number, "/": value / number}[sign]
        steps.append((left, value))
    return steps


def problems(part: Part, seed: str) -> Iterator[Problem]:
    """Different problems for ever, one of each template in turn; results are drawn evenly among a formula's."""
    rng = random.Random(f"{part} {seed}")
    seen: set[str] = set()
    held = templates()
    for number in itertools.cycle(range(len(held[part]))):
        kind, *texts = held[part][number]
        by_result = numbers_of(kind)
        numbers = rng.choice(by_result[rng.choice(sorted(by_result))])
        name, other = rng.sample(held["names"], 2)
        things = rng.choice(held["things"])
        letters = dict(zip("abc", numbers, strict=False))
        question = {
            language: text.format(name=name, other=other, things=thing, **letters)
            for language, text, thing in zip(QUESTION, texts, things, strict=False)
        }
        if question["english"] in seen:
            continue
        seen.add(question["english"])
        steps = steps_of(kind, numbers)
        answer = int(steps[-1][1])
        yield Problem(number, question, written(steps), answer, others(numbers, answer, rng))


def written(steps: Sequence[tuple[str, float]]) -> str:
    """Equations as they are trained on."""
    return "; ".join(f"{left} = {value:g}" for left, value in steps)


def others(numbers: tuple[int, ...], answer: int, rng: random.Random) -> tuple[str, ...]:
    """Equations of the same numbers that lead to other whole numbers, each of them to a different one."""
    found: dict[float, str] = {}
    every = list(itertools.product("+-*/", repeat=len(numbers) - 1))
    for signs in rng.sample(every, len(every)):
        steps = steps_of("a" + "".join(f"{sign}b" for sign in signs), numbers)
        if all(value == int(value) and value >= 1 for _, value in steps) and steps[-1][1] != answer:
            found.setdefault(steps[-1][1], written(steps))
    return tuple(found.values())[:OTHERS]
