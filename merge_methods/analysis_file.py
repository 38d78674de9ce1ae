"""An analysis: its figures, what they say of the experts' descent, and its file, read back as the very figures."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from turnswap.core.errors import UserError, reason_of
from turnswap.core.files import write_whole

from .zones import ranges

EXPERTS = ("recipient", "donor")
# A row or a head is among the most changed if it is in the top 5 % of the model's.
MOST_CHANGED = 0.05
# A rule of thumb, no published bound: matrices whose cosine with the ancestor's is less come from elsewhere. Unrelated
# ones have about 0, and it takes a change of 1.7 times their norm to leave 0.5; fine-tuning changes a few hundredths.
UNRELATED = 0.5
FILE, CHECKSUM = "analysis.json", "sha256"
FORM = 2  # raise it with every change of what the file says: older files are refused then


@dataclass(frozen=True)
class ExpertChange:
    """How one expert changed in one layer and component: mean of |change|, ||change|| / ||ancestor|| (Frobenius), …

    ``changed`` is the share of parameters that differ at all, ``rows`` and ``heads`` the shares of rows and attention
    heads among the model's 5 % most changed, by ||change|| / ||ancestor||; None where there are none that are not zero
    in the ancestor. ``likeness`` is the cosine between the matrices and the ancestor's; NaN where there are none.
    """

    mean_absolute: float
    relative: float
    changed: float
    rows: float | None
    heads: float | None
    likeness: float


@dataclass(frozen=True)
class Cell:
    """One layer (None outside the layers) and component: both experts' changes, and the cosine of their task vectors.

    ``ancestor_norm`` is ||ancestor||, Frobenius; ``cosine`` is NaN where one of them did not change.
    """

    layer: int | None
    component: str
    parameters: int
    ancestor_norm: float
    recipient: ExpertChange
    donor: ExpertChange
    cosine: float


@dataclass(frozen=True)
class Analysis:
    """Of three models; cells in the order of layers and of ``layout.ORDER``; ``notes`` on what counts where."""

    models: Mapping[str, str]
    n_layers: int
    cells: Sequence[Cell]
    notes: Sequence[str] = ()

    def relative(self, role: str) -> float:
        """||change|| / ||ancestor|| of an expert: the median over the layers' matrices."""
        return float(torch.tensor(self.relatives(role)).median())

    def relatives(self, role: str) -> list[float]:
        """||change|| / ||ancestor|| of an expert in each layer and component, without norms and what was zero."""
        cells = [cell for cell in self.cells if cell.layer is not None and cell.component != "norms"]
        return [getattr(cell, role).relative for cell in cells if cell.ancestor_norm] or [math.nan]


@dataclass(frozen=True)
class Kinship:
    """Whether an expert comes from the ancestor: ``yes``, ``likely``, ``unclear``, ``in part`` or ``no``; and why."""

    verdict: str
    reason: str


def kinship(analysis: Analysis, role: str) -> Kinship:
    """Judge an expert by the cosine between its matrices and the ancestor's, then by how far it moved.

    The bounds are rules of thumb, not published ones. An ancestor and a sibling look alike: which of three related
    models is the ancestor is not judged.
    """
    middle, worst = analysis.relative(role), max(analysis.relatives(role))
    told = f"||change|| / ||ancestor|| is {middle:.3f} in the median layer and {worst:.3f} at most"
    if worst == 0:
        return Kinship("yes", "its layers equal the ancestor's, bit for bit: it was not fine-tuned there")
    strange: dict[int | None, dict[str, float]] = {}
    for cell in analysis.cells:
        if (likeness := getattr(cell, role).likeness) < UNRELATED:
            strange.setdefault(cell.layer, {})[cell.component] = likeness
    if strange:
        reason = (
            f"unrelated to it, by the cosine of weights (fine-tuned: nearly 1; unrelated: about 0): {_named(strange)}; "
            f"{told}"
        )
        return Kinship("no" if strange.keys() >= set(range(analysis.n_layers)) else "in part", reason)
    return Kinship("yes" if worst < 0.2 else "likely" if middle < 0.5 else "unclear", told)


def _named(strange: Mapping[int | None, Mapping[str, float]]) -> str:
    """Layers of which the same components are strange together, with their least and largest cosine."""
    alike: dict[tuple[str, ...], list[int]] = {}
    for layer, components in strange.items():
        if layer is not None:
            alike.setdefault(tuple(components), []).append(layer)
    groups = []
    for names, layers in alike.items():
        values = [value for layer in layers for value in strange[layer].values()]
        groups.append((f"layers {ranges(layers)} in {', '.join(names)}", values))
    groups += [(component, [value]) for component, value in strange.get(None, {}).items()]
    return "; ".join(f"{name} ({min(values):.2f} to {max(values):.2f})" for name, values in groups)


