"""Corrected verdicts: what a native reader would say where the published rules err.

:data:`CORRECTIONS` tells each rule with its reason and examples; docs/corrected.md shows them.
"""

from .corrections import CORRECTIONS, Correction, Example
from .grading import VERSION, grade_reply, rules_in_use

__all__ = [
    "CORRECTIONS",
    "VERSION",
    "Correction",
    "Example",
    "grade_reply",
    "rules_in_use",
]
