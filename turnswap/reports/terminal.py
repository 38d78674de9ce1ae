"""A report and a comparison as tables: for a shell, a README or a paper's appendix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from turnswap.tasks.multiif.metrics import TURNS

from .compare import Comparison
from .diagnosis_sheets import diagnosis_sheets
from .figures import FEWEST, OVERALL
from .language_gaps import gap_sheets
from .published import CAN_SAY, PROVENANCE, against_published, published_scores
from .replies import completed_note, reply_sheets, score_warnings
from .sheets import (
    HEADLINE,
    INTERVAL,
    Column,
    Sheet,
    notes_of,
    p_value,
    percent,
    points,
    scope_name,
    sheet_of,
    with_interval,
)
from .table import Scores, Summary
from .two_sets import two_sets_sheets
from .verdicts import followed_by
from .words import say_comparison, say_report

_SHOWN = 8  # conversations and instructions in a comparison's tables; --format json has all


def report_sheets(summaries: Sequence[Summary]) -> list[Sheet]:
    """Headline, languages, forgetting and correction, instructions, both sets of verdicts, diagnosis, counts."""
    published = published_scores([summary.model for summary in summaries])
    sheets = [replace(_headline(summaries, published), says=say_report(summaries))]
    for summary in summaries:
        sheets += published_sheets(summary, published)
        sheets += [accuracy_sheet(summary), *gap_sheets(summary), transition_sheet(summary)]
        if summary.model.has_samples:
            sheets += [instruction_sheet(summary), *two_sets_sheets(summary)]
    sheets += diagnosis_sheets(summaries)
    for summary in summaries:
        *others, last = reply_sheets(summary)
        warnings = [f"Warning: {warning}" for warning in score_warnings([summary])]
        sheets += [*others, replace(last, notes=[*last.notes, *warnings])]
    return sheets


def _headline(summaries: Sequence[Summary], published: Mapping[str, Scores]) -> Sheet:
    scopes = list(dict.fromkeys(summary.headline_scope for summary in summaries))
    kinds = dict.fromkeys(s.interval_of(s.headline_scope) for s in summaries)
    notes = [f"Overall accuracy in per cent, {' or '.join(filter(None, kinds)) or 'without'} intervals."]
    rows = []
    for summary in summaries:
        scope = summary.headline_scope
        name = summary.model.name if len(scopes) == 1 else f"{summary.model.name}, {scope_name(scope)}"
        rows.append([name, *_scores(summary.scores(scope))])
        if completed := completed_note(summary):
            rows.append([f"{name}, completed", *_scores(summary.scores(scope, completed=True))])
            notes.append(f"{summary.model.name}, completed: {completed}")
    if published:
        rows += [[f"{name} (published)", *_scores(scores)] for name, scores in published.items()]
        notes.append(PROVENANCE)
    signatures = [f"{summary.model.name}: {summary.signature}" for summary in summaries]
    over = f", {scope_name(scopes[0])}" if len(scopes) == 1 else ""
    return Sheet(f"Multi-IF{over}", ["model", *HEADLINE], rows, 1, notes, signatures)


def published_sheets(summary: Summary, published: Mapping[str, Scores]) -> list[Sheet]:
    """One model's average against each published one; nothing where there is none, or it has no interval."""
    frame = against_published(summary, published)
    if frame.empty:
        return []
    columns: dict[str, Column] = {"published": "model", "average": (percent, "published"), "Δ": (points, "gap")}
    columns |= {"interval": INTERVAL, "p": (p_value, "p"), "corrected": (p_value, "corrected")}
    return [sheet_of(f"{summary.model.name} against published scores", frame, columns, 1, [CAN_SAY])]


def _scores(scores: Scores) -> list[str]:
    return [*map(with_interval, (scores.average, *scores.turns)), points(scores.change)]


def accuracy_sheet(summary: Summary) -> Sheet:
    """Overall accuracy by language and turn, with intervals."""
    return _by_scope(summary, "overall accuracy", dict(zip(HEADLINE[1:4], OVERALL, strict=True)), with_n=True)


