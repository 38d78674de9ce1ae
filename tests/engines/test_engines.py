"""Real Multi-IF conversations of a real chat model on real engines, through the stock ``lm_eval``.

Not part of ``make test``: ``make test-engines`` makes the environments that these tests run.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.model import hash_args

from tests.conftest import Command, read_results, read_samples
from tests.started_host import informed
from turnswap.tasks import tasks_path

from .servers import LIMITS, NAMES, Server, binary, free_port, started

TASKS = ("multiif_en", "multiif_es")
REPLIES = 12  # two conversations of three turns in each language
RUN = ["run", "--tasks", ",".join(TASKS), "--limit", "2", "--include_path", str(tasks_path())]
RUN += ["--use_cache", "cache", "--output_path", "out", "--log_samples"]
RUN += ["--metadata", '{"price": {"prompt": 2, "completion": 4}}']
SAMPLE = {"TURNSWAP_MULTIIF": "sample"}


def against(server: Server) -> list[str]:
    """lm_eval's arguments for conversations on a server, two requests at a time."""
    arguments = f"base_url={server.url},model={server.model},num_concurrent=2,max_retries=2"
    return [*RUN, "--model", "local-chat-completions", "--model_args", arguments, "--gen_kwargs", "max_gen_toks=24"]


def as_messages(messages: list[dict[str, str]]) -> str:
    return json.dumps(messages, ensure_ascii=False)


def check_conversations(output: Path, prompt: Callable[[list[dict[str, str]]], str]) -> None:
    """Every prompt holds the conversation so far with the replies that were given, and there are figures of it."""
    results = read_results(output)
    for task in TASKS:
        samples = read_samples(output, task)
        assert len(samples) == 2
        for sample in samples:
            messages: list[dict[str, str]] = []
            assert len(sample["resps"]) == len(sample["doc"]["turns"]) == 3
            for turn, (scripted, (reply,)) in enumerate(zip(sample["doc"]["turns"], sample["resps"], strict=True)):
                messages.append({"role": "user", "content": scripted["prompt"]})
                assert sample["arguments"][f"gen_args_{turn}"]["arg_0"] == prompt(messages)
                assert reply.strip()
                messages.append({"role": "assistant", "content": reply})
        figures = results["results"][task]
        for turn in (1, 2, 3):
            followed, asked = map(sum, zip(*(sample[f"turn{turn}_inst_loose_acc"] for sample in samples), strict=True))
            assert asked > 0
            assert figures[f"turn{turn}_inst_loose_acc,none"] == pytest.approx(followed / asked)
            assert figures[f"turn{turn}_failed,none"] == 0
            assert figures[f"turn{turn}_completed,none"] == 2 - figures[f"turn{turn}_truncated,none"]
        read, written = figures["prompt_tokens,none"], figures["completion_tokens,none"]
        assert read > written > 0
        assert figures["cost,none"] == pytest.approx((2 * read + 4 * written) / 1e6)
        assert figures["seconds,none"] > 0


