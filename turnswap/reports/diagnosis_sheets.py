"""The tables of :mod:`.diagnosis`, for a reader who has never seen them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from turnswap.tasks.multiif.metrics import TURNS

from .diagnosis import DONE, QUARTERS, SPOKEN, broken, hardest, replies, shares, slots
from .sheets import SHARE, TURN_NAMES, Column, Sheet, cells, difference_interval, notes_of, percent, points, sheet_of
from .table import Figure, Summary

_FEWEST = 10  # times that two instructions meet
_NEAR = 0.1  # of the number asked for
_EXCESS: Column = (
    lambda *gap: f"{points(gap[0])} {difference_interval(Figure(*gap))}",
    "excess",
    "excess_low",
    "excess_high",
)
_LATER = ["when given", "1 turn later", "2 turns later"]


def diagnosis_sheets(summaries: Sequence[Summary], whole: bool = False) -> list[Sheet]:
    """What becomes of single instructions, how far counts miss, what replies are like, and what is hardest.

    Args:
        summaries: the models; those without samples are left out.
        whole: for a page: more rows, and what breaks what as a matrix.
    """
    frames, sheets, shown = [], [], 25 if whole else 6
    for summary in (summary for summary in summaries if summary.model.has_samples):
        frame = slots(summary)
        kinds, missed, some = replies(summary)
        sheets += [
            replace(sheet, title=f"{summary.model.name}: {sheet.title}")
            for sheet in (
                *_by_distance(frame, summary, shown),
                *_broken(frame, summary, shown, whole),
                *_misses(missed, summary, f" From {some}, drawn at random." * bool(some)),
                _kinds(kinds, summary, f" The language is that of {some}, drawn at random." * bool(some)),
            )
        ]
        frames.append(frame)
    return [*sheets, *_hardest(summaries, frames, shown)] if frames else []


def _wide(found: pd.DataFrame, columns: Sequence[int]) -> list[list[str]]:
    """A row per first key, a cell per second key, and how often each was asked; what falls most comes first."""
    wide = found.assign(cell=cells(found, SHARE)).unstack()
    share, cell, asked = (
        pd.DataFrame(wide[name]).reindex(columns=list(columns)) for name in ("share", "cell", "asked")
    )
    n = [" ".join(f"{count:.0f}" for count in row) for row in asked.fillna(0).to_numpy()]
    order = (share[columns[-1]] - share[columns[0]]).to_numpy(dtype=float).argsort(kind="stable")
    return [
        [str(key), *row] for key, *row in cell.astype(object).fillna("–").assign(n=n).iloc[order].itertuples(name=None)
    ]


def _by_distance(frame: pd.DataFrame, summary: Summary, shown: int) -> list[Sheet]:
    every, sheets = pd.concat([frame, frame.assign(family="all")]), []
    for by, rows, most, notes in (("family", every, 10, []), ("instruction", frame, shown, notes_of("by_distance"))):
        wide = _wide(shares(rows, [by, "distance"], "strict", summary)[0], range(len(TURNS)))
        title = f"followed when given and later, by {by}"
        sheets.append(Sheet(title, [by, *_LATER, "n of each"], wide[:most], 1, notes))
    return sheets


def _broken(frame: pd.DataFrame, summary: Summary, shown: int, whole: bool) -> list[Sheet]:
    sheets = []
    for by, fewest in (("family", 1), ("instruction", _FEWEST)):
        found = broken(frame, by, summary, fewest)
        if found.empty:
            continue
        columns: dict[str, Column] = {f"old {by}": "old", f"new {by}": "new", "broken": SHARE, "of": "asked"}
        columns |= {"usual": (percent, "usual"), "above usual": _EXCESS}
        above = found[found["excess"] > 0].head(shown).reset_index()
        sheets.append(sheet_of(f"which new {by} breaks which old one", above, columns, 2))
        if whole and by == "family":
            found["cell"] = cells(found, SHARE)
            table = (found["cell"] + " of " + found["asked"].astype(str)).unstack().astype(object).fillna("–")
            rows = [[*map(str, row)] for row in table.itertuples(name=None)]
            # Names and cells of text columns break on paper, which has no room for nine of them side by side.
            sheets.append(Sheet("share of an old family that a new one breaks", ["old ↓ new →", *table], rows, 10))
    if sheets:
        sheets[-1] = replace(sheets[-1], notes=notes_of("broken", fewest=_FEWEST))
    return sheets


def _misses(frame: pd.DataFrame, summary: Summary, some: str) -> list[Sheet]:
    if frame.empty:
        return []
    part = frame["missed"] / frame["number"].clip(1)
    frame = frame.assign(part=part, near=part < _NEAR, few=frame["count"] < frame["number"])
    by = ["instruction", "relation"]
    near, few = (shares(frame, by, name, summary)[0] for name in ("near", "few"))
    medians = frame.groupby(by)[["missed", "part"]].median()
    found = medians.assign(n=near["asked"], near=cells(near, SHARE), few=cells(few, SHARE)).reset_index()
    found["few"] = found["relation"].map({"at least": "all", "less than": "none"}).fillna(found["few"])
    columns: dict[str, Column] = {"instruction": "instruction", "asked for": "relation", "misses": "n"}
    columns |= {"median": ("{:g}".format, "missed"), "in %": (percent, "part")}
    columns |= {"under 10 %": "near", "too few": "few"}
    return [sheet_of("how far counts missed", found, columns, 2, notes_of("misses", some=some))]


def _kinds(frame: pd.DataFrame, summary: Summary, some: str) -> Sheet:
    order = [*QUARTERS, *DONE, *SPOKEN]
    rows = _wide(shares(frame, ["kind", "turn"], "followed", summary)[0], TURNS)
    rows.sort(key=lambda row: order.index(row[0]))
    return Sheet("what replies are like", ["replies", *TURN_NAMES, "n"], rows, 1, notes_of("kinds", some=some))


def _hardest(summaries: Sequence[Summary], frames: Sequence[pd.DataFrame], shown: int) -> list[Sheet]:
    runs = [run for summary in summaries for run in [*summary.model.languages.values()][::-1]]
    begins = {c.source or c.key: c.turns[0].prompt[:60] for run in runs for c in run.conversations or () if c.turns}
    sheets = []
    for what, by in (("conversations", ["language", "key", "source"]), ("source prompts", ["source"])):
        found = hardest(frames, by).head(shown).reset_index()
        found["followed"] = found["followed"].astype(str) + " of " + found["asked"].astype(str)
        header: dict[str, Column] = {column: column for column in by}
        if what == "source prompts":
            found["begins"] = [" ".join(begins[source].split()) for source in found["source"]]
            header |= {"it begins": "begins", "conversations": "conversations"}
        header |= {"never followed": "never", "followed": "followed"}
        sheets.append(sheet_of(f"hardest {what}", found, header, 4))
    models = f" and the {len(frames)} models, of conversations that each ran" if len(frames) > 1 else ""
    return [sheets[0], replace(sheets[1], notes=notes_of("hardest", models=models))]
