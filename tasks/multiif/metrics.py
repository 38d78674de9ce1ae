"""Verdicts to figures: accuracies, forgetting and correction, as the Multi-IF paper defines them.

Per turn (arXiv 2410.15553, section 4): prompt-level and instruction-level accuracy, strict and loose, and
``overall``, the plain mean of the four. Instruction level is pooled over all instructions. The paper's
*instruction forgetting ratio* (IFR) and *error correction ratio* (ECR) compare a turn with the one before.

Every figure is a ratio of two sums over conversations, or a mean of such ratios. A conversation's value is
therefore a pair ``(numerator, denominator)``, and ``(0, 0)`` where it has no such turn; see :func:`ratio`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from turnswap.tasks.multiturn import Reply
from turnswap.tasks.multiturn.lm_eval_contract import WithStandardError

from .grading import Verdict

TURNS = (1, 2, 3)
Kind = Literal["strict", "loose"]
Pair = tuple[int, int]

ACCURACIES = ("prompt_strict_acc", "inst_strict_acc", "prompt_loose_acc", "inst_loose_acc")
TRANSITIONS = ("forgetting", "correction", "forgetting_loose", "correction_loose")
COUNTS = ("truncated", "overflowing", "unclosed", "ungradeable", "failed")
# Behind the name of each accuracy and transition that comes from corrected verdicts (turnswap.tasks.multiif.corrected).
CORRECTED = "_corrected"


def ratio(pairs: Sequence[Any], parts: int = 1) -> tuple[float, list[float]]:
    """Σ numerators / Σ denominators, and what each conversation contributes to it.

    The contribution is linearised: ``p + (a - p·b) / b̄``, where ``p`` is the ratio and ``b̄`` the mean denominator.
    The mean of the contributions is ``p``, and the standard error of their mean the delta-method one of a ratio over
    independent conversations (Cochran, *Sampling Techniques*, 1977, §6.3). Where every denominator is 1 it is
    exactly the standard error of a mean.

    Args:
        pairs: a pair per conversation, or ``parts`` pairs.
        parts: so many ratios are averaged: ``overall`` is the mean of four.

    Returns:
        The figure, and a contribution per conversation; not a number where a denominator is 0: then there is no
        conversation to say anything about.
    """
    array = np.asarray(pairs, dtype=float).reshape(len(pairs), parts, 2)
    above, below = array[..., 0], array[..., 1]
    if not below.sum(axis=0).all():
        return float("nan"), [float("nan")] * len(pairs)
    ratios = above.sum(axis=0) / below.sum(axis=0)
    contributions = ratios + (above - ratios * below) / below.mean(axis=0)
    return float(ratios.mean()), contributions.mean(axis=1).tolist()


def mean_of_four(pairs: Sequence[Any]) -> tuple[float, list[float]]:
    """``overall``: the plain mean of the four accuracies, as :func:`ratio` gives one."""
    return ratio(pairs, len(ACCURACIES))


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
        functions[f"turn{turn}_overall_acc"] = WithStandardError(mean_of_four)
        names = ACCURACIES + (TRANSITIONS if turn > 1 else ())
        functions |= {f"turn{turn}_{name}": WithStandardError(ratio) for name in names}
        functions |= {f"turn{turn}_{name}": count for name in COUNTS}
    if corrected:
        functions |= {f"{name}{CORRECTED}": ratio for name, ratio in ratios().items()}
        functions |= {f"turn{turn}_unsatisfiable{CORRECTED}": count for turn in TURNS}
    return functions


def ratios() -> dict[str, WithStandardError]:
    """The accuracies and transitions alone, which have a standard error."""
    return {name: figure for name, figure in aggregations().items() if isinstance(figure, WithStandardError)}


def higher_is_better(corrected: bool = False) -> dict[str, bool]:
    """More accuracy and correction is better; more forgetting, and more of anything counted, is worse."""
    return {name: "_acc" in name or "_correction" in name for name in aggregations(corrected)}
