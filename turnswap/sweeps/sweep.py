"""A sweep: many swaps of one pair of experts evaluated in one process, the best of them chosen and reported on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from turnswap.core.errors import UserError
from turnswap.merge_methods.analysis import sampled_drifts

from . import halving
from .configurations import Configuration, Planner, join_equal
from .documents import count, describe, hashes, refuse_overlap
from .evaluations import Evaluations, Say
from .identity import identity
from .ledger import Evaluation, open_ledger
from .settings import Settings
from .suite import Metric, Suite, find_metric, open_manager


@dataclass
class Row:
    """A configuration with its figures."""

    configuration: Configuration
    select: Evaluation | None = None  # on all documents that the sweep selects on; None where halving dropped it before
    last_rung: Evaluation | None = None  # on the documents of the rung after which halving dropped it
    report: Evaluation | None = None  # on those that it reports on: always-rows, the best swap and its controls alone
    rank: int | None = None  # by ``select``, from 1; None without one


@dataclass
class Sweep:
    """What came out."""

    settings: Settings
    rows: list[Row]  # ranked, those without a rank at the end
    best: Row  # the best swap by the figures on ``select_on``; never an always-row or a control
    metric: Metric  # what it was selected by
    documents: Mapping[str, Mapping[str, str]]  # by role (``select``, ``report``) and task, as ``0-99``
    notes: list[str] = field(default_factory=list)  # what a reader of the figures must know

    def row(self, kind: str) -> Row:
        """The always-row of a kind."""
        return next(row for row in self.rows if row.configuration.kind == kind)


def run(settings: Settings, folder: Path, say: Say) -> Sweep:
    """Run a sweep, or what is missing of it: evaluations that ``folder`` holds are not repeated.

    Args:
        settings: what to do.
        folder: where ``sweep.jsonl`` lies or will lie.
        say: is told what happens, a line at a time.

    Raises:
        UserError: anything wrong with the models, swaps, tasks, metric or documents, before a model is loaded; another
            sweep in the folder; memory that ran out, with every finished evaluation kept.
    """
    planner = Planner(settings)
    notes = _kinship(planner, settings)
    swaps, said = planner.swaps()
    notes += said
    configurations = join_equal([*planner.always(), *swaps])
    if all(one.kind != "swap" for one in configurations):
        raise UserError("Every swap is the recipient, the donor or their average.", "Name swaps that mix the two.")
    manager = open_manager(settings)
    suites = {"select": Suite(manager, settings.select_on, settings.limit)}
    if settings.report_on:
        suites["report"] = Suite(manager, settings.report_on, settings.limit)
        refuse_overlap(suites["select"].documents, suites["report"].documents)
        notes += _alike(**suites)
    metric = find_metric(settings.metric, {name: t for suite in suites.values() for name, t in suite.tasks.items()})
    with open_ledger(folder, identity(settings, planner, suites)) as ledger:
        if ledger.resumed:
            say(f"Going on with {ledger.path}: {ledger.resumed} evaluations are done.")
        at = Evaluations(planner, ledger, suites, metric, say)
        return _Course(planner, at, configurations, notes).run()


class _Course:
    """The order of things: always-rows, swaps (rung by rung), the best, its controls, the report."""

    def __init__(self, planner: Planner, at: Evaluations, configurations: list[Configuration], notes: list[str]):
        self.planner, self.at, self.notes, self.settings = planner, at, notes, at.settings
        self.rows = [Row(one) for one in configurations]
        self.swaps = [row for row in self.rows if row.configuration.kind == "swap"]
        self.always = [row for row in self.rows if row.configuration.kind != "swap"]

    def run(self) -> Sweep:
        for row in reversed(self.always):  # the average first: it is what the models are composed to on loading
            row.select = self.at.of(row.configuration, "select")
        finalists = self._halve() if self.settings.halving else self.swaps
        for row in finalists:
            row.select = self.at.of(row.configuration, "select")
        best = self._best()
        controls = self._controls(best)
        if "report" in self.at.suites:
            for row in [*self.always, best, *controls]:
                row.report = self.at.of(row.configuration, "report")
        self._judge(best, controls)
        documents = {role: describe(suite.documents) for role, suite in self.at.suites.items()}
        return Sweep(self.settings, self._ranked(), best, self.at.metric, documents, self.notes)

    def _halve(self) -> list[Row]:
        """The swaps that reach the rung on all documents."""
        eta, seed, note = self.settings.halving, self.settings.seed, self.notes.append
        assert eta is not None
        everything, higher = self.at.suites["select"].documents, self.at.metric.higher_is_better
        n_cuts = halving.cuts(len(self.swaps), count(everything), eta)
        if not n_cuts:
            note(f"no halving: {len(self.swaps)} swaps on {count(everything)} documents are too few for it")
            return self.swaps
        left, tried = self.swaps, []
        *before, _ = halving.rungs(everything, n_cuts, eta, seed)
        for documents in before:
            figures = {}
            for row in left:
                row.last_rung = self.at.of(row.configuration, "select", documents)
                figures[row.configuration.plan] = row.last_rung.figure
            tried.append((len(left), count(documents)))
            kept = halving.survivors(figures, eta, higher)
            left = [row for row in left if row.configuration.plan in kept]
        tried.append((len(left), count(everything)))
        work = sum(swaps * documents for swaps, documents in tried) / count(everything)
        note(
            f"halving by {eta}: swaps on documents: {', '.join(f'{swaps} on {n}' for swaps, n in tried)}; the work of "
            f"{work:.1f} evaluations instead of {len(self.swaps)}, {1 - work / len(self.swaps):.0%} saved; a dropped "
            "swap's figure is of its last rung"
        )
        return left

    def _goodness(self, row: Row, role: str = "select") -> float:
        """The larger, the better; of what has no figure, or NaN, minus infinity."""
        evaluation: Evaluation | None = getattr(row, role)
        return halving.goodness(evaluation.figure if evaluation else math.nan, self.at.metric.higher_is_better)

    def _best(self) -> Row:
        best = max(self.swaps, key=self._goodness)  # the first of several
        if self._goodness(best) == -math.inf:
            raise UserError(
                f"{self.at.metric.name} is not a number for any swap.", "Take another --metric, or more documents."
            )
        if ties := sum(self._goodness(row) == self._goodness(best) for row in self.swaps) - 1:
            self.notes.append(f"{ties} more swaps are as good as {best.configuration.name}, which came first")
        return best

    def _controls(self, best: Row) -> list[Row]:
        if not self.settings.controls:
            return []
        drawn, said = self.planner.controls(best.configuration, self.settings.controls, self.settings.seed)
        self.notes += said
        rows = [Row(one, select=self.at.of(one, "select")) for one in drawn]
        self.rows += rows
        return rows

    def _judge(self, best: Row, controls: Sequence[Row]) -> None:
        """Note what speaks against the best swap."""
        tried, note = len(self.swaps), self.notes.append
        if ahead := self._no_worse(self.always, best, "select"):
            note(f"no swap beats the {' and the '.join(ahead)} on the documents selected on")
        if best.report is None:
            better = f"the best of {tried} swaps looks better here than it is"
            note(f"every figure was selected on: {better}; give --report-on for a figure to quote")
        else:
            better = f"of {tried} swaps, the best looks better than it is where it was chosen"
            note(f"quote the figures reported on: {better}")
            if ahead := self._no_worse(self.always, best, "report"):
                note(f"on the documents reported on, no gain over the {' and the '.join(ahead)}")
        if controls:
            role = "report" if best.report else "select"
            as_good = self._no_worse(controls, best, role)
            note(
                f"{len(as_good)} of {len(controls)} random placements as wide do as well as {best.configuration.name} "
                f"or better on the documents {role}ed on"
            )

    def _no_worse(self, rows: Sequence[Row], best: Row, role: str) -> list[str]:
        """The names of rows whose figure is as good as the best swap's, or better."""
        bar = self._goodness(best, role)
        return [row.configuration.name for row in rows if self._goodness(row, role) >= bar > -math.inf]

    def _ranked(self) -> list[Row]:
        rows = sorted(self.rows, key=lambda row: (row.select is None, -self._goodness(row)))
        for row in rows:
            if row.select is not None:
                row.rank = 1 + sum(self._goodness(other) > self._goodness(row) for other in rows)
        return rows


def _kinship(planner: Planner, settings: Settings) -> list[str]:
    """Notes on whether both experts come from the base; refused if they do not seem to."""
    if settings.base is None:
        return ["not checked whether both experts come from one model: no --base was given"]
    if any(model.reference.lora is not None for model in planner.recipe.models.values()):
        return ["not checked whether both experts come from the base: their adapters are merged on loading"]
    far = [found for found in sampled_drifts(planner.recipe, planner.options) if found.is_far]
    if far and settings.unrelated_because is None:
        raise UserError(
            f"The experts do not seem to come from one model: {'; '.join(map(str, far))}.",
            "If you know better, say why: --unrelated-because 'REASON' goes into the results.",
        )
    return [f"{found}; accepted: {settings.unrelated_because}" for found in far]


def _alike(select: Suite, report: Suite) -> list[str]:
    """A note where documents of the two sets are the same word for word, under other numbers or in another task."""
    seen = {digest for found in hashes(select.tasks, select.documents).values() for digest in found}
    again = sum(digest in seen for found in hashes(report.tasks, report.documents).values() for digest in found)
    said = f"{again} of {count(report.documents)} documents reported on are, word for word, also selected on"
    return [said] if again else []
