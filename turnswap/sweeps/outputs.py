"""A sweep's results as files: JSON, CSV, pictures, a page, and the best swap as a configuration for mergekit."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from turnswap.core.errors import visible
from turnswap.core.files import write_whole
from turnswap.core.heat_maps import ELSEWHERE, drawing_packages, heat_chart, write_heat_maps
from turnswap.core.journal import plain

from .configurations import ALWAYS, merge_content
from .documents import in_words
from .ledger import FILE, Evaluation
from .sweep import Row, Sweep

_EVALUATED_WITH = {"model_args", "num_fewshot", "gen_kwargs", "apply_chat_template", "system_instruction", "metadata"}
SELECTED, REPORTED = "selected on", "reported on"
SAID = {"select": SELECTED, "report": REPORTED}


def write_outputs(sweep: Sweep, folder: Path) -> list[Path]:
    """Write ``sweep.json``, ``sweep.csv`` and ``layerswap.yml``; each is whole or as it was before.

    Raises:
        UserError: the folder cannot be written.
    """
    content = json.dumps(as_json(sweep), indent=1, ensure_ascii=False, allow_nan=False)
    files = {"sweep.json": content + "\n", "sweep.csv": _as_csv(sweep), "layerswap.yml": _layerswap(sweep)}
    return [write_whole(folder / name, text, ELSEWHERE) for name, text in files.items()]


def as_rows(sweep: Sweep) -> list[dict[str, Any]]:
    """A flat mapping per row: figures, what they were made on, and the difference to the recipient in each."""
    rows = []
    for row in sweep.rows:
        one = row.configuration
        flat: dict[str, Any] = {
            "rank": row.rank,
            "configuration": one.name,
            "kind": one.kind,
            "best": row is sweep.best,
            "layers": one.layers,
            "metric": sweep.metric.name,
        }
        for role in SAID:
            made: Evaluation | None = getattr(row, role)
            flat |= {
                f"{role}_figure": made.figure if made else None,
                f"{role}_stderr": made.stderr if made else None,
                f"{role}_difference": _difference(sweep, row, role),
            }
        dropped = row.last_rung if row.select is None else None
        flat |= {
            "dropped_figure": dropped.figure if dropped else None,
            "dropped_documents": dropped.n if dropped else None,
            "figures_are": (f"select: {SELECTED}; report: {REPORTED}" if row.report else SELECTED),
            "same_as": one.also,
            "parameters": one.parameters,
        }
        rows.append(plain(flat))
    return rows


def _difference(sweep: Sweep, row: Row, role: str) -> float | None:
    """What a row has over the recipient; None where either has no figure."""
    mine, recipients = getattr(row, role), getattr(sweep.row("recipient"), role)
    return mine.figure - recipients.figure if mine and recipients else None


def as_json(sweep: Sweep) -> dict[str, Any]:
    """Everything but single evaluations, which ``sweep.jsonl`` has."""
    return {
        "metric": sweep.metric.name,
        "higher_is_better": sweep.metric.higher_is_better,
        "documents": {SAID[role]: dict(named) for role, named in sweep.documents.items()},
        "best": sweep.best.configuration.name,
        "notes": sweep.notes,
        "settings": sweep.settings.model_dump(mode="json"),
        "rows": as_rows(sweep),
    }


def _as_csv(sweep: Sweep) -> str:
    frame = pd.DataFrame(as_rows(sweep), dtype=object)  # numbers stay as they are beside empty cells
    for name in ("same_as", "parameters"):
        frame[name] = frame[name].map(json.dumps)
    return frame.to_csv(index=False, lineterminator="\n")


def _layerswap(sweep: Sweep) -> str:
    """The best swap for mergekit-yaml, with its figures and what they mean as comments."""
    best, name = sweep.best, sweep.metric.name
    lines = [
        "mergekit-yaml layerswap.yml ./merged",
        f"{best.configuration.name}, the best of the swaps in {FILE}, from the folder that the sweep was run in.",
    ]
    for role, said in SAID.items():
        evaluation = getattr(best, role)
        if evaluation is not None:
            lines.append(f"{said}: {name} {evaluation}, on {in_words(evaluation.documents)}")
            rows = [row for kind in ALWAYS for row in sweep.rows if row.configuration.kind == kind]
            lines += [f"  {row.configuration.name}: {getattr(row, role)}" for row in rows]
    kept = sweep.settings.model_dump(mode="json", include=_EVALUATED_WITH, exclude_defaults=True)
    lines += [f"evaluated with {json.dumps(kept, ensure_ascii=False)}"] if kept else []
    lines += [f"Note: {note}" for note in sweep.notes]
    head = "".join(f"# {visible(line)}\n" for line in lines)
    content = merge_content(sweep.settings, best.configuration.parameters)
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def table(sweep: Sweep) -> tuple[list[str], list[list[str]]]:
    """Header and rows as people read them; the report's columns only where there is something to report on.

    Figures are of the sweep's metric, each with its difference to the recipient's;
    an asterisk marks the best swap.
    """
    header = ["rank", "configuration", "layers"]
    for role in sweep.documents:
        header += [SAID[role], "difference"]
    rows = []
    for row in sweep.rows:
        name, layers = row.configuration.name, row.configuration.layers
        cells = [str(row.rank or "–"), name + (" *" if row is sweep.best else ""), layers]
        for role in sweep.documents:
            shown = str(getattr(row, role) or ("–" if role == "select" else ""))
            if role == "select" and row.select is None and row.last_rung is not None:
                shown = f"({row.last_rung.figure:.4f} on {row.last_rung.n})"
            difference = _difference(sweep, row, role)
            cells += [shown, "" if difference is None or math.isnan(difference) else f"{difference:+.4f}"]
        rows.append(cells)
    return header, rows


def grid_maps(sweep: Sweep) -> dict[str, list[Mapping[str, Any]]]:
    """The grid as heat maps of bottom by top: one per combination of its other axes, by a title.

    A value has ``bottom``, ``top``, ``value`` (None where halving dropped it), ``configuration`` and ``best``.
    """
    maps: dict[str, list[Mapping[str, Any]]] = {}
    for row in sweep.rows:
        for cell in row.configuration.cells:
            others = ", ".join(f"{axis} {value}" for axis, value in cell.items() if axis not in ("bottom", "top"))
            maps.setdefault(others, []).append(
                {
                    "bottom": cell["bottom"],
                    "top": cell["top"],
                    "value": plain(row.select.figure) if row.select else None,
                    "configuration": row.configuration.name,
                    "best": row is sweep.best,
                }
            )
    figure = f"{sweep.metric.name}, {SELECTED}"
    return {f"{figure}; {others}" if others else figure: values for others, values in sorted(maps.items())}


def span(maps: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[float, float]:
    """The lowest and the highest figure of all heat maps: one colour means one figure in each."""
    figures = [value["value"] for values in maps.values() for value in values if value["value"] is not None]
    return min(figures, default=0.0), max(figures, default=0.0)


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
    facts = {"base" if role == "pretrained" else role: model for role, model in settings.models.items()}
    facts["metric"] = f"{sweep.metric.name}; differences are to the recipient, * is the best swap"
    facts |= {SAID[role]: in_words(described) for role, described in sweep.documents.items()}
    experts = [model for role, model in settings.models.items() if role != "pretrained"]
    title = f"Layer swaps of {' and '.join(experts)}"
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
