"""What a build will ask is told before it asks: at most so many questions, without those that are answered."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from turnswap.construction.steps import assemble

from ..conftest import REPOSITORY, Turnswap
from ..multiturn.fault_server import FaultServer
from .conftest import Serving
from .example_build import also, built, config, configured, refusing

pytestmark = pytest.mark.usefixtures("at_the_root_of_the_repository")


def test_what_a_run_will_ask_is_told_and_nothing_is_asked(
    tmp_path: Path, serving: Serving, turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with serving() as server:
        path = config(tmp_path, server)
        first = turnswap("build", "run", path, "--dry-run")
        assert first.exit_code == 0, first.output
        assert "extend        21 conversations to do: 2 questions" in first.output
        assert "conflicts     21 conversations to do: at most 21 questions" in first.output
        assert "translate     21 conversations to do: at most 82 questions" in first.output
        assert "filter        42 conversations to do: at most 42 questions" in first.output
        assert server.requests == []
        ran = turnswap("build", "run", path, "--last", "conflicts")
        assert ran.output.index("Together at most 23 questions") < ran.output.index("conflicts     21 came")
        assert "answers of at most 23,552" in ran.output
        again = turnswap("build", "run", path, "--dry-run", "--last", "conflicts")
        assert "asked nothing" in again.output
        redo = turnswap("build", "run", path, "--dry-run", "--last", "conflicts", "--redo", "conflicts")
        assert "conflicts     21 conversations to do: 21 questions" in redo.output
        assert len(server.requests) == 23


def test_cached_answers_are_not_counted(tmp_path: Path, serving: Serving, turnswap: Turnswap) -> None:
    os.chdir(REPOSITORY)
    with serving(refusing("guitar", "eclipse")) as server:
        path = config(tmp_path, server, max_failed=1)
        turnswap("build", "run", path, "--last", "conflicts")
        answered = sum(record.status == 200 for record in server.requests) - 2
        told = turnswap("build", "run", path, "--dry-run", "--last", "conflicts")
    assert f"conflicts     21 conversations to do: {21 - answered} questions" in told.output


def test_questions_are_asked_at_most_as_often_as_told_with_repetitions(
    tmp_path: Path, turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with FaultServer({}, reply=lambda messages: "no good") as server:
        path = config(tmp_path, server)
        told = turnswap("build", "run", path, "--dry-run", "--last", "extend").output
        turnswap("build", "run", path, "--last", "extend")
        assert len(server.requests) == 4  # one conversation is rejected twice over, and so is the other
    assert "2 questions" in told
    assert "with repetitions at most 4 questions" in told


def test_with_fewer_languages_nothing_is_announced_that_is_done(
    tmp_path: Path, serving: Serving, turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    with serving() as server:
        built(tmp_path, server)
        before = len(server.requests)
        narrow = also(config(tmp_path, server), languages=["sw"], translate={}, filter={})
        told = turnswap("build", "run", narrow, "--dry-run", "--last", "filter").output
        ran = turnswap("build", "run", narrow, "--last", "filter").output
        assert "filter        21 came" in ran
        assert len(server.requests) == before
    assert "asked nothing" in told


def test_the_one_question_that_a_proof_may_ask_is_counted_once(tmp_path: Path) -> None:
    from turnswap.construction.cost import costs

    made = assemble(configured(tmp_path))
    prove = {cost.step: cost for cost in costs(made.pipeline)}["prove"]
    assert (prove.questions, prove.repeated_questions) == (prove.conversations, prove.conversations)
    both = made.pipeline.steps[-1].may_ask(made.pipeline.loaded[0].conversation)  # type: ignore[attr-defined]
    assert [each.task for each in both] == ["reply", "plain_reply"]
