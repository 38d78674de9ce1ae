"""One conversation: what the user says, what the model answered, and what of that is the reply.

A *script* is fixed before the run: the user's turns and the system message. A *conversation* is one run of a
script: its history grows by the model's own replies, reasoning set aside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from turnswap.core.settings import read_settings

Message = dict[str, str]
Markers = tuple[tuple[str, str], ...]

THINK: Markers = (("<think>", "</think>"),)


class Reply(str):
    """What the model answered in one turn, reasoning set aside: an ordinary string that knows how it came about.

    Attributes:
        raw: the answer as the model gave it.
        unclosed: a reasoning trace never closed, so that nothing is left to grade.
        truncated: the answer used up its tokens; None where the backend does not let us know.
        overflowing: prompt plus reply did not fit the model's length; None where it is not known.
        absent: there is none: a request of this turn, or of one before it, failed for good.
    """

    raw: str
    unclosed: bool
    truncated: bool | None
    overflowing: bool | None
    absent: bool

    def __new__(
        cls,
        text: str,
        *,
        raw: str | None = None,
        unclosed: bool = False,
        truncated: bool | None = None,
        overflowing: bool | None = None,
        absent: bool = False,
    ) -> Reply:
        """A reply of this text; ``raw`` defaults to it."""
        reply = super().__new__(cls, text)
        reply.raw = text if raw is None else raw
        reply.absent = absent
        reply.unclosed, reply.truncated, reply.overflowing = unclosed, truncated, overflowing
        return reply

    def with_text(self, text: str) -> Reply:
        """Another text (a filter's result) that came about in the same way."""
        about = {name: getattr(self, name) for name in ("raw", "unclosed", "truncated", "overflowing", "absent")}
        return Reply(text, **about)


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def as_text(answer: str) -> str:
    """The answer with U+FFFD in place of every unpaired surrogate.

    JSON can carry half a surrogate pair, and API models hand it on; no tokenizer, hash or file can: lm-eval would
    lose the samples of the whole task.
    """
    return _LONE_SURROGATE.sub("\ufffd", answer)


def set_reasoning_aside(raw: str, markers: Markers, *, prompt: str = "") -> tuple[str, bool]:
    """The answer without its reasoning, and whether a reasoning trace was left open.

    Everything between an opening and its closing marker goes, and so does everything before a closing marker
    that has no opening one: chat templates of reasoning models open the trace in the prompt. Where a trace
    never closes, nothing is left. An answer without markers comes back unchanged.
    """
    text = raw
    for opening, closing in markers:
        if prompt.rstrip().endswith(opening):
            text = opening + text
        if opening not in text and closing not in text:
            continue
        kept = []
        position = 0
        while True:
            start, end = text.find(opening, position), text.find(closing, position)
            if start < 0 and end < 0:
                kept.append(text[position:])
                break
            if end < 0:
                return "", True
            if start < 0 or end < start:  # opened in the prompt
                kept.clear()
            else:
                kept.append(text[position:start])
            position = end + len(closing)
        text = "".join(kept).strip()
    return text, False


def _markers(value: Any) -> Markers:
    if value in (None, False, "none", "None") or value == []:
        return ()
    pairs = [value] if isinstance(value, list) and all(isinstance(item, str) for item in value) else value
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(m, str) and m for m in pair) and pair[0] != pair[1]
        for pair in pairs
    ):
        raise ValueError(
            'expected an opening and a closing marker, such as ["<think>", "</think>"], a list of such pairs, '
            "or none to keep reasoning in the replies"
        )
    return tuple((opening, closing) for opening, closing in pairs)


@dataclass(frozen=True)
class Settings:
    """How conversations are run; from ``--metadata``.

    Attributes:
        prompts: ``chat_template`` (the model's own) or ``plain`` (a ``User:``/``Assistant:`` transcript).
        reasoning_markers: pairs of opening and closing markers; empty to keep everything.
        on_overflow: ``warn`` counts prompts that do not fit and goes on, ``error`` ends the run before it asks.
        schedule: ``auto`` is pipelined for API models and lockstep for engines that run in process.
        open: conversations under way at once in the pipelined schedule; None for its default.
        wave: conversations that go through all their turns before the next ones, in lockstep; None for all.
        max_failed: share of conversations that may fail for good without failing the run.
    """

    prompts: Literal["chat_template", "plain"] = "chat_template"
    reasoning_markers: Annotated[Markers, BeforeValidator(_markers)] = THINK
    on_overflow: Literal["warn", "error"] = "warn"
    schedule: Literal["auto", "pipelined", "lockstep"] = "auto"
    open: Annotated[int, Field(ge=1, strict=True)] | None = None
    wave: Annotated[int, Field(ge=1, strict=True)] | None = None
    max_failed: Annotated[float, Field(ge=0, le=1, strict=True)] = 0.0

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Settings:
        """The settings asked for by ``--metadata``; raises UserError for a value that cannot be used."""
        ours = {name: metadata[name] for name in cls.__dataclass_fields__ if name in metadata}
        # null says nothing, but of reasoning markers that there are none
        asked = {name: value for name, value in ours.items() if value is not None or name == "reasoning_markers"}
        return read_settings(cls, asked, "--metadata")


@dataclass(frozen=True)
class Script:
    """What is fixed before a conversation runs.

    Attributes:
        user_turns: what the user says, turn by turn.
        system: the system message, if any.
        settings: how to run it.
        template_asked_for: whether ``--apply_chat_template`` was given.
        run_facts: what the runner finds out and the results should say; shared by the scripts of a task.
        name: what messages to the user call it.
    """

    user_turns: Sequence[str]
    system: str | None = None
    settings: Settings = field(default_factory=Settings)
    template_asked_for: bool = False
    run_facts: dict[str, Any] = field(default_factory=dict)
    name: str = ""


@dataclass
class Conversation:
    """One run of a script: the requests (prompt and generation settings) and the replies, turn by turn.

    ``failure`` says why the turns after the last reply are missing, where a request failed for good.
    """

    script: Script
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    failure: str | None = None

    def messages(self) -> list[Message]:
        """The conversation up to and including the user's next turn, in the usual chat format."""
        messages = [{"role": "system", "content": self.script.system}] if self.script.system else []
        for user, reply in zip(self.script.user_turns, self.replies, strict=False):
            messages += [{"role": "user", "content": user}, {"role": "assistant", "content": str(reply)}]
        return [*messages, {"role": "user", "content": self.script.user_turns[len(self.replies)]}]

    def has_turn(self, turn: int) -> bool:
        """Whether the script has this turn (counted from 0)."""
        return turn < len(self.script.user_turns)

    def add(
        self,
        prompt: str,
        gen_kwargs: dict[str, Any],
        raw: str,
        *,
        truncated: bool | None = None,
        overflowing: bool | None = None,
    ) -> None:
        """Take the model's answer to ``prompt`` into the history, reasoning set aside."""
        text, unclosed = set_reasoning_aside(raw, self.script.settings.reasoning_markers, prompt=prompt)
        self.requests.append((prompt, gen_kwargs))
        self.replies.append(Reply(text, raw=raw, unclosed=unclosed, truncated=truncated, overflowing=overflowing))
