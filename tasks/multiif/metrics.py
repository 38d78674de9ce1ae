"""Verdicts to figures: accuracies, forgetting and correction, as the Multi-IF paper defines them.

Per turn (arXiv 2410.15553, section 4): prompt-level and instruction-level accuracy, strict and loose, and
``overall``, the plain mean of the four. Instruction level is pooled over all instructions. The paper's
*instruction forgetting ratio* (IFR) and *error correction ratio* (ECR) compare a turn with the one before.

Every figure is a ratio of two sums over conversations, or a mean of such ratios. A conversation's value is
therefore a pair ``(numerator, denominator)``, and ``(0, 0)`` where it has no such turn; see :func:`ratio`.

The same figures over *completed* replies, neither truncated nor unclosed, have names that end in ``_completed``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from turnswap.tasks.multiturn import Reply
from turnswap.tasks.multiturn.lm_eval_contract import WithStandardError

from .grading import Verdict

TURNS = (1, 2, 3)
Kind = Literal["strict", "loose"]
Pair = tuple[int, int]

ACCURACIES = ("prompt_strict_acc", "inst_strict_acc", "prompt_loose_acc", "inst_loose_acc")
TRANSITIONS = ("forgetting", "correction", "forgetting_loose", "correction_loose")
_OF_A_REPLY = ("truncated", "overflowing", "unclosed", "filtered", "refused", "empty")
COUNTS = ("completed", *_OF_A_REPLY, "ungradeable", "failed")
_OF_AN_ANSWER = ("prompt_tokens", "completion_tokens", "reasoning_tokens", "seconds")
TOTALS = (*_OF_AN_ANSWER, "cost")
# Of several repeats of a conversation: figures whose spread is told, and the share of conversations all right.
SPREAD_OF = ("overall_acc", "prompt_strict_acc")
RIGHT = ("right_in_all", "right_in_any")
SPREAD = "_spread"
# Behind the name of each accuracy and transition over completed replies alone.
COMPLETED = "_completed"
# What was decided, one by one (see .kept); its figure is how many published verdicts were made.
VERDICTS = "verdicts"
# Behind the name of each accuracy and transition that comes from corrected verdicts (turnswap.tasks.multiif.corrected).
CORRECTED = "_corrected"


class OfSource(tuple[Any, ...]):
    """A conversation's value of a figure that knows its source prompt.

    Conversations of one source prompt are variants of each other and share its difficulty, so that errors are computed
    from source prompts. In lm-eval's samples it is written like any other pair.
    """

    source: str

    def __new__(cls, value: Iterable[Any], source: str) -> OfSource:
        """Make one of a pair, or of four pairs."""
        made = super().__new__(cls, value)
        made.source = source
        return made

    def __getnewargs__(self) -> tuple[tuple[Any, ...], str]:
        """For lm-eval's ranks, which send each other their values."""
        return tuple(self), self.source


def ratio(pairs: Sequence[Any], parts: int = 1) -> tuple[float, dict[Any, float]]:
    """Σ numerators / Σ denominators, and by how much each source prompt moves it.

    Linearised, a source prompt moves the ratio ``p`` by ``Σ (a - p·b) / Σ b`` (above over its own conversations, below
    over all). Its standard error over independent source prompts comes from these (delta method with clusters: Cochran,
    *Sampling Techniques*, 1977, §6.3 and §9A.2), see :func:`.lm_eval_contract.standard_error`.

    Args:
        pairs: a pair per conversation, or ``parts`` pairs; one that is no :class:`OfSource` is a source of its own.
        parts: so many ratios are averaged: ``overall`` is the mean of four.

    Returns:
        The figure, and source prompt -> deviation; they add up to 0. Not a number, and no deviations, where a
        denominator is 0: then there is no conversation to say anything about.
    """
    array = np.asarray(pairs, dtype=float).reshape(len(pairs), parts, 2)
    above, below = array[..., 0], array[..., 1]
    if not below.sum(axis=0).all():
        return float("nan"), {}
    ratios = above.sum(axis=0) / below.sum(axis=0)
    moved = ((above - ratios * below) / below.sum(axis=0)).mean(axis=1)
    deviations: dict[Any, float] = {}
    for number in np.flatnonzero(below.any(axis=1)).tolist():
        source = getattr(pairs[number], "source", object())
        deviations[source] = deviations.get(source, 0.0) + float(moved[number])
    return float(ratios.mean()), deviations


