"""A whole build with a server: what is asked once, what another setting asks anew, and what a killed run loses."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.llm import LLM, LLMSettings, read_prompt
from turnswap.construction.steps import assemble

from ..conftest import REPOSITORY
from ..multiturn.conftest import short_pauses  # noqa: F401
from .conftest import Serving
from .example_build import QUESTIONS, Body, Refusal, asked, built, config

pytestmark = pytest.mark.usefixtures("at_the_root_of_the_repository")


def test_a_server_that_is_asked_too_often_gets_all_questions_in_the_end(
    tmp_path: Path,
    serving: Serving,
    short_pauses: None,  # noqa: F811
) -> None:
    with serving(faults=[{"kind": "429", "share": 0.5, "retry_after": 0}]) as server:
        _, counts = built(tmp_path, server)
        assert counts[-1].kept == 41
        done = Counter(record.conversation for record in server.requests if record.status == 200)
    assert len(done) == QUESTIONS
    assert set(done.values()) == {1}


def test_another_address_or_speed_asks_nothing_and_another_model_everything(tmp_path: Path, serving: Serving) -> None:
    with serving() as server:
        built(tmp_path, server)
        assert len(server.requests) == QUESTIONS
    for args in ({"num_concurrent": 2}, {"timeout": 7, "max_retries": 5}, {"header": {"Authorization": "Bearer x"}}):
        with serving() as server:
            _, counts = built(tmp_path, server, model_args=args)
            assert [count.done_now for count in counts[1:]] == [0, 0, 0, 0]
            assert server.requests == []
    with serving() as server:
        built(tmp_path, server, model_args={"model": "another"})
        assert len(server.requests) == QUESTIONS


@pytest.mark.parametrize("changed", [{"tokenizer": "t"}, {"revision": "r"}, {"max_length": 9}])
def test_what_makes_other_answers_is_part_of_the_identity(changed: dict[str, Any]) -> None:
    plain = LLM(LLMSettings("local-chat-completions", {"model": "m"}), Path("c")).identity
    assert LLM(LLMSettings("local-chat-completions", {"model": "m", **changed}), Path("c")).identity != plain
    assert LLM(LLMSettings("local-chat-completions", {"model": "m"}, {"top_p": 1}), Path("c")).identity != plain
    unnamed = [LLM(LLMSettings("local-completions", {"base_url": url}), Path("c")).identity for url in "ab"]
    assert unnamed[0] != unnamed[1]


def test_a_translation_goes_back_before_all_have_gone_forth(tmp_path: Path, serving: Serving) -> None:
    with serving() as server:
        built(tmp_path, server, "translate", model_args={"num_concurrent": 2})
        tasks = [read_prompt(each) for each in asked(server)]
    into = [told["to"] for told in tasks if told["task"] == "translate"]
    assert "en" in into[: len(into) // 2]


KILLED = """
import os, sys
from pathlib import Path
from turnswap.construction.steps import assemble
list(assemble(Path(sys.argv[1])).pipeline.run("filter"))
"""


@pytest.mark.slow
def test_a_killed_run_asks_nothing_twice_but_what_was_in_flight(tmp_path: Path, serving: Serving) -> None:
    killed: list[str] = []
    process: list[subprocess.Popen[bytes]] = []

    def refuse(body: Body) -> Refusal | None:
        if len(server.requests) == 60 and not killed:
            killed.append(body["messages"][-1]["content"])
            time.sleep(1)  # what was answered before gets to the disk
            os.kill(process[0].pid, signal.SIGKILL)
        return None

    with serving(refuse) as server:
        path = config(tmp_path, server, model_args={"num_concurrent": 1})
        process.append(subprocess.Popen([sys.executable, "-c", KILLED, str(path)], cwd=REPOSITORY))
        assert process[0].wait(120) == -signal.SIGKILL
        list(assemble(path).pipeline.run("filter"))
        times = Counter(asked(server))
    assert len(times) == QUESTIONS
    assert {text for text, number in times.items() if number > 1} <= {*killed}


def test_the_bar_names_the_step(tmp_path: Path, serving: Serving, capfd: pytest.CaptureFixture[str]) -> None:
    with serving() as server:
        built(tmp_path, server, "translate")
    shown = capfd.readouterr().err
    for name, number in (("extend", 2), ("conflicts", 21), ("translate", 82)):
        assert f"{name}: 100%" in shown
        assert f"{number}/{number}" in shown
