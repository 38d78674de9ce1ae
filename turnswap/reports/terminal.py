"""A report and a comparison as tables: for a shell, a README or a paper's appendix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from turnswap.tasks.multiif.metrics import COUNTS, TURNS

from .compare import FEWEST, Comparison, Difference
from .figures import AVERAGE
from .published import SOURCE, published_rows
from .sheets import SCOPES, Sheet, percent, points
from .table import Summary
from .two_sets import two_sets_sheets
from .verdicts import Graded
from .warnings import score_warnings

_SHOWN = 8  # conversations and instructions in a comparison's tables; --format json has all


def report_sheets(
    summaries: Sequence[Summary], graded: Mapping[str, Graded], corrected: Mapping[str, Graded]
) -> list[Sheet]:
    """Headline, languages, forgetting and correction, instructions, both sets of verdicts, counts.

    ``graded`` and ``corrected`` are by model: the verdicts by the published and by the corrected rules.
    """
    sheets = [_headline(summaries)]
    for summary in summaries:
        sheets += [_languages(summary), _transitions(summary)]
        name = summary.model.name
        if name in graded:
            sheets.append(_instructions(name, graded[name]))
            sheets += two_sets_sheets(summary, graded[name], corrected[name])
        sheets.append(_counts(summary))
    return sheets


def _headline(summaries: Sequence[Summary]) -> Sheet:
    scopes = list(dict.fromkeys(summary.headline_scope for summary in summaries))
    rows = []
    for summary in summaries:
        scope = summary.headline_scope
        figures = [summary.figure(scope, name) for name in (AVERAGE, *(f"turn{t}_overall_acc" for t in TURNS))]
        name = summary.model.name if len(scopes) == 1 else f"{summary.model.name}, {SCOPES.get(scope, scope)}"
        rows.append([name, *map(percent, figures), points(figures[3].value - figures[1].value)])
    kinds = dict.fromkeys(s.interval_of(s.headline_scope) for s in summaries)
    notes = [f"Overall accuracy in per cent, {' or '.join(filter(None, kinds)) or 'without'} intervals."]
    published = published_rows([summary.model for summary in summaries])
    if published:
        rows += [[f"{row.name} (published)", *map(percent, row.values), points(row.change)] for row in published]
        notes.append(f"Published: {SOURCE}; settings not known.")
    signatures = [f"{summary.model.name}: {summary.signature}" for summary in summaries]
    over = f", {SCOPES.get(scopes[0], scopes[0])}" if len(scopes) == 1 else ""
    header = ["model", "average", "turn 1", "turn 2", "turn 3", "1 to 3"]
    return Sheet(f"Multi-IF{over}", header, rows, 1, notes, signatures)


def _languages(summary: Summary) -> Sheet:
    rows = [
        [
            SCOPES.get(scope, scope),
            *(percent(summary.figure(scope, f"turn{t}_overall_acc")) for t in TURNS),
            str(summary.n(scope)),
        ]
        for scope in summary.scopes
    ]
    return Sheet(f"{summary.model.name}: overall accuracy", ["language", "turn 1", "turn 2", "turn 3", "n"], rows)


def _transitions(summary: Summary) -> Sheet:
    names = [f"turn{turn}_{name}" for name in ("forgetting", "correction") for turn in (2, 3)]
    rows = [
        [SCOPES.get(scope, scope), *(percent(summary.figure(scope, name)) for name in names)]
        for scope in summary.scopes
    ]
    header = ["language", "forgotten 1→2", "forgotten 2→3", "corrected 1→2", "corrected 2→3"]
    note = "Of the instructions followed (not followed) in the turn before, the share that is not (is) followed now."
    return Sheet(f"{summary.model.name}: forgetting and correction", header, rows, notes=[note])


def _instructions(name: str, graded: Graded) -> Sheet:
    followed: Counter[tuple[str, int]] = Counter()
    asked: Counter[tuple[str, int]] = Counter()
    for turns in (turns for conversations in graded.values() for turns in conversations.values()):
        for number, turn in enumerate(turns, 1):
            for verdicts in turn.verdicts:
                for id_, verdict in zip(turn.turn.instruction_ids, verdicts, strict=True):
                    asked[id_, number] += 1
                    followed[id_, number] += verdict.strict
    rows = []
    for id_ in sorted({id_ for id_, _ in asked}):
        shares = [followed[id_, t] / asked[id_, t] if asked[id_, t] else float("nan") for t in TURNS]
        rows.append([id_, *map(percent, shares), str(sum(asked[id_, t] for t in TURNS))])
    header = ["instruction", "turn 1", "turn 2", "turn 3", "n"]
    return Sheet(f"{name}: instructions followed (strict)", header, rows)


def _counts(summary: Summary) -> Sheet:
    rows = []
    for name in COUNTS:
        totals = [summary.count(summary.headline_scope, f"turn{turn}_{name}") for turn in TURNS]
        rows.append([name, *("N/A" if total is None else str(total) for total in totals)])
    notes = [f"Warning: {warning}" for warning in score_warnings(summary)]
    return Sheet(f"{summary.model.name}: replies", ["how many", "turn 1", "turn 2", "turn 3"], rows, notes=notes)


def comparison_sheets(comparison: Comparison, metric: str) -> list[Sheet]:
    """The differences of one metric, the instructions gained and lost, and conversations to look at."""
    a, b = comparison.a.model.name, comparison.b.model.name
    family = comparison.of_metric(metric)
    known = sum(row.corrected == row.corrected for row in family)
    level = f"{comparison.a.resampling.level:.0%}"
    notes = [
        f"{metric} in per cent; difference in points, {level} interval and p by paired bootstrap over conversations.",
        *([f"Corrected: by Holm's method, for the {known} comparisons of {metric} in this table."] if known else []),
        f"No p-value (–) from fewer than {FEWEST} conversations in a language.",
        *(f"Note: {note}." for note in comparison.notes),
    ]
    signatures = [f"A {a}: {comparison.a.signature}", f"B {b}: {comparison.b.signature}"]
    header = ["language", "turn", "A", "B", "B - A", "interval", "p", "corrected"]
    sheets = [Sheet(f"B {b} against A {a}", header, list(map(_difference, family)), 1, notes, signatures)]
    changed = [
        [
            change.instruction_id,
            f"+{change.gained}",
            f"-{change.lost}",
            f"{change.gained - change.lost:+}",
            str(change.n),
        ]
        for change in comparison.instructions[:_SHOWN]
    ]
    if changed:
        header = ["instruction", "gained", "lost", "net", "n"]
        sheets.append(Sheet("Instructions that B follows and A does not, and the other way round", header, changed))
    looked_at = [
        [change.language, change.key, _per_turn(change.a), _per_turn(change.b), f"{change.gap:+g}"]
        for change in comparison.conversations[:_SHOWN]
    ]
    if looked_at:
        header = ["language", "conversation", "A, per turn", "B, per turn", "B - A"]
        sheets.append(Sheet("Conversations to look at: instructions followed", header, looked_at, 2))
    return sheets


def _per_turn(followed: Sequence[float]) -> str:
    return " ".join(f"{count:g}" for count in followed)


def _difference(row: Difference) -> list[str]:
    turn = "mean" if row.turn is None else str(row.turn)
    interval = "–" if row.low != row.low else f"[{points(row.low)}, {points(row.high)}]"
    p = [
        "–" if value != value else f"{value:.4f}" if value >= 0.0001 else "<0.0001" for value in (row.p, row.corrected)
    ]
    scope = SCOPES.get(row.language, row.language)
    return [scope, turn, percent(row.a), percent(row.b), points(row.gap), interval, *p]
