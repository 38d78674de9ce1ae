"""Whatever is imported first, both hosts know us afterwards: every module of ours, before and after each host."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

pytest.importorskip("mergekit", reason="needs mergekit, of the extra merge")


def test_whichever_module_comes_first_both_hosts_know_us_and_nobody_warns() -> None:
    program = Path(__file__).with_name("import_orders.py")
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    found = json.loads(done.stdout)
    assert found["modules"] > 100
    assert "turnswap.merge_methods.recipe" not in found["hostless"]
    assert found["cases"] == 5 * (found["modules"] - len(found["hostless"]) + 1)  # before the hosts, after each of four
    assert found["wrong"] == {}
