from __future__ import annotations

import pickle

import pytest

from turnswap.core.errors import UserError
from turnswap.tasks.multiturn import Reply, Settings
from turnswap.tasks.multiturn.answers import Answer
from turnswap.tasks.multiturn.conversation import Conversation, Script
from turnswap.tasks.multiturn.reasoning import KNOWN, THINK, set_reasoning_aside, unknown_tags
from turnswap.tasks.multiturn.settings import Price

ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
TWO = (*THINK, ("[T]", "[/T]"))


@pytest.mark.parametrize(
    ("raw", "prompt", "markers", "text", "unclosed"),
    [
        ("  as it is \n", "", THINK, "  as it is \n", False),
        ("<think>why</think>\n\nBecause.", "", THINK, "Because.", False),
        ("<think></think>Yes", "", THINK, "Yes", False),
        ("A <think>x</think> B <think>y</think> C", "", THINK, "A  B  C", False),
        ("<think>for ever", "", THINK, "", True),
        ("Answer first <think>then on and on", "", THINK, "", True),
        ("<think>one</think> two <think>three", "", THINK, "", True),
        ("opened by the template</think>Yes", "", THINK, "Yes", False),  # the template's prompt ends in <think>
        ("opened by the template</think>Yes", "…<think>\n", THINK, "Yes", False),
        ("opened by the template, never closed", "…<think>\n", THINK, "", True),
        ("<think>why</think>Because.", "", (), "<think>why</think>Because.", False),
        ("[T]why[/T]Because <b>.", "", (("[T]", "[/T]"),), "Because <b>.", False),
        ("<think>why[T]</think>Because.[T]x[/T]", "", TWO, "Because.", False),
        ("", "", THINK, "", False),
        ("<thinking>\nsecret\n</thinking>\n\nTEXT", "", KNOWN, "TEXT", False),
        ("[THINK]secret[/THINK]TEXT", "", KNOWN, "TEXT", False),
        ("[THINK]secret", "", KNOWN, "", True),
        (f"{ANALYSIS}secret<|end|><|start|>assistant{FINAL}TEXT", "", KNOWN, "TEXT", False),
        (f"{ANALYSIS}secret<|end|><|start|>assistant{FINAL}TEXT<|return|>", "", KNOWN, "TEXT", False),
        (f"{FINAL}TEXT", "", KNOWN, "TEXT", False),
        (f"{ANALYSIS}secret, on and on", "", KNOWN, "", True),
        ("analysisThe user asks.assistantfinalTEXT", "", KNOWN, "TEXT", False),  # without its special tokens
        ("analysisThe user asks, on and on", "", KNOWN, "", True),
        ("In HTML, <thinking> is no tag. Use <div>.", "", KNOWN, "In HTML, <thinking> is no tag. Use <div>.", False),
        ("Say [THINK] aloud.", "", KNOWN, "Say [THINK] aloud.", False),
        ("analysis of the assistantfinal exam", "", KNOWN, "analysis of the assistantfinal exam", False),
    ],
)
def test_reasoning_is_set_aside(raw: str, prompt: str, markers: object, text: str, unclosed: bool) -> None:
    split = set_reasoning_aside(raw, markers, prompt=prompt)  # type: ignore[arg-type]
    assert (split.text, split.unclosed) == (text, unclosed)


@pytest.mark.parametrize(
    ("raw", "prompt", "reasoning"),
    [
        ("<think>why</think>Because.", "", "why"),
        ("opened by the template</think>Yes", "…<think>\n", "opened by the template"),
        ("opened by the template</think>Yes", "", "opened by the template"),
        ("A <think>x</think> B <think>y</think> C", "", "x\ny"),
        ("<think>for ever", "", "for ever"),
        (f"{ANALYSIS}secret<|end|><|start|>assistant{FINAL}TEXT", "", "secret<|end|><|start|>assistant"),
        ("none", "", ""),
    ],
)
def test_what_is_set_aside_is_kept(raw: str, prompt: str, reasoning: str) -> None:
    assert set_reasoning_aside(raw, KNOWN, prompt=prompt).reasoning == reasoning


@pytest.mark.parametrize(
    ("answers", "tag"),
    [
        (["<reasoning>a</reasoning>b", "<reasoning>a</reasoning>b", "c"], "<reasoning>"),
        (["[REASON]a[/REASON]b"], "[REASON]"),
        (["<reasoning>a</reasoning>b", "b", "c"], None),  # not most of them
        (["<think>a</think>b"], None),
        (["<p> is a tag", "<p> is a tag"], None),  # no pair
        ([], None),
    ],
)
def test_tags_that_open_most_answers_and_are_not_known_are_found(answers: list[str], tag: str | None) -> None:
    assert unknown_tags(answers, KNOWN) == tag


