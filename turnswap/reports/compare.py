"""Whether model B beats model A: paired by conversation, drawn by source prompt, with p-values and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.metrics import ratios

from . import figures
from .figures import ALPHA, AVERAGE, FEWEST, FIGURES, POOLED, Resampling
from .runs import LanguageRun, Model
from .sheets import notes_of
from .signature import require_comparable
from .table import Summary, records, split_metric


@dataclass(frozen=True)
class Comparison:
    """All of it.

    Attributes:
        a: the model compared with, and ``b`` the one compared, on the conversations that both ran.
        n: how many those are, by language; ``notes`` say what was left out.
        differences: a row per ``language`` (a code, ``macro`` or ``pooled``), ``turn`` (missing for the mean over the
            turns) and ``metric``: the figures ``a`` and ``b``, and the ``gap``, ``b - a``, with its interval ``low``
            to ``high``; ``p``, the two-sided p-value of the paired bootstrap. ``primary`` marks the headline, the mean
            over turns and languages, which is the one question asked: its p-value is ``corrected`` as it is. The others
            are corrected by Holm's method for all of their metric's comparisons (its turns, in every language and in
            the macro mean); pooled figures have none.
        instructions: how often B follows an instruction that A does not (``gained``), and the other way round
            (``lost``), of ``n`` times; those that changed, the largest change first.
        conversations: instructions followed in each turn of one conversation by ``a`` and by ``b`` (means over
            repeats), and over all turns, how many more B follows (``gap``); likewise.
    """

    a: Summary
    b: Summary
    n: dict[str, int]
    differences: pd.DataFrame
    instructions: pd.DataFrame
    conversations: pd.DataFrame
    notes: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        """Everything, for other programs."""
        return {
            "a": {"model": self.a.model.name, "signature": self.a.signature},
            "b": {"model": self.b.model.name, "signature": self.b.signature},
            "conversations_in_both": self.n,
            "notes": list(self.notes),
            "correction": notes_of("correction")[0],
            "differences": records(self.differences),
            "instructions": records(self.instructions),
            "conversations": records(self.conversations),
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
    shared = [code for code in a.languages if code in b.languages]
    one, other = (Model(m.name, {code: m.languages[code] for code in shared or m.languages}) for m in (a, b))
    require_comparable(a.name, one.facts, b.name, other.facts, accepted)
    a, b, notes = in_common(a, b)
    both = (Summary(a, resampling), Summary(b, resampling))
    n = {code: run.n for code, run in a.languages.items()}
    return Comparison(*both, n, paired_differences(*both, resampling), *_changes(*both), notes)


def require_resamples(resampling: Resampling, tests: int, sources: int, of_what: str) -> None:
    """Refuse so few resamples that no corrected p-value could be significant.

    Args:
        resampling: how many there are.
        tests: how many p-values are corrected together.
        sources: on how many source prompts they rest, at most.
        of_what: what is tested, in words.

    Raises:
        UserError: it says how many it takes.
    """
    if tests < 1 or sources < FEWEST or resampling.resamples >= (needed := figures.resamples_needed(tests, sources)):
        return
    raise UserError(
        f"{resampling.resamples} resamples are too few for {tests} {of_what} over {sources} source prompts: no "
        f"p-value could be below {ALPHA} after that correction.",
        f"Use --resamples {needed} or more.",
    )


def in_common(a: Model, b: Model) -> tuple[Model, Model, list[str]]:
    """Both models with the conversations that both ran alone, and what that leaves out."""
    notes = []
    for model, other in ((a, b), (b, a)):
        if missing := [code for code in model.languages if code not in other.languages]:
            notes.append(f"only {model.name} was run in {', '.join(missing)}: left out")
    kept: tuple[dict[str, LanguageRun], ...] = ({}, {})
    for code in (code for code in a.languages if code in b.languages):
        runs = [{c.key: c for c in model.languages[code].conversations or ()} for model in (a, b)]
        failed = {key for run in runs for key, conversation in run.items() if conversation.failed}
        common = sorted((runs[0].keys() & runs[1].keys()) - failed)
        for key in common:
            in_a, in_b = runs[0][key], runs[1][key]
            if len(in_a.turns) != len(in_b.turns) or in_a.differs(in_b):
                raise UserError(
                    f"Conversation {key} is not the same in both: see {in_a.where} and {in_b.where}.",
                    "Its prompts or instructions differ, so replies to it cannot be paired; run both on the same data.",
                )
        if failed:
            notes.append(f"{code}: {len(failed)} conversations failed in one of the runs: left out of both")
        if runs[0].keys() != runs[1].keys():
            counts = " and ".join(f"{len(run)} of {model.name}" for run, model in zip(runs, (a, b), strict=True))
            notes.append(f"{code}: compared on the {len(common)} conversations in both, of {counts}")
        for model, run, languages in zip((a, b), runs, kept, strict=True) if common else ():
            conversations = [run[key] for key in common]
            languages[code] = replace(model.languages[code], conversations=conversations, n=len(common))
    if not kept[0]:
        raise UserError(
            f"{a.name} and {b.name} have no conversation in common.",
            "Compare runs of the same language and data (check --limit and --samples).",
        )
    return Model(a.name, kept[0]), Model(b.name, kept[1]), notes


def paired_differences(one: Summary, other: Summary, resampling: Resampling) -> pd.DataFrame:
    """:attr:`Comparison.differences` of two models on the same conversations."""
    frames, columns = [], ["a", "b", "gap", "low", "high", "p", "sources"]
    for scope in sorted(one.scopes, key=lambda scope: scope in one.model.languages):  # what is over them first
        before, after = one.estimates[scope], other.estimates[scope]
        gap = figures.difference(before, after)
        values = (before.values, after.values, gap.values, *gap.interval(resampling.level), figures.p_values(gap))
        frame = pd.DataFrame(dict(zip(columns, (*values, gap.sources), strict=True)), index=FIGURES)
        frames.append(frame.loc[[AVERAGE, *ratios()]].assign(language=scope))
    found = pd.concat(frames).reset_index(names="name")
    found["turn"], found["metric"] = zip(*map(split_metric, found.pop("name")), strict=True)
    found["primary"] = (found["language"] == one.headline_scope) & (found["metric"] == AVERAGE) & found["turn"].isna()
    # The headline is the question, and its parts are others. The pooled figures are the macro ones with other weights.
    compared = found["p"].mask((found["language"] == POOLED) | found["primary"])
    for _, tested in found[compared.notna()].groupby("metric"):
        require_resamples(resampling, len(tested), int(tested["sources"].max()), "comparisons of one metric")
    found["corrected"] = compared.groupby(found["metric"]).transform(lambda p: figures.holm(p.to_numpy()))
    found["corrected"] = found["corrected"].mask(found["primary"], found["p"])
    by_metric = found.iloc[found.groupby("metric", sort=False).ngroup().argsort(kind="stable")]
    return by_metric[["language", "turn", "metric", *columns[:-1], "corrected", "primary"]].astype({"turn": "Int64"})


def _changes(one: Summary, other: Summary) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What changed, by instruction and by conversation; the largest changes first."""
    slot = ["language", "key", "turn", "slot", "instruction"]
    # Of each instruction of each turn, the share of repeats that follow it.
    shares = [summary.verdicts.groupby(slot)["strict"].mean() for summary in (one, other)]
    both = pd.concat(shares, axis=1, keys=["a", "b"]).reset_index()
    both["gained"], both["lost"] = both["b"] > both["a"], both["b"] < both["a"]
    by_instruction = both.groupby("instruction")[["gained", "lost"]]
    instructions = by_instruction.sum().assign(n=by_instruction.size()).rename_axis("instruction_id").reset_index()
    either, net = instructions["gained"] + instructions["lost"], instructions["gained"] - instructions["lost"]
    instructions = instructions.iloc[np.lexsort((-either, -net.abs()))].loc[either > 0]
    changed = both[both.groupby(["language", "key"])[["gained", "lost"]].transform("any").any(axis=1)]
    followed = changed.groupby(["language", "key", "turn"])[["a", "b"]].sum().groupby(["language", "key"]).agg(tuple)
    gap = (followed["b"].map(sum) - followed["a"].map(sum)).astype(float)
    conversations = followed.assign(gap=gap).reset_index()
    return instructions, conversations.iloc[(-gap.abs()).argsort(kind="stable")]
