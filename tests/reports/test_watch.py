"""A run in progress, watched through its cache."""

from __future__ import annotations

import os
import pickle
import re
import sqlite3
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Turnswap, make_row, read_results, write_csv
from tests.multiturn.fault_server import FaultServer
from tests.multiturn.stub_models import ScriptedLM
from tests.started_host import informed
from turnswap.reports.watch import Watch
from turnswap.tasks import tasks_path

from .evaluations import evaluate

FOLLOWS = "<<Title>>\n\nThe rain falls on the city."


@pytest.mark.slow
def test_a_real_run_is_watched_while_it_asks_and_ends_with_its_own_figures(tmp_path: Path, turnswap: Turnswap) -> None:
    def answer(messages: Any) -> str:
        return FOLLOWS if len(str(messages)) % 3 else "No, not now."

    with FaultServer({"latency_median": 0.3}, reply=answer) as server:
        arguments = f"model=served,base_url={server.url},num_concurrent=4"
        run = subprocess.Popen(
            [*informed("lm_eval"), "run", "--model", "local-chat-completions", "--model_args", arguments]
            + ["--tasks", "multiif_en,multiif_fr", "--include_path", str(tasks_path()), "--use_cache", "cache"]
            + ["--output_path", "out", "--log_samples"],
            cwd=tmp_path, env=os.environ | {"TURNSWAP_MULTIIF": "sample"}, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        seen: list[int] = []
        watch: Watch | None = None
        while run.poll() is None:
            if watch is None and (tmp_path / "cache_rank0.db").exists():
                watch = Watch([str(tmp_path / "cache")])
            if watch is not None:
                watch.refresh()
                seen.append(len(watch.replies))
            time.sleep(0.05)
        assert run.returncode == 0, run.stderr and run.stderr.read()[-3000:]
    assert watch is not None
    watch.refresh()
    assert len({n for n in seen if 0 < n < len(watch.expected)}) > 3  # it grew under our eyes
    assert len(watch.replies) == len(watch.expected) == len(server.requests)
    logged = read_results(tmp_path / "out")["results"]
    for task, *turns, _ in watch.sheet().rows:
        for turn, shown in enumerate(turns, 1):
            figure, n, of = re.fullmatch(r"(\S+) \((\d+) of (\d+)\)", shown).groups()  # type: ignore[union-attr]
            assert figure == f"{100 * logged[task][f'turn{turn}_overall_acc,none']:.1f}"
            assert n == of
            assert of in ("5", "6")
    shown = turnswap("report", "--watch", "cache")
    assert shown.exit_code == 0, shown.output
    assert f"{len(watch.expected)} of {len(watch.expected)} replies" in shown.output
    assert "Not a random part" in shown.output


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """The cache of a run that was stopped by its model before the third turn of most conversations."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    rows = [make_row(f"{n}:1:en", turns=2 if n == 4 else 3) for n in range(1, 6)]
    data = write_csv(tmp_path / "data.csv", rows)

    def reply(prompt: str) -> str:
        if prompt.count("<user>") == 3 and "about 3:" in prompt:
            raise RuntimeError("the machine is needed elsewhere")
        return "<think>Rain?</think>" + (FOLLOWS if "about 1:" not in prompt else "No, no.")

    metadata = {"multiif_data": str(data)}
    manager = TaskManager(include_path=str(tasks_path()), include_defaults=False, metadata=metadata)
    with pytest.raises(RuntimeError):
        simple_evaluate(
            ScriptedLM(reply), tasks=["multiif_en"], task_manager=manager, use_cache=str(tmp_path / "cache"),
            bootstrap_iters=0,
        )  # fmt: skip
    return tmp_path / "cache_rank0.db"


def test_figures_are_of_what_has_come_and_say_of_how_many(cache: Path, turnswap: Turnswap) -> None:
    before = cache.read_bytes()
    shown = turnswap("report", "--watch", cache)
    assert shown.exit_code == 0, (shown.output, shown.exception)
    assert cache.read_bytes() == before
    assert "12 of 14 replies" in shown.output
    # Of five replies to turn 1 four hold the title; reasoning is set aside; of turn 3 two have come.
    assert re.search(r"multiif_en +80\.0 \(5 of 5\) +80\.0 \(5 of 5\) +\S+ \(2 of 4\) +0", shown.output)


def test_a_run_can_write_while_it_is_looked_at(cache: Path) -> None:
    watch = Watch([str(cache)])
    watch.refresh()
    writer = sqlite3.connect(cache, timeout=0)
    writer.execute("BEGIN EXCLUSIVE")
    watch.refresh()  # cannot read now, and says nothing
    writer.execute("DELETE FROM unnamed WHERE 0")
    writer.commit()
    watch.refresh()
    assert len(watch.replies) == 12


def test_a_cache_of_an_earlier_version_shows_nothing_and_breaks_nothing(cache: Path, turnswap: Turnswap) -> None:
    with sqlite3.connect(cache) as opened:
        opened.execute("DELETE FROM turnswap WHERE key LIKE 'place %' OR key = 'documents'")
    assert "0 of 0 replies" in turnswap("report", "--watch", cache).output


def test_nothing_but_text_is_made_from_a_cache(cache: Path, tmp_path: Path) -> None:
    class Harm:
        def __reduce__(self) -> Any:
            return (os.mkdir, (str(tmp_path / "harm"),))

    with sqlite3.connect(cache) as opened:
        opened.execute("UPDATE unnamed SET value = ?", (pickle.dumps(Harm()),))
    with pytest.raises(pickle.UnpicklingError):
        Watch([str(cache)]).refresh()
    assert not (tmp_path / "harm").exists()


def test_a_cache_that_does_not_exist_is_named(turnswap: Turnswap) -> None:
    refused = turnswap("report", "--watch", "nowhere")
    assert refused.exit_code == 1
    assert "There is no cache nowhere_rank0.db" in " ".join(refused.output.split())


@pytest.mark.parametrize("content", [b"no database", None])
def test_a_file_that_is_no_cache_of_ours_is_refused(content: bytes | None, tmp_path: Path, turnswap: Turnswap) -> None:
    if content is None:
        sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE theirs (x)")
    else:
        (tmp_path / "other.db").write_bytes(content * 100)
    refused = turnswap("report", "--watch", "other.db")
    assert refused.exit_code == 1
    assert "other.db is no cache that a run of turnswap writes" in " ".join(refused.stderr.split())


def test_runs_that_are_through_are_shown_beside_the_one_in_progress(
    cache: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    (tmp_path / "results").mkdir()
    watch = Watch([str(cache), str(tmp_path / "results")])
    assert watch.finished() == []
    evaluate(tmp_path / "results", "org/done", lambda _: FOLLOWS, tasks=("multiif_fr",))
    (sheet,) = watch.finished()
    assert sheet.title == "org/done: overall accuracy"
    assert [row[0] for row in sheet.rows] == ["fr"]
    shown = turnswap("report", "--watch", cache, tmp_path / "results")
    assert "Run in progress" in shown.output
    assert "org/done: overall accuracy" in shown.output
