"""Questions to an LLM, one conversation's after another: each is asked as soon as the answer before it is in.

What one conversation asks is an *asking*, a generator: it yields questions, gets the answers, and returns what it makes
of them. Those of a whole step are under way at once, and none waits for another.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.resources import files
from typing import Any, Generic, TypeAlias, TypeVar

from lm_eval.api.model import CachingLM

from turnswap.core.errors import UserError
from turnswap.tasks.multiturn import backend, engines, lockstep, pipelined
from turnswap.tasks.multiturn.answers import Answer
from turnswap.tasks.multiturn.cache import Replies
from turnswap.tasks.multiturn.conversation import DEFAULT_SEED, Conversation, Script
from turnswap.tasks.multiturn.faults import Fault
from turnswap.tasks.multiturn.reasoning import KNOWN, set_reasoning_aside
from turnswap.tasks.multiturn.turns import Turns

MARK = "INPUT:"
NO_ANSWER = "the LLM gave no answer"
_SHOWN = 20  # failed requests in a message
_WORDINGS: dict[str, str] = tomllib.loads((files(__package__) / "questions.toml").read_text("utf-8"))
T = TypeVar("T")
Item = TypeVar("Item", bound=Any)  # a dataclass with a ``reason``


@dataclass(frozen=True)
class Question:
    """Something to ask.

    Attributes:
        task: a short name of what is asked, such as ``translate``; part of the input.
        payload: the input, JSON values only.
        name: what messages to the user call it.
        wording: what to do and what JSON object to answer with, in words; by default the task's of ``questions.toml``.
        more: how many questions its asking has after this one, if all answers are good.
        again: whether it is asked once more if the answer is no good. Those after it are.
    """

    task: str
    payload: Mapping[str, Any]
    name: str = ""
    wording: str = ""
    more: int = 0
    again: bool = True

    def prompt(self) -> str:
        """The user message: wording, then the input as JSON."""
        content = json.dumps({"task": self.task, **self.payload}, ensure_ascii=False, indent=1)
        wording = self.wording or _WORDINGS[self.task]
        return f"{wording}\nAnswer with one JSON object and nothing else.\n\n{MARK}\n{content}"


Asking: TypeAlias = Generator[Question, str, T]


class NoAnswer(ValueError):
    """A request that failed for good, or came back without a text; in words fit for a reason of rejection."""


def checked(question: Question, check: Callable[[str], T]) -> Asking[T]:
    """What the check makes of the answer.

    One that fails its check is asked for once more, with the reason as ``problem`` in the payload.

    Raises:
        ValueError: the second answer was no good either, or there was none: :class:`NoAnswer`.
    """
    answer = yield question
    try:
        return check(answer)
    except ValueError as error:
        problem = str(error)
    answer = yield replace(question, payload={**question.payload, "problem": problem}, again=False)
    return check(answer)


def answered(item: Item, *stages: tuple[Callable[[Item], Question], Callable[[Item, str], Item]]) -> Asking[Item]:
    """The item after a question per stage, up to the first that gives it a reason of rejection; see :func:`checked`.

    Items are dataclasses with a ``reason``, such as outcomes. A stage is how to ask, and what an answer makes of the
    item; its ValueError becomes the reason.
    """
    for question, read in stages:
        if item.reason is None:
            try:
                item = yield from checked(question(item), partial(read, item))
            except ValueError as problem:
                item = replace(item, reason=str(problem))
    return item


class UnderWay(Generic[T]):
    """An asking: its open ``question``, or, once that is None, its ``result``."""

    result: T

    def __init__(self, asking: Asking[T]) -> None:
        self.asking = asking
        self._go(lambda: next(asking))

    def give(self, answer: str | NoAnswer) -> None:
        """Go on with the answer to the open question."""
        if isinstance(answer, NoAnswer):
            self._go(lambda: self.asking.throw(answer))
        else:
            self._go(lambda: self.asking.send(answer))

    def _go(self, step: Callable[[], Question]) -> None:
        self.question: Question | None = None
        try:
            self.question = step()
        except StopIteration as end:
            self.result = end.value


class Answers(Replies):
    """The cache of a step: what came without a text is not kept, so that it can be asked for again."""

    def put(self, key: str | None, answer: Answer) -> Answer:
        """See :meth:`Replies.put`."""
        text = set_reasoning_aside(answer.text, KNOWN).text
        return super().put(key if text.strip() and not (answer.filtered or answer.refused) else None, answer)


class Interview:
    """The askings of one step, put to a model.

    Args:
        lm: the model with the cache of the step.
        gen_kwargs: settings to generate with.
        named: the step, for the bar and for messages.
        allowed: how many requests may fail for good; one more ends the run.
        limit: the section in which the user said that, and what, for messages.
    """

    def __init__(self, lm: CachingLM, gen_kwargs: Mapping[str, Any], named: str, allowed: int, limit: str) -> None:
        self.lm, self.gen_kwargs, self.named, self.allowed, self.limit = lm, dict(gen_kwargs), named, allowed, limit
        # What the cache is of is known by its name; that the same model has moved to another address is no matter.
        self.replies, self.turns = Answers(lm, adopt=True), Turns(lm)
        self.failures: list[str] = []
        self._of: dict[int, UnderWay[Any]] = {}

    def run(self, askings: Sequence[UnderWay[Any]]) -> None:
        """Bring all to their ends.

        Raises:
            UserError: too many requests failed, or the first ones all did. Answers that came are in the cache.
        """
        open_ = [self._begun(each, each.question) for each in askings if each.question]
        to_come = sum(1 + each.question.more for each in askings if each.question)
        engine = engines.choose(self.lm, [self.gen_kwargs], "auto")
        if not isinstance(engine, str):
            pipelined.run(
                engine, self.turns, self.replies, open_, then=self._then, named=self.named, replies_to_come=to_come
            )
            return
        while open_:
            lockstep.run(self.lm, self.turns, self.replies, open_, named=self.named)
            open_ = [following for each in open_ if (following := self._then(each, None))]

    def cached(self, question: Question) -> str | None:
        """The answer, if it is in the cache."""
        conversation = self._conversation(question)
        request = self.turns.request(conversation)
        answer = self.replies.get(self.replies.key(request.args, conversation))
        if answer is None:
            return None
        self.turns.take(conversation, request, answer, None)
        return str(conversation.replies[0])

    def _conversation(self, question: Question) -> Conversation:
        # What ends an answer is left to the model: stop strings are the user's to name, where a server wants some.
        script = Script((question.prompt(),), name=question.name or question.task)
        seed = getattr(backend.inner_model(self.lm), "_seed", DEFAULT_SEED)
        return Conversation(script, [dict(self.gen_kwargs)], seed=seed if isinstance(seed, int) else DEFAULT_SEED)

    def _begun(self, asking: UnderWay[Any], question: Question) -> Conversation:
        conversation = self._conversation(question)
        self._of[id(conversation)] = asking
        return conversation

    def _then(self, conversation: Conversation, fault: Fault | None) -> Conversation | None:
        """Hand the answer over; the asking's next question, if it has one."""
        asking = self._of.pop(id(conversation))
        fault = fault or _without_text(conversation)
        if fault is None:
            asking.give(str(conversation.replies[0]))
        else:
            self.failures.append(f"{conversation.script.name}: {fault}")
            if len(self.failures) > self.allowed:
                raise self._too_many()
            asking.give(NoAnswer(f"{NO_ANSWER}: {fault}"))
        return self._begun(asking, asking.question) if asking.question else None

    def _too_many(self) -> UserError:
        more = [f"... and {len(self.failures) - _SHOWN} more"] if len(self.failures) > _SHOWN else []
        told = [f"{self.named}: too many requests failed, {len(self.failures)} so far:", *self.failures[:_SHOWN], *more]
        return UserError(
            "\n".join(told),
            "The answers that came are kept. Fix the cause and run the command again without --redo: it asks only for "
            "the others (with --redo, it asks for all again). Or raise max_failed of the section "
            f"{self.limit}: then a conversation is rejected if its request failed.",
        )


def _without_text(conversation: Conversation) -> Fault | None:
    """What kept an answer from having a text."""
    reply = conversation.replies[0]
    if reply.filtered:
        return Fault("the provider's content filter held it back")
    if reply.refused:
        return Fault("the model refused", words=reply.raw)
    if reply.empty:
        return Fault("it has no text" + (", and used up its tokens (max_gen_toks)" if reply.truncated else ""))
    return None


def from_cache(asking: Asking[T], cached: Callable[[Question], str | None]) -> UnderWay[T]:
    """An asking as far as it comes with the answers that are there: up to a question without one, or to its end."""
    under_way = UnderWay(asking)
    while under_way.question and (answer := cached(under_way.question)) is not None:
        under_way.give(answer)
    return under_way
