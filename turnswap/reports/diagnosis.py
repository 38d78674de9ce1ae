"""Why a score is what it is: what becomes of single instructions, how far counts miss, and what replies are like.

Instructions are followed by their place in the turn's list: a conversation may hold an id twice. Verdicts are strict.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random

import numpy as np
import pandas as pd

from turnswap.tasks.multiif.corrected import asked_of
from turnswap.tasks.multiif.grading import Verdict
from turnswap.tasks.multiif.instructions import get_instruction
from turnswap.tasks.multiif.instructions.spec import COUNT
from turnswap.tasks.multiif.kept import judge
from turnswap.tasks.multiif.metrics import COMPLETED, VERDICTS

from .figures import Estimate, difference, resampled
from .runs import LoggedTurn
from .table import Summary

# Of replies whose language and counts no samples keep, about so many are looked at: each takes milliseconds.
LOOKED_AT = 400
QUARTERS = ("shortest quarter", "second quarter", "third quarter", "longest quarter")
DONE = ("ended by itself", "truncated or unclosed")
SPOKEN = ("in the language asked for", "in another language")


def slots(summary: Summary) -> pd.DataFrame:
    """The rows of :func:`.verdicts.tabulate`, and what became of each instruction.

    Adds ``model``, ``source`` and ``family``; ``distance``, how many turns ago the instruction was given; ``before``,
    whether it was followed in the turn before (missing where it is new); and ``asked``, which is 1.
    """
    sources = {(code, c.key): c.source or c.key for code, c in summary.model.conversations}
    frame = summary.verdicts.assign(model=summary.model.name, asked=1)
    frame["source"] = [sources[pair] for pair in zip(frame["language"], frame["key"], strict=True)]
    frame["family"] = frame["instruction"].str.partition(":")[0]
    place = frame.groupby(["language", "key", "repeat", "slot"])
    frame["distance"] = frame["turn"] - place["turn"].transform("min")
    frame["before"] = place["strict"].shift().where(place["turn"].shift() == frame["turn"] - 1)
    return frame


def shares(frame: pd.DataFrame, by: Sequence[str], hit: str, summary: Summary) -> tuple[pd.DataFrame, Estimate]:
    """In each group the share Σ ``hit`` / Σ ``asked``, with its interval by source prompt.

    Args:
        frame: rows with ``source``, ``asked``, and the columns named by the other arguments.
        by: the columns whose values make a group.
        hit: the column that is summed, at most ``asked``.
        summary: whose replies they are: all of its source prompts are drawn, for all groups at once.

    Returns:
        A row per group, which is its index: ``hits``, ``asked``, ``share``, ``low``, ``high``. And the estimate, a
        column per group.
    """
    sources = tuple(sorted({source for sums in summary.sums.values() for source in sums.sources}))
    groups = frame.groupby(list(by))
    index = groups.size().index
    cell = groups.ngroup().to_numpy() * len(sources) + pd.Index(sources).get_indexer(pd.Index(frame["source"]))
    size = len(index) * len(sources)
    sums = np.stack([np.bincount(cell, frame[name], size).reshape(len(index), -1) for name in (hit, "asked")])
    drawn = resampled(sums.transpose(0, 2, 1), sources, summary.resampling)
    hits, asked = sums.sum(axis=2)
    with np.errstate(invalid="ignore"):
        found = Estimate(hits / asked, drawn[0] / drawn[1], (sums[1] > 0).sum(axis=1))
    low, high = found.interval(summary.resampling.level)
    columns = {"hits": hits.astype(int), "asked": asked.astype(int), "share": found.values, "low": low, "high": high}
    return pd.DataFrame(columns, index), found


def broken(frame: pd.DataFrame, by: str, summary: Summary, fewest: int = 1) -> pd.DataFrame:
    """How often an old instruction, followed in the turn before, no longer is in the turn that adds a new one.

    Args:
        frame: of :func:`slots`.
        by: ``instruction`` or ``family``.
        summary: see :func:`shares`.
        fewest: pairs that meet less often are left out. If a turn adds several, each is paired with each old one.

    Returns:
        A row per pair of ``old`` and ``new``: the columns of :func:`shares`, ``usual``, the share of the old one that
        is broken whatever is new, and ``excess``, what the pair has above it, with its interval ``excess_low`` to
        ``excess_high``. The surest excess first.
    """
    old = frame[frame["before"].eq(True)].rename(columns={by: "old"}).assign(broken=lambda rows: ~rows["strict"])
    turn = ["language", "key", "repeat", "turn"]
    pairs = old.merge(frame.loc[frame["distance"] == 0, [*turn, by]].rename(columns={by: "new"}), on=turn)
    pairs = pairs[pairs.groupby(["old", "new"])["asked"].transform("size") >= fewest]
    if pairs.empty:
        return pairs
    usual, base = shares(old, ["old"], "broken", summary)
    found, estimate = shares(pairs, ["old", "new"], "broken", summary)
    at = usual.index.get_indexer(found.index.get_level_values("old"))
    excess = difference(Estimate(base.values[at], base.replicates[:, at], base.sources[at]), estimate)
    low, high = excess.interval(summary.resampling.level)
    found = found.assign(usual=base.values[at], excess=excess.values, excess_low=low, excess_high=high)
    return found.sort_values(["excess_low", "excess"], ascending=False, kind="stable")


def replies(summary: Summary) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """What replies are like and how many of their instructions they follow, and by how much their counts miss.

    Returns:
        A row per reply and ``kind``: one of :data:`QUARTERS` (of its length in characters, within its language and
        turn), of :data:`DONE` (all repeats in one row) and of :data:`SPOKEN`; with ``language``, ``turn``, ``source``,
        ``followed`` and ``asked``. A row per count that fails: ``source``, ``asked``, which is 1, ``instruction``, its
        ``relation`` (``exactly`` where it has none) and ``number``, the published grader's ``count``, and by how many
        it is ``missed``. And of how many replies language and counts are known, where not of all.
    """
    lengths, kinds, missed, known = [], [], [], 0
    rules = {code: run.rules for code, run in summary.model.languages.items()}
    unknown = sum(len(c.turns) * c.repeats for code, c in summary.model.conversations if not rules[code])
    draw = Random(summary.resampling.seed)
    for code, c in summary.model.conversations:
        for number, (turn, repeats) in enumerate(summary.graded[code][c.key], 1):
            where, asked = (code, number, c.source or c.key), (turn.instruction_ids, turn.kwargs)
            every = c.values[name := f"turn{number}_inst_strict_acc"]
            if c.values.get(f"turn{number}_completed") is not None:
                ended = c.values[f"{name}{COMPLETED}"]
                kinds += [(*where, DONE[0], *ended), (*where, DONE[1], *np.subtract(every, ended))]
            for repeat, (reply, verdicts) in enumerate(zip(turn.replies, repeats, strict=True)):
                followed = (sum(verdict.strict for verdict in verdicts), len(verdicts))
                lengths.append((*where, len(reply), *followed))
                if rules[code]:
                    kept = c.values[VERDICTS][repeat][number - 1]
                elif draw.random() * unknown < LOOKED_AT:
                    kept = judge(reply, *asked, code, [before.prompt for before in c.turns[:number]]).kept
                else:
                    continue
                known += 1
                # langdetect tells zh-cn from zh-tw; it finds nothing where there are no words.
                same = str(kept["language"]).split("-")[0] == asked_of(*asked, code).language.split("-")[0]
                kinds.append((*where, SPOKEN[not same], *followed))
                missed += [(where[-1], 1, *miss) for miss in _missed(turn, verdicts, kept.get("counts", {}))]
    names = ["language", "turn", "source", "kind", "followed", "asked"]
    frame = pd.DataFrame(lengths, columns=names)
    rank = frame.groupby(["language", "turn"])["kind"].rank(pct=True)
    frame["kind"] = np.array(QUARTERS)[np.ceil(4 * rank).astype(int) - 1]
    frame = pd.concat([frame, pd.DataFrame(kinds, columns=names)])
    misses = pd.DataFrame(missed, columns=["source", "asked", "instruction", "relation", "number", "count", "missed"])
    some = f"{known} of {len(lengths)} replies" if known < len(lengths) else ""
    return frame[frame["asked"] > 0], misses, some


def _missed(
    turn: LoggedTurn, verdicts: Sequence[Verdict], counts: Mapping[str, Sequence[int]]
) -> Iterator[tuple[str, str, int, int, int]]:
    for slot, (count, _) in counts.items():
        id_, kwargs = turn.instruction_ids[int(slot)], turn.kwargs[int(slot)]
        spec = get_instruction(id_)
        bound = spec.bound or [name for name, kwarg in spec.kwargs.items() if kwarg is COUNT]
        number, relation = (*(kwargs[name] for name in bound), "exactly")[:2]
        over = count - int(number)
        by = {"at least": -over, "less than": over + 1}.get(relation, abs(over))
        if not verdicts[int(slot)].strict and by > 0:  # an empty reply fails "less than", too
            yield id_, relation, int(number), count, by


def hardest(frames: Sequence[pd.DataFrame], by: Sequence[str]) -> pd.DataFrame:
    """What is followed least, over all turns, repeats and models, of what all models ran; the hardest first.

    Args:
        frames: of :func:`slots`, one per model.
        by: the columns that make a group, such as ``source``.

    Returns:
        A row per group, which is its index: ``followed`` of ``asked``, their ``share``, how many ``conversations``
        there are, and the ids that no reply follows once, ``never``.
    """
    together = pd.concat(frames)
    together = together[together.groupby(["language", "key"])["model"].transform("nunique") == len(frames)]
    groups = together.groupby(list(by))
    found = groups.agg(followed=("strict", "sum"), asked=("asked", "sum"), share=("strict", "mean"))
    found["conversations"] = together.drop_duplicates(["language", "key"]).groupby(list(by)).size()
    ever = together.groupby([*by, "instruction"])["strict"].any()
    never = ever[~ever].reset_index("instruction").groupby(list(by))["instruction"]
    found["never"] = never.agg(", ".join).reindex(found.index).fillna("")
    return found.sort_values(["share", "asked"], ascending=[True, False], kind="stable")
