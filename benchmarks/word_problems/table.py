"""The study's results: a figure per row, the comparisons that were registered, and the tables for people."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from turnswap.core.files import write_whole

from .evaluation import drawn
from .inference import Floats, hierarchical_interval, holm, sign_flip
from .settings import Settings, fingerprint

Rows = Mapping[int, Mapping[str, Mapping[str, Any]]]  # by seed and name
PAPER, SELECTED, RECIPIENT = "paper's swap", "selected swap", "recipient"
# The confirmatory family, corrected together.
FAMILY = (
    (PAPER, RECIPIENT), (SELECTED, RECIPIENT), (SELECTED, "average"), (SELECTED, "tuned average"),
    (SELECTED, "selected random placement"),
)  # fmt: skip
# Looked at, but not corrected and not claimed.
EXPLORED = (
    (PAPER, "average"), (PAPER, SELECTED), (SELECTED, "middle swap"), (SELECTED, "trained further"), (SELECTED, "TIES"),
    (SELECTED, "DARE-TIES"), ("average", RECIPIENT), ("tuned average", RECIPIENT), ("TIES", RECIPIENT),
    ("DARE-TIES", RECIPIENT), ("trained further", RECIPIENT),
)  # fmt: skip


def differences(rows: Rows, one: str, other: str, figure: str = "right") -> list[Floats]:
    """Per seed and Spanish item, what one row has more than the other."""
    return [
        np.array(of[one]["spanish"][figure], float) - np.array(of[other]["spanish"][figure], float)
        for of in rows.values()
    ]


def compared(rows: Rows, one: str, other: str, templates: Sequence[Sequence[int]]) -> dict[str, Any]:
    """A comparison: mean, by seed, interval, p-value over items and, as a check, over the templates' means."""
    by_seed = differences(rows, one, other)
    cells = [
        float(of[np.array(template) == number].mean())
        for of, template in zip(by_seed, templates, strict=True)
        for number in sorted(set(template))
    ]
    return {
        "row": one,
        "against": other,
        "difference": float(np.mean([of.mean() for of in by_seed])),
        "by_seed": [float(of.mean()) for of in by_seed],
        "interval": hierarchical_interval(by_seed),
        "p": sign_flip(np.concatenate(by_seed)),
        "p_templates": sign_flip(np.array(cells)),
        "log_likelihood": float(np.mean([of.mean() for of in differences(rows, one, other, "log_likelihood")])),
        "exact_match": float(np.mean([np.mean(of[one]["exact_match"]) for of in rows.values()]))
        - float(np.mean([np.mean(of[other]["exact_match"]) for of in rows.values()])),
    }


def summarised(rows: Rows) -> list[dict[str, Any]]:
    """A mapping per row: means over seeds, and the Spanish accuracy by seed."""
    found = []
    for name in next(iter(rows.values())):
        of = [by_name[name] for by_name in rows.values()]
        by_seed = [statistics.fmean(row["spanish"]["right"]) for row in of]
        entry: dict[str, Any] = {
            "row": name,
            "spanish": statistics.fmean(by_seed),
            "by_seed": by_seed,
            "log_likelihood": statistics.fmean(statistics.fmean(row["spanish"]["log_likelihood"]) for row in of),
            "exact_match": statistics.fmean(statistics.fmean(row["exact_match"]) for row in of),
            "english": statistics.fmean(statistics.fmean(row["english"]["right"]) for row in of),
            "perplexity": statistics.fmean(row["perplexity"] for row in of),
            "parameters": [row["parameters"] for row in of],
        }
        if name != RECIPIENT:
            by_item = differences(rows, name, RECIPIENT)
            entry |= {"difference": float(np.mean([one.mean() for one in by_item]))}
            entry |= {"interval": hierarchical_interval(by_item)}
        found.append(entry)
    return found


def results_of(settings: Settings, rows: Rows) -> dict[str, Any]:
    """Everything that the tables show."""
    asked = [drawn("report", seed, settings.report) for seed in rows]
    templates = [[problem.template for problem in of_seed] for of_seed in asked]
    family = [compared(rows, one, other, templates) for one, other in FAMILY]
    adjusted = holm({f"{at}": comparison["p"] for at, comparison in enumerate(family)})
    for comparison, p in zip(family, adjusted.values(), strict=True):
        comparison["p_holm"] = p
        comparison["success"] = p < 0.05 and min(comparison["by_seed"]) > 0
    return {
        "fingerprint": fingerprint(settings),
        "settings": asdict(settings),
        "seeds": list(rows),
        "chance": float(np.mean([1 / (1 + len(problem.others)) for of_seed in asked for problem in of_seed])),
        "rows": summarised(rows),
        "confirmatory": family,
        "explored": [compared(rows, one, other, templates) for one, other in EXPLORED],
    }


def write_tables(settings: Settings, rows: Rows, folder: Path) -> None:
    """Write ``results.json`` and ``table.md``."""
    results = results_of(settings, rows)
    write_whole(folder / "results.json", json.dumps(results, indent=1) + "\n")
    write_whole(folder / "table.md", markdown(results))


def markdown(results: Mapping[str, Any]) -> str:
    """The tables for people: accuracies and differences in percent."""
    lines = [
        "| row | Spanish | by seed | - recipient | 95 % | log-likelihood | exact match | English | perplexity |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in results["rows"]:
        difference = f"{100 * row['difference']:+.1f}" if "difference" in row else ""
        by_seed = " ".join(_percent(value) for value in row["by_seed"])
        cells = [row["row"], _percent(row["spanish"]), by_seed, difference, _interval(row.get("interval"))]
        cells += [f"{row['log_likelihood']:.2f}", _percent(row["exact_match"]), _percent(row["english"])]
        lines.append(f"| {' | '.join([*cells, format(row['perplexity'], '.2f')])} |")
    for kind, last in (("confirmatory", "p (Holm)"), ("explored", "")):
        extra = f" {last} | success |" if last else ""
        lines += ["", f"| {kind} | difference | by seed | 95 % | p | p over templates | exact match |{extra}"]
        lines.append("|---|--:|---|--:|--:|--:|--:|" + ("--:|---|" if last else ""))
        for one in results[kind]:
            by_seed = " ".join(f"{100 * value:+.1f}" for value in one["by_seed"])
            cells = [f"{one['row']} - {one['against']}", f"{100 * one['difference']:+.1f}", by_seed]
            cells += [_interval(one["interval"]), f"{one['p']:.4f}", f"{one['p_templates']:.4f}"]
            cells += [f"{100 * one['exact_match']:+.1f}"]
            cells += [f"{one['p_holm']:.4f}", "yes" if one["success"] else "no"] if last else []
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _interval(interval: Sequence[float] | None) -> str:
    return f"[{100 * interval[0]:+.1f}, {100 * interval[1]:+.1f}]" if interval else ""
