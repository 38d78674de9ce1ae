"""A sweep's results as files: JSON, CSV, and the best swap as a configuration for mergekit."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from turnswap.core.errors import visible
from turnswap.core.files import write_whole
from turnswap.core.heat_maps import ELSEWHERE

from .configurations import merge_content
from .ledger import FILE, Evaluation
from .sweep import Row, Sweep

_EVALUATED_WITH = {"model_args", "num_fewshot", "gen_kwargs", "apply_chat_template", "system_instruction", "metadata"}
SELECTED, REPORTED = "selected on", "reported on"


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
    recipient = sweep.row("recipient")
    return [_flat(sweep, row, recipient) for row in sweep.rows]


def _flat(sweep: Sweep, row: Row, recipient: Row) -> dict[str, Any]:
    one = row.configuration
    flat: dict[str, Any] = {
        "rank": row.rank,
        "configuration": one.name,
        "kind": one.kind,
        "best": row is sweep.best,
        "layers": one.layers,
        "metric": sweep.metric.name,
    }
    for name, mine, theirs in (("select", row.select, recipient.select), ("report", row.report, recipient.report)):
        flat |= {
            f"{name}_figure": _figure(mine),
            f"{name}_stderr": _number(mine.stderr if mine else None),
            f"{name}_difference": _number(mine.figure - theirs.figure if mine and theirs else None),
        }
    dropped = row.last_rung if row.select is None else None
    flat |= {
        "dropped_figure": _figure(dropped),
        "dropped_documents": sum(map(_size, dropped.documents.values())) if dropped else None,
        "figures_are": (f"select: {SELECTED}; report: {REPORTED}" if row.report else SELECTED),
        "same_as": list(one.also),
        "parameters": dict(one.parameters),
    }
    return flat


def _size(described: str) -> int:
    ends = [part.split("-") for part in described.split(",")]
    return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)


def _figure(evaluation: Evaluation | None) -> float | None:
    return _number(evaluation.figure if evaluation else None)


def _number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else value


def as_json(sweep: Sweep) -> dict[str, Any]:
    """Everything but single evaluations, which ``sweep.jsonl`` has."""
    return {
        "metric": sweep.metric.name,
        "higher_is_better": sweep.metric.higher_is_better,
        "documents": {
            {"select": SELECTED, "report": REPORTED}[role]: dict(named) for role, named in sweep.documents.items()
        },
        "best": sweep.best.configuration.name,
        "notes": sweep.notes,
        "settings": sweep.settings.model_dump(mode="json"),
        "rows": as_rows(sweep),
    }


def _as_csv(sweep: Sweep) -> str:
    rows = as_rows(sweep)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({k: json.dumps(v) if isinstance(v, (dict, list)) else v for k, v in row.items()})
    return text.getvalue()


def _layerswap(sweep: Sweep) -> str:
    """The best swap for mergekit-yaml, with its figures and what they mean as comments."""
    best, name = sweep.best, sweep.metric.name
    lines = [
        "mergekit-yaml layerswap.yml ./merged",
        f"{best.configuration.name}, the best of the swaps in {FILE}, from the folder that the sweep was run in.",
    ]
    for role, evaluation in (("select", best.select), ("report", best.report)):
        if evaluation is not None:
            said = {"select": SELECTED, "report": REPORTED}[role]
            lines.append(f"{said}: {name} {shown(evaluation)}, on {_where(evaluation)}")
            for kind in ("recipient", "donor", "average"):
                other = getattr(sweep.row(kind), role)
                lines.append(f"  {kind}: {shown(other)}")
    kept = sweep.settings.model_dump(mode="json", include=_EVALUATED_WITH, exclude_defaults=True)
    lines += [f"evaluated with {json.dumps(kept, ensure_ascii=False)}"] if kept else []
    lines += [f"Note: {note}" for note in sweep.notes]
    head = "".join(f"# {visible(line)}\n" for line in lines)
    content = merge_content(sweep.settings, best.configuration.parameters)
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def shown(evaluation: Evaluation | None) -> str:
    """``0.4120 ± 0.0300``."""
    if evaluation is None or math.isnan(evaluation.figure):
        return "–"
    return f"{evaluation.figure:.4f}" + ("" if math.isnan(evaluation.stderr) else f" ± {evaluation.stderr:.4f}")


def _where(evaluation: Evaluation) -> str:
    return ", ".join(f"{task}:{documents}" for task, documents in evaluation.documents.items())


def table(sweep: Sweep) -> tuple[list[str], list[list[str]]]:
    """Header and rows as people read them; the report's columns only where there is something to report on.

    Figures are of the sweep's metric, each with its difference to the recipient's;
    an asterisk marks the best swap.
    """
    reported = "report" in sweep.documents
    header = ["rank", "configuration", "layers", SELECTED, "difference"]
    header += [REPORTED, "difference"] if reported else []
    recipient = sweep.row("recipient")
    rows = []
    for row in sweep.rows:
        one = row.configuration
        mark = " *" if row is sweep.best else ""
        selected = shown(row.select)
        if row.select is None and row.last_rung is not None:
            selected = f"({row.last_rung.figure:.4f} on {sum(map(_size, row.last_rung.documents.values()))})"
        cells = ["–" if row.rank is None else str(row.rank), one.name + mark, one.layers, selected]
        cells.append(_difference(row.select, recipient.select))
        if reported:
            cells += [shown(row.report) if row.report else "", _difference(row.report, recipient.report)]
        rows.append(cells)
    return header, rows


def _difference(mine: Evaluation | None, recipients: Evaluation | None) -> str:
    if mine is None or recipients is None or math.isnan(mine.figure - recipients.figure):
        return ""
    return f"{mine.figure - recipients.figure:+.4f}"


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
                    "value": _figure(row.select),
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
