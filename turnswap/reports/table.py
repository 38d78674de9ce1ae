"""One tidy table: a row per model, language, turn and metric, with interval, n and what identifies the run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, logit, ndtri

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.tasks.multiif import metrics

from . import figures
from .figures import AVERAGE, AVERAGES, FIGURES, MACRO, OVERALL, POOLED, Estimate, Resampling, Sums
from .runs import LanguageRun, Model
from .signature import signature
from .verdicts import Graded, corrected_verdicts, published_verdicts, tabulate


@dataclass(frozen=True)
class Figure:
    """A value with its interval; NaN where there is none."""

    value: float = float("nan")
    low: float = float("nan")
    high: float = float("nan")

    @property
    def is_point(self) -> bool:
        """Whether its interval has no width: no resample gave another value, which is not the same as certainty."""
        return self.low == self.high

    @property
    def turned(self) -> Figure:
        """A difference the other way round."""
        return Figure(-self.value, -self.high, -self.low)


def figures_of(estimate: Estimate, level: float) -> list[Figure]:
    """An estimate's figures with their intervals."""
    return [Figure(*map(float, one)) for one in zip(estimate.values, *estimate.interval(level), strict=True)]


@dataclass(frozen=True)
class Scores:
    """Overall accuracy in one language or over several: the mean of the turns, and each turn."""

    average: Figure
    turns: tuple[Figure, ...]

    @property
    def change(self) -> float:
        """From the first turn to the third: negative where accuracy drops."""
        return self.turns[-1].value - self.turns[0].value


