"""What a further turn asks for: an instruction and its kwargs, drawn at random and yet the same every time.

A draw depends only on the seed, the conversation's key, the number of the turn and the conversation itself. Every
instruction has random numbers of its own, so that another weight or generator leaves the others' kwargs as they are.
Numbers are in the ranges of Multi-IF's English data; keywords are words of the conversation.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from turnswap.tasks.multiif.instructions import INSTRUCTIONS

from .instructions import Draw, find_conflicts, making_of
from .instructions.ids import LANGUAGE
from .instructions.making import is_of_any_language
from .records import DraftConversation

_TRIES = 8  # kwargs drawn per instruction before another one is taken


def weights() -> dict[str, float]:
    """How often each instruction that can be drawn is, relative to the others.

    In Multi-IF's English data title and ends are drawn ten times as often as small letters.
    """
    return {id_: making_of(id_).weight for id_ in INSTRUCTIONS if making_of(id_).draw}


def draw_instruction(
    seed: int, conversation: DraftConversation, weights: Mapping[str, float]
) -> tuple[str, dict[str, Any]] | None:
    """An instruction for the conversation's next turn: its id and kwargs, or None where none goes with those before.

    One that the conversation has already is not drawn, nor one in conflict or tension with those that it has.

    Args:
        seed: of all draws.
        conversation: its turns so far.
        weights: how often to draw each id, relative to the others; those without one, and those that nobody said how
            to draw, are not drawn.
    """
    last, turn = conversation.last, len(conversation.turns) + 1
    for id_, draw in _in_drawn_order(seed, conversation.key, turn, weights):
        drawn_by = making_of(id_).draw
        if drawn_by is None or id_ in last.instruction_ids:
            continue
        for _ in range(_TRIES):
            kwargs = drawn_by(draw, conversation)
            if kwargs is None or not _same_language(id_, kwargs, conversation):
                break
            position = len(last.instruction_ids)
            conflicts = find_conflicts([*last.instruction_ids, id_], [*last.kwargs, kwargs])
            if not any(position in conflict.positions for conflict in conflicts):
                return id_, kwargs
    return None


def _in_drawn_order(seed: int, key: str, turn: int, weights: Mapping[str, float]) -> Iterator[tuple[str, Draw]]:
    """The ids in random order, heavier ones more often in front (Efraimidis and Spirakis, 2006), with their draws."""
    draws = {id_: Draw(seed, key, turn, id_) for id_ in sorted(weights) if weights[id_] > 0}
    rank = {id_: draw.number() ** (1 / weights[id_]) for id_, draw in draws.items()}
    for id_ in sorted(draws, key=lambda each: (-rank[each], each)):
        yield id_, draws[id_]


def _same_language(id_: str, kwargs: Mapping[str, Any], conversation: DraftConversation) -> bool:
    """Whether the instruction's words would be of the language that the reply is asked to be in."""
    last = conversation.last
    if id_ == LANGUAGE:
        return all(map(is_of_any_language, last.instruction_ids, last.kwargs))
    asked = [each["language"] for each in last.kwargs if "language" in each]
    return is_of_any_language(id_, kwargs) or all(code == conversation.language for code in asked)
