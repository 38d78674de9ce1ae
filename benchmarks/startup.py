"""What ``turnswap enable`` costs every Python start of the environment, against a start without it."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from turnswap.hosts.enable import PTH_LINE

RUNS = 40


def start(*arguments: str) -> tuple[float, str]:
    """Milliseconds of a whole process, and what it printed."""
    # As users have it: compiled files are written, and read from the second start on.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=True)
    return 1000 * (time.perf_counter() - begin), done.stdout


def main() -> None:
    """Print the median cost of the hook's line in a fresh interpreter, and whole starts with and without it."""
    fresh = "import os, sys, time\nos.environ.pop('TURNSWAP_DISABLE', None)\n"
    fresh += "for name in ('turnswap', 'turnswap.hosts.startup'): sys.modules.pop(name, None)\n"  # if enabled here
    timed = f"{fresh}t = time.perf_counter()\n{PTH_LINE}\nprint(1000 * (time.perf_counter() - t))"
    cost = [float(start("-c", timed)[1]) for _ in range(RUNS)]
    pairs = [(start("-c", PTH_LINE)[0], start("-c", "import sys; exec('pass')")[0]) for _ in range(RUNS)]
    ratio = statistics.median(hooked / bare for hooked, bare in pairs)
    bare = statistics.median(bare for _, bare in pairs)
    print(f"the hook's line: {statistics.median(cost):.2f} ms (bound: 1 ms)")
    print(f"a start with it: {ratio:.3f} x a bare start of {bare:.0f} ms")
