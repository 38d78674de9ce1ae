"""What could explain a score other than the model's ability, and what a run took: as sentences and tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from turnswap.tasks.multiif.metrics import COUNTS, RIGHT, SPREAD, SPREAD_OF, TURNS

from .figures import FIGURES, MACRO, OVERALL
from .sheets import TEXTS, TURN_NAMES, Sheet, notes_of, percent, scope_name, with_interval
from .table import Summary

MEANINGS, _TOOK = TEXTS["meanings"], TEXTS["took"]
# A kind is warned of from this share of a turn's replies on.
# (A cap that cut 12 % of the turns cost one model 2.7 points.)
_SHARE = 0.01


def score_warnings(summaries: Sequence[Summary]) -> list[str]:
    """One sentence per kind, whatever the number of models; they are named where there are several.

    A kind is what concerns at least 1 % of a turn's replies (any, if they failed), what a backend does not tell, and
    conversations that were not run.
    """
    found: dict[str, dict[str, list[str]]] = {}  # a kind's sentence -> what is the case -> of which models
    for summary in summaries:
        for sentence, case in _warnings(summary):
            found.setdefault(sentence, {}).setdefault(case, []).append(summary.model.name)
    several = len(summaries) > 1
    return [
        sentence.format("; ".join(f"{case} ({', '.join(of)})" if several else case for case, of in cases.items()))
        for sentence, cases in found.items()
    ]


def _warnings(summary: Summary) -> Iterator[tuple[str, str]]:
    """A kind's sentence with a place for what is the case, and what that is."""
    scope = summary.headline_scope
    for name in COUNTS[1:]:
        shares = []
        for turn in TURNS:
            total = summary.count(scope, f"turn{turn}_{name}") or 0
            n = summary.replies(scope, turn) + (total if name == "failed" else 0)
            # The unclosed ones have a sentence of their own.
            total -= (summary.count(scope, f"turn{turn}_unclosed") or 0) if name == "empty" else 0
            if total > 0 and (total / n >= _SHARE or name == "failed"):
                shares.append(f"{total / n:.1%} in turn {turn}")
        if shares:
            yield f"Replies: {{}} {MEANINGS[name]}.", ", ".join(shares)
    untold = [name for name in ("truncated", "overflowing") if summary.count(scope, f"turn1_{name}") is None]
    if untold:
        without = "; so there are no figures over completed replies only" if "truncated" in untold else ""
        yield f"The backend does not tell which replies are {{}}{without}.", " or ".join(untold)
    if summary.model.has_samples and (unnamed := summary.without_sources):
        some = unnamed != list(summary.model.languages)
        yield notes_of("no_sources")[0], f" in {', '.join(unnamed)}" if some else ""
    few = [f"{code}: {run.n} of {run.of}" for code, run in summary.model.languages.items() if run.n < run.of]
    if few:
        yield "{} conversations were run.", ", ".join(few)


def completed_note(summary: Summary) -> str | None:
    """How many replies the figures over completed ones rest on; None where all are completed, or it is not known."""
    scope = summary.headline_scope
    done, of = _counts(summary, scope, "completed"), [summary.replies(scope, turn) for turn in TURNS]
    if "N/A" in done or done == [str(n) for n in of]:
        return None
    shares = ", ".join(f"{some} of {n} in {turn}" for some, n, turn in zip(done, of, TURN_NAMES, strict=True))
    return f"over the replies that are neither truncated nor unclosed, {shares}."


def reply_sheets(summary: Summary) -> list[Sheet]:
    """Figures over completed replies where some are not, repeats where there are several, counts and totals."""
    sheets, name = [], summary.model.name
    if completed_note(summary):
        rows, header = [], ["language", *TURN_NAMES, "n, by turn"]
        for scope in summary.scopes:
            n = " ".join(_counts(summary, scope, "completed"))
            rows.append([scope_name(scope), *map(with_interval, summary.scores(scope, True).turns), n])
        sheets.append(Sheet(f"{name}: overall accuracy over completed replies", header, rows))
    if summary.model.repeats > 1:
        sheets.append(_repeats(summary))
    rows = [[kind, *_counts(summary, summary.headline_scope, kind)] for kind in COUNTS]
    totals = {key: summary.count(summary.headline_scope, key) for key in _TOOK}
    took = ", ".join(_TOOK[key].format(total) for key, total in totals.items() if total is not None)
    notes = [f"The run took {took}."] if took else []
    return [*sheets, Sheet(f"{name}: replies", ["how many", *TURN_NAMES], rows, notes=notes)]


def _repeats(summary: Summary) -> Sheet:
    scope, repeats = summary.headline_scope, summary.model.repeats
    rows = [
        [f"right in {kind} of {repeats}", *(with_interval(summary.figure(scope, f"turn{t}_{name}")) for t in TURNS)]
        for name, kind in zip(RIGHT, ("all", "any"), strict=True)
    ]
    rows += [
        [f"spread, {words}", *(percent(summary.spread(scope, f"turn{turn}_{name}{SPREAD}")) for turn in TURNS)]
        for name, words in zip(SPREAD_OF, ("overall", "prompt-level strict"), strict=True)
    ]
    errors = [sampling_error(summary, scope, turn) for turn in TURNS]
    if any(error == error for error in errors):
        column = [FIGURES.index(name) for name in OVERALL]
        in_all = np.nanstd(summary.estimates[scope].replicates[:, column], axis=0)
        rows.append(["standard error", *map(percent, in_all)])
        rows.append(["of it, by sampling", *map(percent, errors)])
    title = f"{summary.model.name}: {repeats} repeats"
    return Sheet(title, ["conversations", *TURN_NAMES], rows, notes=notes_of("repeats"))


def sampling_error(summary: Summary, scope: str, turn: int) -> float:
    """The part of overall accuracy's standard error that comes from sampling replies: more repeats make it smaller.

    The rest comes from which source prompts the benchmark has, and no repeat changes it. Linearised, from the variance
    between a conversation's repeats; NaN without samples or repeats. ``scope`` is a language, or ``macro``.
    """
    codes = [code for code in summary.model.languages if scope in (code, MACRO)]
    if not codes or not summary.model.has_samples or summary.model.repeats < 2:
        return float("nan")
    squares = []
    for code in codes:
        name = f"turn{turn}_overall_acc{SPREAD}"
        conversations = summary.model.languages[code].conversations or ()
        pairs = np.asarray([c.values[name] for c in conversations], dtype=float).reshape(len(conversations), -1, 4, 2)
        totals = pairs.sum(axis=(0, 1))
        with np.errstate(invalid="ignore", divide="ignore"):
            moved = ((pairs[..., 0] - totals[:, 0] / totals[:, 1] * pairs[..., 1]) / totals[:, 1]).mean(axis=-1)
        squares.append(moved.shape[1] * moved.var(axis=1, ddof=1).sum())
    return float(np.sqrt(np.sum(squares)) / len(codes))


def _counts(summary: Summary, scope: str, name: str) -> list[str]:
    """One of :data:`COUNTS` in each turn, as tables show it."""
    totals = [summary.count(scope, f"turn{turn}_{name}") for turn in TURNS]
    return ["N/A" if total is None else f"{total:.0f}" for total in totals]
