"""What is asked once and kept, in a notebook too: the same figures when a run is repeated."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_row, write_csv
from turnswap.core.errors import UserError
from turnswap.tasks.multiturn.engines.api import ApiEngine

from .endpoint import body, evaluate
from .fault_server import FaultServer

pytestmark = pytest.mark.usefixtures("short_pauses")


def numbered() -> Callable[[Any], str]:
    """An endpoint that answers differently each time."""
    counter = iter(range(10**6))
    return lambda asked: f"answer {next(counter)}"


@pytest.mark.parametrize("concurrency", [1, 8])
@pytest.mark.parametrize("repeats", [1, 3])
def test_a_finished_run_asks_nothing_again_and_gives_the_same_figures(
    tmp_path: Path, concurrency: int, repeats: int
) -> None:
    rows = [make_row(f"{n}:1:en") for n in range(20)]
    for row in rows[10:]:  # half of them open with another's first turn
        row["turn_1_prompt"] = rows[0]["turn_1_prompt"]
    data = write_csv(tmp_path / "data.csv", rows)
    runs = []
    with FaultServer({"latency_median": 0.01}, reply=numbered()) as server:
        for _ in range(2):
            results = evaluate(
                server, data, concurrency, use_cache=str(tmp_path / "cache"), metadata={"repeats": repeats}
            )
            runs.append(results)
            asked = len(server.requests)
        first_turns = [record for record in server.requests if record.turn == 0]
    replies = [[s["resps"] for s in run["samples"]["multiif_en"]] for run in runs]
    assert replies[0] == replies[1]
    assert json.dumps(runs[0]["results"]) == json.dumps(runs[1]["results"])  # some are no number
    assert len(first_turns) == 10 * repeats  # an opening is shared, and so is its answer
    assert asked <= 50 * repeats
    if repeats > 1:
        assert all(len(set(turn)) == repeats for turn in replies[0][0])


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("schedule", ["auto", "lockstep"])
def test_it_works_where_an_event_loop_runs_already(data: Path, concurrency: int, schedule: str) -> None:  # a notebook
    async def cell() -> Any:
        return evaluate(server, data, concurrency, metadata={"schedule": schedule})

    with FaultServer() as server:
        inside, outside = asyncio.run(cell()), evaluate(server, data, concurrency)
    replies = [[s["resps"] for s in each["samples"]["multiif_en"]] for each in (inside, outside)]
    assert replies[0] == replies[1]


def test_ctrl_c_in_a_notebook_stops_the_run_and_keeps_what_came(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data.csv", [make_row(f"{n}:1:en") for n in range(20)])

    async def cell() -> None:
        threading.Timer(1.0, signal.raise_signal, [signal.SIGINT]).start()
        evaluate(server, data, 2, use_cache=str(tmp_path / "cache"))

    with FaultServer({"latency_median": 0.2, "sigma": 0.1}) as server:
        loop = asyncio.new_event_loop()
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(cell())
        loop.close()
        asked = len(server.requests)
        assert 2 < asked < 40
        evaluate(server, data, 20, use_cache=str(tmp_path / "cache"))
        assert len(server.requests) == 60


def test_an_endpoint_that_takes_only_strings_gets_the_chat_template(data: Path, tiny_model: Path) -> None:
    arguments = {"tokenizer": str(tiny_model), "tokenizer_backend": "huggingface", "tokenized_requests": False}
    with FaultServer() as server:
        arguments |= {"base_url": server.completions_url, "max_length": 600}
        evaluate(server, data, model="local-completions", arguments=arguments, gen_kwargs={"max_gen_toks": 20})
        prompts = [record.messages for record in server.requests]
    assert len(prompts) == 4
    assert all(prompt.startswith("<|im_start|>user\nWrite about") for prompt in prompts)
    assert all(prompt.endswith("<|im_start|>assistant\n") for prompt in prompts)


def test_a_seed_of_its_own_goes_with_every_repeat(data: Path) -> None:
    def seeds(**options: Any) -> list[int]:
        sent: list[int] = []
        with FaultServer(refuse=lambda asked: sent.append(asked["seed"])) as server:
            evaluate(server, data, metadata={"repeats": 3}, gen_kwargs={"do_sample": True, "temperature": 1}, **options)
        return sorted(sent)

    assert seeds() == sorted([1234, 1235, 1236] * 4)
    assert seeds(fewshot_random_seed=7) == sorted([7, 8, 9] * 4)  # --seed 7
    assert seeds(fewshot_random_seed=7, arguments={"seed": 50}) == sorted([50, 51, 52] * 4)


def test_tags_that_are_not_known_and_open_most_answers_are_named(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    with FaultServer(reply=lambda messages: "<reasoning>secret</reasoning>TEXT") as server:
        evaluate(server, data)
    assert """--metadata '{"reasoning_markers": ["<reasoning>", "</reasoning>"]}'""" in caplog.text
    assert sum("Most replies start with <reasoning>" in record.getMessage() for record in caplog.records) == 1


def test_reasoning_goes_back_to_a_model_that_requires_it(data: Path) -> None:
    answer = body({"content": "TEXT", "reasoning_content": "thoughts"})
    with FaultServer(reply=lambda messages: answer) as server:
        evaluate(server, data, metadata={"reasoning_in_history": True})
        (said,) = {json.dumps(record.messages[1]) for record in server.requests if record.turn == 1}
    assert json.loads(said) == {"role": "assistant", "content": "TEXT", "reasoning_content": "thoughts"}


def test_an_error_of_ours_ends_the_run_also_where_others_wait_for_the_same_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [make_row(f"{n}:1:en") for n in range(12)]
    for row in rows:
        row["turn_1_prompt"] = rows[0]["turn_1_prompt"]
    data = write_csv(tmp_path / "data.csv", rows)

    async def broken(self: Any, *asked: Any) -> Any:
        await asyncio.sleep(0.05)
        raise AttributeError("a fault of ours")

    monkeypatch.setattr(ApiEngine, "ask", broken)
    with FaultServer() as server, pytest.raises(AttributeError, match="a fault of ours"):
        evaluate(server, data)


def test_a_run_with_failures_that_are_put_up_with_goes_from_its_cache(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data.csv", [make_row(f"{n}:1:en") for n in range(30)])
    rules = [{"kind": "context_400", "attempts": None, "share": 0.5, "turn": 0}]
    runs = []
    with FaultServer({"faults": rules}) as server:
        for _ in range(2):
            runs.append(evaluate(server, data, use_cache=str(tmp_path / "cache"), metadata={"max_failed": 1}))
    assert runs[0]["results"]["multiif_en"]["turn1_failed,none"] > 10
    assert json.dumps(runs[0]["results"]) == json.dumps(runs[1]["results"])


def test_replies_that_a_temperature_draws_are_not_shared_but_kept(tmp_path: Path) -> None:
    rows = [make_row(f"{n}:1:en", turns=2) for n in range(6)]
    for row in rows:
        row["turn_1_prompt"] = rows[0]["turn_1_prompt"]
    data = write_csv(tmp_path / "data.csv", rows)
    runs = []
    with FaultServer(reply=numbered()) as server:
        for _ in range(2):
            runs.append(evaluate(server, data, use_cache=str(tmp_path / "cache"), gen_kwargs={"temperature": 0.7}))
        assert len(server.requests) == 12
    replies = [[s["resps"] for s in run["samples"]["multiif_en"]] for run in runs]
    assert replies[0] == replies[1]
    assert len({first for ((first,), _) in replies[0]}) == 6


def test_a_cache_of_another_model_or_endpoint_is_refused_naming_both(data: Path, tmp_path: Path) -> None:
    with FaultServer() as server, FaultServer() as other:
        evaluate(server, data, use_cache=str(tmp_path / "cache"))
        with pytest.raises(UserError) as refused:
            evaluate(server, data, use_cache=str(tmp_path / "cache"), arguments={"model": "newer"})
        assert "LocalChatCompletion served" in str(refused.value)
        assert "LocalChatCompletion newer" in str(refused.value)
        with pytest.raises(UserError) as refused:
            evaluate(other, data, use_cache=str(tmp_path / "cache"))
        assert server.url in str(refused.value)
        assert other.url in str(refused.value)
        evaluate(other, data, use_cache=str(tmp_path / "cache"), metadata={"cache": "adopt"})
        assert not other.requests
        evaluate(other, data, use_cache=str(tmp_path / "cache"))  # it is this one's now


def test_a_full_disk_under_the_cache_ends_nothing_and_loses_nothing(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlitedict

    room = 10
    with FaultServer() as server:
        real = sqlitedict.SqliteMultithread._connect

        def small(self: Any) -> Any:
            connection, cursor = real(self)
            cursor.execute(f"PRAGMA max_page_count = {room}")  # SQLite's own "database or disk is full"
            return connection, cursor

        monkeypatch.setattr(sqlitedict.SqliteMultithread, "_connect", small)
        long = write_csv(tmp_path / "long.csv", [make_row(f"{n}:1:en") for n in range(40)])
        results = evaluate(server, long, use_cache=str(tmp_path / "cache"))
        whole = len(server.requests)
        assert results["results"]["multiif_en"]["turn3_failed,none"] == 0
        assert sum("The cache cannot be written" in record.getMessage() for record in caplog.records) == 1
        assert any("are not in the cache" in record.getMessage() for record in caplog.records)
        monkeypatch.undo()
        again = evaluate(server, long, use_cache=str(tmp_path / "cache"))
        assert 0 < len(server.requests) - whole < whole  # what had room is kept
    replies = [[s["resps"] for s in each["samples"]["multiif_en"]] for each in (results, again)]
    assert replies[0] == replies[1]
    with sqlite3.connect(next(tmp_path.glob("cache*.db"))) as database:
        assert database.execute("SELECT count(*) FROM unnamed").fetchone()[0] == whole
