"""Where experts changed, as pictures: heat maps of layer by component, as PNG and on one page without network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnswap.errors import UserError

from .inline import environment, json_for_script, policy, resource
from .table import writing

TITLES = {
    "recipient": "recipient: ||change|| / ||ancestor||, %",
    "donor": "donor: ||change|| / ||ancestor||, %",
    "difference": "donor less recipient, points",
    "cosine": "cosine between the two task vectors",
}


def write_pictures(rows: Sequence[Mapping[str, Any]], facts: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write a PNG per heat map, and ``analysis.html`` with all of them.

    Args:
        rows: per layer, component and expert, as ``turnswap.merge_methods.analysis_file.as_rows`` gives them.
        facts: ``models``, ``ancestor`` and so on, as ``as_json`` gives them.
        folder: where to.

    Raises:
        UserError: the packages that draw are not installed, or the folder cannot be written.
    """
    try:
        import vl_convert
    except ImportError as error:
        raise UserError(
            f"Pictures need {error.name}.", "Install it: pip install 'turnswap[report]'; or leave -o out."
        ) from None
    specs = {name: _heat_map(_values(rows, name), name) for name in TITLES}
    written = []
    for name, spec in specs.items():
        path = folder / f"{name}.png"
        with writing(path):
            path.write_bytes(vl_convert.vegalite_to_png(spec | {"background": "white"}, scale=2))
        written.append(path)
    bundle = vl_convert.javascript_bundle()  # type: ignore[call-arg] # its stub asks for what is optional
    libraries, script = bundle.replace("</script", "<\\/script"), resource("analysis.js")
    template = environment().get_template("analysis.html.j2")
    page = folder / "analysis.html"
    with writing(page):
        page.write_text(
            template.render(
                style=resource("style.css") + resource("report.css"),
                libraries=libraries,
                script=script,
                policy=policy([libraries, script], None),
                facts=facts,
                titles=TITLES,
                specs=json_for_script(specs),
            ),
            "utf-8",
        )
    return [*written, page]


def _values(rows: Sequence[Mapping[str, Any]], name: str) -> list[dict[str, Any]]:
    """The value of each layer and component in one heat map; places outside the layers stand above and below."""
    by_place: dict[tuple[Any, str], dict[str, Any]] = {}
    for row in rows:
        by_place.setdefault((row["layer"], row["component"]), {})[row["expert"]] = row
    values = []
    for (layer, component), experts in by_place.items():
        recipient, donor = (experts[role]["relative"] for role in ("recipient", "donor"))
        if name == "cosine":
            value = experts["donor"]["cosine"]
        elif name == "difference":
            value = None if recipient is None or donor is None else 100 * (donor - recipient)
        else:
            value = None if experts[name]["relative"] is None else 100 * experts[name]["relative"]
        values.append({"layer": component if layer is None else str(layer), "component": component, "value": value})
    return values


def _heat_map(values: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    import altair as alt
    import pandas as pd

    signed = name in ("difference", "cosine")
    scale = alt.Scale(scheme="blueorange", domainMid=0, reverse=True) if signed else alt.Scale(scheme="viridis")
    layers = list(dict.fromkeys(value["layer"] for value in values))
    columns = list(dict.fromkeys(value["component"] for value in values))
    chart = (
        alt.Chart(pd.DataFrame(values))
        .mark_rect()
        .encode(
            x=alt.X("component:N", title=None, sort=columns, axis=alt.Axis(orient="top", labelAngle=-40)),
            y=alt.Y("layer:N", title="layer", sort=layers),
            color=alt.Color("value:Q", scale=scale, title=None),
            tooltip=["layer:N", "component:N", alt.Tooltip("value:Q", format=".3f")],
        )
        .properties(width=30 * len(columns), height=max(160, 12 * len(layers)), title=TITLES[name])
    )
    return dict(chart.to_dict())
