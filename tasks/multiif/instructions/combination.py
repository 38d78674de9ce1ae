"""Two answers, or the question before the answer."""

from __future__ import annotations

import re
from dataclasses import replace

from ..layout import is_heading
from ..matching import as_read, touches
from .spec import TEXT, Asked, corrects, instruction

_QUOTES_AND_BLANKS = "\"' "
_STOPS_QUOTES_AND_BLANKS = _QUOTES_AND_BLANKS + ".。।"


@instruction("combination:two_responses")
def two_responses(reply: str) -> bool:
    """Exactly two different answers between six stars; a blank part is allowed only at either end."""
    parts = [part.strip() for part in reply.split("******")]
    if not all(parts[1:-1]):
        return False
    answers = [part for part in parts if part]
    return len(answers) == 2 and answers[0] != answers[1]


@corrects("combination:two_responses", by="dividers")
def _two_responses(reply: str, asked: Asked) -> bool:
    # Only a divider before the first answer, under its label, and behind the last one stands beside nothing.
    parts = [part.strip() for part in re.split(r"\*{6,}", reply)]
    answers = [part for part in parts if re.search(r"\w", part) and not _is_label(part)]
    return len(answers) == 2 and answers[0] != answers[1]


def _is_label(part: str) -> bool:
    """Whether a part only names an answer: "Story 1", **Response A**, "Première réponse :"."""
    if "\n" in part or len(part.split()) > 4:
        return False
    return is_heading(part) or part.endswith((":", "：")) or bool(re.search(r"\d\W*\Z", part))


@instruction("combination:repeat_prompt", prompt_to_repeat=replace(TEXT, published=bool))  # raises on an empty one
def repeat_prompt(reply: str, prompt_to_repeat: str) -> bool:
    """The reply starts with the prompt, case ignored."""
    return reply.strip().lower().startswith(prompt_to_repeat.strip().lower())


@corrects("combination:repeat_prompt", by="phrases-as-seen")
def _repeat_prompt(reply: str, asked: Asked, prompt_to_repeat: str) -> bool:
    prompt = as_read(prompt_to_repeat).strip(_QUOTES_AND_BLANKS)
    text = as_read(reply).strip(_QUOTES_AND_BLANKS)
    if text.startswith(prompt) and not touches(prompt, text.removeprefix(prompt)):
        return True
    # Without its full stop the prompt must fill lines of its own: "Write a poem about cats" is another one.
    lines = reply.strip().split("\n")
    starts = (as_read("\n".join(lines[:n])) for n in range(1, min(len(lines), prompt_to_repeat.count("\n") + 3) + 1))
    return any(start.strip(_STOPS_QUOTES_AND_BLANKS) == prompt.strip(_STOPS_QUOTES_AND_BLANKS) for start in starts)
