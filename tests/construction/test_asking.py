"""A whole build with a server: what is refused, asked again, moved, killed, estimated, and evaluated in the end."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from turnswap.construction.llm import LLM, LLMSettings, read_prompt
from turnswap.construction.pipeline import Count
from turnswap.construction.records import digest
from turnswap.construction.steps import Build, assemble
from turnswap.core.errors import UserError
from turnswap.core.journal import read_jsonl

from ..conftest import BIN, REPOSITORY, Command, Turnswap
from ..multiturn.conftest import short_pauses  # noqa: F401
from ..multiturn.fault_server import FaultServer
from .test_sw_ko import configured

RECORDING = REPOSITORY / "configs" / "build_sw_ko" / "recording.jsonl"
QUESTIONS = 2 + 21 + 4 * 21 - 2 + 41  # extend, conflicts, translate (of one conversation not into Korean), filter
Body = dict[str, Any]
Refusal = tuple[int, dict[str, str], Any]


@pytest.fixture(autouse=True)
def _at_the_root_of_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    return {digest(line["input"]): json.dumps(line["answer"], ensure_ascii=False) for line in read_jsonl(RECORDING)}


def asked_of(body: Body) -> dict[str, Any]:
    return read_prompt(body["messages"][-1]["content"])


Serving = Callable[..., FaultServer]


@pytest.fixture
def serving(answers: dict[str, str]) -> Serving:
    """A server that answers from the example's recording, but what it refuses."""

    def make(refuse: Callable[[Body], Refusal | None] = lambda body: None, **config: Any) -> FaultServer:
        def reply(messages: Any) -> Any:
            return answers[digest(read_prompt(messages[-1]["content"]))]

        return FaultServer(config, reply=reply, refuse=refuse)

    return make


def asked(server: FaultServer) -> list[str]:
    return [record.conversation for record in server.requests]


def built(folder: Path, server: FaultServer, last: str = "filter", **llm: Any) -> tuple[Build, list[Count]]:
    made = assemble(config(folder, server, **llm))
    return made, list(made.pipeline.run(last, llm.get("redo")))


def config(folder: Path, server: FaultServer, *, redo: str | None = None, **llm: Any) -> Path:
    args = {"base_url": server.url, "model": "served", "num_concurrent": 8, "max_retries": 2}
    args |= llm.pop("model_args", {})
    return configured(folder, llm={"model": "local-chat-completions", "model_args": args, **llm})


def also(path: Path, **sections: Any) -> Path:
    """The YAML with other sections."""
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text("utf-8")) | sections), "utf-8")
    return path


def reasons(made: Build, step: str) -> dict[str, str]:
    return {each.conversation.key: each.reason for each in made.pipeline.outcomes(step) if each.reason is not None}


def refusing(*keys: str, task: str = "find_conflict", words: str = "Against our policy.") -> Any:
    """Refuses the questions of a task that hold one of some texts."""

    def refuse(body: Body) -> Refusal | None:
        told = asked_of(body)
        if told["task"] == task and any(key in json.dumps(told) for key in keys):
            return 400, {}, {"error": {"message": words}}
        return None

    return refuse


def test_a_refused_request_rejects_its_conversation_alone_and_is_asked_again_only_on_request(
    tmp_path: Path, serving: Serving
) -> None:
    with serving(refusing("guitar")) as server:
        made, counts = built(tmp_path, server, "conflicts")
        assert (counts[-1].kept, counts[-1].rejected) == (20, 1)
        ((key, reason),) = reasons(made, "conflicts").items()
        assert key == "guitar"
        assert reason == "the LLM gave no answer: HTTP 400: Against our policy."
        before = len(server.requests)
        assert built(tmp_path, server, "conflicts")[1][-1].done_now == 0
        assert len(server.requests) == before
    with serving() as server:
        _, counts = built(tmp_path, server, "conflicts", redo="failed")
        assert (counts[-1].kept, counts[-1].done_now) == (21, 1)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"message": {"role": "assistant", "content": None}, "finish_reason": "content_filter"}, "content filter"),
        ({"message": {"role": "assistant", "content": None, "refusal": "No."}}, "the model refused: No."),
        ({"message": {"role": "assistant", "content": ""}, "finish_reason": "length"}, "it has no text, and used up"),
    ],
)
def test_an_answer_without_a_text_is_a_refusal_that_is_not_kept(
    tmp_path: Path, serving: Serving, choice: Body, words: str
) -> None:
    def refuse(body: Body) -> Refusal | None:
        return (200, {}, {"choices": [choice]}) if refusing("guitar")(body) else None

    with serving(refuse) as server:
        made, _ = built(tmp_path, server, "conflicts")
        assert words in reasons(made, "conflicts")["guitar"]
        assert sum("guitar" in each for each in asked(server)) == 1  # not repeated as a poor answer is
    with serving() as server:
        assert built(tmp_path, server, "conflicts", redo="failed")[1][-1].kept == 21


@pytest.mark.parametrize("most", [0, 2, 0.1])
def test_too_many_refusals_end_the_run_and_nothing_is_lost(tmp_path: Path, serving: Serving, most: float) -> None:
    some = ("guitar", "eclipse", "farewell")
    with serving(refusing(*some)) as server:
        with pytest.raises(UserError, match="conflicts: too many requests failed") as raised:
            built(tmp_path, server, "conflicts", max_failed=most)
        assert "HTTP 400" in raised.value.message
        assert f"now {most}" in raised.value.advice
        answered = {record.conversation for record in server.requests if record.status == 200}
    with serving() as server:
        _, counts = built(tmp_path, server, "conflicts", max_failed=most)
        assert counts[-1].kept == 21
        assert not answered & set(asked(server))


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


