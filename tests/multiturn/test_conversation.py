from __future__ import annotations

import pickle

import pytest

from turnswap.core.errors import UserError
from turnswap.tasks.multiturn import Reply, Settings
from turnswap.tasks.multiturn.conversation import THINK, Conversation, Script, set_reasoning_aside

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
    ],
)
def test_reasoning_is_set_aside(raw: str, prompt: str, markers: object, text: str, unclosed: bool) -> None:
    assert set_reasoning_aside(raw, markers, prompt=prompt) == (text, unclosed)  # type: ignore[arg-type]


def test_history_holds_the_models_own_replies_without_reasoning() -> None:
    conversation = Conversation(Script(("Hi", "And?", "Bye"), system="Be short."))
    conversation.add("p1", {}, "<think>hm</think>Hello")
    conversation.add("p2", {}, "Nothing")
    assert conversation.messages() == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "And?"},
        {"role": "assistant", "content": "Nothing"},
        {"role": "user", "content": "Bye"},
    ]
    assert conversation.replies[0].raw == "<think>hm</think>Hello"


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
        ({"reasoning_markers": ["same", "same"]}, "expected an opening and a closing marker"),
    ],
)
def test_unusable_settings_are_refused(metadata: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("[", r"\[")):
        Settings.from_metadata(metadata)
