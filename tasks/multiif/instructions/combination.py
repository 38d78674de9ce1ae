"""Two answers, or the question before the answer."""

from __future__ import annotations

from dataclasses import replace

from .spec import TEXT, instruction


@instruction("combination:two_responses")
def two_responses(reply: str) -> bool:
    """Exactly two different answers between six stars; a blank part is allowed only at either end."""
    parts = [part.strip() for part in reply.split("******")]
    if not all(parts[1:-1]):
        return False
    answers = [part for part in parts if part]
    return len(answers) == 2 and answers[0] != answers[1]


@instruction("combination:repeat_prompt", prompt_to_repeat=replace(TEXT, published=bool))  # raises on an empty one
def repeat_prompt(reply: str, prompt_to_repeat: str) -> bool:
    """The reply starts with the prompt, case ignored."""
    return reply.strip().lower().startswith(prompt_to_repeat.strip().lower())
