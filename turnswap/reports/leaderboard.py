"""Models that were run alike, ranked by paired differences of their averages.

Every pair is compared as ``turnswap compare`` does, on the same conversations and draws; the p-values are corrected for
all pairs (Holm). A model's rank is 1 + the number of models that are significantly better.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.dataset import LANGUAGES
from turnswap.tasks.multiif.languages import name_of
from turnswap.tasks.multiif.metrics import TURNS

from .compare import in_common, require_resamples
from .figures import ALPHA, AVERAGE, FEWEST, Estimate, Resampling, difference, holm, mean, p_values
from .published import PROVENANCE, left_out, published_models
from .replies import score_warnings
from .runs import LanguageRun, Model, in_order
from .sheets import notes_of
from .signature import OF_THE_MODEL, describe_difference, require_comparable
from .table import Figure, Scores, Summary, figures_of


@dataclass(frozen=True)
class Pair:
    """Two ranked models' averages, paired: how much ``b`` is better than ``a``.

    Attributes:
        a: a model's name, and ``b`` the other's, which is higher by these conversations.
        gap: the difference with its interval; NaN where they have no conversations in common in a language.
        p: its two-sided p-value, NaN from fewer than :data:`.figures.FEWEST` source prompts; ``corrected`` for all
            pairs.
        choices: difference and ``p`` over every choice of languages: number ``i`` is over the languages whose bits are
            set in ``i + 1``, the first language's being the lowest.
    """

    a: str
    b: str
    gap: Figure
    p: float
    corrected: float
    choices: Sequence[tuple[float, float]]

    @property
    def better(self) -> str | None:
        """The model that is significantly better; None where they are tied."""
        return (self.b if self.gap.value > 0 else self.a) if self.corrected < ALPHA else None


@dataclass(frozen=True)
class Row:
    """A model on the board.

    Attributes:
        model: its name.
        overall: over the board's languages, ``languages`` by code.
        signature: what identifies its runs; empty for a published model.
        choices: the interval of the average over every choice of languages, as :attr:`Pair.choices`; None without
            samples.
        rank: None where it is not ranked; ``tied`` if it differs from another ranked model by nothing significant.
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
    """The ranking: ``rows`` by their averages, the paper's models among them; ``notes`` are what its readers must know.

    ``pairs`` are all pairs of ranked models, the one that is higher on the board as ``b``.
    """

    languages: tuple[str, ...]
    rows: tuple[Row, ...]
    pairs: tuple[Pair, ...]
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
    notes, resampling = _require_comparable(models, accepted), summaries[0].resampling
    rows, drawn = [], {}
    for model in models:
        # Held by nothing else: the resamples of one model take tens of megabytes.
        summary = Summary(model, resampling)
        overall, by_language = summary.scores(summary.headline_scope), {code: summary.scores(code) for code in chosen}
        choices = None
        if model.has_samples:
            averages = [summary.estimates[code].only(AVERAGE) for code in chosen]
            low, high = _over_choices(averages).interval(resampling.level)
            choices = list(zip(low.tolist(), high.tolist(), strict=True))
            if overall.average.value == overall.average.value:
                drawn[model.name] = averages
        rows.append(Row(model.name, overall, by_language, summary.signature, choices))
    sources = max((int(mean(averages).sources[0]) for averages in drawn.values()), default=0)
    require_resamples(resampling, math.comb(len(drawn), 2), sources, "pairs of models")
    pairs = _pairs([model for model in models if model.name in drawn], drawn, resampling)
    rows = [_ranked(row, pairs) if row.model in drawn else row for row in rows]
    published, why = _published(models, chosen)
    warnings = score_warnings([Summary(model, resampling) for model in models])
    notes += [note for row in rows if row.rank is None for note in _not_ranked(row)]
    if any(pair.p != pair.p for pair in pairs):
        notes += notes_of("too_few_to_rank", fewest=FEWEST)
    if any(model.failures for model in models):
        notes += notes_of("failed_pairs")
    explained = notes_of(
        "ranking",
        over=f"in {name_of(chosen[0])}" if len(chosen) == 1 else "the plain mean over the languages",
        level=resampling.level,
        alpha=ALPHA,
        corrected=f", corrected for {len(pairs)} pairs" if len(pairs) > 1 else "",
    )
    everyone = sorted([*rows, *published], key=lambda row: (-np.nan_to_num(row.overall.average.value), row.model))
    return Board(tuple(chosen), tuple(everyone), pairs, (*explained, *notes, *why, *warnings, *notes_of("boards")))


def _ranked(row: Row, pairs: Sequence[Pair]) -> Row:
    winners = [pair.better for pair in pairs if row.model in (pair.a, pair.b)]
    return replace(row, rank=1 + sum(one not in (None, row.model) for one in winners), tied=None in winners)


