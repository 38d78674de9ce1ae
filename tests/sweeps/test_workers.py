"""Several processes that work on one search: the whole command, of which some are killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from turnswap.sweeps import outputs
from turnswap.sweeps.claims import Claims

from ..conftest import REPOSITORY
from ..started_host import informed
from .sweeping import copying, evaluations, own_tasks_alone, run

__all__ = ["copying", "own_tasks_alone"]  # fixtures

LIST = {"select_on": "copying:0-19", "grid": {"bottom": "0-3", "top": "0-2"}, "controls": 3, "averages": [0.25]}


def test_a_claim_is_of_one_process_and_ends_with_it(tmp_path: Path) -> None:
    one, other = Claims(tmp_path), Claims(tmp_path)
    with one.claim("work") as mine:
        assert mine
        assert other.lives("work")
        with other.claim("work") as its:
            assert not its
    assert not other.lives("work")
    gone = subprocess.Popen(
        [sys.executable, "-c", "import sys, time; from pathlib import Path; from turnswap.sweeps.claims import Claims\n"
         "with Claims(Path(sys.argv[1])).claim('work') as mine: print(mine, flush=True); time.sleep(60)",
         str(tmp_path)],
        cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert gone.stdout
    assert gone.stdout.readline() == "True\n"
    assert one.lives("work")
    gone.kill()
    gone.wait()
    with one.claim("work") as mine:
        assert mine
    one.close()
    other.close()
    assert not list(tmp_path.glob("claim-*"))


def test_a_claim_that_is_not_renewed_ends_even_where_its_process_number_lives(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    with claims.claim("work"):
        (path,) = tmp_path.glob("claim-*")
        os.utime(path, (time.time() - 1000, time.time() - 1000))
        assert not claims.lives("work")
    claims.close()


@pytest.mark.slow
def test_of_four_processes_two_are_killed_and_the_others_finish_the_same_search(copying: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = LIST | {
        "recipient": str(copying / "recipient"), "donor": str(copying / "donor"), "metric": "acc", "held_out": 0,
        "include_path": str(copying / "tasks"), "device": "cpu", "batch_size": 8,
    }  # fmt: skip
    (tmp_path / "search.yml").write_text(yaml.safe_dump(settings), "utf-8")
    out = tmp_path / "out"
    command = [*informed("turnswap"), "search", str(tmp_path / "search.yml"), "-o", str(out)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    workers: list[subprocess.Popen[bytes]] = []
    for number in range(4):
        with (tmp_path / f"{number}.txt").open("w") as said:
            workers.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=said, stderr=said))
    killed: set[int] = set()
    while len(killed) < 2:  # those that evaluate first, in the middle of their second evaluation
        for number, worker in enumerate(workers):
            said_so = (tmp_path / f"{number}.txt").read_text("utf-8")
            assert number in killed or worker.poll() is None, said_so[-3000:]
            if len(killed) < 2 and number not in killed and " documents, " in said_so:
                worker.send_signal(signal.SIGKILL)
                killed.add(number)
        time.sleep(0.01)
    expected = [-signal.SIGKILL if number in killed else 0 for number in range(4)]
    assert [worker.wait() for worker in workers] == expected
    alone, _ = run(copying, tmp_path / "alone", **LIST)
    kept, by_one = (
        {(one.configuration, one.plan): one.results for one in evaluations(folder)}
        for folder in (out, tmp_path / "alone")
    )
    assert kept == by_one
    outputs.write_outputs(alone, tmp_path / "alone", "search")
    for name in ("search.json", "search.csv", "documents.parquet", "layerswap.yml"):
        assert (out / name).read_bytes() == (tmp_path / "alone" / name).read_bytes(), name
