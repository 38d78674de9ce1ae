"""What a search goes by: figures of evaluations, their directions, and the constraints on them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from turnswap.core.errors import UserError

from .documents import Documents
from .inference import Part
from .settings import Measure
from .suite import Metric, Suite, find_metric

SHARES = re.compile(r"acc|exact_match|f1|in_language")  # others may be, but their names do not say it
POINT = 0.01


@dataclass(frozen=True)
class Objective:
    """A figure of an evaluation."""

    name: str
    names: tuple[str, ...]  # of the tasks, groups and tags that it is the mean of
    metric: Metric
    optimize: bool = True

    @property
    def higher_is_better(self) -> bool:
        """The direction, as the tasks say it."""
        return self.metric.higher_is_better

    def figure(self, suite: Suite, results: Mapping[str, Any]) -> tuple[float, float]:
        """The figure and its standard error; NaN where there is none."""
        return self.metric.of(suite, self.names, results)

    def parts(self, suite: Suite, documents: Documents) -> dict[str, Part]:
        """What each task adds to the figure: how its documents are aggregated, and its weight."""
        found: dict[str, Part] = {}
        for name in self.names:
            members = suite.members[name]
            sizes = [len(documents[task]) if suite.weighs_by_size(name, self.metric) else 1 for task in members]
            for task, size in zip(members, sizes, strict=True):
                key = self.metric.keys[task]
                aggregate = suite.tasks[task].aggregation()[key.partition(",")[0]]
                before = found[task].weight if task in found else 0  # by another name that it belongs to
                found[task] = Part(key, aggregate, before + size / sum(sizes) / len(self.names))
        return found

    def ties(self, suite: Suite, documents: Documents, table: pd.DataFrame) -> tuple[list[int], float]:
        """What breaks ties: how many documents each task has in a table, and their mean log-likelihood."""
        parts = self.parts(suite, documents).items()
        own = [table[(table["task"] == task) & (table["metric"] == part.metric)] for task, part in parts]
        return [len(rows) for rows in own], float(pd.concat(own)["log_likelihood"].mean())

    def goodness(self, figure: float) -> float:
        """The larger, the better; minus infinity for NaN.

        >>> Objective("acc", (), Metric("acc", {}, higher_is_better=False)).goodness(0.25)
        -0.25
        """
        return -math.inf if math.isnan(figure) else figure if self.higher_is_better else -figure

    @property
    def is_share(self) -> bool:
        """Whether figures are known to be shares, so that people speak of points."""
        return bool(SHARES.search(self.metric.name)) and self.higher_is_better


def objectives_of(measures: Mapping[str, Measure], suite: Suite) -> dict[str, Objective]:
    """The objectives of a suite that was built of these measures.

    Raises:
        UserError: a task lacks the metric, or does not say which direction is better.
    """
    found = {}
    for name, measure in measures.items():
        names = suite.names_of[name]
        tasks = {task: suite.tasks[task] for member in names for task in suite.members[member]}
        metric = find_metric(suite.metrics.get(name) or str(measure.metric), tasks)
        found[name] = Objective(name, tuple(names), metric, measure.optimize)
    return found


@dataclass(frozen=True)
class Constraint:
    """A bound on an objective: ``english >= recipient - 2``.

    Numbers about shares are points: hundredths, or ones where a reference's figure is above 1, as of f1 from 0 to 100.
    """

    text: str
    objective: str
    at_least: bool
    reference: str | None  # the row that the bound goes by
    offset: float  # as it was written
    in_points: bool

    def bound(self, figures: Mapping[str, Mapping[str, float]]) -> float:
        """The bound, given the references' figures by row and objective.

        Raises:
            UserError: the number was meant as points, by the references' figures, and nothing says so.
        """
        known = [row[self.objective] for row in figures.values() if not math.isnan(row[self.objective])]
        are_shares = all(0 <= figure <= 1 for figure in known)
        number = abs(self.offset)
        if not self.in_points and known and are_shares and number >= 1 and (self.reference or self.at_least):
            raise UserError(
                f"{self.text!r}: {self.objective} of each reference lies between 0 and 1: {number:g} bounds nothing.",
                f"Write {number:g} points, which are {number * POINT:g} of the whole, or a number below 1.",
            )
        offset = self.offset * POINT if self.in_points and are_shares else self.offset
        return offset + (figures[self.reference][self.objective] if self.reference else 0)

    def violation(self, figure: float, figures: Mapping[str, Mapping[str, float]]) -> float:
        """How far a figure is beyond the bound: up to 0 where it keeps to it, infinite for NaN."""
        bound = self.bound(figures)
        beyond = bound - figure if self.at_least else figure - bound
        return math.inf if math.isnan(beyond) else beyond


_CONSTRAINT = re.compile(r"(\S+)\s*(>=|<=)\s*(?:([a-z]\w*)\s*(?:([-+])\s*([\d.]+))?|(-?[\d.]+))\s*(points?)?")


def parse_constraints(
    texts: Sequence[str], objectives: Mapping[str, Objective], rows: Sequence[str]
) -> list[Constraint]:
    """The constraints that texts such as ``english >= recipient - 2`` say; ``rows`` are the names of the references.

    Raises:
        UserError: a text is none, names no objective or row, or gives a share where points are meant.
    """
    return [_parse(text, objectives, rows) for text in texts]


def _parse(text: str, objectives: Mapping[str, Objective], rows: Sequence[str]) -> Constraint:
    form = f"Write NAME >= recipient - 2, or NAME <= 40; the rows are {', '.join(rows)}."
    match = _CONSTRAINT.fullmatch(text.strip())
    try:
        number = float((match and (match[5] or match[6])) or 0)
    except ValueError:
        match = None
    if match is None:
        raise UserError(f"{text!r} is no constraint.", form)
    name, reference = match[1], match[3]
    if name not in objectives:
        raise UserError(f"{text!r}: {name} is no objective.", f"There are: {', '.join(objectives)}.")
    if reference is not None and reference not in rows:
        raise UserError(f"{text!r}: {reference} is no row to compare with.", form)
    is_share = objectives[name].is_share
    if match[7] and not objectives[name].higher_is_better:
        raise UserError(f"{text!r}: {name} is not counted in points.", "Leave the word out.")
    if is_share and 0 < abs(number) < 1 and not match[7]:
        raise UserError(
            f"{text!r}: {name} is counted in points, hundredths of the whole.",
            f"Write {number * 100:g} for {number:g} of the whole, or {number:g} points.",
        )
    signed = -number if match[4] == "-" else number
    return Constraint(text, name, match[2] == ">=", reference, signed, is_share or bool(match[7]))
