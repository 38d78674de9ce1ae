"""An analysis: its figures, what they say of the experts' descent, and its file, read back as the very figures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.core.settings import read_settings

from .layout import ORDER

EXPERTS = ("recipient", "donor")
# A row or a head is among the most changed if it is in the top 5 % of the model's.
MOST_CHANGED = 0.05
FILE = "analysis.json"
AGAIN = "Run turnswap analyze again, with -o."

_Share = Annotated[float, Field(ge=0, le=1)]
_Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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
    """Everything, for other programs."""
    return {
        "models": dict(analysis.models),
        "layers": analysis.n_layers,
        "ancestor": {role: vars(kinship(analysis, role)) for role in EXPERTS},
        "most_changed": f"the {MOST_CHANGED:.0%} rows (heads) of the model with the largest ||change|| / ||ancestor||",
        "cells": as_rows(analysis),
    }


def write_analysis(analysis: Analysis, folder: Path) -> None:
    """Write ``analysis.json`` and ``analysis.csv``.

    Raises:
        UserError: the folder cannot be written.
    """
    advice = "Name another folder with -o."
    write_whole(folder / FILE, json.dumps(as_json(analysis), indent=1, ensure_ascii=False) + "\n", advice)
    rows, text = as_rows(analysis), io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    write_whole(folder / "analysis.csv", text.getvalue(), advice)


class _Checked(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Row(_Checked):
    """What :func:`as_rows` writes per layer, component and expert."""

    layer: Annotated[int, Field(ge=0)] | None
    component: str
    expert: Literal["recipient", "donor"]
    parameters: Annotated[int, Field(gt=0)]
    ancestor_norm: _Size
    mean_absolute: _Size
    relative: _Size | None
    changed: _Share
    rows: _Share
    heads: _Share | None
    cosine: Annotated[float, Field(ge=-1, le=1)] | None

    @property
    def shared(self) -> tuple[object, ...]:
        """What the rows of both experts say alike."""
        return self.layer, self.component, self.parameters, self.ancestor_norm, self.cosine


class _Kinship(_Checked):
    verdict: str
    reason: str


class _Models(_Checked):
    base: str
    recipient: str
    donor: str


class _Experts(_Checked):
    recipient: _Kinship
    donor: _Kinship


class _File(_Checked):
    models: _Models
    layers: Annotated[int, Field(gt=0)]
    ancestor: _Experts
    most_changed: str
    cells: list[_Row]


def read_analysis(path: Path) -> Analysis:
    """The analysis in a file, or in the folder that ``turnswap analyze -o`` wrote.

    Raises:
        UserError: there is none, it is of an older form, or its figures contradict each other.
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
        UserError: it is something else, of an older form, or its figures contradict each other.
    """
    if not isinstance(content, dict) or not isinstance(content.get("cells"), list):
        raise UserError("This is no analysis.", "Name the folder that turnswap analyze -o wrote.")
    if any(isinstance(row, dict) and "ancestor_norm" not in row for row in content["cells"]):
        raise UserError("This analysis is of an older form, which lacks the ancestor's norms.", AGAIN)
    file = read_settings(_File, content, "an analysis of turnswap", AGAIN)
    analysis = Analysis(file.models.model_dump(), file.layers, _cells(file.cells))
    layers = {cell.layer for cell in analysis.cells} - {None}
    if layers != set(range(file.layers)):
        raise _contradiction(f"it speaks of {file.layers} layers and has figures of {len(layers)}")
    for role in EXPERTS:
        recorded, found = getattr(file.ancestor, role).verdict, kinship(analysis, role).verdict
        if recorded != found:
            raise _contradiction(
                f"whether the {role} comes from the ancestor is {recorded!r} in it, and {found!r} by its figures"
            )
    return analysis


def _cells(rows: Sequence[_Row]) -> list[Cell]:
    cells = []
    seen: set[tuple[int | None, str]] = set()
    if len(rows) % 2:
        raise _contradiction("an expert's figures are missing")
    for recipient, donor in zip(rows[::2], rows[1::2], strict=True):
        place = recipient.layer, recipient.component
        where = recipient.component if recipient.layer is None else f"{recipient.component} of layer {recipient.layer}"
        if (recipient.expert, donor.expert) != EXPERTS or recipient.shared != donor.shared:
            raise _contradiction(f"the experts' figures for {where} do not belong together")
        if place in seen or recipient.component not in ORDER:
            raise _contradiction(f"{where} is {'there twice' if place in seen else 'no component'}")
        if (recipient.relative is None) != (recipient.ancestor_norm == 0) or (recipient.relative is None) != (
            donor.relative is None
        ):
            raise _contradiction(f"the change of {where} does not fit its norm")
        if recipient.relative is not None and (recipient.cosine is None) != (0 in (recipient.relative, donor.relative)):
            raise _contradiction(f"the cosine of {where} does not fit its changes")
        seen.add(place)
        changes = [
            ExpertChange(row.mean_absolute, _or_nan(row.relative), row.changed, row.rows, row.heads)
            for row in (recipient, donor)
        ]
        cosine = _or_nan(recipient.cosine)
        cells.append(Cell(*place, recipient.parameters, recipient.ancestor_norm, changes[0], changes[1], cosine))
    return cells


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _contradiction(what: str) -> UserError:
    return UserError(f"This analysis was altered, or another version of turnswap made it: {what}.", AGAIN)
