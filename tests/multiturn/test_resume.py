"""What a run that is stopped or killed leaves behind, and that the next one asks only for the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, make_row, write_csv
from tests.started_host import informed

pytest.importorskip("torch", reason="what is killed imports torch, of the extra hf, before its forks")

from .fault_server import FaultServer, Record, server_process
from .killed_runs import run

KILLS = 20
pytestmark = pytest.mark.slow


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [make_row(f"{n}:1:en") for n in range(60)] + [make_row(f"{n}:1:es", "Spanish") for n in range(60)]
    return write_csv(tmp_path / "data.csv", rows)


def test_a_run_killed_twenty_times_asks_no_finished_turn_twice_and_ends_the_same(data: Path, tmp_path: Path) -> None:
    with server_process({"latency_median": 0.12}, tmp_path / "log") as server:
        command = [sys.executable, "-m", "tests.multiturn.killed_runs", data, server.url, tmp_path / "log"]
        done = subprocess.run(
            [*map(str, command), str(tmp_path / "cache"), str(tmp_path / "killed.json"), str(KILLS), "7"],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        killed_at = json.loads(done.stdout)
        requests = server.requests
    assert len(killed_at) == KILLS
    by_turn: dict[tuple[str, int], list[Record]] = {}
    for record in requests:
        by_turn.setdefault((record.conversation, record.turn), []).append(record)
    assert len(by_turn) == 360
    again = [record for records in by_turn.values() for record in records[:-1]]
    for record in again:
        # Asked again only where a kill fell between its arrival and the moment after its answer was out.
        answered = record.sent if record.sent is not None else float("inf")
        assert any(record.arrived <= kill <= answered + 0.1 for kill in killed_at), record
    # In flight at a kill, and so asked again: at most num_concurrent per kill. Counted, and not all of the runs.
    assert 0 < len(again) <= 8 * KILLS
    interrupted = sum(any(record.arrived <= kill for record in requests) for kill in killed_at)
    assert interrupted >= KILLS // 2
    print(f"{len(again)} of {len(requests)} requests were asked again after {KILLS} kills")

    with FaultServer() as undisturbed:
        run(str(data), undisturbed.url, None, str(tmp_path / "whole.json"))
        assert len(undisturbed.requests) == 360
    killed, whole = (json.loads((tmp_path / f"{name}.json").read_text("utf-8")) for name in ("killed", "whole"))
    assert without_seconds(killed) == without_seconds(whole)


def without_seconds(content: Any) -> Any:
    """What does not depend on how long the server took."""
    if isinstance(content, dict):
        return {name: without_seconds(value) for name, value in content.items() if not name.startswith("seconds")}
    return [without_seconds(each) for each in content] if isinstance(content, list) else content


def start(data: Path, server: FaultServer, tmp_path: Path, *more: str) -> subprocess.Popen[str]:
    """The stock command in a process of its own."""
    command = [
        *informed("lm_eval"), "run", "--model", "local-chat-completions", "--include_path", str(REPOSITORY / "tasks"),
        "--model_args", f"model=served,base_url={server.url},num_concurrent=4", "--tasks", "multiif_en",
        "--output_path", "out", "--log_samples", "--use_cache", "cache", *more,
    ]  # fmt: skip
    environment = os.environ | {"TURNSWAP_MULTIIF": str(data)}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=tmp_path, env=environment, **streams)  # type: ignore[call-overload,no-any-return]


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for two minutes"
        assert process.poll() is None, process.communicate()[0][-3000:]
        time.sleep(0.02)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_waits_for_what_is_in_flight_and_keeps_it(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    data = write_csv(tmp_path / "few.csv", [make_row(f"{n}:1:en") for n in range(20)])
    with FaultServer({"latency_median": 0.4, "sigma": 0.1}) as server:
        process = start(data, server, tmp_path)
        wait_for(lambda: len(server.requests) >= 10, process)
        process.send_signal(number)
        asked_at_stop = len(server.requests)
        output = process.communicate(timeout=60)[0]
        assert process.returncode in (code, -number), output[-3000:]
        assert "Stopping: waiting up to 30 s for 4 requests in flight." in output
        assert "of 60 turns have their reply. The same command goes on from there." in output
        answered = [record for record in server.requests if record.status == 200 and not record.client_gone]
        assert len(server.requests) - asked_at_stop <= 4
        assert len(answered) == len(server.requests)

        again = start(data, server, tmp_path)
        output = again.communicate(timeout=200)[0]
        assert again.returncode == 0, output[-3000:]
        assert len(server.requests) == 60
        assert "60/60" in output


def test_a_failed_command_ends_in_a_summary_without_a_traceback(data: Path, tmp_path: Path) -> None:
    rules = [{"kind": "context_400", "attempts": None, "match": "about 7:1:en", "turn": 2}]
    with FaultServer({"faults": rules}) as server:
        process = start(data, server, tmp_path)
        output = process.communicate(timeout=200)[0]
    assert process.returncode == 1
    assert "turnswap: 1 of 60 conversations failed: multiif_en 7:1:en." in output
    assert "HTTP 400, once; first multiif_en 7:1:en, turn 3:" in output
    assert "Traceback" not in output
    assert not list((tmp_path / "out").rglob("results_*.json"))
