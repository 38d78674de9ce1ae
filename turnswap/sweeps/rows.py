"""The rows of a search, and all that came out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .configurations import Configuration
from .evaluations import Role
from .inference import Difference
from .kept import Evaluation
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

    def row(self, kind: str) -> Row:
        """The first row of a kind."""
        return next(row for row in self.rows if row.configuration.kind == kind)

    @property
    def front(self) -> list[Row]:
        """The Pareto front, the best first; of one objective, none."""
        return sorted((row for row in self.rows if row.on_front), key=lambda row: row is not self.best)
