"""A search's results as files: JSON, CSV, parquet, and its chosen swaps as configurations for mergekit."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from turnswap.core.errors import visible
from turnswap.core.files import write_whole
from turnswap.core.heat_maps import ELSEWHERE
from turnswap.core.journal import plain

from .configurations import merge_content
from .documents import describe, in_words
from .evaluations import Role, figure_text
from .inference import Difference
from .rows import Row, Search
from .rows import leading as leading_of

EVALUATED_WITH = {"model_args", "num_fewshot", "gen_kwargs", "apply_chat_template", "system_instruction", "metadata"}
SELECTED, REPORTED = "selected on", "reported on"
SAID = {"select": SELECTED, "report": REPORTED}


def write_outputs(search: Search, folder: Path, name: str) -> list[Path]:
    """Write ``NAME.json``, ``NAME.csv``, ``documents.parquet``, ``layerswap.yml`` and ``front/*.yml``, each whole.

    Raises:
        UserError: the folder cannot be written.
    """
    content = json.dumps(as_json(search), indent=1, ensure_ascii=False, allow_nan=False)
    files: dict[str, str | bytes] = {f"{name}.json": content + "\n", f"{name}.csv": _as_csv(search)}
    files |= {"documents.parquet": _documents(search), "layerswap.yml": layerswap(search, search.best)}
    for stale in (folder / "front").glob("*.yml"):
        stale.unlink(missing_ok=True)
    if len(search.front) > 1:
        files |= {f"front/{number}.yml": layerswap(search, row) for number, row in enumerate(search.front, 1)}
    return [write_whole(folder / file, text, ELSEWHERE) for file, text in files.items()]


def figures(search: Search, row: Row) -> Iterator[tuple[Role, str, float, float, Difference | None]]:
    """A row's figures, by role and objective: value, standard error, difference to the recipient."""
    for role in search.roles.values():
        evaluation = getattr(row, role.name)
        for name, (value, stderr) in (role.figures(evaluation) if evaluation else {}).items():
            yield role, name, value, stderr, row.differences.get(role.name, {}).get(name)


def as_rows(search: Search) -> list[dict[str, Any]]:
    """A flat mapping per row: figures, what they were made on, and the difference to the recipient in each.

    The figures of the objective that chose are ``select_figure``, …; of others, ``select_NAME_figure``, ….
    """
    rows = []
    for row in search.rows:
        one = row.configuration
        flat: dict[str, Any] = {
            "rank": row.rank,
            "configuration": one.name,
            "kind": one.kind,
            "best": row is search.best,
            "chosen_control": row in search.chosen,
            "on_front": row.on_front,
            "feasible": row.is_feasible,
            "layers": one.layers,
        }
        flat |= {f"{role}_{what}": None for role in SAID for what in ("figure", "stderr", *DIFFERENCE)}
        for role, name, value, stderr, difference in figures(search, row):
            start = role.name if name == leading(search, role) else f"{role.name}_{name}"
            flat |= {f"{start}_figure": value, f"{start}_stderr": stderr}
            flat |= dict(zip((f"{start}_{what}" for what in DIFFERENCE), difference or (), strict=False))
        dropped = row.last_rung and search.roles["select"].figures(row.last_rung)[search.objective][0]
        flat |= {
            "dropped_figure": dropped,
            "dropped_documents": row.last_rung
            and len(row.last_rung.documents_table.drop_duplicates(["task", "document"])),
            "figures_are": f"select: {SELECTED}; report: {REPORTED}" if row.report else SELECTED,
            "same_as": one.also,
            "parameters": one.parameters,
        }
        rows.append(plain(flat))
    return rows


DIFFERENCE = ("difference", "low", "high", "p")  # to the recipient, with its 95 % interval and p-value


def leading(search: Search, role: Role) -> str:
    """The objective that a role's figures are first of: the one that chose, or another where that is not reported."""
    return leading_of(role, search.roles["select"].objectives[search.objective]).name


def as_json(search: Search) -> dict[str, Any]:
    """Everything but single documents, which ``documents.parquet`` has."""
    objectives = search.roles["select"].objectives.values()
    content = {
        "objectives": {
            one.name: {"metric": one.metric.name, "higher_is_better": one.higher_is_better} for one in objectives
        },
        "chosen_by": search.objective,
        "documents": {SAID[name]: describe(role.documents) for name, role in search.roles.items()},
        "best": search.best.configuration.name,
        "front": [row.configuration.name for row in search.front],
        "best_against": {other: difference._asdict() for other, difference in search.against.items()},
        "notes": search.notes,
        "settings": search.settings.model_dump(mode="json", exclude={"storage"}),  # it may hold a password
        "rows": as_rows(search),
    }
    return dict(plain(content))


def _as_csv(search: Search) -> str:
    frame = pd.DataFrame(as_rows(search), dtype=object)  # numbers stay as they are beside empty cells
    for name in ("same_as", "parameters"):
        frame[name] = frame[name].map(json.dumps)
    return frame.to_csv(index=False, lineterminator="\n")


def _documents(search: Search) -> bytes:
    """Every document's result in every configuration, those that were dropped early as far as they came."""
    tables = [
        evaluation.documents_table.assign(configuration=row.configuration.name, kind=row.configuration.kind, role=role)
        for row in search.rows
        for role, evaluation in (("select", row.select or row.last_rung), ("report", row.report))
        if evaluation
    ]
    return bytes(pd.concat(tables, ignore_index=True).to_parquet(index=False))


def layerswap(search: Search, row: Row) -> str:
    """A swap for mergekit-yaml, with its figures and what they mean as comments."""
    shown = [row, *(each for each in search.rows if each.configuration.kind in ("recipient", "donor", "average"))]
    is_best = "the best of the swaps" if row.is_feasible else "outside the constraints, as all swaps are"
    is_best = is_best if row is search.best else "a swap on the Pareto front"
    lines = ["mergekit-yaml THIS_FILE ./merged", f"{row.configuration.name}, {is_best}, found in the search's folder."]
    for role in search.roles.values():
        lines.append(f"{SAID[role.name]} {in_words(describe(role.documents))}")
        for each in shown:
            texts = [
                f"{n} {figure_text(value, stderr)}" for r, n, value, stderr, _ in figures(search, each) if r is role
            ]
            lines += [f"  {each.configuration.name}: {', '.join(texts)}"] if texts else []
    kept = search.settings.model_dump(mode="json", include=EVALUATED_WITH, exclude_defaults=True)
    lines += [f"evaluated with {json.dumps(kept, ensure_ascii=False)}"] if kept else []
    lines += [f"Note: {note}" for note in search.notes] if row is search.best else []  # they are about that one
    head = "".join(f"# {visible(line)}\n" for line in lines)
    content = merge_content(search.settings, row.configuration.parameters)
    return head + yaml.safe_dump(content, sort_keys=False, allow_unicode=True)


def table(search: Search, rows: Sequence[Row] | None = None) -> tuple[list[str], list[list[str]]]:
    """Header and rows as people read them: each objective's figure, and at the end the differences to the recipient's.

    An asterisk marks the swap that was chosen, a plus sign the others on the Pareto front. ``rows``: instead of all.
    """
    last = list(search.roles.values())[-1]
    columns = [(role, name) for role in search.roles.values() for name in role.objectives]
    header = ["rank", "configuration", "layers", *(f"{name}, {SAID[role.name]}" for role, name in columns)]
    header += [f"{name}, difference [95 %]" for name in last.objectives]
    cells_of_all = []
    for row in search.rows if rows is None else rows:
        mark = " *" if row is search.best else " +" if row.on_front and len(search.front) > 1 else ""
        cells = [str(row.rank or "–"), row.configuration.name + mark, row.configuration.layers]
        known = {(role.name, name): (value, stderr) for role, name, value, stderr, _ in figures(search, row)}
        cells += [figure_text(*known[role.name, name]) if (role.name, name) in known else "" for role, name in columns]
        cells += [difference_text(row.differences.get(last.name, {}).get(name)) for name in last.objectives]
        if row.select is None:
            cells[3] = "dropped early" if row.last_rung else "not evaluated"
        cells_of_all.append(cells)
    return header, cells_of_all


def difference_text(difference: Difference | None) -> str:
    """``+0.0400 [+0.0100, +0.0700]``; nothing where there is no difference.

    >>> difference_text(Difference(0.04, 0.01, 0.07, 0.02))
    '+0.0400 [+0.0100, +0.0700]'
    """
    if difference is None or math.isnan(difference.value):
        return ""
    interval = "" if math.isnan(difference.low) else f" [{difference.low:+.4f}, {difference.high:+.4f}]"
    return f"{difference.value:+.4f}{interval}"


def grid_maps(search: Search) -> dict[str, list[Mapping[str, Any]]]:
    """The grid as heat maps of bottom by top: one per combination of its other axes, by a title.

    A value has ``bottom``, ``top``, ``value`` (None where a pruner dropped it), ``configuration`` and ``best``.
    """
    maps: dict[str, list[Mapping[str, Any]]] = {}
    for row in search.rows:
        for cell in row.configuration.cells:
            others = ", ".join(f"{axis} {value}" for axis, value in cell.items() if axis not in ("bottom", "top"))
            title = f"{search.objective}, {SELECTED}" + (f"; {others}" if others else "")
            select = search.roles["select"]
            value = select.figures(row.select)[search.objective][0] if row.select else None
            maps.setdefault(title, []).append(
                {
                    "bottom": cell["bottom"],
                    "top": cell["top"],
                    "value": None if value is None or math.isnan(value) else value,
                    "configuration": row.configuration.name,
                    "best": row is search.best,
                }
            )
    return {title: maps[title] for title in sorted(maps)}


def span(maps: Mapping[str, list[Mapping[str, Any]]]) -> tuple[float, float]:
    """The lowest and the highest figure of all heat maps: one colour means one figure in each."""
    values = [value["value"] for of_map in maps.values() for value in of_map if value["value"] is not None]
    return min(values, default=0.0), max(values, default=0.0)
