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

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole

EXPERTS = ("recipient", "donor")
# A row or a head is among the most changed if it is in the top 5 % of the model's.
MOST_CHANGED = 0.05
FILE, CHECKSUM = "analysis.json", "sha256"
FORM = 1  # raise it with every change of what the file says: older files are refused then


@dataclass(frozen=True)
class ExpertChange:
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
        return float(torch.tensor(self.relatives(role)).nanmedian())

    def relatives(self, role: str) -> list[float]:
        """||change|| / ||ancestor|| of an expert in each layer and component, without norms."""
        return [
            getattr(cell, role).relative for cell in self.cells if cell.layer is not None and cell.component != "norms"
        ]


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


def as_rows(analysis: Analysis) -> list[dict[str, object]]:
    """A flat row per layer, component and expert: for CSV and charts. NaN is None."""
    rows = []
    for cell in analysis.cells:
        for role in EXPERTS:
            row: dict[str, object] = {
                "layer": cell.layer,
                "component": cell.component,
                "expert": role,
                "parameters": cell.parameters,
                "ancestor_norm": cell.ancestor_norm,
            }
            row |= vars(getattr(cell, role)) | {"cosine": cell.cosine}
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
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise UserError(
            f"{file} cannot be read as an analysis: {reason}.", "Name the folder that turnswap analyze -o wrote."
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
    if not isinstance(content, dict) or CHECKSUM not in content or content[CHECKSUM] != _checksum(content):
        raise UserError(
            "This is not an analysis as this version of turnswap wrote it: it is something else, or it was altered.",
            "Run turnswap analyze again, with -o, and name the folder that it wrote.",
        )
    try:
        rows = content["cells"]
        cells = [_cell(recipient, donor) for recipient, donor in zip(rows[::2], rows[1::2], strict=True)]
        analysis = Analysis(dict(content["models"]), int(content["layers"]), cells, tuple(content.get("notes", ())))
        judged = {role: vars(kinship(analysis, role)) for role in EXPERTS}
        whole = judged == content["ancestor"] and all(cell.layer in (None, *range(analysis.n_layers)) for cell in cells)
    except (AttributeError, KeyError, TypeError, ValueError):
        whole = False
    if not whole:
        raise UserError(
            "This has another form than an analysis, though its checksum is right.",
            "Run turnswap analyze again, with -o, and name the folder that it wrote.",
        )
    return analysis


def _cell(recipient: Mapping[str, Any], donor: Mapping[str, Any]) -> Cell:
    """What two rows of :func:`as_rows` say."""

    def number(value: float | None) -> float:
        return math.nan if value is None else value

    def change(row: Mapping[str, Any]) -> ExpertChange:
        figures = {field.name: row[field.name] for field in fields(ExpertChange)}
        return ExpertChange(**figures | {name: number(row[name]) for name in ("mean_absolute", "relative")})

    norm, both = number(recipient["ancestor_norm"]), (change(recipient), change(donor))
    # A relative change from zeros has no value; everything else has one, unless a weight has none.
    figures = [norm, *(one.mean_absolute for one in both), *(one.relative for one in both if norm)]
    if not all(map(math.isfinite, figures)):
        where = "" if recipient["layer"] is None else f" of layer {recipient['layer']}"
        raise UserError(
            f"The change of {recipient['component']}{where} is not finite: a model holds NaN or infinite values.",
            "Repair or replace that model, and run turnswap analyze again, with -o.",
        )
    place = recipient["layer"], recipient["component"], recipient["parameters"]
    return Cell(*place, norm, *both, number(recipient["cosine"]))
