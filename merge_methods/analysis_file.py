"""An analysis as ``turnswap analyze`` writes it, and read back: the very figures, or words for why not."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole

from .analysis import EXPERTS, MOST_CHANGED, ORDER, Analysis, Cell, Change, kinship

FILE = "analysis.json"
AGAIN = "Run turnswap analyze again, with -o."

_Share = Annotated[float, Field(ge=0, le=1)]
_Size = Annotated[float, Field(ge=0, allow_inf_nan=False)]


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
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise UserError(f"This is no analysis that turnswap wrote: {place}: {first['msg']}.", AGAIN) from error
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
            Change(row.mean_absolute, _or_nan(row.relative), row.changed, row.rows, row.heads)
            for row in (recipient, donor)
        ]
        cosine = _or_nan(recipient.cosine)
        cells.append(Cell(*place, recipient.parameters, recipient.ancestor_norm, changes[0], changes[1], cosine))
    return cells


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _contradiction(what: str) -> UserError:
    return UserError(f"This analysis was altered, or another version of turnswap made it: {what}.", AGAIN)