def transition_sheet(summary: Summary) -> Sheet:
    """Forgetting and correction by language, with intervals."""
    columns = {
        f"{word} {turn - 1}→{turn}": f"turn{turn}_{metric}"
        for word, metric in (("forgotten", "forgetting"), ("corrected", "correction"))
        for turn in TURNS[1:]
    }
    return _by_scope(summary, "forgetting and correction", columns, *notes_of("transitions"))


def _by_scope(summary: Summary, title: str, columns: Mapping[str, str], *notes: str, with_n: bool = False) -> Sheet:
    """A row per language, and what is over them; a figure per column."""
    rows = [
        [scope_name(scope), *(with_interval(summary.figure(scope, name)) for name in columns.values())]
        + [str(summary.n(scope))] * with_n
        for scope in summary.scopes
    ]
    return Sheet(f"{summary.model.name}: {title}", ["language", *columns, *["n"] * with_n], rows, notes=notes)


def instruction_sheet(summary: Summary) -> Sheet:
    """The share of replies that follow each instruction, by turn, and how often it was given."""
    counted = followed_by(summary.verdicts, "instruction", "turn")
    shares = (counted["followed"] / counted["asked"]).unstack("turn").reindex(columns=TURNS)
    asked = counted["asked"].groupby("instruction").sum()
    rows = [[str(id_), *map(percent, shares.loc[id_]), str(asked[id_])] for id_ in shares.index]
    return Sheet(f"{summary.model.name}: instructions followed (strict)", ["instruction", *HEADLINE[1:4], "n"], rows)


def comparison_sheets(comparison: Comparison, metric: str) -> list[Sheet]:
    """The differences of one metric, the instructions gained and lost, and conversations to look at."""
    a, b = comparison.a.model.name, comparison.b.model.name
    family = comparison.differences[comparison.differences["metric"] == metric]
    known = family.loc[~family["primary"], "corrected"].count()
    unit, level = comparison.a.unit, comparison.a.resampling.level
    notes = notes_of("comparison", metric=metric, level=level, unit=unit)
    notes += notes_of("holm", known=known, metric=metric) if known else []
    notes += notes_of("few_in_a_language", fewest=FEWEST, unit=unit)
    notes += [f"Note: {note}." for note in comparison.notes]
    signatures = [f"A {a}: {comparison.a.signature}", f"B {b}: {comparison.b.signature}"]
    columns: dict[str, Column] = {
        "language": (scope_name, "language"),
        "turn": (lambda turn: "mean" if pd.isna(turn) else str(turn), "turn"),
        "A": (percent, "a"),
        "B": (percent, "b"),
        "B - A": (points, "gap"),
        "interval": INTERVAL,
        "p": (p_value, "p"),
        "corrected": (lambda primary, p: "primary" if primary and p == p else p_value(p), "primary", "corrected"),
    }
    first = sheet_of(f"B {b} against A {a}", family, columns, 1, notes, signatures, say_comparison(comparison))
    columns = {"instruction": "instruction_id", "gained": ("+{}".format, "gained"), "lost": ("-{}".format, "lost")}
    columns |= {"net": (lambda gained, lost: f"{gained - lost:+}", "gained", "lost"), "n": "n"}
    title = "Instructions that B follows and A does not, and the other way round"
    changed = sheet_of(title, comparison.instructions[:_SHOWN], columns)
    columns = {"language": "language", "conversation": "key", "A, per turn": (_per_turn, "a")}
    columns |= {"B, per turn": (_per_turn, "b"), "B - A": ("{:+g}".format, "gap")}
    title = "Conversations to look at: instructions followed"
    looked_at = sheet_of(title, comparison.conversations[:_SHOWN], columns, 2)
    return [first, *(sheet for sheet in (changed, looked_at) if sheet.rows)]


def _per_turn(followed: Sequence[float]) -> str:
    return " ".join(f"{count:g}" for count in followed)
