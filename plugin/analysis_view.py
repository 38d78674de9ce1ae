"""Where experts changed, as heat maps in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.color import Color
from rich.console import Console
from rich.style import Style
from rich.table import Table
from rich.text import Text

from .errors import visible

if TYPE_CHECKING:  # it brings torch, which takes seconds
    from turnswap.merge_methods.analysis import Analysis


def show_analysis(console: Console, analysis: Analysis) -> None:
    """Print a heat map per expert, their difference, and whether they come from the ancestor."""
    from turnswap.merge_methods.analysis import EXPERTS, kinship

    for role, model in analysis.models.items():
        console.print(Text(f"{role:10} {visible(model)}"), soft_wrap=True)
    values = {
        role: {(cell.layer, cell.component): 100 * getattr(cell, role).relative for cell in analysis.cells}
        for role in EXPERTS
    }
    for role in EXPERTS:
        console.print(_heat_map(f"{role}: ||change|| / ||ancestor||, in per cent", values[role]))
    difference = {place: values["donor"][place] - value for place, value in values["recipient"].items()}
    console.print(_heat_map("donor less recipient, in points: above 0 the donor changed more", difference))
    for role in EXPERTS:
        found = kinship(analysis, role)
        console.print(Text(f"Does the {role} come from the base? {found.verdict}: {found.reason}"), soft_wrap=True)


def _heat_map(title: str, values: dict[tuple[int | None, str], float]) -> Table:
    """Layers down, components across; the stronger the colour, the larger the value."""
    table = Table(title=Text(title, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0))
    components = list(dict.fromkeys(component for _, component in values))
    rows = list(dict.fromkeys(component if layer is None else layer for layer, component in values))
    largest = max((abs(value) for value in values.values() if value == value), default=0.0) or 1.0
    table.add_column("layer", justify="right")
    for component in components:
        table.add_column({"embeddings": "emb"}.get(component, component), justify="right", min_width=6)
    for row in rows:
        layer = None if isinstance(row, str) else row
        cells = []
        for component in components:
            value = values.get((layer, component), float("nan")) if row in (layer, component) else float("nan")
            cells.append(Text("") if value != value else Text(f"{value:.2f}", style=_style(value / largest)))
        table.add_row({"embeddings": "emb"}.get(str(row), str(row)), *cells)
    return table


def _style(share: float) -> Style:
    """Orange above 0, blue below; the number alone says as much where there is no colour."""
    depth = min(1.0, abs(share))
    strong = (230, 120, 20) if share > 0 else (40, 100, 220)
    mixed = [round(255 + (part - 255) * depth) for part in strong]
    return Style(bgcolor=Color.from_rgb(*mixed), color=Color.from_rgb(0, 0, 0))
