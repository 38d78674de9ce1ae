"""What rules for choosing layers go by: an analysis added up per layer, and the modules that names tell apart."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from turnswap.core.errors import UserError

from .analysis_file import EXPERTS, Analysis, Cell
from .layout import MODULES, ORDER, Layout, Weight, component_of

# What the sum of r(W) is published for.
PUBLISHED = ("q", "k", "v", "o", "gate", "up", "down")
Unit = TypeVar("Unit")  # a layer, or a module of one
# Sums in float32 are good to about 1e-7 of their value: what differs by less than this does not differ.
ROUNDING = 1e-6


def matrices(analysis: Analysis) -> tuple[dict[int, list[Cell]], tuple[str, ...]]:
    """What counts of each layer, and a note on what cannot: a relative change from zero has no value."""
    layers: dict[int, list[Cell]] = {layer: [] for layer in range(analysis.n_layers)}
    left_out = []
    for cell in analysis.cells:
        if cell.layer is None or cell.component == "norms":
            continue
        if cell.ancestor_norm == 0:
            left_out.append(f"{cell.component} of layer {cell.layer}")
        else:
            layers[cell.layer].append(cell)
    note = f"Left out, since they are all zeros in the ancestor: {', '.join(left_out)}."
    return layers, (note,) if left_out else ()


def _lengths(cells: Sequence[Cell], role: str) -> list[float]:
    """||change|| of each cell."""
    return [getattr(cell, role).relative * cell.ancestor_norm for cell in cells]


def change(cells: Sequence[Cell], role: str) -> float:
    """||change|| / ||ancestor|| of several matrices together."""
    norm = math.hypot(*(cell.ancestor_norm for cell in cells))
    return math.hypot(*_lengths(cells, role)) / norm if norm else 0.0


def summed(cells: Sequence[Cell], role: str) -> float:
    """The sum of r(W)."""
    return math.fsum(getattr(cell, role).relative for cell in cells)


def cosine(cells: Sequence[Cell]) -> float:
    """Of the two task vectors in a layer; NaN where one of them is zero."""
    recipient, donor = (_lengths(cells, role) for role in EXPERTS)
    product = math.fsum(cell.cosine * r * d for cell, r, d in zip(cells, recipient, donor, strict=True) if r and d)
    lengths = math.hypot(*recipient) * math.hypot(*donor)
    return product / lengths if lengths else math.nan


def deviations(layers: Mapping[int, Sequence[Cell]]) -> tuple[str, ...]:
    """In what the sums of these layers are not those of r(W) as published."""
    held = [{cell.component for cell in cells} for cells in layers.values()]
    every = set().union(*held)
    others = sorted(every - set(PUBLISHED), key=ORDER.index)
    missing = [component for component in PUBLISHED if component not in every]
    notes = []
    if others or missing:
        said = [f"{', '.join(others)} count too, each as one matrix"] if others else []
        said += [f"there is no {', '.join(missing)}"] if missing else []
        notes.append(f"The rule is published for sums over {', '.join(PUBLISHED)}. Here {', and '.join(said)}.")
    if any(component.startswith("expert") for component in every):
        notes.append("A mixture's experts count as one matrix per projection: r is for the whole group.")
    if any(components != every for components in held):
        notes.append("The layers do not all hold the same components: their sums are over different parts.")
    return tuple(notes)


def shares(
    units: Mapping[Unit, Sequence[Cell]], measure: Callable[[Sequence[Cell], str], float]
) -> dict[str, dict[Unit, float]]:
    """Of each expert: what is measured of each unit, divided by the sum over units.

    Raises:
        UserError: an expert's figures are all zero.
    """
    found = {}
    for role in EXPERTS:
        values = {unit: measure(cells, role) for unit, cells in units.items()}
        total = math.fsum(values.values())
        if not total:
            raise UserError(
                f"The {role} did not change in any layer: it is the ancestor there.",
                "Name another model as the expert.",
            )
        found[role] = {unit: value / total for unit, value in values.items()}
    return found


def deviation(values: Sequence[float]) -> float:
    """The sum of squared deviations from the mean."""
    centre = statistics.fmean(values)
    return math.fsum((value - centre) ** 2 for value in values)


def best_middle(values: Sequence[float]) -> tuple[int, int]:
    """First layer and end of the block whose cut leaves the least squared deviation; (0, 0) where none fits."""
    cuts = [(first, end) for first in range(1, len(values) - 1) for end in range(first + 1, len(values))]
    return min(
        cuts,
        key=lambda cut: deviation(values[slice(*cut)]) + deviation([*values[: cut[0]], *values[cut[1] :]]),
        default=(0, 0),
    )


def module_filters(layout: Layout) -> Mapping[str, list[str]]:
    """What to write as mergekit's ``filter:`` for each module alone: ``.self_attn.`` and ``.mlp.`` in most models.

    The dots belong to them: ``attention`` alone would match GPT-NeoX's ``post_attention_layernorm`` too.

    Raises:
        UserError: the names do not tell the modules apart.
    """
    held: dict[str, set[str]] = {}
    for weight in layout.weights.values():
        if weight.place.layer is not None:
            held.setdefault(_segment(weight), set()).add(component_of(weight))
    filters: dict[str, list[str]] = {module: [] for module in MODULES}
    for segment, components in held.items():
        inside = [name for name, parts in MODULES.items() if components & set(parts)]
        if not inside:
            continue  # norms and the like beside the modules
        if inside[1:] or not components <= {"norms", *MODULES[inside[0]]}:
            raise _cannot(f"{segment} holds {', '.join(sorted(components - {'norms'}))}")
        filters[inside[0]].append(f".{segment}.")
    for text in (text for texts in filters.values() for text in texts):
        for weight in layout.weights.values():
            # Whatever a filter says, a tensor outside the decoder stays with the recipient.
            if text in weight.name and weight.place.part != "outside" and text != f".{_segment(weight)}.":
                raise _cannot(f"{text!r} matches {weight.name} too")
    missing = [module for module, texts in filters.items() if not texts]
    if missing:
        raise _cannot(f"none is found for its {missing[0]}")
    return filters


def _segment(weight: Weight) -> str:
    """``self_attn`` of ``model.layers.3.self_attn.q_proj.weight``; empty outside the layers."""
    return str(weight.name).partition(f".{weight.place.layer}.")[2].partition(".")[0]


def _cannot(why: str) -> UserError:
    return UserError(
        f"The names of this model's tensors do not tell attention and MLP apart: {why}.",
        "Use whole layers: --granularity layer.",
    )
