"""A sweep as pictures: a heat map of bottom by top as PNG, and everything on one page without network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnswap.core.heat_maps import drawing_packages, heat_chart, write_heat_maps

from .documents import in_words
from .outputs import SAID, grid_maps, span, table
from .sweep import Sweep


def write_pictures(sweep: Sweep, folder: Path) -> list[Path]:
    """Write ``heat_map.png`` (``heat_map_2.png``, …: one per combination of the grid's other axes) and ``sweep.html``.

    Raises:
        UserError: the packages that draw are not installed, or the folder cannot be written.
    """
    drawing_packages("")
    maps, settings = grid_maps(sweep), sweep.settings
    charts = {}
    for number, (title, values) in enumerate(maps.items(), 1):
        chart = _chart(values, span(maps), sweep.metric.higher_is_better)
        charts["heat_map" if number == 1 else f"heat_map_{number}"] = (title, chart)
    models = {"recipient": settings.recipient, "donor": settings.donor, "base": settings.base}
    facts = {role: model for role, model in models.items() if model}
    facts["metric"] = f"{sweep.metric.name}; differences are to the recipient, * is the best swap"
    facts |= {SAID[role]: in_words(described) for role, described in sweep.documents.items()}
    title = f"Layer swaps of {settings.recipient} and {settings.donor}"
    return write_heat_maps(folder, "sweep.html", title, charts, facts, table(sweep), sweep.notes)


def _chart(values: Sequence[Mapping[str, Any]], domain: tuple[float, float], higher: bool) -> Any:
    import altair as alt
    import pandas as pd

    bottoms, tops = (sorted({value[axis] for value in values}) for axis in ("bottom", "top"))
    low, high = domain
    middle = (low + 2 * high) / 3 if higher else (2 * low + high) / 3  # above it, or below, viridis is light
    chart = heat_chart(
        alt.Chart(pd.DataFrame(values)),
        x=alt.X("top:O", title="top layers of the donor", sort=tops, axis=alt.Axis(orient="top", labelAngle=0)),
        y=alt.Y("bottom:O", title="bottom layers of the donor", sort=bottoms),
        tooltip=["configuration:N", alt.Tooltip("value:Q", format=".4f")],
        colour=alt.Color(
            "value:Q",
            title="lighter is better",
            scale=alt.Scale(scheme="viridis", domain=[low, high], reverse=not higher),
        ),
        digits=".3f",
        dark=alt.datum.value <= middle if higher else alt.datum.value >= middle,
    )
    return chart.properties(width=44 * len(tops), height=max(150, 26 * len(bottoms)))
