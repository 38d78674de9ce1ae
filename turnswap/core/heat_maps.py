"""Heat maps: as charts, in a terminal, and as files (pictures, and a page without network)."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich import box
from rich.color import Color
from rich.style import Style
from rich.table import Table
from rich.text import Text

from .errors import require_packages, visible
from .files import write_whole
from .pages import json_for_script, render_page

ABOVE, BELOW = (230, 120, 20), (40, 100, 220)  # orange and blue: told apart by the colour-blind
ELSEWHERE = "Name another folder with -o."
Place = TypeVar("Place", bound=Hashable)


def heat_chart(cells: Any, *, x: Any, y: Any, tooltip: Sequence[Any], colour: Any, digits: str = "", dark: Any = None):  # type: ignore[no-untyped-def] # Altair is loaded by those who draw
    """A rectangle per cell, coloured by its ``value``; with ``digits``, the value in it. A cell without one is a cross.

    Args:
        cells: an ``altair.Chart`` whose data have a ``value`` per cell, and ``best``, if at all, for one to be framed.
        x: an ``altair.X``.
        y: an ``altair.Y``.
        tooltip: what the cells tell.
        colour: an ``altair.Color`` of ``value``.
        digits: the format of the values that are written; nothing writes none.
        dark: a predicate of the cells that are dark, on which white is written.

    Returns:
        An ``altair.LayerChart``.
    """
    import altair as alt

    base = cells.encode(x=x, y=y, tooltip=list(tooltip))
    known = base.transform_filter("isValid(datum.value)") if digits else base
    layers = [known.mark_rect().encode(color=colour)]
    if digits:
        ink = alt.when(dark).then(alt.value("white")).otherwise(alt.value("black"))
        crosses = base.transform_filter("!isValid(datum.value)").mark_text(text="×", color="#888888")
        framed = base.transform_filter("datum.best").mark_rect(filled=False, stroke="#d55e00", strokeWidth=3)
        written = known.mark_text(fontSize=12).encode(text=alt.Text("value:Q", format=digits), color=ink)
        layers += [written, crosses, framed]
    return alt.layer(*layers)


def worded_colour(low: float, high: float, words: tuple[str, str], field: str = "value", signed: bool = False) -> Any:
    """An ``altair.Color`` of a field from ``low`` to ``high``, whose legend says in words what the two ends mean.

    ``signed``: blue below 0 and orange above it, for differences; else from dark to light. Panels that are to be
    compared share both ends.
    """
    import altair as alt

    first, last = (
        json.dumps(f"{end:{'+' if signed else ''}.3g}: {word}") for end, word in zip((low, high), words, strict=True)
    )
    legend = alt.Legend(
        title=None, orient="bottom", direction="horizontal", values=[low, high], gradientLength=200, labelLimit=200,
        labelExpr=f"datum.index == 0 ? {first} : {last}", labelFontSize=12, labelOverlap=False,
    )  # fmt: skip
    scheme: Any = "blueorange" if signed else "viridis"
    scale = alt.Scale(scheme=scheme, domain=[low, 0, high] if signed else [low, high], clamp=True)
    return alt.Color(f"{field}:Q", scale=scale, legend=legend)


def heat_table(
    title: str,
    corner: str,
    rows: Mapping[str, Place],
    columns: Mapping[str, Place],
    cell: Callable[[Place, Place], tuple[str, float | None, bool]],
    width: int = 0,
) -> Table:
    """A heat map for a terminal: the stronger the colour, the larger the share of it.

    Args:
        title: above it.
        corner: what rows and columns are.
        rows: what stands at each row's head, and what ``cell`` gets for it.
        columns: likewise.
        cell: its text, its share of the full colour (-1 to 1: blue below 0, orange above; None for none), and whether
            it is marked.
        width: of a column, at least.
    """
    table = Table(title=Text(visible(title), style="bold"), title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0))
    table.add_column(corner, justify="right")
    for name in columns:
        table.add_column(name, justify="right", min_width=width)
    for name, row in rows.items():
        table.add_row(name, *(_coloured(*cell(row, column)) for column in columns.values()))
    return table


def _coloured(text: str, share: float | None, marked: bool) -> Text:
    if share is None:
        return Text(text)
    depth = min(1.0, abs(share))
    mixed = [round(255 + (part - 255) * depth) for part in (ABOVE if share > 0 else BELOW)]
    return Text(text, Style(bgcolor=Color.from_rgb(*mixed), color=Color.from_rgb(0, 0, 0), bold=marked))


def drawing_packages(otherwise: str) -> Any:
    """``vl_convert``, with Altair at hand; ``otherwise`` is what can be done without them.

    Raises:
        UserError: they are not installed.
    """
    require_packages("Pictures need", ("altair", "vl_convert"), "report", f"{otherwise}.")
    import vl_convert

    return vl_convert


def chart_libraries(vl_convert: Any) -> str:
    """The scripts that draw charts on a page, as :func:`.pages.render_page` takes them."""
    return str(vl_convert.javascript_bundle()).replace("</script", "<\\/script")


def write_heat_maps(
    folder: Path,
    page: str,
    title: str,
    charts: Mapping[str, tuple[str, Any]],
    facts: Mapping[str, str],
    table: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None,
    notes: Sequence[str] = (),
) -> list[Path]:
    """Write a PNG per heat map, and a page with all of them; returns the files, the page last.

    Args:
        folder: where to.
        page: the page's file name.
        title: its heading.
        charts: a title and an ``altair`` chart without one per PNG, by the file's name without ending.
        facts: shown above the charts.
        table: a header and rows to show below them, the second and third column of words.
        notes: at the end.

    Raises:
        UserError: the packages that draw are not installed, or the folder cannot be written.
    """
    vl_convert = drawing_packages("")
    specs = {name: chart.to_dict() | {"description": title} for name, (title, chart) in charts.items()}
    written = []
    for name, spec in specs.items():
        titled = spec | {"background": "white", "title": charts[name][0]}  # on the page, the caption says it
        picture = vl_convert.vegalite_to_png(titled, scale=2)
        written.append(write_whole(folder / f"{name}.png", picture, ELSEWHERE))
    text = render_page(
        "turnswap.core", "heat_maps.html.j2", title, ["charts.css", "charts.js"], chart_libraries(vl_convert),
        facts=facts, table=table, notes=notes,
        titles={name: title for name, (title, _) in charts.items()}, specs=json_for_script(specs),
    )  # fmt: skip
    return [*written, write_whole(folder / page, text, ELSEWHERE)]
