"""How the reply starts and ends."""

from __future__ import annotations

from .spec import TEXT, instruction

_QUOTES = (('"', '"'), ("“", "”"), ("「", "」"))


@instruction("startend:end_checker", end_phrase=TEXT)
def end_checker(reply: str, end_phrase: str) -> bool:
    """Ends with the phrase, case and closing ``"`` ignored."""
    return reply.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@instruction("startend:quotation")
def quotation(reply: str) -> bool:
    """Wrapped in a pair of quotation marks."""
    reply = reply.strip()
    return len(reply) > 1 and any(reply.startswith(a) and reply.endswith(b) for a, b in _QUOTES)
