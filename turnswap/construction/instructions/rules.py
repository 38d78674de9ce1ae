"""Which instructions exclude each other: rules over up to three ids and their kwargs, argued from the grader's code.

A rule of severity ``impossible`` holds only where no reply passes all its instructions strictly under the published
rules; replies without any detectable language, which pass every demand for a language, are left aside. Loosely each
instruction may be passed by another variant of the reply: a first line carries what the rest must not hold. So what
is impossible loosely too is said apart (:attr:`Rule.loose`). A ``tension`` can be satisfied strictly, but only in a way
that few readers would think of: a JSON string that holds six stars.
The rules stand below the records of the instructions that they are about.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from turnswap.tasks.multiif.instructions import INSTRUCTIONS, parse_kwargs

from . import ids
from .making import Forced, making_of

Severity = Literal["impossible", "tension"]
Loose = Literal["possible", "impossible"]
Holds = Callable[..., bool]
ANY: tuple[str, ...] = ()  # in place of ids: whatever instruction it is


@dataclass(frozen=True)
class Demand:
    """One instruction of a turn: its id and its parsed kwargs."""

    id: str
    kwargs: Mapping[str, Any]

    @property
    def forced(self) -> list[Forced]:
        """What it forces into a reply."""
        return making_of(self.id).forces(self.kwargs)

    @property
    def at_least(self) -> int:
        """The least count that its relation allows; 0 where it has none."""
        return max(self._bounds.get("at least", 0), 0)

    @property
    def below(self) -> float:
        """The count that its relation no longer allows; infinite where it allows any."""
        return self._bounds.get("less than", float("inf"))

    @property
    def _bounds(self) -> dict[str, int]:
        names = INSTRUCTIONS[self.id].bound
        return {self.kwargs[names[1]]: self.kwargs[names[0]]} if names else {}

    def bounds_the_same_as(self, other: Demand) -> bool:
        """Whether both bound the same count: of the same word, say."""
        counted = self.kwargs.keys() - (INSTRUCTIONS[self.id].bound or ())
        return self.id == other.id and all(_same(self.kwargs[name], other.kwargs[name]) for name in counted)


def _same(one: Any, other: Any) -> bool:
    words = [each.strip().lower() or each if isinstance(each, str) else each for each in (one, other)]
    return bool(words[0] == words[1])


@dataclass(frozen=True)
class Rule:
    """When two or three instructions exclude each other, or one excludes itself.

    Attributes:
        name: short, in words.
        severity: of what is graded strictly.
        loose: whether a reply can pass them all loosely; an example for each such rule stands in its tests.
        reason: why no reply passes them all; for people.
        sides: the ids it concerns, any way round, :data:`ANY` for all; one side where it is about one instruction.
        holds: whether these kwargs conflict.
    """

    name: str
    severity: Severity
    loose: Loose
    reason: str
    sides: tuple[tuple[str, ...], ...]
    holds: Holds

    def concerns(self, *demands: Demand) -> bool:
        """Whether it holds for these, in this order."""
        fits = all(not ids or each.id in ids for each, ids in zip(demands, self.sides, strict=False))
        return len(demands) == len(self.sides) and fits and self.holds(*demands)


@dataclass(frozen=True)
class Conflict:
    """A rule that holds for a turn's instructions at these positions (from 0), in ascending order."""

    rule: Rule
    positions: tuple[int, ...]

    def describe(self, instruction_ids: Sequence[str]) -> str:
        """One line for a reason of rejection."""
        pair = " × ".join(instruction_ids[position] for position in self.positions)
        return f"{pair}: {self.rule.reason} (rule: {self.rule.name})"


def find_conflicts(instruction_ids: Sequence[str], kwargs: Sequence[Mapping[str, Any]]) -> list[Conflict]:
    """All conflicts among the instructions of one turn, the impossible ones first.

    A pair that is impossible by one rule is not reported as a tension by another, nor as a part of three.

    Raises:
        MalformedInstruction: an unknown id, or kwargs that do not fit it.
    """
    demands = [Demand(id_, parse_kwargs(id_, raw)) for id_, raw in zip(instruction_ids, kwargs, strict=True)]
    found: list[Conflict] = []
    excluded: list[set[int]] = []
    for size in (1, 2, 3):
        rules = [rule for rule in RULES.values() if len(rule.sides) == size]
        for positions in itertools.combinations(range(len(demands)), size):
            if size > 2 and any(each <= {*positions} for each in excluded):
                continue
            here = [
                Conflict(each, positions)
                for each in rules
                if any(each.concerns(*(demands[n] for n in order)) for order in itertools.permutations(positions))
            ]
            worst = [each for each in here if each.rule.severity == "impossible"]
            excluded += [{*positions}] if worst else []
            found += worst or here
    return sorted(found, key=lambda each: each.rule.severity)


RULES: dict[str, Rule] = {}


def _rule(
    severity: Severity, name: str, *ids_of_sides: str | tuple[str, ...], loose: Loose = "possible"
) -> Callable[[Holds], Holds]:
    """Register a predicate over one to three demands under a name; its docstring is the reason.

    Where it holds, no reply passes strictly (:data:`impossible`), or only an odd one does (:data:`tension`).
    """

    def register(holds: Holds) -> Holds:
        assert name not in RULES, name
        sides = tuple((side,) if isinstance(side, str) else side for side in ids_of_sides)
        RULES[name] = Rule(name, severity, loose, holds.__doc__ or name, sides, holds)
        return holds

    return register


impossible, tension = partial(_rule, "impossible"), partial(_rule, "tension")


@impossible("fewer than none", ANY, loose="impossible")
def _fewer_than_none(one: Demand) -> bool:
    """no count is below zero, and a reply has at least one sentence"""
    return one.below <= (1 if one.id == ids.SENTENCES else 0)


@impossible("bounds that exclude each other", ANY, ANY)
def _bounds_that_exclude_each_other(one: Demand, other: Demand) -> bool:
    """one asks for at least as many as the other forbids"""
    return one.bounds_the_same_as(other) and one.at_least >= other.below