def mean_of_four(pairs: Sequence[Any]) -> tuple[float, dict[Any, float]]:
    """``overall``: the plain mean of the four accuracies, as :func:`ratio` gives one."""
    return ratio(pairs, len(ACCURACIES))


def count(items: list[int | None]) -> int | str:
    """How many; "N/A" where the backend does not let us know."""
    known = [item for item in items if item is not None]
    return sum(known) if known else "N/A"


def total(items: list[float | None]) -> float | str:
    """The sum; "N/A" where the backend does not tell of one: part of a sum would pass for the whole."""
    known = [item for item in items if item is not None]
    if len(known) < len(items):
        return "N/A"
    return sum(known) if all(isinstance(item, int) for item in known) else math.fsum(known)


def verdicts_made(items: Sequence[Any]) -> int:
    """How many published verdicts were made: one per reply and instruction."""
    return sum(len(turn["published"]) for repeats in filter(None, items) for turns in repeats for turn in turns)


def by_repeat(items: Sequence[Any]) -> NDArray[np.float64]:
    """The figure of each repeat, from each conversation's pairs by repeat."""
    array = np.asarray(items, dtype=float)
    sums = array.reshape(*array.shape[:2], -1, 2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        figures: NDArray[np.float64] = (sums[..., 0] / sums[..., 1]).mean(axis=-1)
    return figures


def spread(items: Sequence[Any]) -> float:
    """The standard deviation between the repeats' figures."""
    return float(np.std(by_repeat(items), ddof=1))


def accuracy_pairs(verdicts: Sequence[Verdict]) -> dict[str, Pair]:
    """The four accuracies of one turn of one conversation as pairs; slots that are unsatisfiable are left out."""
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


def verdict_pairs(turns: Sequence[Sequence[Verdict]]) -> dict[str, Any]:
    """One conversation's value of every accuracy and transition over all replies, from its verdicts by turn."""
    values: dict[str, Any] = {}
    for turn in TURNS:
        there = turn <= len(turns)
        after = turns[turn - 1] if there else ()
        figures: dict[str, Any] = accuracy_pairs(after) if there else dict.fromkeys(ACCURACIES, (0, 0))
        figures["overall_acc"] = tuple(figures[name] for name in ACCURACIES)
        if turn > 1:
            before = turns[turn - 2] if there else ()
            moves = (*transition_pairs(before, after, "strict"), *transition_pairs(before, after, "loose"))
            figures |= zip(TRANSITIONS, moves, strict=True)
        values |= {f"turn{turn}_{name}": value for name, value in figures.items()}
    return values


def conversation_values(graded: Sequence[tuple[Reply, Sequence[Verdict]]], turns: int | None = None) -> dict[str, Any]:
    """One conversation's value of every metric, the same names for every conversation.

    Args:
        graded: per turn the reply and the verdicts on its instructions.
        turns: how many turns the conversation has, where requests may have failed: those without a reply are
            absent from every figure and counted as failed.
    """
    values = verdict_pairs([verdicts for _, verdicts in graded])
    done = [bool(reply.completed) for reply, _ in graded]
    for name in tuple(values):
        turn = int(name[len("turn")])
        rests_on = done[turn - 1 - name.endswith(TRANSITIONS) : turn]
        nothing = ((0, 0),) * len(ACCURACIES) if "overall" in name else (0, 0)
        values[f"{name}{COMPLETED}"] = values[name] if turn <= len(done) and all(rests_on) else nothing
    for turn in TURNS:
        reply, verdicts = graded[turn - 1] if turn <= len(graded) else (None, ())
        completed = reply.completed if reply is not None else False
        values[f"turn{turn}_completed"] = None if completed is None else int(completed)
        for name in _OF_A_REPLY:
            # Where the backend does not tell, it does not tell of a turn that is missing either.
            told = getattr(graded[0][0] if reply is None and graded else reply, name, None)
            values[f"turn{turn}_{name}"] = None if told is None else int(reply is not None and told)
        values[f"turn{turn}_ungradeable"] = int(any(verdict.ungradeable for verdict in verdicts))
        values[f"turn{turn}_failed"] = int(len(graded) < turn <= (turns or 0))
    return values


def conversation_totals(replies: Sequence[Reply], priced: bool) -> dict[str, Any]:
    """Tokens, seconds and, where there is a price, the cost of one conversation; None where it is not known."""
    told: dict[str, list[Any]] = {n: [getattr(reply.answer, n) for reply in replies] for n in _OF_AN_ANSWER}
    if priced:
        told["cost"] = [reply.cost for reply in replies]
    return {name: None if None in values else sum(values) for name, values in told.items()}


def corrected_values(turns: Sequence[Sequence[Verdict]]) -> dict[str, Any]:
    """The accuracies and transitions of one conversation by corrected verdicts, by the names with ``_corrected``.

    Beside them ``turnT_unsatisfiable_corrected``: how many instructions of the turn were left out, as
    those that no reply can follow or as audited ones.
    """
    corrected: dict[str, Any] = {f"{name}{CORRECTED}": value for name, value in verdict_pairs(turns).items()}
    for turn in TURNS:
        verdicts = turns[turn - 1] if turn <= len(turns) else ()
        corrected[f"turn{turn}_unsatisfiable{CORRECTED}"] = sum(verdict.unsatisfiable for verdict in verdicts)
    return corrected


def pool(repeats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The sum of each metric over the repeats of a conversation: pairs are pooled, counts added, lists joined."""
    if len(repeats) == 1:
        return dict(repeats[0])
    return {name: _sum([values[name] for values in repeats]) for name in repeats[0]}


def _sum(values: Sequence[Any]) -> Any:
    if any(value is None for value in values):
        return None
    if isinstance(values[0], tuple):
        return tuple(_sum(parts) for parts in zip(*values, strict=True))
    if isinstance(values[0], list):
        return [item for value in values for item in value]
    return sum(values)


def combine_repeats(repeats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One conversation's values from those of its repeats: pooled, and where there are several, how they differ."""
    values = pool(repeats)
    if len(repeats) == 1:
        return values
    values["repeats"] = len(repeats)
    for turn in TURNS:
        for name in SPREAD_OF:
            values[f"turn{turn}_{name}{SPREAD}"] = [each[f"turn{turn}_{name}"] for each in repeats]
        right = [each[f"turn{turn}_prompt_strict_acc"] for each in repeats]
        known = all(of for _, of in right)  # a repeat that failed can be neither
        for name, decides in zip(RIGHT, (all, any), strict=True):
            values[f"turn{turn}_{name}"] = (int(decides(held for held, _ in right)), 1) if known else (0, 0)
    return values


def aggregations(corrected: bool = False, repeats: int = 1, priced: bool = False) -> dict[str, Any]:
    """How each metric's values become one figure.

    Args:
        corrected: with those of :func:`corrected_values`.
        repeats: where there are several, with what :func:`combine_repeats` tells of them.
        priced: with the cost.
    """
    functions: dict[str, Any] = {**ratios()}
    for kind in (COMPLETED, CORRECTED) if corrected else (COMPLETED,):
        functions |= {f"{name}{kind}": figure for name, figure in ratios().items()}
    functions |= {f"turn{turn}_{name}": count for turn in TURNS for name in COUNTS}
    functions |= {f"turn{turn}_completed": total for turn in TURNS}
    functions |= dict.fromkeys(TOTALS if priced else _OF_AN_ANSWER, total) | {VERDICTS: verdicts_made}
    if corrected:
        functions |= {f"turn{turn}_unsatisfiable{CORRECTED}": count for turn in TURNS}
    if repeats > 1:
        functions["repeats"] = max
        functions |= {f"turn{turn}_{name}{SPREAD}": spread for turn in TURNS for name in SPREAD_OF}
        functions |= {f"turn{turn}_{name}": WithStandardError(ratio) for turn in TURNS for name in RIGHT}
    return functions


def ratios() -> dict[str, WithStandardError]:
    """The accuracies and transitions over all replies."""
    functions: dict[str, WithStandardError] = {}
    for turn in TURNS:
        functions[f"turn{turn}_overall_acc"] = WithStandardError(mean_of_four)
        names = ACCURACIES + (TRANSITIONS if turn > 1 else ())
        functions |= {f"turn{turn}_{name}": WithStandardError(ratio) for name in names}
    return functions


def higher_is_better(names: Iterable[str]) -> dict[str, bool]:
    """More right and more completed is better; more forgetting, more spread and more of a fault is worse.

    What is neither (tokens, seconds, the number of repeats) is left out.
    """
    better = ("_acc", "_correction", "_right", "_completed")
    return {
        name: any(part in name for part in better) and "_forgetting" not in name and SPREAD not in name
        for name in names
        if name.startswith("turn")
    }