def as_rows(analysis: Analysis) -> list[dict[str, object]]:
    """A flat row per layer, component and expert: for CSV and charts. NaN is None."""
    rows = []
    for cell in analysis.cells:
        for role in EXPERTS:
            place = {"layer": cell.layer, "component": cell.component, "expert": role}
            sizes = {"parameters": cell.parameters, "ancestor_norm": cell.ancestor_norm}
            row = place | sizes | vars(getattr(cell, role)) | {"cosine": cell.cosine}
            rows.append({name: None if value != value else value for name, value in row.items()})
    return rows


def as_json(analysis: Analysis) -> dict[str, object]:
    """Everything, for other programs, and a checksum by which :func:`from_json` knows it for unaltered."""
    content: dict[str, object] = {
        "models": dict(analysis.models),
        "layers": analysis.n_layers,
        "ancestor": {role: vars(kinship(analysis, role)) for role in EXPERTS},
        "most_changed": f"the {MOST_CHANGED:.0%} rows (heads) of the model with the largest ||change|| / ||ancestor||",
        "cells": as_rows(analysis),
    }
    content |= {"notes": list(analysis.notes)} if analysis.notes else {}
    return content | {CHECKSUM: _checksum(content)}


def _checksum(content: Mapping[str, object]) -> str:
    """Of everything else in it, however its JSON is ordered and spaced."""
    others = {name: value for name, value in content.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps([FORM, others], sort_keys=True).encode()).hexdigest()


def write_analysis(analysis: Analysis, folder: Path) -> None:
    """Write ``analysis.json`` and ``analysis.csv``.

    Raises:
        UserError: the folder cannot be written.
    """
    import pandas as pd  # a merge, which reads its models' changes too, does without

    advice = "Name another folder with -o."
    write_whole(folder / FILE, json.dumps(as_json(analysis), indent=1, ensure_ascii=False) + "\n", advice)
    table = pd.DataFrame(as_rows(analysis), dtype=object)  # numbers stay as they are beside empty cells
    write_whole(folder / "analysis.csv", table.to_csv(index=False, lineterminator="\r\n"), advice)


def read_analysis(path: Path) -> Analysis:
    """The analysis in a file, or in the folder that ``turnswap analyze -o`` wrote.

    Raises:
        UserError: there is none, or it is not as this version of turnswap wrote it.
    """
    file = path / FILE if path.is_dir() else path
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{file} cannot be read as an analysis: {reason_of(error)}.",
            "Name the folder that turnswap analyze -o wrote.",
        ) from None
    try:
        return from_json(content)
    except UserError as error:
        raise UserError(f"{file}: {error.message}", error.advice) from error


def from_json(content: Any) -> Analysis:
    """What :func:`as_json` made, as it was.

    Raises:
        UserError: it is something else, it was altered, or rules for choosing layers cannot go by its figures.
    """
    try:
        rows = content["cells"]
        cells = [_cell(recipient, donor) for recipient, donor in zip(rows[::2], rows[1::2], strict=True)]
        analysis = Analysis(dict(content["models"]), int(content["layers"]), cells, tuple(content.get("notes", ())))
        judged = {role: vars(kinship(analysis, role)) for role in EXPERTS}
        whole = judged == content["ancestor"] and all(cell.layer in (None, *range(analysis.n_layers)) for cell in cells)
        if not whole or content[CHECKSUM] != _checksum(content):
            raise ValueError
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UserError(
            "This is not an analysis that this version of turnswap wrote, or it was altered.",
            "Run turnswap analyze again, with -o, and name the folder that it wrote.",
        ) from None
    return analysis


def _cell(recipient: Mapping[str, Any], donor: Mapping[str, Any]) -> Cell:
    """What two rows of :func:`as_rows` say."""

    def number(value: float | None) -> float:
        return math.nan if value is None else value

    def change(row: Mapping[str, Any]) -> ExpertChange:
        figures = {field.name: row[field.name] for field in fields(ExpertChange)}
        return ExpertChange(**figures | {name: number(row[name]) for name in ("relative", "likeness")})

    place = {name: recipient[name] for name in ("layer", "component", "parameters", "ancestor_norm")}
    return Cell(**place, recipient=change(recipient), donor=change(donor), cosine=number(recipient["cosine"]))
