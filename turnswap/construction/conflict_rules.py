"""Which instructions exclude each other: rules over pairs of ids and their kwargs, argued from the grader's code.

A rule of severity ``impossible`` holds only where no reply passes both instructions strictly under the published
rules; replies without any detectable language, which pass every demand for a language, are left aside. A ``tension``
can be satisfied, but only in a way that few readers would think of: a JSON string that holds six stars.
The rules are in :mod:`.conflict_table`, :mod:`.shape_table` and :mod:`.tension_table`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from turnswap.tasks.multiif.instructions import INSTRUCTIONS, parse_kwargs

Severity = Literal["impossible", "tension"]
Kwargs = Mapping[str, Any]


@dataclass(frozen=True)
class Demand:
    """One instruction of a turn: its id and its parsed kwargs."""

    id: str
    kwargs: Kwargs


@dataclass(frozen=True)
class Rule:
    """When two instructions exclude each other, or one of them excludes itself.

    Attributes:
        name: short, in words.
        reason: why no reply passes both; for people.
        first, second: the ids it concerns, either way round; no ``second`` where it is about one instruction alone.
        holds: whether these kwargs conflict.
        conflicting: an example.
        near: an example close to it that can be satisfied.
    """

    name: str
    severity: Severity
    reason: str
    first: frozenset[str]
    second: frozenset[str] | None
    holds: Callable[..., bool]
    conflicting: tuple[Demand, ...]
    near: tuple[Demand, ...]

    def concerns(self, *demands: Demand) -> bool:
        """Whether it holds for these, in this order."""
        if len(demands) != (1 if self.second is None else 2):
            return False
        ids = (self.first, self.second or frozenset())
        return all(demand.id in known for demand, known in zip(demands, ids, strict=False)) and self.holds(*demands)


@dataclass(frozen=True)
class Conflict:
    """A rule that holds for a turn's instructions at these positions (from 0), in ascending order."""

    rule: Rule
    positions: tuple[int, ...]

    def describe(self, instruction_ids: Sequence[str]) -> str:
        """One line for a reason of rejection."""
        pair = " × ".join(instruction_ids[position] for position in self.positions)
        return f"{pair}: {self.rule.reason} (rule: {self.rule.name})"


_RULES: dict[str, Rule] = {}

Example = tuple[tuple[str, Kwargs], ...]


def rule(
    name: str,
    severity: Severity,
    reason: str,
    first: str | Sequence[str],
    second: str | Sequence[str] | None = None,
    *,
    conflicting: Example,
    near: Example,
) -> Callable[[Callable[..., bool]], Callable[..., bool]]:
    """Register a predicate over one or two demands as a rule."""
    assert name not in _RULES

    def register(holds: Callable[..., bool]) -> Callable[..., bool]:
        _RULES[name] = Rule(
            name,
            severity,
            reason,
            _ids(first),
            None if second is None else _ids(second),
            holds,
            tuple(Demand(*each) for each in conflicting),
            tuple(Demand(*each) for each in near),
        )
        return holds

    return register


def _ids(ids: str | Sequence[str]) -> frozenset[str]:
    found = frozenset([ids] if isinstance(ids, str) else ids)
    assert found <= INSTRUCTIONS.keys(), found - INSTRUCTIONS.keys()
    return found


def all_rules() -> Mapping[str, Rule]:
    """The rules by name."""
    from . import conflict_table, shape_table, tension_table  # noqa: F401 - they register their rules

    return _RULES


def find_conflicts(instruction_ids: Sequence[str], kwargs: Sequence[Kwargs]) -> list[Conflict]:
    """All conflicts among the instructions of one turn, the impossible ones first.

    A pair that is impossible by one rule is not reported as a tension by another.

    Raises:
        MalformedInstruction: an unknown id, or kwargs that do not fit it.
    """
    demands = [Demand(id_, parse_kwargs(id_, raw)) for id_, raw in zip(instruction_ids, kwargs, strict=True)]
    groups = [(n,) for n in range(len(demands))] + list(itertools.combinations(range(len(demands)), 2))
    found: list[Conflict] = []
    for positions in groups:
        here = [
            Conflict(each, positions)
            for each in all_rules().values()
            if any(each.concerns(*(demands[n] for n in order)) for order in itertools.permutations(positions))
        ]
        worst = [each for each in here if each.rule.severity == "impossible"]
        found += worst or here
    return sorted(found, key=lambda each: each.rule.severity)
