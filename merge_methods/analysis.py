"""Where fine-tuning changed each expert: per layer and component, one tensor at a time.

Layer Swapping chose its layers by the magnitude of parameter change (Bandarkar et al. 2024, arXiv 2410.01335): where
the donor changed more than the recipient, its layers carry the language. Later work looks at the relative change per
module (Shin and Hwang 2026, arXiv 2601.22620) and at the cosine between the two task vectors (arXiv 2605.26735).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from mergekit.common import ModelReference
from mergekit.options import MergeOptions
from tqdm import tqdm

from turnswap.core.errors import UserError

from .adapter import AdapterReader
from .compatibility import Model, check_structure, open_model
from .layout import Weight
from .lora import merged_folder
from .weights import WeightReader, plain_folder

EXPERTS = ("recipient", "donor")
# A matrix is looked at in pieces of so many elements: three in float32 stay in the processor's cache.
PIECE = 1 << 18
# A row or a head is among the most changed if it is in the top 5 % of the model's.
MOST_CHANGED = 0.05

# Components by the last parts of a tensor's name, in the order in which they are drawn.
COMPONENTS: tuple[tuple[str, str], ...] = (
    ("norms", r"norm|\bln_\w|layernorm"),
    ("qkv", r"qkv|query_key_value|attn\.c_attn"),
    ("q", r"\bq_proj|\bwq\b|\bquery\b"),
    ("k", r"\bk_proj|\bwk\b|\bkey\b"),
    ("v", r"\bv_proj|\bwv\b|\bvalue\b"),
    ("o", r"\bo_proj|\bwo\b|attn\.out_proj|(attn|attention)\.dense|attn\.c_proj"),
    ("router", r"\brouter\b|mlp\.gate\.|block_sparse_moe\.gate\.|\bgate\.weight"),
    ("gate+up", r"gate_up_proj"),
    ("gate", r"gate_proj|\bw1\b"),
    ("up", r"up_proj|\bw3\b|dense_h_to_4h|c_fc|\bfc1\b"),
    ("down", r"down_proj|\bw2\b|dense_4h_to_h|mlp\.c_proj|\bfc2\b"),
)
ORDER = ("embeddings", "q", "k", "v", "qkv", "o", "router", "gate", "up", "gate+up", "down", "norms", "other", "head")


def component_of(weight: Weight) -> str:
    """What a tensor is: one of :data:`ORDER`. A mixture's experts share their components."""
    if weight.place.part in ("embeddings", "tied"):
        return "embeddings"
    if weight.place.part == "head":
        return "head"
    for name, pattern in COMPONENTS:
        if re.search(pattern, weight.info.name):
            return name
    return "other"


class Reader(Protocol):
    """Whatever gives a model's weight: a checkpoint, or one with an adapter on top."""

    def read(self, weight: Weight) -> torch.Tensor:
        """The weight in the type in which it is stored."""


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


@dataclass(frozen=True)
class Change:
    """How one expert changed in one layer and component.

    Attributes:
        mean_absolute: mean of |change| over the parameters.
        relative: ||change|| / ||ancestor||, Frobenius.
        changed: share of the parameters that differ at all.
        rows: share of its rows that are among the model's 5 % most changed, by ||change|| / ||ancestor|| of the row.
        heads: the same for attention heads; None where there are none.
    """

    mean_absolute: float
    relative: float
    changed: float
    rows: float
    heads: float | None


@dataclass(frozen=True)
class Cell:
    """One layer (None outside the layers) and component: both experts' changes, and the cosine of their task vectors.

    ``ancestor_norm`` is ||ancestor||, Frobenius; ``cosine`` is NaN where one of them did not change.
    """

    layer: int | None
    component: str
    parameters: int
    ancestor_norm: float
    recipient: Change
    donor: Change
    cosine: float


@dataclass(frozen=True)
class Analysis:
    """Of three models; cells in the order of layers and :data:`ORDER`."""

    models: Mapping[str, str]
    n_layers: int
    cells: Sequence[Cell]

    def relative(self, role: str) -> float:
        """||change|| / ||ancestor|| of an expert: the median over the layers' matrices."""
        return float(torch.tensor(self.relatives(role)).nanmedian())

    def relatives(self, role: str) -> list[float]:
        """||change|| / ||ancestor|| of an expert in each layer and component, without norms."""
        return [
            getattr(cell, role).relative for cell in self.cells if cell.layer is not None and cell.component != "norms"
        ]


def analyze(
    base: Model, recipient: Model, donor: Model, options: MergeOptions, progress: Callable[[int], object] = int
) -> Analysis:
    """Compare two experts with their ancestor, tensor by tensor.

    Args:
        base: the pretrained ancestor.
        recipient: the task expert.
        donor: the language expert.
        options: mergekit's, for how inputs are read.
        progress: called with the number of bytes of each tensor that was looked at.

    Raises:
        UserError: the models' structures differ, or one lacks a tensor.
    """
    check_structure(base, recipient)
    check_structure(base, donor)
    readers = {role: _reader(model, options) for role, model in _roles(base, recipient, donor)}
    head_size = _head_size(base)
    cells: dict[tuple[int | None, str], _Cell] = {}
    for weight in _floating(base):
        component = component_of(weight)
        cell = cells.setdefault((weight.place.layer, component), _Cell())
        tensors = {role: reader.read(weight) for role, reader in readers.items()}
        _add(cell, tensors, component, head_size)
        progress(sum(tensor.nbytes for tensor in tensors.values()))
    names = {role: str(model) for role, model in _roles(base, recipient, donor)}
    return Analysis(names, base.layout.n_layers, _finish(cells))


