"""Where fine-tuning changed each expert: per layer and component, one tensor at a time; and how far in all.

Layer Swapping chose its layers by the magnitude of parameter change (Bandarkar et al. 2024, arXiv 2410.01335): where
the donor changed more than the recipient, its layers carry the language. Later work looks at the relative change per
module (Shin and Hwang 2026, arXiv 2601.22620) and at the cosine between the two task vectors (arXiv 2605.26735): what
fine-tuning added, expert minus ancestor (Ilharco et al. 2023, arXiv 2212.04089). Merging fails where backbones drifted
apart (DRIFT, arXiv 2510.15050); ||task vector|| / ||ancestor|| shows it beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from mergekit.options import MergeOptions
from tqdm import tqdm

from turnswap.core.errors import UserError

from .analysis_file import EXPERTS, MOST_CHANGED, Analysis, Cell, ExpertChange
from .compatibility import Model, check_structure, open_model
from .layout import ORDER, Weight, cells_of, fact
from .recipe import Recipe
from .weights import WeightReader, expert_reader
from .zones import ranges

# A matrix is looked at in pieces of so many elements: three in float32 stay in the processor's cache.
PIECE = 1 << 18
# A rule of thumb, no published bound: fine-tuning moves weights by a few percent, unrelated weights differ by 140.
LARGE = 0.2


@dataclass
class _Sums:
    """What is added up of one expert's change in one layer and component."""

    absolute: float = 0.0
    squares: float = 0.0
    changed: int = 0
    rows: list[torch.Tensor] = field(default_factory=list)
    heads: list[torch.Tensor] = field(default_factory=list)


@dataclass
class _Cell:
    """What is added up in one layer and component."""

    parameters: int = 0
    base: float = 0.0
    product: float = 0.0
    of: dict[str, _Sums] = field(default_factory=lambda: {role: _Sums() for role in EXPERTS})


def analyze_references(base: str, recipient: str, donor: str, options: MergeOptions) -> Analysis:
    """Compare two experts with their ancestor, tensor by tensor; with a progress bar over bytes.

    Args:
        base: the pretrained ancestor: a folder, a Hub id, or ``model+adapter``, as the others.
        recipient: the task expert.
        donor: the language expert.
        options: mergekit's, for how inputs are read.

    Raises:
        UserError: a model is not there or damaged, or the models' structures differ.
    """
    names = {"base": base, "recipient": recipient, "donor": donor}
    models = {role: open_model(name, options) for role, name in names.items()}
    ancestor = models["base"]
    for role in EXPERTS:
        check_structure(ancestor, models[role])
    readers = {role: expert_reader(model, options) for role, model in models.items()}
    head_size = _head_size(ancestor)
    n_layers, compared = ancestor.layout.n_layers, ancestor.layout.compared
    total = len(models) * sum(weight.header.n_bytes for weight in compared)
    cells: dict[tuple[int | None, str], _Cell] = {}
    with tqdm(total=total, unit="B", unit_scale=True, desc="Comparing", leave=False) as bar:
        for weight in compared:
            tensors = {role: reader.read(weight) for role, reader in readers.items()}
            bar.update(sum(tensor.nbytes for tensor in tensors.values()))
            if weight.transposed:
                tensors = {role: tensor.T for role, tensor in tensors.items()}
            places = cells_of(weight, n_layers)
            for number, (layer, component) in enumerate(places):
                if len(places) > 1:
                    piece = {role: one.chunk(len(places), weight.place.axis)[number] for role, one in tensors.items()}
                else:
                    piece = tensors
                _add(cells.setdefault((layer, component), _Cell()), piece, component, head_size)
    names = {role: str(model) for role, model in models.items()}
    return Analysis(names, n_layers, _finish(cells), _notes(compared))


def _notes(compared: Iterable[Weight]) -> tuple[str, ...]:
    """Where blocks count that several layers share."""
    shared = sorted({weight.place.layers for weight in compared if weight.place.part == "shared"})
    return tuple(f"Layers {ranges(of)} share one block: it counts once, in layer {of[0]}." for of in shared)


