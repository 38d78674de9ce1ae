"""Things that the reply must contain."""

from __future__ import annotations

import re

from . import ids
from .making import Forced, literals, making

# The grader has rules of its own for these markers.
MARKERS = r"P\.\s?P\.\s?S\.?|P\.\s?S\."
_WRITTEN = {"P.S.": ("p.s.", "p. s."), "P.P.S": ("p.p.s", "p. p.s", "p.p. s", "p. p. s")}


making(
    ids.PLACEHOLDERS,
    draw=lambda draw: {"num_placeholders": draw.one((1, 2, 3, 4))},
    named=lambda kwargs: ["placeholder", str(kwargs["num_placeholders"]), "square brackets"],
    shape=lambda shape, kwargs: shape.set(placeholders=max(shape.placeholders, kwargs["num_placeholders"])),
)

making(
    ids.POSTSCRIPT,
    draw=lambda draw: {"postscript_marker": draw.one(("P.S.", "P.S.", "P.P.S"))},
    shape=lambda shape, kwargs: shape.postscripts.append(kwargs["postscript_marker"].strip()),
    forces=lambda kwargs: (
        [Forced(_WRITTEN[marker])] if (marker := kwargs["postscript_marker"]) in _WRITTEN else literals([marker])
    ),
    fixed_text=lambda marker: re.fullmatch(MARKERS, marker.strip()) is not None,
)