def analyze_references(base: str, recipient: str, donor: str, options: MergeOptions) -> Analysis:
    """:func:`analyze` for models by path, Hub id, or ``model+adapter``; with a progress bar over bytes.

    Raises:
        UserError: as :func:`analyze`, or a model is not there or damaged.
    """
    models = []
    for name in (base, recipient, donor):
        try:
            reference = ModelReference.parse(name)
        except (ValueError, RuntimeError) as error:
            raise UserError(
                f"{name!r} names no model ({error}).", "Expected a folder, a Hub id, or MODEL+ADAPTER."
            ) from None
        models.append(
            open_model(reference, options.trust_remote_code, options.transformers_cache, options.lora_merge_cache)
        )
    total = 3 * sum(weight.header.n_bytes for weight in _floating(models[0]))
    with tqdm(total=total, unit="B", unit_scale=True, desc="Comparing", leave=False) as bar:
        return analyze(models[0], models[1], models[2], options, bar.update)


def _reader(model: Model, options: MergeOptions) -> Reader:
    """Of the model; with an adapter that is not merged yet, of the model under it with the adapter's change added."""
    if model.reference.lora is None or merged_folder(model.reference, options.lora_merge_cache):
        return WeightReader(model, options)
    return AdapterReader(WeightReader(model, options, plain_folder(model, options)), model.reference, options)


def _roles(base: Model, recipient: Model, donor: Model) -> tuple[tuple[str, Model], ...]:
    return ("base", base), ("recipient", recipient), ("donor", donor)


def _floating(model: Model) -> Iterator[Weight]:
    for weight in model.layout.weights.values():
        if weight.place.part != "outside" and weight.header.dtype.is_floating_point:
            yield weight


def _head_size(model: Model) -> int | None:
    text = model.config.get_text_config()
    size = getattr(text, "head_dim", None)
    if size is None and getattr(text, "num_attention_heads", None):
        size = text.hidden_size // text.num_attention_heads
    return size


def _add(cell: _Cell, tensors: Mapping[str, torch.Tensor], component: str, head_size: int | None) -> None:
    """Add one tensor, piece by piece in float32."""
    base = tensors["base"]
    flat = {
        role: tensor.reshape(-1, tensor.shape[-1]) if tensor.dim() > 1 else tensor[None]
        for role, tensor in tensors.items()
    }
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
    marks = {
        (role, kind): _threshold([part for cell in cells.values() for part in getattr(cell.of[role], kind)])
        for role in EXPERTS
        for kind in ("rows", "heads")
    }

    def change(cell: _Cell, role: str) -> Change:
        sums = cell.of[role]
        return Change(
            mean_absolute=sums.absolute / cell.parameters,
            relative=(sums.squares / cell.base) ** 0.5 if cell.base else float("nan"),
            changed=sums.changed / cell.parameters,
            rows=_share(sums.rows, marks[role, "rows"]) or 0.0,
            heads=_share(sums.heads, marks[role, "heads"]),
        )

    finished = []
    for (layer, component), cell in cells.items():
        lengths = (cell.of["recipient"].squares * cell.of["donor"].squares) ** 0.5
        cosine = max(-1.0, min(1.0, cell.product / lengths)) if lengths else float("nan")
        both = change(cell, "recipient"), change(cell, "donor")
        finished.append(Cell(layer, component, cell.parameters, cell.base**0.5, *both, cosine))
    order = {name: number for number, name in enumerate(ORDER)}
    places = {"embeddings": -1, "head": 10**6}
    return sorted(
        finished,
        key=lambda cell: (
            places.get(cell.component, 10**5) if cell.layer is None else cell.layer,
            order[cell.component],
        ),
    )


def _threshold(parts: Sequence[torch.Tensor]) -> float:
    """The smallest relative change among the 5 % most changed; what did not change is never among them."""
    if not parts:
        return float("inf")
    values = torch.cat(list(parts))
    count = max(1, round(MOST_CHANGED * len(values)))
    return max(float(values.topk(count).values[-1]), 1e-12)


def _share(parts: Sequence[torch.Tensor], mark: float) -> float | None:
    if not parts:
        return None
    values = torch.cat(list(parts))
    return float((values >= mark).float().mean())


@dataclass(frozen=True)
class Kinship:
    """Whether an expert comes from the ancestor: ``yes``, ``likely``, ``unclear`` or ``no``, and why."""

    verdict: str
    reason: str


def kinship(analysis: Analysis, role: str) -> Kinship:
    """Judge an expert by how far its matrices are from the ancestor's.

    Independent weights of equal size are sqrt(2) = 1.41 of their norm apart; fine-tuning moves them by a few
    hundredths. The bounds between are rules of thumb, not published ones. An ancestor and a sibling look alike: which
    of three related models is the ancestor is not judged.
    """
    middle, worst = analysis.relative(role), max(analysis.relatives(role))
    told = f"||change|| / ||ancestor|| is {middle:.3f} in the median layer and {worst:.3f} at most"
    if worst == 0:
        return Kinship("yes", "its layers are the ancestor's, bit by bit: it was not fine-tuned there")
    for verdict, holds in (("yes", worst < 0.2), ("likely", middle < 0.2), ("no", middle > 0.8)):
        if holds:
            return Kinship(verdict, told)
    return Kinship("unclear", told)
