"""What endpoints say beside the text: each shape of an answer, through lm-eval's API models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import SHARED
from turnswap.core.errors import UserError
from turnswap.tasks.multiturn.answers import Answer, read_answer
from turnswap.tasks.multiturn.faults import Fault

from .endpoint import body, evaluate
from .fault_server import FaultServer

pytestmark = pytest.mark.usefixtures("short_pauses")
THOUGHT = "thoughts " * 40
HARMONY = "<|channel|>analysis<|message|>secret<|end|><|start|>assistant<|channel|>final<|message|>TEXT"

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
