"""Reasoning that a model writes into its answer: set aside, so that what is left is the reply."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

Markers = tuple[tuple[str, str], ...]

THINK: Markers = (("<think>", "</think>"),)
# Of the harmony format: from the first channel to the one that is for the user.
HARMONY = ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>")
KNOWN: Markers = (*THINK, ("<thinking>", "</thinking>"), ("[THINK]", "[/THINK]"), HARMONY)
# The same where the engine leaves special tokens out of the text.
_BARE_HARMONY = re.compile(r"analysis(?=\S)(?P<reasoning>.*?)assistantfinal(?=\S)", re.DOTALL)
_BARE_ANALYSIS = re.compile(r"analysis[A-Z]")
_ENDINGS = ("<|return|>", "<|end|>")
_OPENING = re.compile(r"\s*(?:<(?P<angle>[A-Za-z_][\w-]*)>|\[(?P<square>[A-Z][A-Z_]*)\])")


class Split(NamedTuple):
    """An answer taken apart; ``unclosed``: a reasoning trace never ended, so that there is no text."""

    text: str
    reasoning: str = ""
    unclosed: bool = False


def set_reasoning_aside(raw: str, markers: Markers, *, prompt: str = "") -> Split:
    """The answer without its reasoning, the reasoning, and whether a trace was left open.

    Everything between an opening and its closing marker goes, and so does everything before a closing marker
    that has no opening one: chat templates of reasoning models open the trace in the prompt. Where a trace
    never closes, nothing is left. An answer without markers comes back unchanged.
    """
    text = raw
    aside: list[str] = []
    if HARMONY in markers and (bare := _BARE_HARMONY.match(text)):
        return Split(text[bare.end() :].strip(), bare["reasoning"].strip())
    if HARMONY in markers and _BARE_ANALYSIS.match(text) and "assistantfinal" not in text:
        return Split("", text.removeprefix("analysis"), True)
    for opening, closing in markers:
        if prompt.rstrip().endswith(opening):
            text = opening + text
        if opening not in text and closing not in text:
            continue
        kept: list[str] = []
        position = 0
        while True:
            start, end = text.find(opening, position), text.find(closing, position)
            if start < 0 and end < 0:
                kept.append(text[position:])
                break
            if end < 0 and (opening, closing) in KNOWN[1:] and text[:start].strip():
                kept.append(text[position:])  # a reply that speaks of the tag
                break
            if end < 0:
                return Split("", "\n".join([*aside, text[start + len(opening) :].strip()]).strip(), True)
            if start < 0 or end < start:  # opened in the prompt
                aside.append("".join(kept) + text[position:end])
                kept.clear()
            else:
                kept.append(text[position:start])
                aside.append(text[start + len(opening) : end])
            position = end + len(closing)
        text = "".join(kept).strip()
        if (opening, closing) == HARMONY:
            for ending in _ENDINGS:
                text = text.removesuffix(ending)
    return Split(text, "\n".join(part.strip() for part in aside).strip())


def unknown_tags(answers: Iterable[str], markers: Markers) -> str | None:
    """A pair of tags that opens most answers and is no marker: likely reasoning that is graded as a reply.

    Args:
        answers: as the model gave them, one or more.
        markers: those that are known.

    Returns:
        The opening tag; None where there is none.
    """
    total, found = 0, Counter[str]()
    for answer in answers:
        total += 1
        if opened := _OPENING.match(answer):
            tag = opened[0].strip()
            if tag[0] + "/" + tag[1:] in answer:
                found[tag] += 1
    tag, count = found.most_common(1)[0] if found else ("", 0)
    return tag if count > total / 2 and tag not in {opening for opening, _ in markers} else None
