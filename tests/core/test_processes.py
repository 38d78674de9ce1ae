"""Calls over several processes: what comes back, and what must not happen beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from turnswap.core import processes
from turnswap.core.errors import UserError
from turnswap.core.processes import call_many

# No main guard: a process that imported this file would say "started" once more, and start processes itself.
SCRIPT = """
import os
from turnswap.core import processes
from turnswap.core.settings import parse_yaml
print("started")
calls = [(f"n: {n}", "here", "") for n in range(3001)]
assert processes.call_many(parse_yaml, calls) == [{"n": n} for n in range(3001)]
print(processes.call_many(os.path.realpath, [("/proc/self",)] * 3000).count(f"/proc/{os.getpid()}"))
"""


@pytest.mark.slow
def test_many_calls_give_their_results_in_order_from_other_processes_that_do_not_run_the_script(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)

    def run(processes: str) -> list[str]:
        env = os.environ | {"TURNSWAP_PROCESSES": processes, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        told = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True)
        assert told.returncode == 0, told.stderr
        return told.stdout.split()

    assert run("2") == ["started", "0"]
    assert run("1") == ["started", "3000"]


def test_a_number_of_processes_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNSWAP_PROCESSES", "all")
    with pytest.raises(UserError, match="TURNSWAP_PROCESSES is 'all'"):
        call_many(len, [("one",)])


def survive(process: int, n: int) -> int:
    """Kills every process but one."""
    if os.getpid() != process:
        os.kill(os.getpid(), signal.SIGKILL)
    return n


@pytest.mark.slow
def test_where_a_process_is_killed_this_one_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TURNSWAP_PROCESSES", "2")
    monkeypatch.setattr(processes, "_WORTH_IT", 1)
    assert call_many(survive, [(os.getpid(), n) for n in range(200)]) == list(range(200))
    assert "A process was killed" in caplog.text


@pytest.mark.parametrize("size", ["0", "abc", "", "-1", "²", "9999"])
def test_a_launchers_size_of_any_form_leaves_this_process(monkeypatch: pytest.MonkeyPatch, size: str) -> None:
    monkeypatch.delenv("TURNSWAP_PROCESSES", raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", size)
    monkeypatch.setattr(processes, "_WORTH_IT", 1)
    monkeypatch.setattr(processes, "_MOST", 1)
    assert call_many(len, [("one",)]) == [3]
