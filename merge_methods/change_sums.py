"""What an analysis adds up, tensor by tensor in pieces, of one layer and component; and the figures made of it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from .analysis_file import EXPERTS, MOST_CHANGED, Cell, ExpertChange
from .layout import ORDER

# A matrix is looked at in pieces of so many elements: three in float32 stay in the processor's cache.
PIECE = 1 << 18


@dataclass
class _OfExpert:
    """What is added up of one expert's change."""

    absolute: float = 0.0
    squares: float = 0.0
    changed: int = 0
    matrices: float = 0.0
    with_ancestor: float = 0.0
    with_recipient: float = 0.0
    rows: list[torch.Tensor] = field(default_factory=list)
    heads: list[torch.Tensor] = field(default_factory=list)


@dataclass
class Sums:
    """What is added up in one layer and component, or of one tensor."""

    parameters: int = 0
    base: float = 0.0
    matrices: float = 0.0
    of: defaultdict[str, _OfExpert] = field(default_factory=lambda: defaultdict(_OfExpert))  # by role

    @property
    def is_finite(self) -> bool:
        """Whether all that was added are numbers."""
        return math.isfinite(self.base + sum(one.squares for one in self.of.values()))

    def relative(self, role: str) -> float:
        """||expert - ancestor|| / ||ancestor||, Frobenius; NaN where the ancestor is zero."""
        return (self.of[role].squares / self.base) ** 0.5 if self.base else math.nan

    def likeness(self, role: str) -> float:
        """The cosine between an expert's matrices and the ancestor's; NaN where there are none."""
        return cosine(self.of[role].with_ancestor, self.matrices**0.5, self.of[role].matrices ** 0.5, zero=0.0)

    def cosine(self, donor: str) -> float:
        """Between a donor's task vector and the recipient's; NaN where one of them is zero."""
        lengths = (self.of[role].squares ** 0.5 for role in ("recipient", donor))
        return cosine(self.of[donor].with_recipient, *lengths)


def add(cell: Sums, tensors: Mapping[str, torch.Tensor], component: str = "", head_size: int | None = None) -> None:
    """Add one tensor of the ancestor (``base``) and of its experts, by role, piece by piece in float32."""
    base, experts = tensors["base"], [role for role in tensors if role != "base"]
    flat = {role: tensor.reshape(-1, *(tensor.shape[-1:] or (1,))) for role, tensor in tensors.items()}
    n_rows, width = flat["base"].shape
    cell.parameters += base.numel()
    squares = {role: torch.zeros(n_rows) for role in tensors}
    columns = {role: torch.zeros(width) for role in tensors}
    step = max(1, PIECE // width)
    for start in range(0, n_rows, step):
        piece = {role: tensor[start : start + step].float() for role, tensor in flat.items()}
        changes = {role: piece[role] - piece["base"] for role in experts}
        for role, values in (("base", piece["base"]), *changes.items()):
            squared = values * values
            squares[role][start : start + step] = squared.sum(dim=1)
            if component == "o":
                columns[role] += squared.sum(dim=0)
        for role, change in changes.items():
            cell.of[role].absolute += float(change.abs().sum(dtype=torch.float32))
            cell.of[role].changed += int(torch.count_nonzero(change))
            if base.dim() > 1:
                ours = piece[role].flatten()
                cell.of[role].matrices += float(torch.dot(ours, ours))
                cell.of[role].with_ancestor += float(torch.dot(ours, piece["base"].flatten()))
            if role != "recipient":
                cell.of[role].with_recipient += float(torch.dot(changes["recipient"].flatten(), change.flatten()))
    norm = float(squares["base"].sum(dtype=torch.float64))
    cell.base += norm
    cell.matrices += norm if base.dim() > 1 else 0
    for role in experts:
        sums = cell.of[role]
        sums.squares += float(squares[role].sum(dtype=torch.float64))
        sums.rows.append(_relative(squares[role], squares["base"]))
        along = columns if component == "o" else squares
        if head_size and base.dim() == 2 and component in ("q", "k", "v", "o") and len(along["base"]) % head_size == 0:
            heads = {each: along[each].reshape(-1, head_size).sum(dim=1) for each in (role, "base")}
            sums.heads.append(_relative(heads[role], heads["base"]))


def _relative(change: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
    """||change|| / ||ancestor|| of rows or heads from their squares; what was zero has none, and is left out."""
    return (change[base > 0] / base[base > 0]).sqrt()


def finished(cells: Mapping[tuple[int | None, str], Sums]) -> list[Cell]:
    """The cells with their shares of the most changed, in the order in which they are drawn."""
    marks = {
        (role, kind): _threshold([part for cell in cells.values() for part in getattr(cell.of[role], kind)])
        for role in EXPERTS
        for kind in ("rows", "heads")
    }

    def change(cell: Sums, role: str) -> ExpertChange:
        sums = cell.of[role]
        return ExpertChange(
            mean_absolute=sums.absolute / cell.parameters,
            relative=cell.relative(role),
            changed=sums.changed / cell.parameters,
            rows=_share(sums.rows, marks[role, "rows"]),
            heads=_share(sums.heads, marks[role, "heads"]),
            likeness=cell.likeness(role),
        )

    def order(cell: Cell) -> tuple[int, int]:
        outside = {"embeddings": -1, "head": 10**6}.get(cell.component, 10**5)
        return outside if cell.layer is None else cell.layer, ORDER.index(cell.component)

    made = []
    for (layer, component), cell in cells.items():
        both = change(cell, "recipient"), change(cell, "donor")
        made.append(Cell(layer, component, cell.parameters, cell.base**0.5, *both, cell.cosine("donor")))
    return sorted(made, key=order)


def cosine(product: float, base: float, other: float, zero: float = math.nan) -> float:
    """Of two vectors by their product and lengths, rounded into its range; ``zero`` where only the other has none."""
    if not base or not other:
        return zero if base else math.nan
    return min(max(product / (base * other), -1.0), 1.0)  # in this order NaN stays NaN


def _threshold(parts: Sequence[torch.Tensor]) -> float:
    """The smallest relative change among the 5 % most changed; what did not change is never among them."""
    values = torch.cat([torch.empty(0), *parts])
    if not len(values):
        return math.inf
    count = max(1, round(MOST_CHANGED * len(values)))
    return max(float(values.topk(count).values[-1]), 1e-12)


def _share(parts: Sequence[torch.Tensor], mark: float) -> float | None:
    values = torch.cat([torch.empty(0), *parts])
    return float((values >= mark).float().mean()) if len(values) else None
