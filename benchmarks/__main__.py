"""``make bench``: all benchmarks, or those named: ``python -m benchmarks startup grading generation layer_swap``."""

from __future__ import annotations

import sys

from . import generation, grading, layer_swap, startup

BENCHMARKS = {
    "startup": startup.main,
    "grading": grading.main,
    "generation": generation.main,
    "layer_swap": layer_swap.main,
}

for name in sys.argv[1:] or BENCHMARKS:
    print(f"\n== {name}")
    BENCHMARKS[name]()
