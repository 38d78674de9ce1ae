"""The study's results: a figure per row and seed, and paired differences over seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats  # type: ignore[import-untyped]

from turnswap.core.files import write_whole
from turnswap.reports.figures import holm

from . import changes
from .settings import Settings

Rows = Mapping[int, Sequence[Mapping[str, Any]]]  # by seed
SHARES = ("right_numbers_b", "own_language_b", "skill_a")
# A chosen swap against what was chosen as hard: it has to win by where its layers lie, not by how many were tried.
# Six, since with more, signs alone of eight seeds could not be below 0.05 after the correction.
COMPARED = [
    ("best swap", "recipient"), ("best swap", "tuned average"), ("best swap", "best random placement"),
    ("best swap", "middle"), ("zero-shot best swap", "recipient"),
    ("zero-shot best swap", "zero-shot best random placement"),
]  # fmt: skip


class Difference(NamedTuple):
    """A mean difference over seeds, Student's 95 % interval of it, and p-values of Student's test and the sign test."""

    mean: float
    low: float
    high: float
    p: float
    p_sign: float


def difference(by_seed: Sequence[float]) -> Difference:
    """What differences of seeds say of another seed; in the sign test, those that are 0 do not count.

    >>> found = difference([0.1, 0.2, 0.3])
    >>> [round(each, 3) for each in found]
    [0.2, -0.048, 0.448, 0.074, 0.25]
    """
    values = np.array(by_seed)
    mean, spread = float(values.mean()), stats.sem(values) if len(values) > 1 else np.nan
    half = stats.t.ppf(0.975, len(values) - 1) * spread
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * stats.t.sf(np.abs(mean / spread), len(values) - 1)
    moved = values[np.abs(values) > 1e-12]
    p_sign = stats.binomtest(int((moved > 0).sum()), len(moved)).pvalue if len(moved) else 1
    # Without a spread, and without a difference, there is nothing to test.
    return Difference(mean, float(mean - half), float(mean + half), float(np.nan_to_num(p, nan=1)), float(p_sign))


def figures_of(rows: Rows) -> pd.DataFrame:
    """A line per seed and row."""
    return pd.DataFrame([{"seed": seed, **row} for seed, found in rows.items() for row in found])


def by_seed(figures: pd.DataFrame, figure: str = "skill_b") -> pd.DataFrame:
    """A figure by row and seed; NaN where a seed lacks the row, such as that of a rule that refused."""
    return figures.pivot(index="row", columns="seed", values=figure).reindex(figures["row"].unique())


def comparisons(skill: pd.DataFrame) -> pd.DataFrame:
    """The rows of :data:`COMPARED` over the seeds that have both, p-values corrected for all of them by Holm."""
    there = [pair for pair in COMPARED if skill.reindex(pair).notna().all().any()]
    found = pd.DataFrame(
        [
            {"row": one, "against": other} | difference((skill.loc[one] - skill.loc[other]).dropna())._asdict()
            for one, other in there
        ]
    )
    return found.assign(**{name: holm(found[name].to_numpy()) for name in ("p", "p_sign")})


def write_tables(settings: Settings, rows: Rows, folder: Path) -> None:
    """Write ``results.json``, ``results.csv`` (a line per row and seed) and ``table.md``."""
    figures = figures_of(rows)
    compared = comparisons(by_seed(figures))
    changed = changes.mean_changes([changes.changes_of(folder / f"seed-{seed}" / "analysis") for seed in rows])
    content = {"settings": asdict(settings), "rows": rows, "comparisons": compared.to_dict("records")}
    write_whole(folder / "results.json", json.dumps(content | {"changes": changed}, indent=1) + "\n")
    lines = figures.assign(parameters=figures["parameters"].map(json.dumps))
    write_whole(folder / "results.csv", lines.to_csv(index=False, lineterminator="\n"))
    tables = (markdown(figures), compared_markdown(compared), changes.markdown(changed))
    write_whole(folder / "table.md", "\n".join(tables))


def markdown(figures: pd.DataFrame) -> str:
    """The table for people, in percent; perplexity per byte."""
    lines = [
        "| row | skill in B | by seed | - recipient | 95 % (t) | right numbers | in B | skill in A | perplexity B |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    skill = by_seed(figures)
    means = {name: by_seed(figures, name).mean(axis=1) for name in (*SHARES, "perplexity_b")}
    for name, values in skill.iterrows():
        to_recipient = (values - skill.loc["recipient"]).dropna()
        gain = difference(to_recipient) if name != "recipient" and len(to_recipient) else None
        cells = [str(name), _percent(values.mean()), " ".join(map(_percent, values))]
        cells += [f"{100 * gain.mean:+.1f}", _interval(gain.low, gain.high)] if gain else ["", ""]
        cells += [_percent(means[figure][name]) for figure in SHARES]
        lines.append(f"| {' | '.join([*cells, format(means['perplexity_b'][name], '.3f')])} |")
    return "\n".join(lines) + "\n"


def compared_markdown(compared: pd.DataFrame) -> str:
    """The comparisons for people, in percentage points."""
    lines = ["| skill in B | difference | 95 % (t) | p (t, Holm) | p (signs, Holm) |", "|---|--:|--:|--:|--:|"]
    for one in compared.itertuples():
        said = f"{100 * one.mean:+.1f} | {_interval(one.low, one.high)} | {one.p:.3f} | {one.p_sign:.3f}"
        lines.append(f"| {one.row} - {one.against} | {said} |")
    return "\n".join(lines) + "\n"


def _percent(value: float) -> str:
    return "–" if np.isnan(value) else f"{100 * value:.1f}"


def _interval(low: float, high: float) -> str:
    return "" if np.isnan(low) else f"[{100 * low:+.1f}, {100 * high:+.1f}]"
