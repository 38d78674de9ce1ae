"""One conversation: what the user says, what the model answered, and what of that is the reply.

A *script* is fixed before the run: the user's turns and the system message. A *conversation* is one run of a
script: its history grows by the model's own replies, reasoning set aside.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from .answers import Answer
from .reasoning import set_reasoning_aside
from .settings import Settings

Message = dict[str, str]
DEFAULT_SEED = 1234  # lm-eval's


class Reply(str):
    """What the model answered in one turn, reasoning set aside: an ordinary string that knows how it came about.

    Attributes:
        answer: the answer as the backend gave it, with its finish reason and its tokens.
        reasoning: what was set aside.
        unclosed: a reasoning trace never closed, so that nothing is left to grade.
        truncated: the answer used up its tokens; None where the backend does not let us know.
        overflowing: prompt plus reply did not fit the model's length; None where it is not known.
        absent: there is none: a request of this turn, or of one before it, failed for good.
        cost: by ``--metadata`` price; None without one, or where the tokens are not known.
    """

    answer: Answer
    reasoning: str
    unclosed: bool
    truncated: bool | None
    overflowing: bool | None
    absent: bool
    cost: float | None

    def __new__(
        cls,
        text: str,
        *,
        raw: str | None = None,
        answer: Answer | None = None,
        reasoning: str = "",
        unclosed: bool = False,
        truncated: bool | None = None,
        overflowing: bool | None = None,
        absent: bool = False,
        cost: float | None = None,
    ) -> Reply:
        """A reply of this text; ``raw`` is the answer's text where there is no more to it, by default the reply's."""
        reply = super().__new__(cls, text)
        reply.answer = answer or Answer(text if raw is None else raw)
        reply.reasoning, reply.absent, reply.cost = reasoning, absent, cost
        reply.unclosed, reply.truncated, reply.overflowing = unclosed, truncated, overflowing
        return reply

    @property
    def raw(self) -> str:
        """The answer's text as the model gave it."""
        return self.answer.text

    @property
    def filtered(self) -> bool:
        """The endpoint's content filter held it back."""
        return self.answer.filtered

    @property
    def refused(self) -> bool:
        """The model refused, and the endpoint says so beside the text."""
        return self.answer.refused

    @property
    def empty(self) -> bool:
        """There is a reply, but nothing in it."""
        return not self.absent and not self.strip()

    @property
    def completed(self) -> bool | None:
        """Neither truncated nor unclosed; None where the backend does not let us know."""
        return False if self.unclosed else None if self.truncated is None else not self.truncated

    def with_text(self, text: str) -> Reply:
        """Another text (a filter's result) that came about in the same way."""
        reply = Reply(text)
        reply.__dict__.update(self.__dict__)
        return reply


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def as_text(answer: str) -> str:
    """The answer with U+FFFD in place of every unpaired surrogate.

    JSON can carry half a surrogate pair, and API models hand it on; no tokenizer, hash or file can: lm-eval would
    lose the samples of the whole task.
    """
    return _LONE_SURROGATE.sub("\ufffd", answer)


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
        seed: what the first repeat's sampling starts from.
    """

    user_turns: Sequence[str]
    system: str | None = None
    settings: Settings = field(default_factory=Settings)
    template_asked_for: bool = False
    run_facts: dict[str, Any] = field(default_factory=dict)
    name: str = ""
    seed: int = DEFAULT_SEED


@dataclass
class Conversation:
    """One run of a script: the requests (prompt and generation settings) and the replies, turn by turn.

    Attributes:
        gen_kwargs: the settings to generate with, per turn.
        repeat: which of a script's conversations it is, counted from 0.
        seed: what a sampling backend starts from; each repeat has its own.
        failure: why the turns after the last reply are missing, where a request failed for good.
    """

    script: Script
    gen_kwargs: Sequence[dict[str, Any]] = ()
    repeat: int = 0
    seed: int = DEFAULT_SEED
    requests: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    failure: str | None = None

    def messages(self) -> list[Message]:
        """The conversation up to and including the user's next turn, in the usual chat format.

        Reasoning is left out of it, but where ``reasoning_in_history`` asks for it: then an answer stands there as it
        came, with the reasoning under the backend's own name for it.
        """
        messages = [{"role": "system", "content": self.script.system}] if self.script.system else []
        for user, reply in zip(self.script.user_turns, self.replies, strict=False):
            said = {"role": "assistant", "content": str(reply)}
            if self.script.settings.reasoning_in_history:
                said["content"] = reply.raw
                if reply.answer.reasoning:
                    said[reply.answer.reasoning_field] = reply.answer.reasoning
            messages += [{"role": "user", "content": user}, said]
        return [*messages, {"role": "user", "content": self.script.user_turns[self.turn]}]

    @property
    def turn(self) -> int:
        """The turn to ask for next, counted from 0."""
        return len(self.replies)

    @property
    def finished(self) -> bool:
        """Whether every turn has its reply."""
        return not self.has_turn(self.turn)

    def has_turn(self, turn: int) -> bool:
        """Whether the script has this turn (counted from 0)."""
        return turn < len(self.script.user_turns)

    def add(
        self,
        prompt: str,
        gen_kwargs: dict[str, Any],
        answer: Answer,
        *,
        truncated: bool | None = None,
        overflowing: bool | None = None,
    ) -> None:
        """Take the model's answer to ``prompt`` into the history, reasoning set aside."""
        settings = self.script.settings
        split = set_reasoning_aside(answer.text, settings.reasoning_markers, prompt=prompt)
        read, written = answer.prompt_tokens, answer.completion_tokens
        paid = settings.price and read is not None and written is not None
        self.requests.append((prompt, gen_kwargs))
        self.replies.append(
            Reply(
                split.text,
                answer=answer,
                reasoning="\n".join(filter(None, (answer.reasoning, split.reasoning))),
                unclosed=split.unclosed or answer.unclosed,
                truncated=truncated,
                overflowing=overflowing,
                cost=settings.price.of(read, written) if paid else None,  # type: ignore[union-attr, arg-type]
            )
        )
