"""``turnswap leaderboard``: models that were run alike, ranked by their average, with ties where intervals overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.dataset import LANGUAGES
from turnswap.tasks.multiif.languages import name_of
from turnswap.tasks.multiif.metrics import TURNS

from .figures import AVERAGE, FIGURES, Estimate
from .published import CONVERSATIONS, SOURCE, published_models
from .replies import score_warnings
from .runs import LanguageRun, Model, in_order
from .signature import OF_THE_MODEL, describe_difference, require_comparable
from .table import Figure, Scores, Summary

BOARDS = (
    "This is a file, not a service: nothing was submitted anywhere. The Open LLM Leaderboard closed in March 2025 and "
    "takes no submissions."
)


@dataclass(frozen=True)
class Row:
    """A model on the board.

    Attributes:
        model: its name.
        overall: over the board's languages, ``languages`` by code.
        signature: what identifies its runs; empty for a published model.
        choices: the interval of the average over every choice of languages: number ``i`` is over the languages whose
            bits are set in ``i + 1``, the first language's being the lowest. None without samples.
        rank: None where it is not ranked; ``tied`` if others share it.
    """

    model: str
    overall: Scores
    languages: Mapping[str, Scores]
    signature: str = ""
    choices: Sequence[tuple[float, float]] | None = None
    rank: int | None = None
    tied: bool = False

    @property
    def is_published(self) -> bool:
        """Whether the figures are the paper's."""
        return not self.signature

    @property
    def shown_rank(self) -> str:
        """``1``, ``1=`` for a tie, ``–`` where it is not ranked."""
        return "–" if self.rank is None else f"{self.rank}{'=' if self.tied else ''}"


@dataclass(frozen=True)
class Board:
    """The ranking: ``rows`` in order, the paper's models last; ``notes`` are what its readers must know."""

    languages: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...]

    @property
    def signatures(self) -> tuple[str, ...]:
        """A line per model that was measured."""
        return tuple(f"{row.model}: {row.signature}" for row in self.rows if not row.is_published)


def build_board(
    summaries: Sequence[Summary], languages: Sequence[str] | None = None, accepted: Sequence[str] = ()
) -> Board:
    """Rank models over these languages.

    Args:
        summaries: the models.
        languages: codes; all that any of the models was run in by default.
        accepted: facts of the signature that may differ.

    Raises:
        UserError: an unknown language, a model that lacks one, or models that were not run alike.
    """
    chosen = _choose(summaries, languages)
    models = [Model(s.model.name, {code: s.model.languages[code] for code in chosen}) for s in summaries]
    notes = _require_comparable(models, accepted)
    rows = []
    for model in models:
        # Held by nothing else: the resamples of one model take tens of megabytes.
        summary = Summary(model, summaries[0].resampling)
        overall, by_language = summary.scores(summary.headline_scope), {code: summary.scores(code) for code in chosen}
        choices = _every_choice(summary) if model.has_samples else None
        rows.append(Row(model.name, overall, by_language, summary.signature, choices))
    found = ranks([row.overall.average for row in rows])
    rows = [replace(row, rank=rank, tied=found.count(rank) > 1) for row, rank in zip(rows, found, strict=True)]
    rows.sort(key=lambda row: (row.rank or float("inf"), -np.nan_to_num(row.overall.average.value), row.model))
    published, why = _published(models, chosen)
    warnings = score_warnings([Summary(model, summaries[0].resampling) for model in models])
    notes += [_not_ranked(row) for row in rows if row.rank is None]
    explained = _explanation(chosen, summaries[0].resampling.level)
    return Board(tuple(chosen), (*rows, *published), (explained, *notes, *why, *warnings, BOARDS))


def ranks(averages: Sequence[Figure]) -> list[int | None]:
    """1 + how many models' intervals lie wholly above one's own; None without an interval."""
    # A comparison with NaN is false: what has no interval lies above nothing.
    return [
        1 + sum(other.low > figure.high for other in averages) if figure.low == figure.low else None
        for figure in averages
    ]


