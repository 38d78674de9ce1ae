"""The rows of a search, all that came out, and what speaks for and against the swap that was chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from . import inference
from .configurations import Configuration
from .evaluations import Role
from .inference import Difference
from .kept import Evaluation
from .objectives import Constraint, Objective
from .settings import Settings


@dataclass
class Row:
    """A configuration with what is known of it."""

    configuration: Configuration
    select: Evaluation | None = None  # on all documents that are selected on; None where a pruner dropped it before
    last_rung: Evaluation | None = None  # on the documents after which a pruner dropped it
    report: Evaluation | None = None  # on those reported on: references, the front, and the chosen controls alone
    rank: int | None = None  # by the objective that chooses, from 1; None without a figure, or outside the constraints
    violations: dict[str, float] = field(default_factory=dict)  # by constraint: up to 0 where it is kept
    on_front: bool = False  # no other swap is better in one objective without being worse in another
    # By role and objective: to the recipient. The winner's own on documents selected on are corrected for selection.
    differences: dict[str, dict[str, Difference]] = field(default_factory=dict)

    @property
    def is_feasible(self) -> bool:
        """Whether it keeps to the constraints."""
        return all(violation <= 0 for violation in self.violations.values())


@dataclass
class Search:
    """What came out."""

    settings: Settings
    rows: list[Row]  # ranked, those without a rank at the end
    best: Row  # the swap that was chosen; never a reference or a control
    chosen: list[Row]  # the best of the controls of each kind
    objective: str  # that it was chosen by
    roles: Mapping[str, Role]
    against: Mapping[str, Difference] = field(default_factory=dict)  # the best - each reference and chosen control
    notes: list[str] = field(default_factory=list)  # what a reader of the figures must know

    @property
    def front(self) -> list[Row]:
        """The Pareto front, the best first; of one objective, none."""
        return sorted((row for row in self.rows if row.on_front), key=lambda row: row is not self.best)


def differ(
    roles: Mapping[str, Role],
    rows: Sequence[Row],
    best: Row,
    others: Sequence[Row],
    objective: Objective,
    settings: Settings,
) -> tuple[dict[str, Difference], list[str]]:
    """Set every row's differences to the recipient; returns the winner's to others, by their names, and notes.

    The winner's own on the documents that it was chosen by are corrected for that: see :func:`.inference.best_of`.
    """
    name, against = best.configuration.name, {}
    resamples: dict[str, int] = {}
    for role in roles.values():
        held = {row.configuration.name: row for row in rows if getattr(row, role.name)}
        tables = {one: getattr(row, role.name).documents_table for one, row in held.items()}
        tried = [one for one, row in held.items() if row.configuration.kind == "swap"]
        for each in role.objectives.values():
            drawn = inference.draw(tables, each.parts(role.suite, role.documents), seed=settings.seed)
            resamples[each.name] = len(drawn.replicates)
            for one, difference in inference.differences(drawn, "recipient").items():
                held[one].differences.setdefault(role.name, {})[each.name] = difference
            is_chosen_here = role.name == "select"
            if is_chosen_here:
                best.differences[role.name][each.name] = inference.best_of(drawn, name, tried, "recipient")
            if role is last(roles) and each is leading(role, objective):
                for other in (row.configuration.name for row in others):
                    to_it = inference.differences(drawn, other)[name]
                    against[other] = inference.best_of(drawn, name, tried, other) if is_chosen_here else to_it
    few = {each: n for each, n in resamples.items() if n < inference.RESAMPLES}
    said = [f"intervals of {each} rest on {n} resamples: its aggregation is slow" for each, n in few.items()]
    return against, said


def last(roles: Mapping[str, Role]) -> Role:
    """The role whose figures count: reported on, or where nothing is, selected on."""
    return roles.get("report") or roles["select"]


def leading(role: Role, objective: Objective) -> Objective:
    """The objective that chose, or the first of those reported where that one is not."""
    return role.objectives.get(objective.name) or next(iter(role.objectives.values()))


def caveats(
    roles: Mapping[str, Role],
    swaps: Sequence[Row],
    best: Row,
    ahead: Sequence[Row],
    against: Mapping[str, Difference],
    objective: Objective,
    settings: Settings,
) -> list[str]:
    """What speaks against the winner; ``ahead`` are the references that no swap beat where it was chosen."""
    said, name = [], best.configuration.name
    if ahead:
        names = " and the ".join(row.configuration.name for row in ahead)
        said.append(f"no swap beats the {names} on the documents selected on")
    if best.report is None:
        said.append(
            f"every figure was selected on: the best of {len(swaps)} swaps looks better here than it is. Its intervals "
            "are corrected for that (max statistic); --report-on, or --held-out, gives a figure to quote"
        )
        if settings.space and settings.sampler != "random":
            said.append(f"the correction is for lists: {settings.sampler} learns from figures, so it holds less often")
        if dropped := sum(row.select is None for row in swaps):
            said.append(f"the correction leaves out {dropped} swaps that were dropped early")
    else:
        said.append(f"quote the figures reported on: the best of {len(swaps)} looks better where it was chosen")
    role = last(roles)
    counts = leading(role, objective)
    lows = {other: one.low if counts.higher_is_better else -one.high for other, one in against.items()}
    if level := [other for other, low in lows.items() if not low > 0]:
        said.append(f"{counts.name}, {role.name}ed on: {name} is not shown to be better than {', '.join(level)}")
    return said


def bound_kept(constraint: Constraint, bound: float, roles: Mapping[str, Role], best: Row) -> str:
    """A constraint with its bound, and the winner's figures."""
    figures = [
        f"{role.figures(evaluation)[constraint.objective][0]:.4f} where it was {role.name}ed on"
        for role in roles.values()
        if (evaluation := getattr(best, role.name)) and constraint.objective in role.objectives
    ]
    sign = "at least" if constraint.at_least else "at most"
    return f"constraint {constraint.text}: {sign} {bound:.4f}; {best.configuration.name} has {' and '.join(figures)}"