def _pairs(models: Sequence[Model], drawn: Mapping[str, list[Estimate]], resampling: Resampling) -> tuple[Pair, ...]:
    """Every pair of these models, corrected for their number; ``drawn`` is each one's average by language."""
    found = []
    ranked = sorted(models, key=lambda model: float(mean(drawn[model.name]).values[0]))
    for a, b in itertools.combinations(ranked, 2):
        one, other = drawn[a.name], drawn[b.name]
        if a.failures or b.failures:
            one, other = _without_failures(a, b, resampling)
        gap, choices = difference(mean(one), mean(other)), difference(_over_choices(one), _over_choices(other))
        (figure,), names, sign = figures_of(gap, resampling.level), (a.name, b.name), 1
        if figure.value < 0:  # by the conversations in common, of which some failed in one of them
            figure, names, sign = figure.turned, (b.name, a.name), -1
        by_choice = list(zip((sign * choices.values).tolist(), p_values(choices).tolist(), strict=True))
        found.append(Pair(*names, figure, float(p_values(gap)[0]), math.nan, by_choice))
    corrected = holm(np.array([pair.p for pair in found]))
    return tuple(replace(pair, corrected=float(p)) for pair, p in zip(found, corrected, strict=True))


def _without_failures(a: Model, b: Model, resampling: Resampling) -> Sequence[list[Estimate]]:
    """Both models' averages by language on the conversations that failed in neither; NaN where there are none."""
    try:
        found = [Summary(model, resampling).estimates for model in in_common(a, b)[:2]]
    except UserError:  # in no language at all
        found = [{}, {}]
    nothing = Estimate(np.full(1, np.nan), np.full((resampling.resamples, 1), np.nan), np.zeros(1, dtype=np.int64))
    return [[each[code].only(AVERAGE) if code in each else nothing for code in a.languages] for each in found]


def _over_choices(averages: Sequence[Estimate]) -> Estimate:
    """The mean over every choice of languages, a figure each: see :attr:`Pair.choices`."""
    n = len(averages)
    member = np.array([[choice >> bit & 1 for choice in range(1, 1 << n)] for bit in range(n)])
    share, values = member / member.sum(axis=0), np.concatenate([each.values for each in averages])
    # A language without a figure leaves none to the choices that hold it; nothing times it is not nothing.
    replicates = np.concatenate([each.replicates for each in averages], axis=1)
    lacks = (np.isnan(replicates).astype(np.float64) @ member) > 0
    drawn = np.where(lacks, np.nan, np.nan_to_num(replicates) @ share)
    known = np.where(np.isnan(values) @ member > 0, np.nan, np.nan_to_num(values) @ share)
    sources = np.concatenate([each.sources for each in averages])
    return Estimate(known, drawn, np.where(member > 0, sources[:, None], np.iinfo(np.int64).max).min(axis=0))


def _choose(summaries: Sequence[Summary], languages: Sequence[str] | None) -> list[str]:
    """The languages of the board, in the benchmark's order; every model was run in all of them."""
    run_in = in_order({code for summary in summaries for code in summary.model.languages})
    if unknown := [code for code in languages or () if code not in (*LANGUAGES, *run_in)]:
        raise UserError(f"--languages: {unknown[0]!r} is no language of Multi-IF.", f"It has {', '.join(LANGUAGES)}.")
    chosen = in_order(languages or run_in)
    in_all = [code for code in run_in if all(code in summary.model.languages for summary in summaries)]
    others = f", or rank over the languages that all models have: --languages {','.join(in_all)}" if in_all else ""
    for summary in summaries:
        if missing := [code for code in chosen if code not in summary.model.languages]:
            raise UserError(
                f"{summary.model.name} was not run in {', '.join(missing)}.", f"Run it, leave it out{others}."
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
    asked = [{c.key: c for c in run.conversations or ()} for run in (one, other)]
    if not all(asked):
        return ""
    if asked[0].keys() != asked[1].keys():
        alone = [min(these.keys() - those.keys()) for these, those in (asked, asked[::-1])]
        return f"conversation {alone[0]} is only in the first, {alone[1]} only in the second"
    differing = [key for key, conversation in asked[0].items() if conversation.differs(asked[1][key])]
    return f"conversation {differing[0]} is not the same in both" if differing else ""


def _not_ranked(row: Row) -> list[str]:
    if row.choices is None:
        return notes_of("no_samples", model=row.model)
    codes = ", ".join(code for code, scores in row.languages.items() if scores.average.value != scores.average.value)
    return notes_of("no_average", model=row.model, codes=codes)


def _published(models: Sequence[Model], languages: Sequence[str]) -> tuple[list[Row], list[str]]:
    """The paper's models as far as they may stand beside these, best first, and what to say of them."""
    if why := left_out(models):
        return [], [f"The paper's models are left out: {why}."]
    unknown = Scores(Figure(), (Figure(),) * len(TURNS))
    rows = [
        Row(model.name, overall, {code: model.scores([code]) or unknown for code in languages})
        for model in published_models()
        if (overall := model.scores(languages))
    ]
    notes = [f"{PROVENANCE} They are not ranked."]
    if silent := [model.name for model in published_models() if not model.scores(languages)]:
        notes.append(f"Published without figures for these languages, and left out: {', '.join(silent)}.")
    return rows, notes
