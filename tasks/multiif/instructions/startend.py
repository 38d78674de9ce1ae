"""How the reply starts and ends."""

from __future__ import annotations

from ..matching import as_read, folded, touches
from .spec import PHRASE, Asked, corrects, instruction

_QUOTES = (('"', '"'), ("“", "”"), ("「", "」"))
_PAIRS = ('""', "“”", "„“", "„”", "””", "«»", "»«", "「」", "『』", "＂＂", "〝〞")
_STOPS = (".", "。", "।")
_CLOSING_QUOTES = "\"”“„»«」』＂〞'’"


@instruction("startend:end_checker", end_phrase=PHRASE)
def end_checker(reply: str, end_phrase: str) -> bool:
    """Ends with the phrase, case and closing ``"`` ignored."""
    return reply.strip().strip('"').lower().endswith(end_phrase.strip().lower())


@corrects("startend:end_checker", by="end-inside-quotation-marks")
def _end_checker(reply: str, asked: Asked, end_phrase: str) -> bool:
    if not asked.by("phrases-as-seen"):
        ends = (
            folded(text.rstrip(_CLOSING_QUOTES + " \t\r\n\u00a0\u202f").lstrip()).lower()
            for text in (reply, end_phrase)
        )
        return next(ends).endswith(next(ends))
    # A full stop is easily added to a phrase or left out.
    text, phrase = (as_read(each).rstrip(_CLOSING_QUOTES + ".。।｡ ") for each in (reply, end_phrase))
    return text.endswith(phrase) and not touches(text.removesuffix(phrase), phrase)


@instruction("startend:quotation")
def quotation(reply: str) -> bool:
    """Wrapped in a pair of quotation marks."""
    reply = reply.strip()
    return len(reply) > 1 and any(reply.startswith(a) and reply.endswith(b) for a, b in _QUOTES)


@corrects("startend:quotation", by="quotation-marks-of-all-languages")
def _quotation(reply: str, asked: Asked) -> bool:
    reply = reply.strip()
    if asked.by("one-pair-of-quotation-marks"):
        reply = reply.strip("*_ \n")
        if reply[-1:] in _STOPS and reply[-2:-1] in _CLOSING_QUOTES:  # Russian puts the full stop outside
            reply = reply[:-1]
    if len(reply) < 2 or reply[0] + reply[-1] not in _PAIRS:
        return False
    return not asked.by("one-pair-of-quotation-marks") or _is_one_pair(reply)


def _is_one_pair(reply: str) -> bool:
    """Whether the first mark is closed by the last one, and by none before: "A" and "B" is two quotations."""
    opening, closing, inside = reply[0], reply[-1], reply[1:-1]
    if not any(map(str.isalnum, inside)):
        return False
    if opening == closing:
        # Which mark opens is seen by what it touches. Two quotations close first and open last.
        marks = [at for at, mark in enumerate(inside) if mark == opening]
        opens = [not inside[at - 1 : at].strip(" \n(") and bool(inside[at + 1 : at + 2].strip()) for at in marks]
        return not opens or opens[0] or not opens[-1]
    depth = 1
    for at, mark in enumerate(inside):
        if mark == opening and inside[at - 1 : at] != "\n":  # a new paragraph of a long quotation opens again
            depth += 1
        elif mark == closing:
            depth -= 1
        if depth <= 0:
            return False
    return True
