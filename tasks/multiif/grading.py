"""A reply and its instructions in, strict and loose verdicts out: the one entrance to grading.

Semantics of the published Multi-IF grader (arXiv 2410.15553, section 3; checkers from IFEval), deterministic:
the same verdicts in any order, process and thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from .instructions import Instruction, MalformedInstruction, get_instruction, parse_kwargs


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one instruction holds for one reply.

    Attributes:
        strict: it holds for the reply as it is.
        loose: it holds for at least one of eight variants of the reply.
        ungradeable: the published grader would have drawn a random kwarg or raised here, so no verdict can be
            the published one.
        unsatisfiable: no reply can follow the instruction, so the verdict says nothing; told by the corrected rules
            alone (:mod:`.corrected`).
    """

    strict: bool
    loose: bool
    ungradeable: bool = False
    unsatisfiable: bool = False


def loose_variants(reply: str) -> list[str]:
    """The distinct, non-blank variants of a stripped reply, the reply itself first.

    Eight at most: the reply, without its first line, without its last, without both, and each of those with
    every ``*`` removed.
    """
    lines = reply.split("\n")
    shortened = ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    variants = [reply, *shortened]
    variants += [variant.replace("*", "") for variant in variants]
    return [variant for variant in dict.fromkeys(variants) if variant.strip()]


def holds(variants: Sequence[str], check: Callable[[str], bool]) -> tuple[bool, bool]:
    """Whether a check holds strictly and loosely, given the :func:`loose_variants` of a reply; without any, neither."""
    strict = bool(variants) and check(variants[0])
    # Strict implies loose: the reply itself is the first variant.
    return strict, strict or any(check(variant) for variant in variants[1:])


def parsed(ids: Sequence[str], kwargs: Sequence[Mapping[str, object]]) -> list[tuple[Instruction, dict[str, Any]]]:
    """Each instruction with its validated kwargs; MalformedInstruction as of :func:`grade_reply`."""
    if len(ids) != len(kwargs):
        raise MalformedInstruction(f"{len(ids)} instruction ids came with {len(kwargs)} kwargs")
    return [(get_instruction(id_), parse_kwargs(id_, raw)) for id_, raw in zip(ids, kwargs, strict=True)]


def grade_reply(reply: str, instruction_ids: Sequence[str], kwargs: Sequence[Mapping[str, object]]) -> list[Verdict]:
    """Grade one reply against its instructions.

    Args:
        reply: what the model answered in this turn, reasoning already set aside; stripped here.
        instruction_ids: the ids of the turn's instructions, such as ``keywords:existence``.
        kwargs: the keyword arguments of each instruction, in the same order.

    Returns:
        One verdict per instruction, in order. An empty or blank reply follows none.

    Raises:
        MalformedInstruction: an unknown id, kwargs that its check cannot use, or lists of different length.
    """
    variants, verdicts = loose_variants(reply.strip()), []
    for instruction, given in parsed(instruction_ids, kwargs):
        strict, loose = holds(variants, partial(instruction.check, **given))
        ungradeable = not instruction.as_published(given) or bool(
            variants and instruction.unreproducible and instruction.unreproducible(variants[0])
        )
        verdicts.append(Verdict(strict, loose, ungradeable))
    return verdicts
