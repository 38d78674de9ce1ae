"""A search's results as pictures and a page: the grid's heat maps, and the Pareto front."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnswap.core.heat_maps import drawing_packages, heat_chart, write_heat_maps

from .documents import describe, in_words
from .outputs import SAID, SELECTED, grid_maps, span, table
from .rows import Search

LONGEST = 200  # characters of documents' numbers on the page


def write_pictures(search: Search, folder: Path, name: str) -> list[Path]:
    """Write ``heat_map.png`` (and ``_2``, …), ``pareto.png`` where there are several objectives, and ``NAME.html``.

    Raises:
        UserError: the packages that draw are not installed, or the folder cannot be written.
    """
    drawing_packages("")
    maps, settings = grid_maps(search), search.settings
    objectives = search.roles["select"].objectives
    higher = objectives[search.objective].higher_is_better
    charts = {}
    if len([one for one in objectives.values() if one.optimize]) > 1:
        charts["pareto"] = (
            "Every row; orange: the Pareto front of the swaps, star: the chosen one",
            _front_chart(search),
        )
    for number, (title, values) in enumerate(maps.items(), 1):
        charts["heat_map" if number == 1 else f"heat_map_{number}"] = (title, _chart(values, span(maps), higher))
    facts = {"base" if role == "pretrained" else role: model for role, model in settings.models.items()}
    facts["objectives"] = "; ".join(f"{each}: {one.metric.name}" for each, one in objectives.items())
    facts["figures"] = (
        f"* was chosen by {search.objective}, + are on the Pareto front; differences are to the recipient"
    )
    facts |= {SAID[role.name]: in_words(describe(role.documents))[:LONGEST] for role in search.roles.values()}
    experts = [model for role, model in settings.models.items() if role != "pretrained"]
    title = f"Layer swaps of {' and '.join(experts)}"
    return write_heat_maps(folder, f"{name}.html", title, charts, facts, table(search), search.notes)


def _front_chart(search: Search) -> Any:
    """The first two objectives of every row that was evaluated."""
    import altair as alt
    import pandas as pd

    select = search.roles["select"]
    axes = [one for one in select.objectives.values() if one.optimize][:2]
    points = [
        {"x": figures[axes[0].name][0], "y": figures[axes[1].name][0], "configuration": row.configuration.name}
        | {"kind": "chosen" if row is search.best else "front" if row.on_front else row.configuration.kind}
        for row in search.rows
        if row.select and (figures := select.figures(row.select))
    ]
    logarithmic = alt.Scale(type="log", nice=False)  # perplexities of bad swaps dwarf all others
    scales = [logarithmic if "perplexity" in one.metric.name else alt.Scale(zero=False) for one in axes]
    kinds = ["chosen", "front", "swap", "recipient", "donor", "average", "control", "weight"]
    colours = ["#d55e00", "#d55e00", "#999999", "#0072b2", "#009e73", "#cc79a7", "#56b4e9", "#000000"]
    star = "M0,-1.6L0.4,-0.5L1.5,-0.5L0.6,0.2L0.95,1.3L0,0.6L-0.95,1.3L-0.6,0.2L-1.5,-0.5L-0.4,-0.5Z"
    shapes = [star, "circle", "circle", "square", "diamond", "triangle-up", "cross", "triangle-down"]
    x, y = (f"{one.name} ({'higher' if one.higher_is_better else 'lower'} is better), {SELECTED}" for one in axes)
    chart = alt.Chart(pd.DataFrame(points)).mark_point(filled=True, size=70)
    encoded = chart.encode(
        x=alt.X("x:Q", title=x, scale=scales[0]),
        y=alt.Y("y:Q", title=y, scale=scales[1]),
        color=alt.Color("kind:N", title=None, scale=alt.Scale(domain=kinds, range=colours)),
        shape=alt.Shape("kind:N", title=None, scale=alt.Scale(domain=kinds, range=shapes)),
        tooltip=["configuration:N", alt.Tooltip("x:Q", format=".4f"), alt.Tooltip("y:Q", format=".4f")],
    )
    return encoded.properties(width=480, height=320)


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