def kept_replies(folder: Path) -> dict[str, tuple[int, str]]:
    """What lm-eval's cache holds: by key, its row's number, which changes when it is written again, and the reply."""
    path = folder / "cache_rank0.db"
    if not path.exists():
        return {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        try:  # the keys are hashes
            rows = database.execute("SELECT rowid, key, value FROM unnamed WHERE length(key) = 64").fetchall()
        except sqlite3.OperationalError:  # no table yet
            return {}
    return {key: (number, pickle.loads(value)) for number, key, value in rows}


def keys_of_requests(output: Path) -> set[str]:
    """The keys under which lm-eval looks up the requests of a run in its cache."""
    sent = [sample["arguments"] for task in TASKS for sample in read_samples(output, task)]
    return {
        hash_args("generate_until", (arguments[turn]["arg_0"], arguments[turn]["arg_1"]))
        for arguments in sent
        for turn in arguments
    }


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A run, its output in ``folder/run.log``; all its processes have ended when the context ends."""
    with (folder / "run.log").open("ab") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | SAMPLE | LIMITS, stdout=log, stderr=log,
            start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def wait_for_replies(number: int, folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Until the cache holds so many of a run that is under way."""
    deadline = time.monotonic() + 300
    while len(kept_replies(folder)) < number:
        assert process.poll() is None, (folder / "run.log").read_text()[-3000:]
        assert time.monotonic() < deadline, "no replies for five minutes"
        time.sleep(0.02)


@pytest.mark.parametrize("name", NAMES)
def test_a_server_holds_whole_conversations_and_a_second_run_asks_it_nothing(
    name: str, run_command: Command, demo_model: Path, tmp_path: Path
) -> None:
    with started(name, demo_model, tmp_path) as server:
        done = run_command("lm_eval", *against(server), **SAMPLE)
        assert done.returncode == 0, done.stderr[-3000:]
        check_conversations(tmp_path / "out", as_messages)
        assert server.answered == REPLIES
        replies = {task: [sample["resps"] for sample in read_samples(tmp_path / "out", task)] for task in TASKS}

        again = run_command("lm_eval", *against(server), "--output_path", "again", **SAMPLE)
        assert again.returncode == 0, again.stderr[-3000:]
        assert server.answered == REPLIES
        for task in TASKS:
            assert [sample["resps"] for sample in read_samples(tmp_path / "again", task)] == replies[task]
        first, second = (read_results(tmp_path / run)["results"] for run in ("out", "again"))
        assert json.dumps(first) == json.dumps(second)


def check_the_next_run_asks_only_for_the_rest(run_command: Command, demo_model: Path, folder: Path, port: int) -> None:
    kept = kept_replies(folder)
    assert 4 <= len(kept) < REPLIES
    with started("llama.cpp", demo_model, folder, port) as server:  # whose log begins anew
        done = run_command("lm_eval", *against(server), **SAMPLE)
        assert done.returncode == 0, done.stderr[-3000:]
        assert server.answered == REPLIES - len(kept)
    assert kept.items() <= kept_replies(folder).items()
    check_conversations(folder / "out", as_messages)


def test_a_run_whose_server_was_killed_asks_the_next_server_only_for_the_rest(
    run_command: Command, demo_model: Path, tmp_path: Path
) -> None:
    port = free_port()
    with (
        started("llama.cpp", demo_model, tmp_path, port) as server,
        running([*informed("lm_eval"), *against(server)], tmp_path) as process,
    ):
        wait_for_replies(4, tmp_path, process)
        server.kill()
        assert process.wait(120) == 1
    output = (tmp_path / "run.log").read_text()
    assert "conversations failed" in output
    assert "Traceback" not in output
    check_the_next_run_asks_only_for_the_rest(run_command, demo_model, tmp_path, port)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, 143)])
def test_a_killed_run_asks_only_for_the_rest(
    number: signal.Signals, code: int, run_command: Command, demo_model: Path, tmp_path: Path
) -> None:
    port = free_port()
    with (
        started("llama.cpp", demo_model, tmp_path, port) as server,
        running([*informed("lm_eval"), *against(server)], tmp_path) as process,
    ):
        wait_for_replies(4, tmp_path, process)
        process.send_signal(number)
        assert process.wait(60) == code
    check_the_next_run_asks_only_for_the_rest(run_command, demo_model, tmp_path, port)


def test_vllm_in_process_holds_whole_conversations_also_when_it_was_killed_between(
    demo_model: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    settings = f"pretrained={demo_model},dtype=float32,enforce_eager=True,max_model_len=2048"
    arguments = [*RUN, "--model", "vllm", "--model_args", settings, "--batch_size", "auto"]
    arguments += ["--gen_kwargs", "max_gen_toks=24"]
    command = [*informed("lm_eval", binary(".venv-vllm", "python")), *arguments]
    with running(command, tmp_path) as process:
        # lm-eval's vllm writes a batch's replies under keys that nobody looks up (the settings as vLLM gets them), and
        # in lockstep under the right ones when the turn is done: 8 rows are a turn of four conversations.
        wait_for_replies(8, tmp_path, process)
        process.kill()
        assert process.wait(30) == -signal.SIGKILL
    before = kept_replies(tmp_path)
    assert not (tmp_path / "out").exists()

    with running(command, tmp_path) as process:
        assert process.wait(400) == 0, (tmp_path / "run.log").read_text("utf-8", errors="replace")[-3000:]
    after, requests = kept_replies(tmp_path), keys_of_requests(tmp_path / "out")
    assert len(requests & after.keys()) == REPLIES
    kept = requests & before.keys()
    assert 4 <= len(kept) < REPLIES
    assert {key: before[key] for key in kept} == {key: after[key] for key in kept}  # their rows: none was asked again

    template = AutoTokenizer.from_pretrained(demo_model).apply_chat_template

    def rendered(messages: list[dict[str, Any]]) -> str:
        return str(template(messages, tokenize=False, add_generation_prompt=True))

    check_conversations(tmp_path / "out", rendered)
