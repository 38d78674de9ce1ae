"""A sweep as pictures: a heat map of bottom by top as PNG, and everything on one page without network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnswap.errors import UserError
from turnswap.files import write_whole
from turnswap.reports.inline import environment, json_for_script, policy, resource

from .outputs import ELSEWHERE, as_json, grid_maps, span, table
from .sweep import Sweep


def write_pictures(sweep: Sweep, folder: Path) -> list[Path]:
    """Write ``heat_map.png`` (``heat_map_2.png``, …: one per combination of the grid's other axes) and ``sweep.html``.

    Raises:
        UserError: the packages that draw are not installed, or the folder cannot be written.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise UserError(f"Pictures need {error.name}.", "Install it: pip install 'turnswap[report]'.") from None
    maps = grid_maps(sweep)
    domain = span(maps)
    specs = {
        f"map{n}": _heat_map(values, title, domain, sweep.metric.higher_is_better)
        for n, (title, values) in enumerate(maps.items())
    }
    written = []
    for number, spec in enumerate(specs.values(), 1):
        path = folder / ("heat_map.png" if number == 1 else f"heat_map_{number}.png")
        written.append(
            write_whole(path, vl_convert.vegalite_to_png(spec | {"background": "white"}, scale=2), ELSEWHERE)
        )
    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg] # its stub asks for what is optional
    libraries, script = bundle.replace("</script", "<\\/script"), resource("analysis.js")
    content = as_json(sweep)
    header, rows = table(sweep)
    page = (
        environment()
        .get_template("sweep.html.j2")
        .render(
            style=resource("style.css") + resource("report.css"),
            libraries=libraries,
            script=script,
            policy=policy([libraries, script], None),
            settings=content["settings"],
            documents=content["documents"],
            metric=sweep.metric.name,
            titles={f"map{n}": title for n, title in enumerate(maps)},
            header=header,
            table=rows,
            notes=sweep.notes,
            specs=json_for_script(specs),
        )
    )
    return [*written, write_whole(folder / "sweep.html", page.encode("utf-8", "backslashreplace"), ELSEWHERE)]


def _heat_map(
    values: Sequence[Mapping[str, Any]], title: str, domain: tuple[float, float], higher: bool
) -> dict[str, Any]:
    import altair as alt
    import pandas as pd

    bottoms, tops = (sorted({value[axis] for value in values}) for axis in ("bottom", "top"))
    low, high = domain
    middle = (low + 2 * high) / 3 if higher else (2 * low + high) / 3
    base = alt.Chart(pd.DataFrame(values)).encode(
        x=alt.X("top:O", title="top layers of the donor", sort=tops, axis=alt.Axis(orient="top", labelAngle=0)),
        y=alt.Y("bottom:O", title="bottom layers of the donor", sort=bottoms),
        tooltip=["configuration:N", alt.Tooltip("figure:Q", format=".4f")],
    )
    colour = alt.Color(
        "figure:Q", title=None, scale=alt.Scale(scheme="viridis", domain=[low, high], reverse=not higher)
    )
    known = base.transform_filter("isValid(datum.figure)")
    chosen = base.transform_filter("datum.best").mark_rect(filled=False, stroke="#d55e00", strokeWidth=3)
    dropped = base.transform_filter("!isValid(datum.figure)").mark_text(text="×", color="#888888")
    # Black on viridis' light end, white on its dark one.
    light = alt.datum.figure > middle if higher else alt.datum.figure < middle
    ink = alt.when(light).then(alt.value("black")).otherwise(alt.value("white"))
    written = known.mark_text(fontSize=11).encode(text=alt.Text("figure:Q", format=".3f"), color=ink)
    chart = alt.layer(known.mark_rect().encode(color=colour), written, dropped, chosen)
    sized = chart.properties(width=44 * len(tops), height=max(80, 26 * len(bottoms)), title=title)
    return dict(sized.to_dict())