def test_history_holds_the_models_own_replies_without_reasoning() -> None:
    conversation = Conversation(Script(("Hi", "And?", "Bye"), system="Be short."))
    conversation.add("p1", {}, Answer("<think>hm</think>Hello"))
    conversation.add("p2", {}, Answer("Nothing"))
    assert conversation.messages() == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "Nothing"},
        {"role": "user", "content": "Bye"},
    ]
    assert conversation.replies[0].raw == "<think>hm</think>Hello"


def test_reasoning_is_sent_back_only_where_asked_for() -> None:
    conversation = Conversation(Script(("Hi", "And?"), settings=Settings(reasoning_in_history=True)))
    conversation.add("p1", {}, Answer("Hello", reasoning="hm", reasoning_field="reasoning"))
    assert conversation.messages()[1] == {"role": "assistant", "content": "Hello", "reasoning": "hm"}
    conversation = Conversation(Script(("Hi", "And?"), settings=Settings(reasoning_in_history=True)))
    conversation.add("p1", {}, Answer("<think>hm</think>Hello"))
    assert conversation.messages()[1] == {"role": "assistant", "content": "<think>hm</think>Hello"}
    assert conversation.replies[0] == "Hello"


def test_a_price_gives_each_reply_its_cost_where_its_tokens_are_known() -> None:
    script = Script(("Hi", "And?"), settings=Settings(price=Price(prompt=10, completion=30)))
    conversation = Conversation(script)
    conversation.add("p", {}, Answer("Hello", prompt_tokens=100, completion_tokens=50))
    conversation.add("p", {}, Answer("Hello"))
    assert [reply.cost for reply in conversation.replies] == [pytest.approx(0.0025), None]


def test_a_reply_survives_pickling() -> None:  # samples are gathered from all ranks
    reply = pickle.loads(pickle.dumps(Reply("text", raw="raw", unclosed=True, truncated=False, overflowing=None)))
    assert (reply, reply.raw, reply.unclosed, reply.truncated, reply.overflowing) == ("text", "raw", True, False, None)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, Settings()),
        ({"pretrained": "x", "prompts": "plain"}, Settings(prompts="plain")),
        ({"on_overflow": "error"}, Settings(on_overflow="error")),
        ({"reasoning_markers": "none"}, Settings(reasoning_markers=())),
        ({"reasoning_markers": False}, Settings(reasoning_markers=())),
        ({"reasoning_markers": ["[T]", "[/T]"]}, Settings(reasoning_markers=(("[T]", "[/T]"),))),
        ({"reasoning_markers": "known"}, Settings(reasoning_markers=KNOWN)),
        ({"price": {"prompt": 1, "completion": 2.5}}, Settings(price=Price(1, 2.5))),
        ({"max_length": 99, "model": "m", "num_concurrent": 4, "reasoning_parser": "qwen3"}, Settings()),  # not ours
        ({"reasoning_markers": [["a", "b"], ["c", "d"]]}, Settings(reasoning_markers=(("a", "b"), ("c", "d")))),
    ],
)
def test_settings_come_from_the_metadata(metadata: dict[str, object], expected: Settings) -> None:
    assert Settings.from_metadata(metadata) == expected


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"prompts": "simple"}, "prompts cannot be 'simple': Input should be 'chat_template' or 'plain'"),
        ({"on_overflow": True}, "on_overflow cannot be True: Input should be 'warn' or 'error'"),
        ({"reasoning_markers": "<think>"}, "expected an opening and a closing marker"),
        ({"reasoning_markers": ["only one"]}, "expected an opening and a closing marker"),
        ({"open": True}, "open cannot be True: Input should be a valid integer"),
        ({"wave": 0}, "wave cannot be 0: Input should be greater than or equal to 1"),
        ({"max_failed": 1.5}, "max_failed cannot be 1.5: Input should be less than or equal to 1"),
        ({"reasoning_marker": ["a", "b"]}, "reasoning_marker is no setting. Write reasoning_markers."),
        ({"max-failed": 0.1}, "max-failed is no setting. Write max_failed."),
        ({"verdict": "both"}, "verdict is no setting. Write verdicts."),
        ({"price": {"prompt": 1}}, "price.completion"),
        ({"price": {"input": 1, "output": 1}}, "price.input is no setting"),
        ({"reasoning_markers": ["same", "same"]}, "expected an opening and a closing marker"),
    ],
)
def test_unusable_settings_are_refused(metadata: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        Settings.from_metadata(metadata, {"verdicts"})
