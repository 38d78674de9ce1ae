"""Corrected verdicts: what a native reader would say where the published rules err.

The checks stand below the published ones in :mod:`turnswap.tasks.multiif.instructions`; ``corrections.toml`` tells each
rule with its reason and examples; ``agreement.json`` how far readers agree; docs/reference/corrected.md shows them.
"""

from .agreement import measured
from .corrections import Correction, Example, corrections
from .grading import VERSION, asked_of, grade_corrected, rules_in_use

__all__ = ["VERSION", "Correction", "Example", "asked_of", "corrections", "grade_corrected", "measured", "rules_in_use"]
