"""Things that the reply must contain."""

from __future__ import annotations

import re

from ..matching import folded
from .patterns import PATTERN, compile_word, is_usable
from .spec import COUNT, Asked, corrects, instruction

# Stands for ``\[.*?\]`` in linear time: an opening bracket that no other closes on its line takes the rest
# of the line with it, as no later one on that line can be closed either.
_PLACEHOLDER = re.compile(r"\[[^\]\n]*+(\])?")

# Brackets, but not those of a link, an image or a reference: [text](address), [1]: address.
_ADDRESS = r"(?:https?:|www\.|mailto:|[/#]|[\w.-]+\.[a-z]{2,})"
_TO_FILL_IN = re.compile(rf"\[([^\[\]\n]+)\](?!\(\s*{_ADDRESS}|:\s*http)")

_GAP = re.compile(r"\W*\Z")
_NEAR = 40  # characters

_POSTSCRIPTS = {"P.P.S": re.compile(r"p\.\s?p\.\s?s"), "P.S.": re.compile(r"p\.\s?s\.")}


@instruction("detectable_content:number_placeholders", num_placeholders=COUNT)
def number_placeholders(reply: str, num_placeholders: int) -> bool:
    """At least n placeholders in square brackets."""
    return sum(1 for match in _PLACEHOLDER.finditer(reply) if match[1]) >= num_placeholders


@corrects("detectable_content:number_placeholders", by="placeholders")
def _number_placeholders(reply: str, asked: Asked, num_placeholders: int) -> bool:
    return sum(1 for match in _TO_FILL_IN.finditer(folded(reply)) if _is_to_fill_in(match[1])) >= num_placeholders


def _is_to_fill_in(inside: str) -> bool:
    """Whether brackets hold what a reader would replace: no check box, footnote or list of strings."""
    inside = inside.strip()
    return bool(re.search(r"[^\W\d_]", inside)) and inside not in ("x", "X", "v", "V") and inside[0] not in "\"'{^"


@instruction(
    "detectable_content:postscript",
    published=lambda postscript_marker: (
        postscript_marker.strip() in _POSTSCRIPTS or is_usable(postscript_marker.strip().lower(), r"\s*", ".*$")
    ),
    postscript_marker=PATTERN,
)
def postscript(reply: str, postscript_marker: str) -> bool:
    """The marker of a postscript occurs, case ignored.

    The published pattern allows white space before it and anything behind it on its line, which always match.
    """
    marker = postscript_marker.strip()
    pattern = _POSTSCRIPTS.get(marker) or compile_word(marker.lower(), flags=re.MULTILINE)
    return pattern.search(reply.lower()) is not None


def _starts_a_sentence(text: str, at: int) -> bool:
    """Whether a postscript can start there: a mention of it in the middle of a sentence is none."""
    before = text[max(0, at - _NEAR) : at]
    gap = _GAP.search(before)[0]  # type: ignore[index] # it matches the empty string
    return gap == before or any(mark in gap for mark in ".!?।。！？…\n(")  # Post-scriptum (P.S.): …


@corrects("detectable_content:postscript")
def _postscript(reply: str, asked: Asked, postscript_marker: str) -> bool:
    marker, text = folded(postscript_marker).strip(), folded(reply)
    letters = re.sub(r"[\W_]", "", marker)
    if asked.by("postscript-marks"):
        pattern = re.escape(marker)
        if len(letters) <= 3 and letters.isupper():
            # P.S., P. S., PS and P.-S. are one mark.
            pattern = r"(?<!\w)(?<!\w\.)" + r"\.?[\s-]?".join(letters) + r"(?!\w)"  # P.P.S. is another one
        elif marker[-1:].isalnum():
            pattern += r"(?!\w)"
        return any(_starts_a_sentence(text, found.start()) for found in re.finditer(pattern, text, re.IGNORECASE))
    if not asked.by("literal-words"):
        return postscript(reply, postscript_marker)
    known = _POSTSCRIPTS.get(postscript_marker)
    return known.search(reply.lower()) is not None if known else marker.lower() in text.lower()
