"""Things that the reply must contain."""

from __future__ import annotations

import re

from ..matching import folded
from .patterns import PATTERN, compile_word, is_usable
from .spec import COUNT, Asked, corrects, instruction

# Stands for ``\[.*?\]`` in linear time: an opening bracket that no other closes on its line takes the rest
# of the line with it, as no later one on that line can be closed either.
_PLACEHOLDER = re.compile(r"\[[^\]\n]*+(\])?")

_POSTSCRIPTS = {"P.P.S": re.compile(r"p\.\s?p\.\s?s"), "P.S.": re.compile(r"p\.\s?s\.")}


@instruction("detectable_content:number_placeholders", num_placeholders=COUNT)
def number_placeholders(reply: str, num_placeholders: int) -> bool:
    """At least n placeholders in square brackets."""
    return sum(1 for match in _PLACEHOLDER.finditer(reply) if match[1]) >= num_placeholders


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


@corrects("detectable_content:postscript")
def _postscript(reply: str, asked: Asked, postscript_marker: str) -> bool:
    if pattern := _POSTSCRIPTS.get(postscript_marker):
        return pattern.search(reply.lower()) is not None
    return folded(postscript_marker).strip().lower() in folded(reply).lower()
