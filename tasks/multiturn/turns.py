"""What every schedule does for one turn of one conversation: the request, its limits, and taking the answer in."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CachingLM

from turnswap.core.errors import UserError

from . import backend
from .answers import Answer
from .conversation import Conversation, as_text
from .reasoning import set_reasoning_aside

log = logging.getLogger(f"lm_eval.{__name__}")  # a child of lm-eval's logger: shown as its own messages are


class Turns:
    """The turns of one run on one model; says once, not per turn, what a user must know about them.

    ``lm`` is the outer model: with ``--use_cache`` the one whose cache every reply goes through.
    """

    def __init__(self, lm: LM | CachingLM) -> None:
        self.lm, self.counter, self._warned = lm, backend.token_counter(lm), False

    def request(self, conversation: Conversation) -> Instance:
        """The request for a conversation's next turn: its whole history, rendered as the model wants it."""
        settings = conversation.script.settings
        gen_kwargs = dict(conversation.gen_kwargs[conversation.turn])
        prompt: backend.Prompt
        if settings.prompts == "plain":
            prompt = backend.render_plain(self.lm, conversation.messages())
            until = gen_kwargs.get("until") or []
            gen_kwargs["until"] = [*([until] if isinstance(until, str) else until), backend.PLAIN_STOP]
        else:
            prompt = backend.render_with_template(self.lm, conversation.messages())
        return Instance("generate_until", {}, (prompt, gen_kwargs), 0, (None, None, 1))

    def overflowing(self, conversations: Sequence[Conversation], requests: Sequence[Instance]) -> list[bool | None]:
        """Which prompts leave too little room for a full reply, so that lm-eval would cut their beginning off.

        Returns:
            A flag per request; None where it is not known.

        Raises:
            UserError: some do not fit and an error was asked for, or the reply alone does not fit.
        """
        found: list[bool | None] = []
        worst = (0, 0, 0)
        for request in requests:
            length, reply = backend.limits(self.lm, request.args[1])
            if self.counter is None or length is None or reply is None:
                found.append(None)
                continue
            if reply >= length:
                raise UserError(
                    f"The reply may take {reply} tokens, but prompt and reply together have room for {length}.",
                    "Lower it with --gen_kwargs max_gen_toks=…, or raise the model's max_length in --model_args.",
                )
            used = self.counter.prompt(backend.prompt_text(request.args[0]))
            found.append(used + reply > length)
            worst = max(worst, (used, reply, length))
        if any(found):
            self._complain(conversations, sum(map(bool, found)), worst)
        return found

    def _complain(self, conversations: Sequence[Conversation], count: int, worst: tuple[int, int, int]) -> None:
        used, reply, length = worst
        message = (
            f"Turn {conversations[0].turn + 1}: {count} of {len(conversations)} prompts plus the reply's room exceed "
            f"the model's length ({used} tokens in the longest + max_gen_toks {reply} > {length}): lm-eval cuts off "
            "their beginning, where the system message and the first turns are."
        )
        advice = (
            "Lower --gen_kwargs max_gen_toks=…, or raise max_length in --model_args; "
            """--metadata '{"on_overflow": "error"}' ends the run instead of counting."""
        )
        if any(each.script.settings.on_overflow == "error" for each in conversations):
            raise UserError(message, advice)
        if not self._warned:
            log.warning("%s %s The results count them, in later turns too.", message, advice)
        self._warned = True

    def take(self, conversation: Conversation, request: Instance, answer: Answer, overflowing: bool | None) -> None:
        """Take the model's answer into the conversation; tokens that the backend did not count are counted here."""
        prompt, gen_kwargs = request.args
        text = backend.prompt_text(prompt)
        answer = replace(answer, text=as_text(answer.text), reasoning=as_text(answer.reasoning))
        cap = backend.limits(self.lm, gen_kwargs).reply
        truncated = answer.truncated(cap)
        if self.counter:
            written = self.counter.reply(answer.text) + self.counter.reply(answer.reasoning)
            if truncated is None and cap:
                truncated = written >= cap
            if answer.completion_tokens is None:
                answer = replace(answer, completion_tokens=written)
            if answer.prompt_tokens is None:
                answer = replace(answer, prompt_tokens=self.counter.prompt(text))
        if answer.reasoning_tokens is None and answer.completion_tokens is not None:
            markers = conversation.script.settings.reasoning_markers
            thought = answer.reasoning + set_reasoning_aside(answer.text, markers, prompt=text).reasoning
            if self.counter or not thought:
                answer = replace(answer, reasoning_tokens=self.counter.reply(thought) if self.counter else 0)
        conversation.add(text, gen_kwargs, answer, truncated=truncated, overflowing=overflowing)
