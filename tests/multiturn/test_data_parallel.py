"""Two processes under torchrun give the samples and scores of one."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ..conftest import BIN, REPOSITORY, make_row, write_csv
from .stub_models import ScriptedLM, evaluate

pytestmark = pytest.mark.slow
TASKS = ["multiif_en", "multiif_fr"]
CASES = {
    "an odd number, and turns missing": [3, 3, 2, 3, 3],
    "the second rank has no third turn": [3, 2, 3, 2],
    "the first rank has no third turn": [2, 3, 2],
}


@pytest.fixture(scope="module")
def data_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A CSV per case, each evaluated by two processes."""
    directory = tmp_path_factory.mktemp("parallel")
    files = {}
    for number, (case, turns) in enumerate(CASES.items()):
        rows = [make_row(f"{n}:1:en", turns=t) for n, t in enumerate(turns)]
        rows += [make_row(f"{n}:1:fr", "French", turns=t) for n, t in enumerate(turns[::-1])]
        files[case] = write_csv(directory / f"{number}.csv", rows)
    done = subprocess.run(
        [str(BIN / "torchrun"), "--standalone", "--nproc_per_node=2", "-m", "tests.multiturn.stub_models"]
        + [",".join(TASKS), *map(str, files.values())],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return files


@pytest.mark.parametrize("case", CASES)
def test_two_processes_are_one(case: str, data_files: dict[str, Path]) -> None:
    data = data_files[case]
    one: dict[str, Any] = json.loads(json.dumps(evaluate(ScriptedLM(), str(data), TASKS), default=str))
    two = json.loads(Path(f"{data}.results").read_text())
    calls = [json.loads(Path(f"{data}.calls{rank}").read_text()) for rank in (0, 1)]
    assert calls[0] == calls[1]  # every rank makes the same number of requests in each turn
    for task in TASKS:
        samples = [sorted(run["samples"][task], key=lambda s: s["doc_id"]) for run in (one, two)]
        assert samples[0] == samples[1]
        for metric, value in one["results"][task].items():
            expected = pytest.approx(value, nan_ok=True) if isinstance(value, float) else value
            assert two["results"][task][metric] == expected, metric
