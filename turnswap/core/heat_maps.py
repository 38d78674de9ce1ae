"""Heat maps: as charts, in a terminal, and as files (pictures, and a page without network)."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich import box
from rich.color import Color
from rich.style import Style
from rich.table import Column, Table
from rich.text import Text

from .errors import UserError, require_packages, visible
from .files import cache_folder, write_whole
from .pages import json_for_script, render_page

ABOVE, BELOW = (230, 120, 20), (40, 100, 220)  # orange and blue: told apart by the colour-blind
ELSEWHERE = "Name another folder with -o."


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
    values: Sequence[Mapping[str, Any]],
    axes: tuple[str, str],
    share: Callable[[float], float],
    form: str,
    width: int,
) -> Table:
    """A heat map for a terminal: the stronger the colour, the larger the share of it. A cell without one is a cross.

    Args:
        title: above it.
        corner: what rows and columns are.
        values: each with its row and column, a ``value`` (None for none), and perhaps ``best``, to be marked.
        axes: the names of row and column, which come in the order in which they come first.
        share: of the full colour, for a value (-1 to 1: blue below 0, orange above).
        form: how a value is written.
        width: of a column, at least.
    """
    by_place = {tuple(value[axis] for axis in axes): value for value in values}
    rows, columns = (dict.fromkeys(value[axis] for value in values) for axis in axes)
    shown = (Column(str(column), justify="right", min_width=width) for column in columns)
    head, bold = (Column(corner, justify="right"), *shown), Text(visible(title), style="bold")
    table = Table(*head, title=bold, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0))
    for row in rows:
        table.add_row(str(row), *(_cell(by_place.get((row, column)), share, form) for column in columns))
    return table


def _cell(value: Mapping[str, Any] | None, share: Callable[[float], float], form: str) -> Text:
    if value is None or value["value"] is None:
        return Text("" if value is None else "×")
    figure, marked = value["value"], value.get("best", False)
    colour, depth = ABOVE if share(figure) > 0 else BELOW, min(1.0, abs(share(figure)))
    mixed = Color.from_rgb(*(round(255 + (part - 255) * depth) for part in colour))
    style = Style(bgcolor=mixed, color=Color.from_rgb(0, 0, 0), bold=marked)
    return Text(f"{'*' if marked else ''}{figure:{form}}", style)


def drawing_packages(otherwise: str) -> Any:
    """``vl_convert``, with Altair at hand; ``otherwise`` is what can be done without them.

    Raises:
        UserError: they are not installed.
    """
    require_packages("Pictures need", ("altair", "vl_convert"), "report", f"{otherwise}.")
    import vl_convert

    return vl_convert


def chart_libraries(vl_convert: Any) -> str:
    """The scripts that draw charts on a page; kept in the user's cache, because putting them together takes seconds."""
    kept = cache_folder() / f"charts-{importlib.metadata.version('vl-convert-python')}.js"
    with suppress(OSError, ValueError):
        return kept.read_text("utf-8")
    text = str(vl_convert.javascript_bundle()).replace("</script", "<\\/script")
    with suppress(OSError, UserError):
        write_whole(kept, text, "")
    return text


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
    specs, written = {}, []
    for name, (said, chart) in charts.items():
        specs[name] = chart.to_dict() | {"description": said}
        titled = specs[name] | {"background": "white", "title": said}  # on the page, the caption says it
        written.append(write_whole(folder / f"{name}.png", vl_convert.vegalite_to_png(titled, scale=2), ELSEWHERE))
    values = {"facts": facts, "table": table, "notes": notes, "titles": {name: charts[name][0] for name in charts}}
    libraries, parts = chart_libraries(vl_convert), ["charts.css", "charts.js"]
    values["specs"] = json_for_script(specs)
    text = render_page("turnswap.core", "heat_maps.html.j2", title, parts, libraries, **values)
    return [*written, write_whole(folder / page, text, ELSEWHERE)]
