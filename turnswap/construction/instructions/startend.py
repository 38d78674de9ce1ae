"""How the reply starts and ends."""

from __future__ import annotations

from typing import Any

from . import ids
from .draw import ENGLISH, Draw
from .making import making, nothing_to_draw, phrase
from .rules import Demand, impossible, tension


def _draw_end(draw: Draw) -> dict[str, Any] | None:
    phrases = draw.suggested("closings") or (ENGLISH["closings"] if draw.conversation.language == "en" else [])
    return {"end_phrase": draw.one(phrases)} if phrases else None


making(
    ids.END,
    draw=_draw_end,
    weight=3.0,
    named=lambda kwargs: ["end", kwargs["end_phrase"]],
    shape=lambda shape, kwargs: shape.set(ending=max(shape.ending, kwargs["end_phrase"].strip(), key=len)),
    forces=lambda kwargs: phrase(kwargs["end_phrase"].strip(), right=("", '"')),
)

making(
    ids.QUOTATION,
    draw=nothing_to_draw,
    named=lambda kwargs: ["quotation marks"],
    shape=lambda shape, kwargs: shape.set(quoted=True),
)


@impossible("an end in quotation marks", ids.END, loose="impossible")
def _an_end_in_quotation_marks(one: Demand) -> bool:
    """the grader removes every " at the end of the reply before it looks for the phrase"""
    return bool(one.kwargs["end_phrase"].strip().endswith('"'))


@impossible("two ends", ids.END, ids.END)
def _ends(one: Demand, other: Demand) -> bool:
    """the reply is to end with two phrases, neither of which ends with the other"""
    first, second = (each.kwargs["end_phrase"].strip().lower() for each in (one, other))
    return not first.endswith(second) and not second.endswith(first)


@impossible("a quotation that starts with the prompt", ids.QUOTATION, ids.REPEAT)
def _quoted_prompt(one: Demand, other: Demand) -> bool:
    """the reply is to start with a quotation mark and with the prompt, which starts with none"""
    prompt = other.kwargs["prompt_to_repeat"].strip()
    return bool(prompt) and prompt[0] not in '"“「'


@tension("a phrase before the closing mark", ids.QUOTATION, ids.END)
def _before_the_mark(one: Demand, other: Demand) -> bool:
    """the phrase is not the very end of a reply in quotation marks, and passes before a straight " alone"""
    return True
