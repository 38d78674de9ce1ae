"""How the reply starts and ends."""

from __future__ import annotations

from ..matching import folded
from .spec import PHRASE, Asked, corrects, instruction

_QUOTES = (('"', '"'), ("“", "”"), ("「", "」"))
_PAIRS = ('""', "“”", "„“", "„”", "””", "«»", "»«", "「」", "『』", "＂＂", "〝〞")
_CLOSING_QUOTES = "\"”“„»«」』＂〞'’"


@instruction("startend:end_checker", end_phrase=PHRASE)
def end_checker(reply: str, end_phrase: str) -> bool:
    """Ends with the phrase, case and closing ``"`` ignored."""
    return reply.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@corrects("startend:end_checker")
def _end_checker(reply: str, asked: Asked, end_phrase: str) -> bool:
    return _end(reply).endswith(_end(end_phrase))


def _end(text: str) -> str:
    return folded(text.rstrip(_CLOSING_QUOTES + " \t\r\n\u00a0\u202f").lstrip()).lower()


@instruction("startend:quotation")
def quotation(reply: str) -> bool:
    """Wrapped in a pair of quotation marks."""
    reply = reply.strip()
    return len(reply) > 1 and any(reply.startswith(a) and reply.endswith(b) for a, b in _QUOTES)


@corrects("startend:quotation")
def _quotation(reply: str, asked: Asked) -> bool:
    reply = reply.strip()
    return len(reply) > 1 and (reply[0] + reply[-1]) in _PAIRS
