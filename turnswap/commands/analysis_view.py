"""Where experts changed: heat maps in a terminal, as pictures and on a page."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from turnswap.core.errors import visible
from turnswap.core.heat_maps import drawing_packages, heat_chart, heat_table, worded_colour, write_heat_maps

if TYPE_CHECKING:  # it brings torch, which takes seconds
    from turnswap.merge_methods.analysis_file import Analysis

TITLES = {
    "recipient": "recipient: ||change|| / ||ancestor||, in per cent",
    "donor": "donor: ||change|| / ||ancestor||, in per cent",
    "difference": "donor less recipient, in points: above 0 the donor changed more",
    "cosine": "cosine between the two task vectors",
}
# What has a sign, and what the ends of its scale mean.
SIGNED = {"difference": ("recipient", "donor"), "cosine": ("opposite", "alike")}
_SHORT = {"embeddings": "emb"}
_AXES = ("layer", "component")


def show_analysis(console: Console, analysis: Analysis) -> None:
    """Print a heat map per expert, their difference, and whether they come from the ancestor."""
    from turnswap.merge_methods.analysis_file import EXPERTS, kinship

    for role, model in analysis.models.items():
        console.print(Text(f"{role:10} {visible(model)}"), soft_wrap=True)
    for name in (*EXPERTS, "difference"):
        for table in _heat_maps(TITLES[name], _values(analysis, name), max(1, (console.width - 10) // 7)):
            console.print(table)
    for role in EXPERTS:
        found = kinship(analysis, role)
        console.print(Text(f"Does the {role} come from the base? {found.verdict}: {found.reason}"), soft_wrap=True)
    for note in analysis.notes:
        console.print(Text(f"Note: {note}"), soft_wrap=True)


def _heat_maps(title: str, values: Sequence[dict[str, Any]], room: int) -> Iterable[Table]:
    """Layers down, components across, so many in each; places outside the layers have a row of their own."""
    largest = max((abs(value["value"]) for value in values if value["value"] is not None), default=0.0) or 1.0
    short = [value | {axis: _SHORT.get(value[axis], value[axis]) for axis in _AXES} for value in values]
    columns = list(dict.fromkeys(value["component"] for value in short))
    for start in range(0, len(columns), room):
        shown = [value for value in short if value["component"] in columns[start : start + room]]
        yield heat_table(title, "layer", shown, _AXES, lambda figure: figure / largest, ".2f", 6)


def write_pictures(analysis: Analysis, folder: Path) -> list[Path]:
    """Write a PNG per heat map, and ``analysis.html`` with all of them.

    Raises:
        UserError: the packages that draw are not installed, or the folder cannot be written.
    """
    drawing_packages("; or leave -o out")
    from turnswap.merge_methods.analysis_file import EXPERTS, kinship

    found = {role: kinship(analysis, role) for role in EXPERTS}
    facts = dict(analysis.models) | {f"{role} comes from base": f"{k.verdict}: {k.reason}" for role, k in found.items()}
    facts |= {"notes": " ".join(analysis.notes)} if analysis.notes else {}
    panels = {name: _values(analysis, name) for name in TITLES}
    charts = {name: (title, _chart(name, panels)) for name, title in TITLES.items()}
    return write_heat_maps(folder, "analysis.html", "Where fine-tuning changed the experts", charts, facts)


def _values(analysis: Analysis, name: str) -> list[dict[str, Any]]:
    """The value of each layer and component in one heat map; places outside the layers stand above and below."""
    values = []
    for cell in analysis.cells:
        recipient, donor = 100 * cell.recipient.relative, 100 * cell.donor.relative
        shown = {"recipient": recipient, "donor": donor, "difference": donor - recipient, "cosine": cell.cosine}[name]
        layer = cell.component if cell.layer is None else str(cell.layer)
        values.append({"layer": layer, "component": cell.component, "value": None if math.isnan(shown) else shown})
    return values


def _chart(name: str, panels: Mapping[str, Sequence[Mapping[str, Any]]]) -> Any:
    """One heat map; experts share one scale, and what has a sign reaches as far below 0 as above it."""
    import altair as alt
    import pandas as pd

    values, signed = panels[name], name in SIGNED
    alike = [name] if signed else [each for each in panels if each not in SIGNED]
    known = [abs(value["value"]) for each in alike for value in panels[each] if value["value"] is not None]
    reach = 1.0 if name == "cosine" else max(known, default=0.0) or 1.0
    words = SIGNED.get(name, ("unchanged", "changed most"))
    layers = list(dict.fromkeys(value["layer"] for value in values))
    columns = list(dict.fromkeys(value["component"] for value in values))
    chart = heat_chart(
        alt.Chart(pd.DataFrame(values)),
        x=alt.X("component:N", title=None, sort=columns, axis=alt.Axis(orient="top", labelAngle=-40)),
        y=alt.Y("layer:N", title="layer", sort=layers),
        tooltip=["layer:N", "component:N", alt.Tooltip("value:Q", format=".3f")],
        colour=worded_colour(-reach if signed else 0.0, reach, words, signed=signed),
    )
    return chart.properties(width=30 * len(columns), height=max(160, 12 * len(layers)))
