"""Spanish instructions without numbers, written for this study."""

from __future__ import annotations

import json

from .problems import TEXTS


def instructions(part: str) -> list[tuple[str, str]]:
    """Pairs of instruction and answer: to ``train`` on, or for ``perplexity``."""
    found = json.loads((TEXTS / "spanish.json").read_text("utf-8"))
    return [(asked, answered) for asked, answered in found[part]]
