"""Where the published and the corrected verdicts differ: by instruction and language, and in every figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pandas as pd

from turnswap.tasks.multiif.corrected import measured
from turnswap.tasks.multiif.metrics import CORRECTED, TURNS, corrected_values, pool, ratios

from .figures import Resampling
from .runs import LoggedConversation, Model
from .sheets import Column, Sheet, notes_of, percent, points, scope_name, sheet_of
from .table import Summary, split_metric, tidy
from .verdicts import GradedTurn, by_repeat, rules_of, tabulate


def differing(summary: Summary) -> pd.DataFrame:
    """A row per instruction and language, differing or not, those with most differences first; strict verdicts.

    ``gained`` fail as published and pass as corrected, ``lost`` the other way round, ``unsatisfiable`` are none by the
    corrected rules; ``published`` and ``corrected`` are the shares that pass, of those that there are.
    """
    both, other = summary.verdicts, tabulate(summary.corrected)
    before, now, known = both["strict"], other["strict"], ~other["unsatisfiable"]
    of_each: dict[str, Any] = {
        "n": 1,
        "gained": known & now & ~before,
        "lost": known & ~now & before,
        "unsatisfiable": ~known,
    }
    of_each |= {"published": before, "corrected": known & now}
    found = both.assign(**of_each).groupby(["instruction", "language"])[[*of_each]].sum()
    found["published"] /= found["n"]
    found["corrected"] /= found["n"] - found["unsatisfiable"]
    differ = found["gained"] + found["lost"] + found["unsatisfiable"]
    return found.iloc[(-differ).argsort(kind="stable")]


def corrected_summary(summary: Summary) -> Summary:
    """The same model's figures by the corrected verdicts, whose rules are part of the signature."""
    languages = {}
    for code, run in summary.model.languages.items():
        conversations = [_corrected(c, summary.corrected[code][c.key]) for c in run.conversations or ()]
        facts = {**run.facts, "corrected": rules_of(summary.model)}
        languages[code] = replace(run, facts=facts, reported={}, conversations=conversations)
    return replace(summary, model=Model(summary.model.name, languages))


def tidy_corrected(summaries: Sequence[Summary]) -> pd.DataFrame:
    """The rows of :func:`.table.tidy` for the figures by corrected verdicts, by the names with ``_corrected``."""
    frame = tidy([corrected_summary(summary) for summary in summaries])
    figures = frame[frame["metric"].isin({split_metric(name)[1] for name in ratios()})].copy()
    figures["metric"] += CORRECTED
    return figures


def _corrected(conversation: LoggedConversation, turns: Sequence[GradedTurn]) -> LoggedConversation:
    pooled = pool([corrected_values(graded) for graded in by_repeat(turns) or [[]]])
    values = {name.removesuffix(CORRECTED): value for name, value in pooled.items()}
    return replace(conversation, values={**conversation.values, **values})


def two_sets_sheets(summary: Summary) -> list[Sheet]:
    """Two tables: overall accuracy by both sets of verdicts, and the instructions whose verdicts differ, if any."""
    name = summary.model.name
    by_corrected, changed = corrected_summary(summary), differing(summary)
    values = replace(by_corrected, resampling=Resampling(100))  # no interval of theirs is shown
    rows = []
    for scope in summary.scopes:
        row = [scope_name(scope)]
        for turn in TURNS:
            one, other = (each.figure(scope, f"turn{turn}_overall_acc").value for each in (summary, values))
            row += [percent(one), percent(other), points(other - one)]
        rows.append(row)
    header = ["language", *(text for turn in TURNS for text in (f"turn {turn}", "corrected", "Δ"))]
    said = notes_of("two_sets", differ=(changed["gained"] + changed["lost"]).sum(), n=changed["n"].sum())
    if unlabelled := measured().unlabelled(summary.model.languages):
        said += notes_of("unlabelled", languages=", ".join(unlabelled))
    signatures = [f"{name}, corrected: {by_corrected.signature}"]
    sheets = [Sheet(f"{name}: published and corrected verdicts", header, rows, 1, said, signatures)]
    columns: dict[str, Column] = {"instruction": "instruction", "language": "language", "n": "n"}
    columns |= {"fail → pass": "gained", "pass → fail": "lost", "unsatisfiable": "unsatisfiable"}
    columns |= {"published": (percent, "published"), "corrected": (percent, "corrected")}
    differ = changed.query("gained + lost + unsatisfiable > 0").reset_index()
    if not differ.empty:
        sheets.append(sheet_of(f"{name}: verdicts that differ", differ, columns, 2, notes_of("differing")))
    return sheets
