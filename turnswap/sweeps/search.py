"""A search: swaps of the same experts tried, one chosen, and what speaks for and against the choice.

Its phases: the references (recipient, donors, average), the swaps, controls selected as hard as the winner, and figures
on documents that nothing was chosen by. Several processes may work on one search in one folder.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError

from . import controls, inference
from .claims import Claims
from .configurations import NOTE, Configuration, Planner, is_tied, join_equal
from .documents import rungs
from .evaluations import Evaluations, Role, Say
from .hf_arguments import check_arguments, find_device
from .identity import identity
from .inference import Difference
from .kept import Evaluation, Store
from .objectives import Constraint, parse_constraints
from .preparing import constraints_of, kinship, roles_of
from .rows import Row, Search, bound_kept, caveats, differ
from .settings import Settings
from .space import Space
from .study import ETA, REFUSED, SWAP, Study


def run(settings: Settings, folder: Path, say: Say) -> Search:
    """Run a search, or what is missing of it: evaluations that ``folder`` holds are not repeated.

    Args:
        settings: what to do.
        folder: where results lie or will lie; shared by all processes that work on the search.
        say: is told what happens, a line at a time.

    Raises:
        UserError: anything wrong with the models, swaps, tasks, metrics or documents, before a model is loaded; another
            search in the folder; memory that ran out, with every finished evaluation kept.
    """
    if settings.evaluator == "hf":
        check_arguments({}, settings.model_args | {"batch_size": settings.batch_size})
        find_device(settings.device)
    elif importlib.util.find_spec("vllm") is None:
        raise UserError("The evaluation by vLLM needs vllm.", "Install it: pip install vllm. Or evaluate with hf.")
    planner = Planner(settings)
    notes = kinship(planner, settings)
    space = Space(settings.space, planner.donors, planner.recipe.recipient.layout) if settings.space else None
    if space and settings.sampler == "cmaes" and space.n_numbers < 2:
        raise UserError("cmaes draws numbers, at least two, and the space has fewer ranges.", "Use tpe or random.")
    notes += [NOTE] if space and is_tied(planner.recipe) else []
    listed, said = planner.swaps() if settings.grid or settings.swaps else ([], [])
    notes += said
    references = planner.always()
    configurations = join_equal([*references, *listed])
    if space is None and all(one.kind != "swap" for one in configurations):
        raise UserError("Every swap is the recipient, the donor or their average.", "Name swaps that mix the two.")
    roles, said = roles_of(settings)
    notes += said
    constraints = parse_constraints(
        constraints_of(settings, roles["select"].objectives),
        roles["select"].objectives,
        [one.name for one in references],
    )
    store = Store(folder, identity(settings, planner, {name: role.suite for name, role in roles.items()}))
    with contextlib.closing(Claims(folder / "claims")) as claims:
        if done := len(store.all()):
            say(f"Going on in {folder}: {done} evaluations are done.")
        at = Evaluations(planner, store, claims, say)
        return _Course(at, roles, space, configurations, constraints, notes).run(folder)


class _Course:
    """The order of things."""

    def __init__(
        self,
        at: Evaluations,
        roles: Mapping[str, Role],
        space: Space | None,
        configurations: list[Configuration],
        constraints: list[Constraint],
        notes: list[str],
    ) -> None:
        self.at, self.roles, self.space, self.constraints, self.notes = at, roles, space, constraints, notes
        self.planner, self.settings, self.select = at.planner, at.settings, roles["select"]
        self.optimized = [one for one in self.select.objectives.values() if one.optimize]
        chosen = self.settings.choose or self.optimized[0].name
        self.objective = self.select.objectives[chosen]
        self.rows = [Row(one) for one in configurations]
        self.references = [row for row in self.rows if row.configuration.kind != "swap"]
        self.bounds: dict[str, dict[str, float]] = {}  # the references' figures, which constraints go by
        self.refused: list[str] = []
        self.rungs = rungs(self.select.documents, ETA, self.settings.seed)
        if self.settings.pruner == "none":
            self.rungs = self.rungs[-1:]

    def run(self, folder: Path) -> Search:
        studies = self._studies(folder)  # before anything is evaluated: a storage may not answer
        # The average first: it is what the models are composed to on loading.
        self.at.of_all([row.configuration for row in reversed(self.references)], self.select)
        for row in self.references:
            row.select = self.at.of(row.configuration, self.select)
        self.bounds = {row.configuration.name: self._figures(row) for row in self.references}
        for one in self.constraints:
            one.bound(self.bounds)  # a number whose unit is not clear is refused before anything is tried
        self._try(studies)
        best = self._best()
        chosen = self._controls(best)
        self._mark_front()
        against = self._report(best, chosen)
        ahead = [row for row in self.references if self._goodness(row) >= self._goodness(best)]
        self.notes += caveats(self.roles, self.swaps, best, ahead, against, self.objective, self.settings)
        self.notes += [bound_kept(one, one.bound(self.bounds), self.roles, best) for one in self.constraints]
        if self.refused:
            self.notes.append(f"{len(self.refused)} points made no swap, such as: {self.refused[0]}")
        ranked, name = self._ranked(), self.objective.name
        return Search(self.settings, ranked, best, chosen, name, self.roles, against, self.notes)

    def _figures(self, row: Row) -> dict[str, float]:
        assert row.select is not None
        return {name: figure for name, (figure, _) in self.select.figures(row.select).items()}

    def _violations(self, row: Row) -> dict[str, float]:
        figures = self._figures(row)
        return {one.text: one.violation(figures[one.objective], self.bounds) for one in self.constraints}

    def _studies(self, folder: Path) -> list[Study]:
        """Of the listed swaps, if there are any, and of those that are drawn."""
        listed = [row.configuration for row in self.rows if row.configuration.kind == "swap"]
        objectives = {one.name: one.higher_is_better for one in self.optimized}
        bounds = [one.text for one in self.constraints]
        found = [
            Study(self.settings, folder, objectives, bounds, len(self.rungs), self.at.claims, draws)
            for draws, there in ((False, listed), (True, self.space))
            if there
        ]
        if listed:
            found[0].enqueue(listed)
        return found

    def _try(self, studies: list[Study]) -> None:
        """Every swap evaluated, listed ones first; afterwards, the rows of all, whoever evaluated them."""
        by_plan = {row.configuration.plan: row.configuration for row in self.rows}

        def evaluate(trial: Any) -> list[float] | None:
            one = self._configuration(trial, by_plan)
            if one is None:
                return None
            for number, documents in enumerate(self.rungs[:-1]):
                trial.report(self._early(self.at.of(one, self.select, documents)), ETA**number)
                if trial.should_prune():
                    return None
            row = Row(one, self.at.of(one, self.select))
            for text, violation in self._violations(row).items():
                trial.set_constraint(text, violation if math.isfinite(violation) else 1e9)
            figures = self._figures(row)
            return [figures[objective.name] for objective in self.optimized]

        found = [row.configuration for row in self.rows]
        done: set[str] = set()
        listed: dict[str, str] = {}
        for study in studies:
            study.work(evaluate)
            for trial in study.finished():
                one, refusal = self._configuration(trial, by_plan), trial.user_attrs.get(REFUSED)
                if refusal:
                    self.refused.append(refusal)
                    listed |= {one.plan: refusal} if one and not study.draws else {}
                elif one:
                    found += [one] if study.draws else []
                    done |= {one.plan} if trial.state.name != "PRUNED" else set()
        known = {row.configuration.plan: row for row in self.references}
        self.rows = []
        for one in join_equal(found):
            row = known.get(one.plan) or self._look_up(one, one.plan in done)
            row.configuration = one  # it has the names of equal ones
            self.rows.append(row)
        self.notes += [f"not evaluated: {refusal}" for plan, refusal in listed.items() if plan not in done]
        self.swaps = [row for row in self.rows if row.configuration.kind == "swap"]

    def _configuration(self, trial: Any, by_plan: Mapping[str, Configuration]) -> Configuration | None:
        """The swap that a trial stands for; None where its point makes none, or it is not listed any more."""
        if SWAP in trial.user_attrs:
            return by_plan.get(trial.user_attrs[SWAP])
        assert self.space is not None
        parameters = self.space.suggest(trial)
        try:
            return self.planner.point(f"trial {trial.number}", parameters, self.space.shares(trial.params))
        except UserError as error:
            if REFUSED not in trial.user_attrs:
                trial.set_user_attr(REFUSED, error.message)
            return None

    def _early(self, evaluation: Evaluation) -> float:
        """The figure of an early rung, in which ties are broken by how likely the right answers are."""
        figure, _ = self.select.figures(evaluation)[self.objective.name]
        sizes, likely = self.objective.ties(self.select.suite, self.select.documents, evaluation.documents_table)
        return inference.tie_broken(figure, sizes, likely, self.objective.higher_is_better)

    def _look_up(self, one: Configuration, is_done: bool) -> Row:
        """What was found of a swap; where its trial is done but the file is gone, it is evaluated again."""
        row = Row(one, self.at.of(one, self.select) if is_done else self.at.find(one, self.select))
        if row.select is None:
            found = (self.at.find(one, self.select, documents) for documents in reversed(self.rungs[:-1]))
            row.last_rung = next((evaluation for evaluation in found if evaluation), None)
        return row

    def _goodness(self, row: Row) -> float:
        """By the objective that chooses: the larger, the better; minus infinity without a figure."""
        return self.objective.goodness(self._figures(row)[self.objective.name]) if row.select else -math.inf

    def _best(self) -> Row:
        for row in self.rows:
            row.violations = self._violations(row) if row.select else {}
        able = [row for row in self.swaps if self._goodness(row) > -math.inf]
        refused = f": {self.refused[-1]}" if self.refused else ""
        if not self.swaps:
            raise UserError(
                f"No swap was drawn that mixes the models{refused}", "Try more (--trials, --hours), or widen the space."
            )
        if not able:
            raise UserError(
                f"{self.objective.name} is not a number for any swap{refused or '.'}",
                "Use another metric, or more documents.",
            )
        within = [row for row in able if row.is_feasible]
        if not within:
            self.notes.append("no swap keeps to the constraints: of those that break fewest, the best is shown")
            fewest = min(map(_broken, able))
            able = [row for row in able if _broken(row) == fewest]
        best = max(within or able, key=self._goodness)  # the first of several
        if ties := sum(self._goodness(row) == self._goodness(best) for row in within) - 1 if within else 0:
            self.notes.append(f"{ties} more swaps are as good as {best.configuration.name}, which came first")
        return best

    def _controls(self, best: Row) -> list[Row]:
        """Random placements and other averages on the same documents; the best of each kind, chosen as the swap was."""
        tried = len(self.swaps)  # those that a pruner dropped were selected among too
        number = tried if self.settings.controls is None else self.settings.controls
        placed, said = controls.placements(self.planner, self.space, best.configuration, number) if number else ([], [])
        self.notes += said
        weights = controls.averages(self.planner)
        refused = self.at.of_all([*placed, *weights], self.select)
        self.notes += [f"not evaluated: {refused[one.plan]}" for one in (*placed, *weights) if one.plan in refused]
        placed, weights = ([one for one in kind if one.plan not in refused] for kind in (placed, weights))
        chosen = []
        for kind in (placed, weights):
            rows = [Row(one, select=self.at.of(one, self.select)) for one in kind]
            for row in rows:
                row.violations = self._violations(row)
            self.rows += rows
            if kind is weights:  # the plain average is one of them
                rows += [row for row in self.references if row.configuration.kind == "average"] if rows else []
            if within := [row for row in rows if row.is_feasible and self._goodness(row) > -math.inf]:
                chosen.append(max(within, key=self._goodness))
        if placed and len(placed) < tried:
            self.notes.append(
                f"the best of {len(placed)} random placements is compared with the best of {tried} swaps: "
                "an easier selection"
            )
        return chosen

    def _mark_front(self) -> None:
        if len(self.optimized) == 1:  # equal ones are no front
            return
        points = [row for row in self.swaps if row.select]
        figures = [[self._figures(row)[one.name] for one in self.optimized] for row in points]
        directions = [one.higher_is_better for one in self.optimized]
        stand = inference.non_dominated(figures, directions, [row.is_feasible for row in points])
        for row, on_front in zip(points, stand, strict=True):
            row.on_front = on_front

    def _report(self, best: Row, chosen: list[Row]) -> dict[str, Difference]:
        """Figures on held-out documents, and all differences; returns the winner's to what it is compared with."""
        front = [row for row in self.swaps if row.on_front]
        shown = list({id(row): row for row in [*self.references, best, *front, *chosen]}.values())
        if report := self.roles.get("report"):
            self.at.of_all([row.configuration for row in shown], report)
            for row in shown:
                row.report = self.at.of(row.configuration, report)
        others = [*self.references, *chosen]
        against, said = differ(self.roles, self.rows, best, others, self.objective, self.settings)
        self.notes += said
        return against

    def _ranked(self) -> list[Row]:
        able = [row for row in self.rows if row.select and row.is_feasible and self._goodness(row) > -math.inf]
        for row in able:
            row.rank = 1 + sum(self._goodness(other) > self._goodness(row) for other in able)
        return sorted(self.rows, key=lambda row: (row.rank is None, row.rank or 0, row.select is None))


def _broken(row: Row) -> int:
    """How many constraints it breaks."""
    return sum(violation > 0 for violation in row.violations.values())
