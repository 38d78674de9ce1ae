"""``make bench``: all benchmarks, or those named: ``python -m benchmarks startup grading generation``."""

from __future__ import annotations

import sys

from . import generation, grading, startup

BENCHMARKS = {"startup": startup.main, "grading": grading.main, "generation": generation.main}

for name in sys.argv[1:] or BENCHMARKS:
    print(f"\n== {name}")
    BENCHMARKS[name]()
