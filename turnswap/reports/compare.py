"""Whether model B beats model A: paired by conversation, with intervals, p-values, and what changed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from turnswap.core.errors import UserError
from turnswap.core.journal import plain

from . import figures
from .figures import FIGURES, MACRO, POOLED, Resampling
from .runs import Model
from .samples import LoggedConversation
from .signature import require_comparable
from .table import Summary, metric_names, split_metric
from .verdicts import grade_again, tabulate

# Conversations that a p-value needs. Where there was no difference at all, 28 % of comparisons of 3 conversations
# came out below 0.05, 9 % of 10 and 6 % of 20 (simulated).
FEWEST = 20


@dataclass(frozen=True)
class Difference:
    """One figure of B minus that of A.

    Attributes:
        language: a code, ``macro`` or ``pooled``.
        turn: 1 to 3; None for the mean over the turns.
        metric: such as ``overall_acc``.
        a: A's value, and ``b`` B's; NaN where there is none.
        gap: ``b - a``, with its interval ``low`` to ``high``.
        p: two-sided p-value of the paired bootstrap; ``corrected``: by Holm's method for all of the metric's
            comparisons (its turns, in every language and in the macro mean); NaN for pooled figures.
    """

    language: str
    turn: int | None
    metric: str
    a: float
    b: float
    gap: float
    low: float
    high: float
    p: float
    corrected: float


@dataclass(frozen=True)
class InstructionChange:
    """How often B follows an instruction that A does not (``gained``), and the other way round, of ``n`` times."""

    instruction_id: str
    gained: int
    lost: int
    n: int


@dataclass(frozen=True)
class ConversationChange:
    """Instructions followed in each turn of one conversation, by A and by B (means over repeats)."""

    language: str
    key: str
    a: tuple[float, ...]
    b: tuple[float, ...]

    @property
    def gap(self) -> float:
        """Instructions that B follows more often than A, over all turns."""
        return sum(self.b) - sum(self.a)


@dataclass(frozen=True)
class Comparison:
    """All of it; ``n`` conversations per language are in both runs, ``notes`` say what was left out."""

    a: Summary
    b: Summary
    n: dict[str, int]
    differences: Sequence[Difference]
    instructions: Sequence[InstructionChange]
    conversations: Sequence[ConversationChange]
    notes: Sequence[str]

    def of_metric(self, metric: str) -> list[Difference]:
        """The differences of one metric in all its turns and languages: the family that was corrected for."""
        return [difference for difference in self.differences if difference.metric == metric]

    def as_json(self) -> dict[str, Any]:
        """Everything, for other programs."""
        return {
            "a": {"model": self.a.model.name, "signature": self.a.signature},
            "b": {"model": self.b.model.name, "signature": self.b.signature},
            "conversations_in_both": self.n,
            "notes": list(self.notes),
            "correction": "Holm, within a metric: its turns and their mean, in every language and in the macro mean",
            "differences": [plain(vars(difference)) for difference in self.differences],
            "instructions": [vars(change) for change in self.instructions],
            "conversations": [vars(change) | {"gap": change.gap} for change in self.conversations],
        }


def compare(a: Model, b: Model, resampling: Resampling, accepted: Sequence[str] = ()) -> Comparison:
    """Compare two models on the conversations that both ran.

    Args:
        a: the model to compare with.
        b: the model compared.
        resampling: of the paired bootstrap.
        accepted: facts of the signature that may differ.

    Raises:
        UserError: without samples, with signatures that are not comparable, or with no conversation in common.
    """
    for model in (a, b):
        if not model.has_samples:
            raise UserError(
                f"{model.name} has no samples: conversations cannot be paired.",
                "Run the evaluation with --log_samples, and leave the files beside each other.",
            )
    require_comparable(a.name, a.facts, b.name, b.facts, accepted)
    a, b, notes = _in_common(a, b)
    one, other = Summary(a, resampling), Summary(b, resampling)
    return Comparison(
        one,
        other,
        {code: run.n for code, run in a.languages.items()},
        _differences(one, other, resampling),
        *_changes(a, b),
        notes,
    )


def _in_common(a: Model, b: Model) -> tuple[Model, Model, list[str]]:
    """Both models with the conversations that both ran alone, and what that leaves out."""
    notes = []
    languages = [code for code in a.languages if code in b.languages]
    for model, other in ((a, b), (b, a)):
        if missing := [code for code in model.languages if code not in other.languages]:
            notes.append(f"only {model.name} was run in {', '.join(missing)}: left out")
    common: dict[str, set[str]] = {}
    for code in languages:
        runs = [{c.key: c for c in model.languages[code].conversations or ()} for model in (a, b)]
        keys = [set(run) for run in runs]
        failed = {key for run in runs for key, conversation in run.items() if conversation.failed}
        common[code] = (keys[0] & keys[1]) - failed
        _require_same_conversations(runs[0], runs[1], common[code])
        if failed:
            notes.append(f"{code}: {len(failed)} conversations failed in one of the runs: left out of both")
        if keys[0] != keys[1]:
            counts = " and ".join(f"{len(found)} of {model.name}" for found, model in zip(keys, (a, b), strict=True))
            notes.append(f"{code}: compared on the {len(common[code])} conversations in both, of {counts}")
    languages = [code for code in languages if common[code]]
    if not languages:
        raise UserError(
            f"{a.name} and {b.name} have no conversation in common.",
            "Compare runs of the same language and data (check --limit and --samples).",
        )
    return _restricted(a, common, languages), _restricted(b, common, languages), notes


def _require_same_conversations(
    one: Mapping[str, LoggedConversation], other: Mapping[str, LoggedConversation], keys: Iterable[str]
) -> None:
    """Refuse conversations that have a key in common and nothing else."""
    for key in sorted(keys):
        asked = [[(t.prompt, t.instruction_ids, t.kwargs) for t in run[key].turns] for run in (one, other)]
        if asked[0] != asked[1]:
            raise UserError(
                f"Conversation {key} is not the same in both: see {one[key].where} and {other[key].where}.",
                "Its prompts or instructions differ, so replies to it cannot be paired; run both on the same data.",
            )


def _restricted(model: Model, common: dict[str, set[str]], languages: Sequence[str]) -> Model:
    runs = {}
    for code in languages:
        run = model.languages[code]
        kept = [c for c in run.conversations or () if c.key in common[code]]
        runs[code] = replace(run, conversations=kept, n=len(kept))
    return Model(model.name, runs)


def _differences(one: Summary, other: Summary, resampling: Resampling) -> list[Difference]:
    rows = []
    for scope in sorted(one.scopes, key=lambda scope: scope in one.model.languages):  # what is over them first
        before, after = one.estimates[scope], other.estimates[scope]
        gap = figures.difference(before, after)
        low, high = gap.interval(resampling.level)
        # Languages are resampled apart: the smallest decides how far the mean over them can be trusted.
        smallest = min(run.n for code, run in one.model.languages.items() if scope in (code, MACRO, POOLED))
        p = figures.p_values(gap) if smallest >= FEWEST else np.full_like(gap.values, np.nan)
        for name in metric_names():
            column = FIGURES.index(name)
            turn, metric = split_metric(name)
            found = (before.values, after.values, gap.values, low, high, p)
            a, b, change, lower, upper, p_value = (float(values[column]) for values in found)
            rows.append(Difference(scope, turn, metric, a, b, change, lower, upper, p_value, corrected=float("nan")))
    corrected = []
    for metric in dict.fromkeys(row.metric for row in rows):
        family = [row for row in rows if row.metric == metric]
        # The pooled figures are the macro ones with other weights: not comparisons of their own.
        p_values = np.array([float("nan") if row.language == POOLED else row.p for row in family])
        for row, p_value in zip(family, figures.holm(p_values), strict=True):
            corrected.append(replace(row, corrected=float(p_value)))
    return corrected


def _changes(a: Model, b: Model) -> tuple[list[InstructionChange], list[ConversationChange]]:
    """What changed, by instruction and by conversation; the largest changes first."""
    slot = ["language", "key", "turn", "slot", "instruction"]
    # Of each instruction of each turn, the share of repeats that follow it.
    shares = [tabulate(grade_again(model)).groupby(slot)["strict"].mean() for model in (a, b)]
    both = pd.concat(shares, axis=1, keys=["a", "b"]).reset_index()
    both["gained"], both["lost"] = both["b"] > both["a"], both["b"] < both["a"]
    instructions = [
        InstructionChange(str(id_), int(of_id["gained"].sum()), int(of_id["lost"].sum()), len(of_id))
        for id_, of_id in both.groupby("instruction")
    ]
    instructions = [change for change in instructions if change.gained or change.lost]
    instructions.sort(key=lambda c: (-abs(c.gained - c.lost), -c.gained - c.lost, c.instruction_id))
    changed = both[both.groupby(["language", "key"])[["gained", "lost"]].transform("any").any(axis=1)]
    followed = changed.groupby(["language", "key", "turn"])[["a", "b"]].sum().groupby(["language", "key"]).agg(tuple)
    conversations = [ConversationChange(language, key, a, b) for (language, key), a, b in followed.itertuples()]
    conversations.sort(key=lambda change: (-abs(change.gap), change.language, change.key))
    return instructions, conversations
