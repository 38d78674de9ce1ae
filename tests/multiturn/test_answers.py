"""What endpoints say beside the text: each shape of an answer, through lm-eval's API models."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from tests.conftest import SHARED, make_row, write_csv
from turnswap.core.errors import UserError
from turnswap.tasks import tasks_path
from turnswap.tasks.multiturn import pipelined
from turnswap.tasks.multiturn.answers import Answer, read_answer
from turnswap.tasks.multiturn.engines.api import ApiEngine, asked_to_wait, refused_parameter
from turnswap.tasks.multiturn.faults import Fault

from .fault_server import FaultServer

THOUGHT = "thoughts " * 40
HARMONY = "<|channel|>analysis<|message|>secret<|end|><|start|>assistant<|channel|>final<|message|>TEXT"


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipelined, "pause", lambda tries: 0.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "data.csv", [make_row(f"{n}:1:en", turns=2) for n in range(2)])


def body(message: dict[str, Any] | None = None, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    """A chat completion; without usage, as some servers send it."""
    return {
        "choices": [{"index": 0, "message": {"role": "assistant"} | (message or {}), "finish_reason": finish}]
    } | more


def evaluate(server: FaultServer, data: Path, concurrency: int = 4, **options: Any) -> Any:
    arguments = {"model": "served", "base_url": server.url, "num_concurrent": concurrency, "max_retries": 2}
    arguments |= options.pop("arguments", {})
    metadata = {"multiif_data": str(data), **options.pop("metadata", {})}
    manager = TaskManager(include_path=str(tasks_path()), include_defaults=False, metadata=metadata)
    model = options.pop("model", "local-chat-completions")
    results: Any = simple_evaluate(
        model, model_args=arguments, tasks=["multiif_en"], task_manager=manager, bootstrap_iters=0, **options
    )
    return results


# Per shape: the body; the reply, its reasoning, and what is said of it beside the text.
SHAPES: dict[str, tuple[dict[str, Any], str, str, set[str]]] = {
    "no index": ({"choices": [{"message": {"content": "TEXT"}, "finish_reason": "stop"}]}, "TEXT", "", set()),
    "text-shaped choice to a chat model": (
        {"choices": [{"index": 0, "text": "TEXT", "finish_reason": "stop"}]},
        "TEXT",
        "",
        set(),
    ),
    "cut at the cap, reasoning apart": (
        body(
            {"content": "Well", "reasoning_content": THOUGHT},
            "length",
            usage={"prompt_tokens": 10, "completion_tokens": 64},
        ),
        "Well",
        THOUGHT,
        {"truncated"},
    ),
    "budget used up by reasoning": (
        body({"content": None, "reasoning_content": THOUGHT}, "length"),
        "",
        THOUGHT,
        {"truncated", "unclosed", "empty"},
    ),
    "the same with an empty string": (
        body({"content": "", "reasoning_content": THOUGHT}, "length"),
        "",
        THOUGHT,
        {"truncated", "unclosed", "empty"},
    ),
    "reasoning under another name": (body({"content": "TEXT", "reasoning": "thoughts"}), "TEXT", "thoughts", set()),
    "parts": (body({"content": [{"type": "text", "text": "TE"}, {"type": "text", "text": "XT"}]}), "TEXT", "", set()),
    "thinking and text parts": (
        body(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "secret"}]},
                    {"type": "text", "text": "TEXT"},
                ]
            }
        ),
        "TEXT",
        "secret",
        set(),
    ),
    "thinking tags": (body({"content": "<thinking>\nsecret\n</thinking>\n\nTEXT"}), "TEXT", "secret", set()),
    "harmony channels": (body({"content": HARMONY}), "TEXT", "secret<|end|><|start|>assistant", set()),
    "bracketed thinking": (body({"content": "[THINK]secret[/THINK]TEXT"}), "TEXT", "secret", set()),
    "refusal field": (
        body({"content": None, "refusal": "I can't help with that."}),
        "I can't help with that.",
        "",
        {"refused"},
    ),
    "content filter, null": (body({"content": None}, "content_filter"), "", "", {"filtered", "empty"}),
    "content filter, empty": (body({"content": ""}, "content_filter"), "", "", {"filtered", "empty"}),
    "tool call without being asked": (
        body(
            {
                "content": None,
                "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            "tool_calls",
        ),
        "",
        "",
        {"empty"},
    ),
}
FAULTS = {"error object in a 200": {"error": {"message": "overloaded", "type": "server_error"}}}
COUNTED = ("truncated", "unclosed", "filtered", "refused", "empty")


@pytest.mark.skipif(not SHARED.exists(), reason="needs ../shared, which a clone does not have")
def test_every_shape_that_is_known_to_us_is_tested() -> None:
    known = {line["name"] for line in json.loads((SHARED / "api_answers.json").read_text("utf-8"))}
    assert known == {*SHAPES, *FAULTS}


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("name", SHAPES)
def test_an_answer_of_any_shape_is_understood(data: Path, name: str, concurrency: int) -> None:
    answer, text, reasoning, flags = SHAPES[name]
    with FaultServer(reply=lambda messages: answer) as server:
        results = evaluate(server, data, concurrency)
        assert len(server.requests) == 4  # nothing is tried again
        second = [record.messages for record in server.requests if record.turn == 1]
    assert [[m["content"] for m in messages if m["role"] == "assistant"] for messages in second] == [[text]] * 2
    assert all("secret" not in json.dumps(messages) and "thoughts" not in json.dumps(messages) for messages in second)
    for sample in results["samples"]["multiif_en"]:
        for reply in sample["filtered_resps"]:
            assert (str(reply), reply.reasoning.strip()) == (text, reasoning.strip())
            assert {flag for flag in COUNTED if getattr(reply, flag)} == flags
    figures = results["results"]["multiif_en"]
    for flag in COUNTED:
        assert [figures[f"turn{turn}_{flag},none"] for turn in (1, 2)] == [2 * (flag in flags)] * 2, flag


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize("name", FAULTS)
def test_what_is_no_answer_is_tried_again_and_never_graded(data: Path, name: str, concurrency: int) -> None:
    first = iter([True])
    with FaultServer(
        reply=lambda messages: FAULTS[name] if next(first, False) else body({"content": "TEXT"})
    ) as server:
        results = evaluate(server, data, concurrency)
        assert len(server.requests) == 5
    assert [s["filtered_resps"] for s in results["samples"]["multiif_en"]] == [["TEXT", "TEXT"]] * 2
    with FaultServer(reply=lambda messages: FAULTS[name]) as server, pytest.raises(UserError, match="overloaded"):
        evaluate(server, data, concurrency)


@pytest.mark.parametrize("kept", ["cache", "first run"])
def test_what_was_said_beside_the_text_outlives_the_run(data: Path, tmp_path: Path, kept: str) -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 64, "completion_tokens_details": {"reasoning_tokens": 60}}
    answer = body({"content": "Well", "reasoning_content": THOUGHT}, "length", usage=usage)
    with FaultServer(reply=lambda messages: answer) as server:
        for _ in range(1 + (kept == "cache")):
            results = evaluate(server, data, use_cache=str(tmp_path / "cache"))
        assert len(server.requests) == 4
    for sample in results["samples"]["multiif_en"]:
        for arguments in sample["arguments"]:
            (said,) = arguments[2]["answers"]
            assert said.pop("seconds") >= 0
            assert said == {
                "finish_reason": "length", "reasoning": THOUGHT, "reasoning_field": "reasoning_content",
                "prompt_tokens": 10, "completion_tokens": 64, "reasoning_tokens": 60,
            }  # fmt: skip


def test_tokens_and_cost_stand_in_the_samples_by_turn_and_in_the_results_as_totals(data: Path) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 500, "completion_tokens_details": {"reasoning_tokens": 400}}
    price = {"prompt": 2, "completion": 10}  # per million
    with FaultServer(reply=lambda messages: body({"content": "TEXT"}, usage=usage)) as server:
        results = evaluate(server, data, metadata={"price": price})
    for sample in results["samples"]["multiif_en"]:
        costs = [arguments[2]["answers"][0]["cost"] for arguments in sample["arguments"]]
        assert costs == [pytest.approx(0.007)] * 2
        assert sample["completion_tokens"] == 1000
    figures = results["results"]["multiif_en"]
    told = ("prompt_tokens", "completion_tokens", "reasoning_tokens")
    assert [figures[f"{name},none"] for name in told] == [4000, 2000, 1600]
    assert figures["cost,none"] == pytest.approx(0.028)
    assert figures["seconds,none"] > 0


@pytest.mark.parametrize(
    ("answer", "cap", "truncated"),
    [
        (Answer("x", finish_reason="stop", completion_tokens=64), 64, False),  # the reason decides
        (Answer("x", finish_reason="length", completion_tokens=3), 64, True),
        (Answer("x", finish_reason="max_tokens"), 64, True),
        (Answer("x", completion_tokens=64), 64, True),
        (Answer("x", completion_tokens=63), 64, False),
        (Answer("x"), 64, None),
        (Answer("x", completion_tokens=63), None, None),
    ],
)
def test_the_finish_reason_decides_about_truncation_and_then_the_tokens(
    answer: Answer, cap: int | None, truncated: bool | None
) -> None:
    assert answer.truncated(cap) is truncated


def test_bodies_of_other_apis_are_read() -> None:
    anthropic = {
        "type": "message", "stop_reason": "max_tokens", "usage": {"input_tokens": 3, "output_tokens": 7},
        "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "TEXT"}],
    }  # fmt: skip
    answer = read_answer(anthropic)
    assert (answer.text, answer.reasoning, answer.truncated(None)) == ("TEXT", "hm", True)
    assert (answer.prompt_tokens, answer.completion_tokens) == (3, 7)
    sglang = {
        "text": "TEXT",
        "meta_info": {"finish_reason": {"type": "length"}, "prompt_tokens": 3, "completion_tokens": 7},
    }
    answer = read_answer(sglang)
    assert (answer.text, answer.truncated(None), answer.completion_tokens) == ("TEXT", True, 7)


@pytest.mark.parametrize(
    "odd",
    [
        body({"content": "TEXT"}, usage=[1]),
        body({"content": "TEXT"}, finish={"type": "stop"}),  # type: ignore[arg-type]
        {"text": "TEXT", "meta_info": {"finish_reason": "length"}},
        body({"content": "TEXT", "reasoning": ["a", {"type": "text", "text": "b"}]}, usage={"completion_tokens": "9"}),
    ],
)
def test_an_odd_body_that_holds_a_text_is_read(odd: Any) -> None:
    assert read_answer(odd).text == "TEXT"


@pytest.mark.parametrize(
    "nothing",
    [None, [], {}, {"choices": []}, {"choices": [None]}, {"choices": [{}]}, body({}), body({"content": None})],
)
def test_nothing_is_not_taken_for_an_empty_reply(nothing: Any) -> None:
    with pytest.raises(Fault) as fault:
        read_answer(nothing)
    assert fault.value.may_pass


def test_an_anthropic_model_is_asked_in_messages(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "k")
    answer = {"type": "message", "stop_reason": "end_turn", "content": [{"type": "text", "text": "TEXT"}]}
    with FaultServer(reply=lambda messages: answer) as server:
        results = evaluate(server, data, model="anthropic-chat-completions")
    assert results["samples"]["multiif_en"][0]["filtered_resps"] == ["TEXT", "TEXT"]


# ---------------------------------------------------------------------------- what a server does not take


def refusing(parameter: str, error: Any, status: int = 400) -> Callable[[dict[str, Any]], Any]:
    return lambda asked: (status, {}, error) if parameter in asked else None


REFUSED = {
    "seed": {"error": {"message": "Unrecognized request argument supplied: seed", "type": "invalid_request_error"}},
    "stop": {"error": {"message": "Unsupported parameter: 'stop' is not supported with this model.", "param": "stop"}},
    "temperature": {
        "error": {
            "message": "Unsupported value: 'temperature' does not support 0 with this model.",
            "param": "temperature",
            "code": "unsupported_value",
        }
    },
    "max_tokens": {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs"}]},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_parameter_that_is_refused_by_name_is_left_out_said_once_and_recorded(
    data: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with FaultServer(refuse=refusing(name, REFUSED[name])) as server:
        results = evaluate(server, data, 1, gen_kwargs={"until": ["\nUser:"]})
        assert len(server.requests) == 5
    assert sum(f"The server refuses {name}" in record.getMessage() for record in caplog.records) == 1
    assert results["configs"]["multiif_en"]["metadata"]["run"]["dropped_parameters"] == {name: ""}


def test_a_cap_is_sent_under_the_name_that_the_server_wants(data: Path) -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
    with FaultServer(refuse=refusing("max_tokens", {"error": {"message": said, "param": "max_tokens"}})) as server:
        results = evaluate(server, data, 1)
        assert [record.max_tokens for record in server.requests[1:]] == [2048] * 4
    facts = results["configs"]["multiif_en"]["metadata"]["run"]
    assert facts["dropped_parameters"] == {"max_tokens": "max_completion_tokens"}


@pytest.mark.parametrize(
    "words",
    [
        "'max_tokens' is too large: 2048. This model's maximum context length is 4096 tokens.",
        "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens. Reduce max_tokens.",
        "temperature must be between 0 and 1.",
    ],
)
def test_a_value_that_is_refused_is_no_name_that_is_refused(words: str) -> None:
    payload = {"max_tokens": 2048, "temperature": 0, "seed": 1}
    assert refused_parameter({"error": {"message": words}}, words, payload) is None


def test_an_empty_stop_list_is_not_sent(data: Path) -> None:
    with FaultServer() as server:
        evaluate(server, data)
        assert {record.stop for record in server.requests} == {None}


# ------------------------------------------------------------------------------------- asked to wait


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"Retry-After": "9999"}, 300),
        ({"Retry-After": "soon"}, 0),
        ({"Retry-After": "-3"}, 0),
        ({}, 0),
    ],
)
def test_a_server_says_how_long_to_wait(headers: dict[str, str], seconds: float) -> None:
    assert asked_to_wait(headers) == seconds


def test_a_server_may_say_until_when_to_wait() -> None:
    until = datetime.now(UTC) + timedelta(seconds=60)
    assert asked_to_wait({"Retry-After": format_datetime(until, usegmt=True)}) == pytest.approx(60, abs=3)
    past = datetime.now(UTC) - timedelta(seconds=60)
    assert asked_to_wait({"Retry-After": format_datetime(past, usegmt=True)}) == 0


def test_being_asked_too_often_uses_up_no_try_and_fewer_are_sent_at_once(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data.csv", [make_row(f"{n}:1:en") for n in range(24)])
    most_at_once = []
    with FaultServer({"latency_median": 0.05, "sigma": 0}) as server:
        # A server that takes four at once.
        def refuse(body: Any) -> Any:
            if server._in_flight >= 4 and len(server.requests) < 60:
                return 429, {"retry-after-ms": "20"}, {"error": {"message": "Rate limit reached."}}
            return None

        server.refuse = refuse
        results = evaluate(server, data, 12, arguments={"max_retries": 1})
        most_at_once = [record.in_flight for record in server.requests]
    assert results["results"]["multiif_en"]["turn3_failed,none"] == 0
    assert max(most_at_once[:12]) > 6
    assert max(most_at_once[20:60]) <= 6


@pytest.mark.parametrize(
    "words",
    [
        "Rate limit reached. Please try again in 0.1s. Need more tokens? Visit https://console/settings/billing",
        "You exceeded your current quota, please check your plan and billing details. Please retry in 0.1s.",
    ],
)
def test_a_limit_that_passes_is_waited_for_whatever_it_says_of_billing(data: Path, words: str) -> None:
    first = iter([True] * 3)

    def refuse(asked: Any) -> Any:
        return (429, {"retry-after": "0.1"}, {"error": {"message": words}}) if next(first, False) else None

    with FaultServer(refuse=refuse) as server:
        results = evaluate(server, data, arguments={"max_retries": 1})
    assert results["results"]["multiif_en"]["turn2_failed,none"] == 0


def test_whom_a_server_asks_to_wait_everybody_waits(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data.csv", [make_row(f"{n}:1:en") for n in range(12)])
    first = iter([True])

    def refuse(asked: Any) -> Any:
        return (429, {"retry-after": "2"}, {"error": {"message": "Slow down."}}) if next(first, False) else None

    with FaultServer({"latency_median": 0.05, "sigma": 0}, refuse=refuse) as server:
        evaluate(server, data, 4)
        arrived = [record.arrived for record in server.requests]
    assert not [
        moment for moment in arrived if arrived[0] + 1 < moment < arrived[0] + 2
    ]  # what was under way came before


def test_an_account_that_is_used_up_is_not_waited_for(data: Path) -> None:
    said = {"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}
    with FaultServer(refuse=lambda asked: (429, {}, said)) as server, pytest.raises(UserError) as failed:
        evaluate(server, data)
    assert len(server.requests) == 2
    assert "You exceeded your current quota." in str(failed.value)


def test_what_cannot_pass_is_not_advised_to_be_tried_again(data: Path) -> None:
    said = {"error": {"message": "The model `served` does not exist."}}
    with FaultServer(refuse=lambda asked: (404, {}, said)) as server, pytest.raises(UserError) as failed:
        evaluate(server, data)
    assert len(server.requests) == 2
    assert "HTTP 404, 2 times; first multiif_en 0:1:en, turn 1: The model `served` does not exist." in str(failed.value)
    assert "Run the same command again" not in str(failed.value)
    assert "mend the cause first" in str(failed.value)


# --------------------------------------------------------------------------------- asked once, kept


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
    assert sum("Most answers open with <reasoning>" in record.getMessage() for record in caplog.records) == 1


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


def test_a_missing_key_is_said_without_a_traceback(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with FaultServer() as server, pytest.raises(UserError, match="OPENAI_API_KEY"):
        evaluate(server, data, model="openai-chat-completions", arguments={"model": "gpt-4o-mini"})


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
