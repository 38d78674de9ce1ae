"""Two answers, or the prompt before the answer."""

from __future__ import annotations

import re
from typing import Any

from . import ids
from .draw import Draw
from .making import making, nothing_to_draw, phrase
from .rules import Demand, impossible, tension

_LONGEST_REPEATED = 60  # words of a prompt that a reply may be asked to repeat


def _draw_repeat(draw: Draw) -> dict[str, Any] | None:
    prompt = draw.conversation.turns[0].prompt.strip()
    return {"prompt_to_repeat": prompt} if len(prompt.split()) <= _LONGEST_REPEATED else None


making(
    ids.TWO,
    draw=nothing_to_draw,
    named=lambda kwargs: ["response", "******"],
    own_numbers=frozenset((2, 6)),
    shape=lambda shape, kwargs: shape.set(answers=2),
)

making(
    ids.REPEAT,
    draw=_draw_repeat,
    weight=0.5,
    named=lambda kwargs: ["repeat"],
    shape=lambda shape, kwargs: shape.set(opening=max(shape.opening, kwargs["prompt_to_repeat"].strip(), key=len)),
    forces=lambda kwargs: phrase(kwargs["prompt_to_repeat"].strip(), left=("",)),
    from_prompts=True,
)


@impossible("two beginnings", ids.REPEAT, ids.REPEAT)
def _beginnings(one: Demand, other: Demand) -> bool:
    """the reply is to start with two prompts, neither of which starts with the other"""
    first, second = (each.kwargs["prompt_to_repeat"].strip().lower() for each in (one, other))
    return not first.startswith(second) and not second.startswith(first)


@impossible("six stars hold three", ids.TWO, ids.PARAGRAPHS)
def _stars(one: Demand, other: Demand) -> bool:
    """six stars are three and three with a blank paragraph between them, which fails"""
    return True


@impossible("a prompt of too many parts", ids.REPEAT, (ids.BULLETS, ids.PARAGRAPHS, ids.TWO, ids.NTH))
def _prompt_parts(one: Demand, other: Demand) -> bool:
    """the prompt to repeat alone has more parts than the reply may have"""
    prompt = one.kwargs["prompt_to_repeat"].strip()
    if other.id == ids.BULLETS:
        lines = re.findall(r"^[^\S\n]*(?:\*[^*]|-).*$", prompt, re.MULTILINE)
        return len(lines) > int(other.kwargs["num_bullets"])
    splitter = {ids.PARAGRAPHS: r"\*\*\*", ids.TWO: r"\*{6}", ids.NTH: "\n\n"}[other.id]
    # Parts of stars alone might become a divider with what follows the prompt.
    parts = [part for part in re.split(splitter, prompt) if part.strip(" \t\n*")]
    return len(parts) > (2 if other.id == ids.TWO else int(other.kwargs["num_paragraphs"]))


@impossible("a prompt that starts with another word", ids.REPEAT, ids.NTH)
def _prompt_word(one: Demand, other: Demand) -> bool:
    """the first paragraph starts with the prompt to repeat, not with the word asked for"""
    tokens = one.kwargs["prompt_to_repeat"].split()
    if other.kwargs["nth_paragraph"] != 1 or len(tokens) < 2:  # a single word may go on behind the prompt
        return False
    word = re.split(r"[.,?!'\"]", tokens[0].lstrip("'").lstrip('"'), maxsplit=1)[0]
    return bool(word.lower() != other.kwargs["first_word"].lower())


@tension("a prompt with a forbidden trait", ids.REPEAT, (ids.WORDS, ids.SENTENCES, ids.LETTER))
def _prompt(one: Demand, other: Demand) -> bool:
    """the prompt to repeat leaves little of what the reply may still hold"""
    if not one.forced or other.below == float("inf"):
        return False
    (text,) = one.forced
    if other.id == ids.LETTER:
        used = text.texts[0].lower().count(other.kwargs["letter"].lower())
    elif other.id == ids.WORDS:
        used = text.least_words()
    else:
        used = sum(map(text.texts[0].count, ".?!"))
    return used * 2 > other.below