def _choose(summaries: Sequence[Summary], languages: Sequence[str] | None) -> list[str]:
    """The languages of the board, in the benchmark's order; every model was run in all of them."""
    run_in = in_order({code for summary in summaries for code in summary.model.languages})
    if unknown := [code for code in languages or () if code not in (*LANGUAGES, *run_in)]:
        raise UserError(f"--languages: {unknown[0]!r} is none of Multi-IF.", f"It has {', '.join(LANGUAGES)}.")
    chosen = in_order(languages or run_in)
    in_all = [code for code in run_in if all(code in summary.model.languages for summary in summaries)]
    for summary in summaries:
        if missing := [code for code in chosen if code not in summary.model.languages]:
            raise UserError(
                f"{summary.model.name} was not run in {', '.join(missing)}.",
                "Run it, leave it out"
                + (f", or rank over the languages of all: --languages {','.join(in_all)}" if in_all else "")
                + ".",
            )
    return chosen


def _require_comparable(models: Sequence[Model], accepted: Sequence[str]) -> list[str]:
    """Refuse models that were not run alike; what was accepted, one line each."""
    first, notes = models[0], []
    for model in models:
        require_comparable(first.name, first.facts, model.name, model.facts, accepted)
        for code, run in model.languages.items():
            if difference := _other_conversations(first.languages[code], run):
                raise UserError(
                    f"{first.name} and {model.name} are not comparable in {code}: {difference}.",
                    "Run both on the same conversations (check --limit and --samples), or choose other --languages.",
                )
        if difference := describe_difference(first.facts, model.facts, OF_THE_MODEL):
            notes.append(f"Accepted, although {first.name} and {model.name} differ: {difference}.")
    return notes


def _other_conversations(one: LanguageRun, other: LanguageRun) -> str:
    if one.n != other.n:
        return f"{one.n} and {other.n} conversations"
    keys = [{conversation.key for conversation in run.conversations or ()} for run in (one, other)]
    if all(keys) and keys[0] != keys[1]:
        return f"conversation {min(keys[0] - keys[1])} is in the first alone, {min(keys[1] - keys[0])} in the second"
    return ""


def _every_choice(summary: Summary) -> list[tuple[float, float]]:
    column = FIGURES.index(AVERAGE)
    each = [summary.estimates[code] for code in summary.model.languages]
    choices = [[bit for bit in range(len(each)) if choice >> bit & 1] for choice in range(1, 1 << len(each))]
    over = Estimate(
        np.array([np.mean([each[bit].values[column] for bit in choice]) for choice in choices]),
        np.stack([np.mean([each[bit].replicates[:, column] for bit in choice], axis=0) for choice in choices], axis=1),
    )
    low, high = over.interval(summary.resampling.level)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _not_ranked(row: Row) -> str:
    if row.choices is None:
        return (
            f"{row.model} is not ranked: without samples its average has no interval, and nothing tells a tie from a "
            "difference. Run it with --log_samples."
        )
    codes = ", ".join(code for code, scores in row.languages.items() if scores.average.value != scores.average.value)
    return f"{row.model} is not ranked: in {codes} no conversation has all turns, so that there is no average."


def _published(models: Sequence[Model], languages: Sequence[str]) -> tuple[list[Row], list[str]]:
    """The paper's models as far as they may stand beside these, best first, and what to say of them."""
    for model in models:
        for code, run in model.languages.items():
            if code not in CONVERSATIONS:
                return [], [f"The paper's models are left out: the benchmark has no {name_of(code)}."]
            if not run.n == run.of == CONVERSATIONS[code]:
                return [], [
                    f"The paper's models are left out: {model.name} ran {run.n} conversations in {code}, of {run.of} "
                    f"in its data; the benchmark has {CONVERSATIONS[code]}."
                ]
    unknown = Scores(Figure(), (Figure(),) * len(TURNS))
    rows = [
        Row(model.name, overall, {code: model.scores([code]) or unknown for code in languages})
        for model in published_models()
        if (overall := model.scores(languages))
    ]
    rows.sort(key=lambda row: -row.overall.average.value)
    notes = [f"Published: {SOURCE}; the settings of those runs are not known, so they are not ranked."]
    if silent := [model.name for model in published_models() if not model.scores(languages)]:
        notes.append(f"Published without figures for these languages, and left out: {', '.join(silent)}.")
    return rows, notes


def _explanation(languages: Sequence[str], level: float) -> str:
    over = f"in {name_of(languages[0])}" if len(languages) == 1 else "the plain mean over the languages"
    return (
        f"Overall accuracy in per cent, {over}. Average: the mean of the turns, with its {level:.0%} bootstrap "
        "interval over conversations; a language's column is the mean of its turns. Rank: 1 + the number of ranked "
        "models whose interval lies wholly above; = marks a tie."
    )
