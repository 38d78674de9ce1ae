"""The study's results: a figure per row and seed, and the paired difference to the recipient over seeds."""

from __future__ import annotations

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from turnswap.core.files import write_whole

from . import changes
from .intervals import bootstrap_interval, t_interval
from .settings import Settings

FIGURES = ("skill_b", "right_numbers_b", "own_language_b", "skill_a", "perplexity_b")
RANDOM = "random placements, mean"
# What a swap that was chosen must be held against: it has to win by where its layers lie, not by how many there are.
COMPARED = [("sweep's best", other) for other in ("average", "middle", RANDOM, "paper-style")]


def summarise(rows: Mapping[int, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """A mapping per row: means over seeds, ``skill_b`` by seed, the difference to the recipient with two intervals.

    The random placements of a seed are one row, their mean. A row that some seeds lack, such as a rule that found
    nothing to suggest there, has its difference over the others and says which in ``seeds``; ``refused`` says why.

    Args:
        rows: by seed.
    """
    by_seed = {seed: _named(found) for seed, found in rows.items()}
    order = list(dict.fromkeys(name for named in by_seed.values() for name in named))
    summary = []
    for name in order:
        having = {seed: named[name] for seed, named in by_seed.items() if "skill_b" in named.get(name, {})}
        refused = {s: n[name]["refused"] for s, n in by_seed.items() if "refused" in n.get(name, {})}
        entry: dict[str, Any] = {"row": name, "seeds": list(having), "refused": refused}
        for figure in FIGURES if having else ():
            entry[figure] = statistics.fmean(row[figure] for row in having.values())
        entry["by_seed"] = {seed: row["skill_b"] for seed, row in having.items()}
        if name != "recipient" and len(having) > 1:
            entry |= _difference([(row, by_seed[seed]["recipient"]) for seed, row in having.items()])
        entry["swaps"] = {seed: row["parameters"] for seed, row in having.items() if row.get("parameters")}
        summary.append(entry)
    return summary


def comparisons(rows: Mapping[int, Sequence[Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The rows of :data:`COMPARED` against each other, paired by seed: ``row``, ``against``, difference, intervals."""
    by_seed = [_named(found) for found in rows.values()]
    return [
        {"row": one, "against": other} | _difference([(named[one], named[other]) for named in by_seed])
        for one, other in COMPARED
        if all(one in named and other in named for named in by_seed)
    ]


def _named(found: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    named: dict[str, Mapping[str, Any]] = {}
    placed = [row for row in found if row["row"].startswith("random ")]
    for row in found:
        if row not in placed:
            named[row["row"]] = row
        elif RANDOM not in named:
            mean: dict[str, Any] = {figure: statistics.fmean(one[figure] for one in placed) for figure in FIGURES}
            columns = zip(*(one["documents"] for one in placed), strict=True)
            named[RANDOM] = mean | {"documents": [statistics.fmean(column) for column in columns]}
    return named


def _difference(pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> dict[str, Any]:
    per_seed = [row["skill_b"] - other["skill_b"] for row, other in pairs]
    per_document = [
        [mine - theirs for mine, theirs in zip(row["documents"], other["documents"], strict=True)]
        for row, other in pairs
    ]
    return {
        "difference": statistics.fmean(per_seed),
        "t_interval": t_interval(per_seed),
        "bootstrap_interval": bootstrap_interval(per_document),
    }


def write_tables(settings: Settings, rows: Mapping[int, Sequence[Mapping[str, Any]]], folder: Path) -> None:
    """Write ``results.json``, ``results.csv`` (a line per row and seed) and ``table.md``."""
    summary = summarise(rows)
    changed = changes.mean_changes([changes.changes_of(folder / f"seed-{seed}" / "analysis") for seed in rows])
    compared = comparisons(rows)
    content = {"settings": asdict(settings), "seeds": list(rows), "summary": summary, "comparisons": compared}
    content["changes"] = changed
    write_whole(folder / "results.json", json.dumps(content, indent=1) + "\n")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("seed", "row", *FIGURES, "parameters", "refused"))
    for seed, found in rows.items():
        for row in found:
            figures = [row.get(figure) for figure in FIGURES]
            writer.writerow((seed, row["row"], *figures, json.dumps(row.get("parameters")), row.get("refused")))
    write_whole(folder / "results.csv", text.getvalue())
    write_whole(folder / "table.md", f"{markdown(summary)}\n{compared_markdown(compared)}\n{changes.markdown(changed)}")


def markdown(summary: Sequence[Mapping[str, Any]]) -> str:
    """The table for people, in percent; perplexity per word."""
    lines = [
        "| row | skill in B | by seed | - recipient | 95 % (t) | 95 % (bootstrap) "
        "| right numbers | in B | skill in A | perplexity B |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for entry in summary:
        if "skill_b" not in entry:
            lines.append(f"| {entry['row']} | refused in every seed |" + " |" * 8)
            continue
        cells = [entry["row"] + (f" ({len(entry['refused'])} refused)" if entry["refused"] else "")]
        by_seed = {seed: _percent(value) for seed, value in entry["by_seed"].items()} | dict.fromkeys(
            entry["refused"], "–"
        )
        cells += [_percent(entry["skill_b"]), " ".join(by_seed[seed] for seed in sorted(by_seed))]
        cells.append(f"{100 * entry['difference']:+.1f}" if "difference" in entry else "")
        cells += [_interval(entry.get("t_interval")), _interval(entry.get("bootstrap_interval"))]
        cells += [_percent(entry[figure]) for figure in ("right_numbers_b", "own_language_b", "skill_a")]
        lines.append(f"| {' | '.join([*cells, format(entry['perplexity_b'], '.2f')])} |")
    return "\n".join(lines) + "\n"


def compared_markdown(compared: Sequence[Mapping[str, Any]]) -> str:
    """The comparisons for people, in percentage points."""
    lines = ["| skill in B | difference | 95 % (t) | 95 % (bootstrap) |", "|---|--:|--:|--:|"]
    for one in compared:
        intervals = f"{_interval(one['t_interval'])} | {_interval(one['bootstrap_interval'])}"
        lines.append(f"| {one['row']} - {one['against']} | {100 * one['difference']:+.1f} | {intervals} |")
    return "\n".join(lines) + "\n"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(interval: tuple[float, float] | None) -> str:
    return f"[{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]" if interval else ""
