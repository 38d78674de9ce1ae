"""``make bench``: all benchmarks, or those named, such as ``python -m benchmarks grading reports``."""

from __future__ import annotations

import sys

from . import analysis, continuous, generation, grading, layer_swap, pipelined, reports, startup, sweep, vllm_schedule

BENCHMARKS = {
    "startup": startup.main,
    "grading": grading.main,
    "generation": generation.main,
    "continuous": continuous.main,
    "vllm_schedule": vllm_schedule.main,
    "layer_swap": layer_swap.main,
    "analysis": analysis.main,
    "sweep": sweep.main,
    "pipelined": pipelined.main,
    "reports": reports.main,
}

for name in sys.argv[1:] or BENCHMARKS:
    print(f"\n== {name}")
    BENCHMARKS[name]()