@dataclass(frozen=True)
class Summary:
    """A model's figures: from its samples where they are at hand, else as lm-eval reported them."""

    model: Model
    resampling: Resampling

    @property
    def signature(self) -> str:
        """The line that identifies these figures."""
        without, drawn = self.without_sources, ""
        if self.model.has_samples:
            unit = f"source, in {'+'.join(without)} conversation" if without else "source"
            unit = "conversation" if without == list(self.model.languages) else unit
            drawn = f"unit:{unit}|boot:{self.resampling.resamples},seed:{self.resampling.seed}"
        of = sum(run.of for run in self.model.languages.values())
        return signature(self.model.facts, self.model.languages, self.n(MACRO), of, drawn)

    @cached_property
    def sums(self) -> dict[str, Sums]:
        """Language -> its conversations by source prompt, where there are samples."""
        runs = self.model.languages.items()
        return {code: figures.add_up(run.conversations) for code, run in runs if run.conversations is not None}

    @cached_property
    def graded(self) -> Graded:
        """The published verdicts on its replies; errors as of :func:`.verdicts.published_verdicts`."""
        return published_verdicts(self.model)

    @cached_property
    def corrected(self) -> Graded:
        """The corrected ones, likewise."""
        return corrected_verdicts(self.model)

    @cached_property
    def verdicts(self) -> pd.DataFrame:
        """The published ones as a table: see :func:`.verdicts.tabulate`."""
        return tabulate(self.graded)

    @cached_property
    def estimates(self) -> Mapping[str, Estimate]:
        """Per language with samples; ``macro`` and ``pooled`` where every language has them."""
        found = figures.estimate(self.sums, self.resampling)
        return found if self.model.has_samples else {code: found[code] for code in self.sums}

    @cached_property
    def _figures(self) -> dict[str, list[Figure]]:
        return {scope: figures_of(estimate, self.resampling.level) for scope, estimate in self.estimates.items()}

    @property
    def scopes(self) -> tuple[str, ...]:
        """The languages, and what is over them: ``macro``, and ``pooled`` where there are samples."""
        over = (MACRO, POOLED) if self.model.has_samples else (MACRO,)
        return (*self.model.languages, *(over if len(self.model.languages) > 1 else ()))

    @property
    def published_scopes(self) -> tuple[str, ...]:
        """Every language, after the mean of all of them where it is the benchmark's: what boards elsewhere take."""
        return ((MACRO,) if self.model.in_all_languages else ()) + tuple(self.model.languages)

    @property
    def headline_scope(self) -> str:
        """``macro``, or the only language."""
        return MACRO if len(self.model.languages) > 1 else next(iter(self.model.languages))

    @property
    def without_sources(self) -> list[str]:
        """The languages whose data names no source prompts, so that each conversation counts as independent."""
        by_language = {code: run.conversations or () for code, run in self.model.languages.items()}
        return [code for code, own in by_language.items() if all(c.source == c.key for c in own)]

    @property
    def unit(self) -> str:
        """What is drawn for intervals, in words."""
        return "conversations" if self.without_sources else "source prompts"

    def kind_of(self, scope: str, figure: Figure) -> str | None:
        """As :meth:`interval_of`, of one of its figures: whether its interval has no width."""
        kind = None if figure.low != figure.low else self.interval_of(scope)
        return f"{kind}, zero width" if kind and figure.is_point else kind

    def interval_of(self, scope: str) -> str | None:
        """What kind of intervals the figures of a scope have; None where they have none."""
        level = f"{self.resampling.level:.0%}"
        if scope in self.estimates:
            return f"{level} bootstrap{' over conversations' if self.without_sources else ''}"
        figure = self.figure(scope, OVERALL[0])
        bound = ", as if languages moved together" if scope == MACRO else ""
        return f"{level} logit-normal (lm-eval's standard error{bound})" if figure.low == figure.low else None

    def figure(self, scope: str, name: str) -> Figure:
        """One of :data:`figures.FIGURES` in a language, or over the languages."""
        if scope in self.estimates:
            return self._figures[scope][FIGURES.index(name)]
        names = [turn.replace(AVERAGE, name) for turn in OVERALL] if name in AVERAGES else [name]
        reported = [self._reported(run, each) for run in self._runs(scope) for each in names]
        value = float(np.mean([value for value, _ in reported]))
        # Earlier versions' errors took conversations for independent: too small.
        known = all(run.content for run in self._runs(scope))
        errors = [error for _, error in reported if error is not None]
        if name in AVERAGES or len(errors) < len(reported) or not known:
            return Figure(value)
        # Languages share source prompts. How far they move together is not known here: the mean of the errors is the
        # error if they move together wholly, and never too small.
        return Figure(value, *_within_bounds(value, float(np.mean(errors)), self.resampling.level))

    def scores(self, scope: str, completed: bool = False) -> Scores:
        """Overall accuracy in a language, or over the languages; of all replies, or of the completed ones."""
        ending = metrics.COMPLETED if completed else ""
        turns = tuple(self.figure(scope, f"{name}{ending}") for name in OVERALL)
        return Scores(self.figure(scope, f"{AVERAGE}{ending}"), turns)

    def spread(self, scope: str, name: str) -> float:
        """The standard deviation of a figure between repeats; NaN where it is not known."""
        runs = self._runs(scope)
        if not self.model.has_samples or self.model.repeats == 1:
            return runs[0].reported.get(name, (float("nan"), None))[0] if len(runs) == 1 else float("nan")
        values = [[c.values[name] for c in run.conversations or ()] for run in runs]
        together = [list(chain.from_iterable(values))] if scope == POOLED else values
        return float(np.std(np.mean([metrics.by_repeat(each) for each in together], axis=0), ddof=1))

    def _reported(self, run: LanguageRun, name: str) -> tuple[float, float | None]:
        """lm-eval's value and standard error; the samples' value where they were put together from parts."""
        if name not in run.reported and run.language in self.estimates:
            return self.figure(run.language, name).value, None
        return run.reported.get(name, (float("nan"), None))

    def _runs(self, scope: str) -> list[LanguageRun]:
        return [run for code, run in self.model.languages.items() if scope in (code, MACRO, POOLED)]

    def count(self, scope: str, name: str) -> float | None:
        """A count such as ``turn1_truncated``, or one of ``metrics.TOTALS``; None where the backend did not tell."""
        items: list[Any] = []
        for run in self._runs(scope):
            if run.conversations is None:
                items.append(run.reported.get(name, (None, None))[0])
            else:
                items += [conversation.values.get(name) for conversation in run.conversations]
        found = metrics.aggregations(priced=True)[name](items)
        return None if isinstance(found, str) else found

    def n(self, scope: str, turn: int | None = None) -> int:
        """Conversations, or those of them that have this turn (known from samples only)."""
        if turn is None or not self.model.has_samples:
            return sum(run.n for run in self._runs(scope))
        return sum(len(c.turns) >= turn for run in self._runs(scope) for c in run.conversations or ())

    def sources(self, scope: str) -> int:
        """The source prompts of a language, or of all (known from samples only)."""
        return len({source for run in self._runs(scope) for source in self.sums[run.language].sources})

    def replies(self, scope: str, turn: int) -> int:
        """The replies in this turn, of all repeats; without samples as if every conversation had the turn."""
        if not self.model.has_samples:
            return self.n(scope) * self.model.repeats
        name = f"turn{turn}_prompt_strict_acc"
        return sum(c.values[name][1] for run in self._runs(scope) for c in run.conversations or ())


