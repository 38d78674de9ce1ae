"""Verdicts to figures: accuracies, forgetting and correction, as the Multi-IF paper defines them.

Per turn (arXiv 2410.15553, section 4): prompt-level and instruction-level accuracy, strict and loose, and
``overall``, the plain mean of the four. Instruction level is pooled over all instructions. The paper's
*instruction forgetting ratio* (IFR) and *error correction ratio* (ECR) compare a turn with the one before.

Every figure is a ratio of two sums over conversations, or a mean of such ratios. A conversation's value is
therefore a pair ``(numerator, denominator)``, and ``(0, 0)`` where it has no such turn; see :class:`Ratio`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from lm_eval.api.metrics import mean

from turnswap.tasks.multiturn import Reply

from .grading import Verdict

TURNS = (1, 2, 3)
Kind = Literal["strict", "loose"]
Pair = tuple[int, int]

ACCURACIES = ("prompt_strict_acc", "inst_strict_acc", "prompt_loose_acc", "inst_loose_acc")
TRANSITIONS = ("forgetting", "correction", "forgetting_loose", "correction_loose")
COUNTS = ("truncated", "overflowing", "unclosed", "ungradeable", "failed")
# Behind the name of each accuracy and transition that comes from corrected verdicts (turnswap.tasks.multiif.corrected).
CORRECTED = "_corrected"


class Ratio:
    """Aggregates pairs to Σ numerators / Σ denominators, in a way that lm-eval knows a standard error for.

    lm-eval has a standard error for its own ``mean``, which it recognises by looking the aggregation up in a
    dictionary, and computes it from the list of values it has just aggregated. So this object equals ``mean``,
    and puts into the list, in place of each pair, the conversation's linearised contribution ``p + (a - p·b) / b̄``,
    where ``p`` is the ratio and ``b̄`` the mean denominator. Their mean is ``p``, and their standard error is the
    delta-method one of a ratio over independent conversations (Cochran, *Sampling Techniques*, 1977, §6.3). Where
    every denominator is 1 it is exactly lm-eval's standard error of a mean.

    ``parts`` ratios per conversation are averaged: ``overall`` is the mean of four. Not a number where a
    denominator is 0: then there is no conversation to say anything about.
    """

    def __init__(self, parts: int = 1) -> None:
        self.parts = parts

    def __call__(self, items: list[Any]) -> float:
        """The figure; replaces the pairs in ``items`` by their linearised contributions."""
        pairs = np.asarray(items, dtype=float).reshape(len(items), self.parts, 2)
        above, below = pairs[..., 0], pairs[..., 1]
        if not below.sum(axis=0).all():
            items[:] = [float("nan")] * len(items)
            return float("nan")
        ratios = above.sum(axis=0) / below.sum(axis=0)
        contributions = ratios + (above - ratios * below) / below.mean(axis=0)
        items[:] = contributions.mean(axis=1).tolist()
        return float(ratios.mean())

    def __eq__(self, other: object) -> bool:
        return other is mean or (isinstance(other, Ratio) and other.parts == self.parts)

    def __hash__(self) -> int:
        return hash(mean)


def count(items: list[int | None]) -> int | str:
    """How many; "N/A" where the backend does not let us know."""
    known = [item for item in items if item is not None]
    return sum(known) if known else "N/A"


def accuracy_pairs(verdicts: Sequence[Verdict]) -> dict[str, Pair]:
    """The four accuracies of one turn of one conversation as pairs; slots that no reply can follow are left out."""
    pairs: dict[str, Pair] = {}
    for kind in ("strict", "loose"):
        held = [getattr(verdict, kind) for verdict in verdicts if not verdict.unsatisfiable]
        pairs[f"prompt_{kind}_acc"] = (int(all(held)), 1) if held or not verdicts else (0, 0)
        pairs[f"inst_{kind}_acc"] = (sum(held), len(held))
    return pairs


def transition_pairs(before: Sequence[Verdict], after: Sequence[Verdict], kind: Kind) -> tuple[Pair, Pair]:
    """Forgetting and correction from one turn to the next, as pairs.

    Forgetting (IFR): of the instructions followed before, those not followed now. Correction (ECR): of the
    instructions not followed before, those followed now. Instructions are matched by position, not by id: a
    conversation may hold the same id twice; only those present in both turns count, and that a reply can follow.
    """
    moves = [
        (getattr(b, kind), getattr(a, kind))
        for b, a in zip(before, after, strict=False)
        if not (b.unsatisfiable or a.unsatisfiable)
    ]
    forgotten = (moves.count((True, False)), sum(1 for b, _ in moves if b))
    corrected = (moves.count((False, True)), sum(1 for b, _ in moves if not b))
    return forgotten, corrected


def conversation_values(graded: Sequence[tuple[Reply, Sequence[Verdict]]], turns: int | None = None) -> dict[str, Any]:
    """One conversation's value of every metric, the same names for every conversation.

    Args:
        graded: per turn the reply and the verdicts on its instructions.
        turns: how many turns the conversation has, where requests may have failed: those without a reply are
            absent from every figure and counted as failed.
    """
    values: dict[str, Any] = {}
    for turn in TURNS:
        reply, verdicts = graded[turn - 1] if turn <= len(graded) else (None, ())
        pairs = accuracy_pairs(verdicts) if reply is not None else dict.fromkeys(ACCURACIES, (0, 0))
        values |= {f"turn{turn}_{name}": pair for name, pair in pairs.items()}
        values[f"turn{turn}_overall_acc"] = tuple(pairs[name] for name in ACCURACIES)
        if turn > 1:
            before = graded[turn - 2][1] if reply is not None else ()
            forgetting, correction = transition_pairs(before, verdicts, "strict")
            loose_forgetting, loose_correction = transition_pairs(before, verdicts, "loose")
            moves = zip(TRANSITIONS, (forgetting, correction, loose_forgetting, loose_correction), strict=True)
            values |= {f"turn{turn}_{name}": pair for name, pair in moves}
        for name in ("truncated", "overflowing"):
            # Where the backend does not tell, it does not tell of a turn that is missing either.
            told = getattr(reply or (graded[0][0] if graded else None), name, None)
            values[f"turn{turn}_{name}"] = None if told is None else int(reply is not None and told)
        values[f"turn{turn}_unclosed"] = int(reply is not None and reply.unclosed)
        values[f"turn{turn}_ungradeable"] = int(any(verdict.ungradeable for verdict in verdicts))
        values[f"turn{turn}_failed"] = int(len(graded) < turn <= (turns or 0))
    return values


def corrected_values(graded: Sequence[tuple[Reply, Sequence[Verdict]]]) -> dict[str, Any]:
    """The accuracies and transitions of one conversation by corrected verdicts, by the names with ``_corrected``.

    Beside them ``turnT_unsatisfiable_corrected``: how many instructions of the turn were left out.
    """
    values = conversation_values(graded)
    corrected = {f"{name}{CORRECTED}": values[name] for name in ratios()}
    for turn in TURNS:
        verdicts = graded[turn - 1][1] if turn <= len(graded) else ()
        corrected[f"turn{turn}_unsatisfiable{CORRECTED}"] = sum(verdict.unsatisfiable for verdict in verdicts)
    return corrected


def combine_repeats(values: Sequence[Any]) -> Any:
    """The sum of a metric's values over the repeats of a conversation: pairs are pooled, counts added."""
    if any(value is None for value in values):
        return None
    if isinstance(values[0], tuple):
        return tuple(combine_repeats(parts) for parts in zip(*values, strict=True))
    return sum(values)


def aggregations(corrected: bool = False) -> dict[str, Any]:
    """How each metric's values become one figure; ``corrected`` adds those of :func:`corrected_values`."""
    functions: dict[str, Any] = {}
    for turn in TURNS:
        functions[f"turn{turn}_overall_acc"] = Ratio(parts=len(ACCURACIES))
        names = ACCURACIES + (TRANSITIONS if turn > 1 else ())
        functions |= {f"turn{turn}_{name}": Ratio() for name in names}
        functions |= {f"turn{turn}_{name}": count for name in COUNTS}
    if corrected:
        functions |= {f"{name}{CORRECTED}": ratio for name, ratio in ratios().items()}
        functions |= {f"turn{turn}_unsatisfiable{CORRECTED}": count for turn in TURNS}
    return functions


def ratios() -> dict[str, Ratio]:
    """The accuracies and transitions alone, which have a standard error."""
    return {name: function for name, function in aggregations().items() if isinstance(function, Ratio)}


def higher_is_better(corrected: bool = False) -> dict[str, bool]:
    """More accuracy and correction is better; more forgetting, and more of anything counted, is worse."""
    return {name: "_acc" in name or "_correction" in name for name in aggregations(corrected)}