def test_a_step_made_anew_asks_anew_and_the_steps_after_it_only_what_is_new(tmp_path: Path, serving: Serving) -> None:
    with serving() as server:
        built(tmp_path, server)
    with serving() as server:
        _, counts = built(tmp_path, server, redo="translate")
        assert {json.loads(each.rpartition("INPUT:\n")[2])["task"] for each in asked(server)} == {"translate"}
        assert len(server.requests) == 82
        assert counts[-1].kept == 41
    assert (tmp_path / "steps" / "4-translate.previous").exists()
    assert [path.name[:10] for path in (tmp_path / "steps" / "llm-answers").glob("*.previous")] == ["translate-"]


def test_a_redo_that_stops_keeps_all_answers_and_goes_on_without_redo(tmp_path: Path, serving: Serving) -> None:
    answers_of = "steps/llm-answers/translate-*"
    with serving() as server:
        built(tmp_path, server, "translate")
        (cache,) = tmp_path.glob(answers_of)
        whole = cache.stat().st_size
    with serving(refusing("", task="translate")) as server:
        for _ in range(2):  # the second one has answers of the first one to keep
            with pytest.raises(UserError) as raised:
                built(tmp_path, server, "translate", redo="translate", max_failed=0, model_args={"num_concurrent": 1})
            assert "run it again without --redo" in raised.value.advice
    assert cache.with_suffix(".previous").stat().st_size == whole
    with serving() as server:
        assert built(tmp_path, server, "translate")[1][-1].kept == 41
        assert len(server.requests) == 82


@pytest.mark.parametrize("redo", ["prove", "release"])
def test_a_redo_behind_the_last_step_is_refused_before_anything_is_touched(
    tmp_path: Path, turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch, redo: str
) -> None:
    monkeypatch.chdir(REPOSITORY)
    path = configured(tmp_path)
    assert turnswap("build", "run", path, "--last", "translate").exit_code == 0
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "steps").rglob("*")}
    for more in ([], ["--dry-run"]):
        ran = turnswap("build", "run", path, "--redo", redo, "--last", "translate", *more)
        assert ran.exit_code != 0
        assert f"The step {redo} cannot be made anew" in str(ran.exception or ran.output) + ran.output
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "steps").rglob("*")} == before


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


def test_the_bar_names_the_step(tmp_path: Path, serving: Serving, capfd: pytest.CaptureFixture[str]) -> None:
    with serving() as server:
        built(tmp_path, server, "translate")
    shown = capfd.readouterr().err
    for name, number in (("extend", 2), ("conflicts", 21), ("translate", 82)):
        assert f"{name}: 100%" in shown
        assert f"{number}/{number}" in shown


@pytest.mark.slow
def test_the_last_line_is_a_command_that_evaluates(
    tmp_path: Path, run_command: Command, tiny_model: Path, turnswap: Turnswap
) -> None:
    os.chdir(REPOSITORY)
    (tmp_path / "a b").mkdir()
    result = turnswap("build", "run", configured(tmp_path / "a b"))
    assert result.exit_code == 0, result.output
    assert "turnswap demo-model DIR" in result.output
    command = shlex.split(result.output.splitlines()[-1])
    assert command[:2] == ["lm_eval", "run"]
    small = command.index("pretrained=HuggingFaceTB/SmolLM2-135M-Instruct")
    command[small] = f"pretrained={tiny_model}"  # the one thing that needs a network
    command[command.index("results")] = str(tmp_path / "results")
    done = run_command(BIN / command[0], *command[1:], "--limit", "1", "--gen_kwargs", "max_gen_toks=8")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "everyday_sw" in done.stdout
    assert "sw: 1 of 21 conversations were run" in turnswap("report", str(tmp_path / "results")).output


def test_the_last_line_names_the_model_of_the_yaml_without_its_secrets(tmp_path: Path, serving: Serving) -> None:
    from turnswap.construction.release import evaluation
    from turnswap.construction.steps import read_build

    with serving() as server:
        path = config(tmp_path, server, model_args={"header": {"Authorization": "Bearer secret"}})
        told = evaluation(read_build(path))
    words = shlex.split(told)
    assert words[words.index("--model") + 1] == "local-chat-completions"
    assert {f"base_url={server.url}", "model=served"} <= {*words[words.index("--model_args") :]}
    assert "secret" not in told
    assert words[-3:] == ["--output_path", "results", "--log_samples"]


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


def test_failed_requests_are_told_one_a_line_by_what_was_asked(tmp_path: Path, serving: Serving) -> None:
    def refuse(body: Body) -> Refusal | None:
        return 400, {}, {"error": {"message": "Against our policy."}}

    with serving(refuse) as server:
        path = also(config(tmp_path, server, max_failed=1), extend={"words": "topic"})
        with pytest.raises(UserError) as raised:
            list(assemble(path).pipeline.run("extend"))
    head, *lines = raised.value.message.splitlines()
    assert head == "extend: too many requests failed, 2 so far:"
    assert len(lines) == 2
    for line in lines:
        assert line.endswith(": HTTP 400: Against our policy.")
        assert " (words by the topic): " in line or " (request of turn " in line