def _within_bounds(value: float, error: float, level: float) -> tuple[float, float]:
    """A normal interval on the scale of logits, which leaves neither 0 nor 1 behind (Agresti 2013, §3.1.6)."""
    if not 0 < value < 1 or math.isnan(error):
        return (value, value) if error == 0 else (math.nan, math.nan)
    reach = ndtri(0.5 + level / 2) * error / (value * (1 - value))
    return float(expit(logit(value) - reach)), float(expit(logit(value) + reach))


def summarise(models: Sequence[Model], resampling: Resampling) -> list[Summary]:
    """Every model's figures, in the order given."""
    return [Summary(model, resampling) for model in models]


def split_metric(name: str) -> tuple[int | None, str]:
    """``turn2_forgetting`` to ``(2, "forgetting")``; no turn for the mean over the turns."""
    if not name.startswith("turn"):
        return None, name
    turn, _, metric = name.partition("_")
    return int(turn.removeprefix("turn")), metric


def tidy(summaries: Sequence[Summary]) -> pd.DataFrame:
    """The table.

    Columns: ``model``, ``language`` (a code, ``macro`` or ``pooled``), ``turn`` (missing for the mean of the turns
    and for totals), ``metric``, ``value``, ``low``, ``high``, ``interval`` (what kind), ``n`` (conversations that have
    the turn; for figures over completed replies these replies), then what identifies the run (``model_name`` as lm-eval
    knows it, ``model_sha``, the parts of the signature) and the ``signature``.
    Counts (``truncated``, …), totals (``seconds``, …) and the spread between repeats have no interval.
    """
    return pd.DataFrame(row for summary in summaries for row in _rows(summary)).astype({"turn": "Int64"})


def _rows(summary: Summary) -> Iterator[dict[str, object]]:
    model = summary.model
    identity = {"model_name": model.identity["name"], "model_sha": model.identity["sha"] or None}
    facts = {**identity, **model.facts, "signature": summary.signature}
    kinds = metrics.aggregations(repeats=model.repeats, priced=True)
    for scope in summary.scopes:
        for name in (*AVERAGES, *kinds):
            turn, metric = split_metric(name)
            kind, n = None, summary.n(scope, turn)
            if name in FIGURES:
                figure = summary.figure(scope, name)
                kind = summary.kind_of(scope, figure)
                if turn and name.endswith(metrics.COMPLETED):
                    n = int(summary.count(scope, f"turn{turn}{metrics.COMPLETED}") or 0)
            elif kinds[name] is metrics.spread:
                figure = Figure(summary.spread(scope, name))
            elif name in ("repeats", metrics.VERDICTS):
                continue  # among what identifies the run; no figure
            else:
                total = summary.count(scope, name)
                figure = Figure() if total is None else Figure(float(total))
            row: dict[str, object] = {"model": model.name, "language": scope, "turn": turn, "metric": metric}
            yield {**row, **vars(figure), "interval": kind, "n": n, **facts}


def _as_json(frame: pd.DataFrame) -> str:
    """Records with the very numbers of the table (pandas' own writer rounds them)."""
    lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records(frame))
    return "[\n" + ",\n".join(lines) + "\n]\n"


def records(frame: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """A table's rows as JSON takes them: None where there is no value."""
    return frame.astype(object).where(frame.notna(), None).to_dict("records")


WRITERS: dict[str, Callable[[pd.DataFrame], str | bytes]] = {
    ".csv": lambda frame: frame.to_csv(index=False),
    ".parquet": lambda frame: frame.to_parquet(index=False),
    ".json": _as_json,
}


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a table as CSV, Parquet or JSON, whichever the file's name says."""
    if path.suffix not in WRITERS:
        raise UserError(f"{path} is no name for a table.", f"Expected one that ends in {', '.join(WRITERS)}.")
    write_whole(path, WRITERS[path.suffix](frame), "Name another file with -o.")