def _head_size(model: Model) -> int | None:
    heads = fact(model.config, "num_attention_heads")
    return fact(model.config, "head_dim") or (fact(model.config, "hidden_size") // heads if heads else None)


def _add(cell: _Cell, tensors: Mapping[str, torch.Tensor], component: str, head_size: int | None) -> None:
    """Add one tensor, piece by piece in float32."""
    base = tensors["base"]
    flat = {role: tensor.reshape(-1, *(tensor.shape[-1:] or (1,))) for role, tensor in tensors.items()}
    n_rows, width = flat["base"].shape
    cell.parameters += base.numel()
    squares = {role: torch.zeros(n_rows) for role in ("base", *EXPERTS)}
    columns = {role: torch.zeros(width) for role in ("base", *EXPERTS)}
    step = max(1, PIECE // width)
    for start in range(0, n_rows, step):
        piece = {role: tensor[start : start + step].float() for role, tensor in flat.items()}
        changes = {role: piece[role] - piece["base"] for role in EXPERTS}
        for role, values in (("base", piece["base"]), *changes.items()):
            squared = values * values
            squares[role][start : start + step] = squared.sum(dim=1)
            if component == "o":
                columns[role] += squared.sum(dim=0)
        for role, change in changes.items():
            cell.of[role].absolute += float(change.abs().sum(dtype=torch.float32))
            cell.of[role].changed += int(torch.count_nonzero(change))
        cell.product += float(torch.dot(changes["recipient"].flatten(), changes["donor"].flatten()))
    cell.base += float(squares["base"].sum(dtype=torch.float64))
    for role in EXPERTS:
        sums = cell.of[role]
        sums.squares += float(squares[role].sum(dtype=torch.float64))
        sums.rows.append((squares[role] / squares["base"].clamp_min(1e-30)).sqrt())
        along = columns if component == "o" else squares
        if head_size and base.dim() == 2 and component in ("q", "k", "v", "o") and len(along["base"]) % head_size == 0:
            heads = {each: along[each].reshape(-1, head_size).sum(dim=1) for each in (role, "base")}
            sums.heads.append((heads[role] / heads["base"].clamp_min(1e-30)).sqrt())


def _finish(cells: Mapping[tuple[int | None, str], _Cell]) -> list[Cell]:
    """The cells with their shares of the most changed, in the order in which they are drawn."""
    marks = {
        (role, kind): _threshold([part for cell in cells.values() for part in getattr(cell.of[role], kind)])
        for role in EXPERTS
        for kind in ("rows", "heads")
    }

    def change(cell: _Cell, role: str) -> ExpertChange:
        sums = cell.of[role]
        return ExpertChange(
            mean_absolute=sums.absolute / cell.parameters,
            relative=_divided(sums.squares, cell.base) ** 0.5,
            changed=sums.changed / cell.parameters,
            rows=_share(sums.rows, marks[role, "rows"]) or 0.0,
            heads=_share(sums.heads, marks[role, "heads"]),
        )

    def order(cell: Cell) -> tuple[int, int]:
        outside = {"embeddings": -1, "head": 10**6}.get(cell.component, 10**5)
        return outside if cell.layer is None else cell.layer, ORDER.index(cell.component)

    finished = []
    for (layer, component), cell in cells.items():
        lengths = (cell.of["recipient"].squares * cell.of["donor"].squares) ** 0.5
        cosine = max(-1.0, min(1.0, cell.product / lengths)) if lengths else math.nan
        both = change(cell, "recipient"), change(cell, "donor")
        finished.append(Cell(layer, component, cell.parameters, cell.base**0.5, *both, cosine))
    return sorted(finished, key=order)


def _divided(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def _threshold(parts: Sequence[torch.Tensor]) -> float:
    """The smallest relative change among the 5 % most changed; what did not change is never among them."""
    if not parts:
        return math.inf
    values = torch.cat(list(parts))
    count = max(1, round(MOST_CHANGED * len(values)))
    return max(float(values.topk(count).values[-1]), 1e-12)


def _share(parts: Sequence[torch.Tensor], mark: float) -> float | None:
    return float((torch.cat(list(parts)) >= mark).float().mean()) if parts else None


@dataclass(frozen=True)
class TensorChange:
    """How one tensor changed from the ancestor to each expert.

    ``relative`` is ||expert - ancestor|| / ||ancestor|| (Frobenius), by role; ``cosine``, by donor, is between its task
    vector and the recipient's, NaN where one of them is zero.
    """

    name: str
    relative: Mapping[str, float]
    cosine: Mapping[str, float]

    def as_json(self) -> dict[str, str | float]:
        """In one mapping: ``cosine`` is the first donor's, ``cosine2`` the second's."""
        cosines = {role.replace("donor", "cosine"): value for role, value in self.cosine.items()}
        return {"name": self.name, **self.relative, **cosines}


def layer_changes(recipe: Recipe, options: MergeOptions, names: Iterable[str] | None = None) -> list[TensorChange]:
    """The change of every tensor of the text decoder's layers, or of those named; one at a time in float32.

    Raises:
        UserError: no model has the role pretrained.
    """
    if "pretrained" not in recipe.models:
        raise UserError(
            "There is no ancestor to compare with.",
            "Add it to models: - {model: PATH, parameters: {role: pretrained}}.",
        )
    readers = {role: WeightReader(model, options) for role, model in recipe.models.items()}
    found = []
    for name in recipe.tensors if names is None else names:
        weight = recipe.tensors[name].weight
        if weight.place.layer is None or not weight.header.dtype.is_floating_point:
            continue
        vectors = {role: reader.read(weight).float().flatten() for role, reader in readers.items()}
        base = vectors.pop("pretrained")
        changes = {role: vector - base for role, vector in vectors.items()}
        lengths = {role: float(torch.linalg.vector_norm(change)) for role, change in changes.items()}
        whole, ours = float(torch.linalg.vector_norm(base)), changes["recipient"]
        cosine = {
            role: _divided(float(ours @ change), lengths["recipient"] * lengths[role])
            for role, change in changes.items()
            if role != "recipient"
        }
        relative = {role: _divided(length, whole) for role, length in lengths.items()}
        found.append(TensorChange(name, relative, cosine))
    return found


@dataclass(frozen=True)
class Drift:
    """What changes say against an expert. ``is_far``: it may have another ancestor; if not, it is no step away."""

    said: str
    is_far: bool

    def __str__(self) -> str:
        return self.said


def drifts(recipe: Recipe, changes: Sequence[TensorChange]) -> list[Drift]:
    """What the changes say against the swap's experts."""
    found = []
    for role in changes[0].relative if changes else ():
        expert, ancestor = recipe.models[role], recipe.models["pretrained"]
        worst = max(changes, key=lambda each: each.relative[role])
        change = worst.relative[role]
        if change > LARGE:
            said = (
                f"{expert} is far from {ancestor}: ||change|| / ||ancestor|| is {change:.2f} in {worst.name} "
                "(fine-tuning: a few hundredths; unrelated models: about 1.4). It may have another ancestor"
            )
            found.append(Drift(said, is_far=True))
        elif change == 0:
            said = f"{expert} does not differ from {ancestor} in what was looked at"
            found.append(Drift(said, is_far=False))
    return found


def sampled_drifts(recipe: Recipe, options: MergeOptions) -> list[Drift]:
    """The same from one matrix of the first, the middle and the last layer; nothing where no ancestor is given."""
    if "pretrained" not in recipe.models:
        return []
    layers = {0, recipe.n_layers // 2, recipe.n_layers - 1}
    first_of: dict[int, str] = {}
    for name, tensor in recipe.tensors.items():
        place = tensor.weight.place
        if place.layer in layers and len(tensor.weight.header.shape) == 2:
            first_of.setdefault(place.layer, name)
    return drifts(recipe, layer_changes(recipe, options, first_of.values()))
