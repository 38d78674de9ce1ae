"""What can go wrong with a request: which faults are worth another try, and answers that are none."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from turnswap.core.errors import UserError

from .gate import Gate

# How long a server may make us wait by Retry-After.
LONGEST_WAIT = 300.0
# Of 4xx only these may pass by waiting: timeout, conflict, too early, too many requests.
_PASSING = {408, 409, 425, 429}
_SHOWN = 5


class NoAnswer(Exception):
    """The server answered, but not with a reply."""


@dataclass(frozen=True)
class Failure:
    """A conversation that was set aside: which, in which turn (from 0), and why."""

    conversation: str
    turn: int
    kind: str
    detail: str

    @classmethod
    def of(cls, conversation: str, turn: int, fault: BaseException) -> Failure:
        """From the last fault of the request that failed for good."""
        status = getattr(fault, "status", None)
        kind = f"HTTP {status}" if status else str(fault) if isinstance(fault, NoAnswer) else type(fault).__name__
        return cls(conversation, turn, kind, f"{type(fault).__name__}: {str(fault) or 'no details'}")


def summary(failures: Sequence[Failure], conversations: int) -> str:
    """How many failed, which, and the first of each kind."""
    kinds = Counter(failure.kind for failure in failures)
    first = {failure.kind: failure for failure in reversed(failures)}
    names = [failure.conversation for failure in failures]
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    lines = [f"{len(failures)} of {conversations} conversations failed: {shown}."]
    for kind, count in kinds.most_common():
        where = first[kind]
        lines.append(f"{kind}, {count} times; first {where.conversation}, turn {where.turn + 1}: {where.detail}")
    return "\n".join(lines)


def require_few(failures: Sequence[Failure], conversations: int, max_failed: float) -> None:
    """Raise UserError where a larger share of the conversations failed than was allowed."""
    if failures and len(failures) > max_failed * conversations:
        raise UserError(
            summary(failures, conversations),
            "Run the same command again: with --use_cache it asks only for what is missing. "
            """--metadata '{"max_failed": 0.01}' puts up with 1 % of failed conversations and counts them.""",
        )


class Retrying:
    """As many tries as the model says, with lm-eval's pauses, or longer ones where the server asks for them.

    Unlike lm-eval it does not try again what cannot pass by waiting, such as a prompt that is too long.
    """

    def __init__(self, tries: int, gate: Gate) -> None:
        from aiohttp import ClientError
        from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt

        self.faults = (ClientError, TimeoutError, OSError, NoAnswer, json.JSONDecodeError, UnicodeDecodeError)
        self._retrying = AsyncRetrying(
            stop=stop_after_attempt(max(1, tries)),
            retry=retry_if_exception(lambda error: isinstance(error, self.faults) and may_pass(error)),
            wait=lambda state: max(pause(state), asked_to_wait(state.outcome.exception())),  # type: ignore[union-attr]
            sleep=gate.sleep,
            reraise=True,
        )

    async def call(self, request: Callable[[], Awaitable[Any]]) -> Any:
        """The request's answer; raises its last fault."""
        return await self._retrying.copy()(request)


def pause(state: Any) -> float:
    """lm-eval's own pauses, in seconds: doubled from try to try, between 1 and 10. ``state``: tenacity's."""
    return float(min(10, max(1, 0.5 * 2 ** (state.attempt_number - 1))))


def may_pass(fault: BaseException) -> bool:
    """Whether another try could end otherwise."""
    status = getattr(fault, "status", None)
    return not isinstance(status, int) or not 400 <= status < 500 or status in _PASSING


def asked_to_wait(fault: BaseException | None) -> float:
    """The seconds in the answer's Retry-After, bounded; 0 where there is none, or a date."""
    headers = getattr(fault, "headers", None) or {}
    try:
        return min(max(float(headers.get("Retry-After", 0)), 0.0), LONGEST_WAIT)
    except ValueError:
        return 0.0


def complaint(outputs: Any) -> str | None:
    """Why an answer in OpenAI's shape holds no reply; None where it does.

    lm-eval takes null content, and an answer without a message, for an empty reply, and caches it. Here only one
    kind is: null because all tokens went into reasoning, which is the model's own doing.
    """
    if not isinstance(outputs, Mapping):
        return "no object"
    if outputs.get("error"):
        return "an error instead of a reply"
    choices = outputs.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        return "no choices"
    holder = choices[0].get("message", choices[0])
    if not isinstance(holder, Mapping) or not {"content", "text"} & set(holder):
        return "no message"
    content = holder.get("content", holder.get("text"))
    if content is None and choices[0].get("finish_reason") != "length":
        return "null content"
    return None if content is None or isinstance(content, str) else f"content of type {type(content).__name__}"


def _in_openais_shape(model: Any) -> bool:
    """Whether the model reads answers as lm-eval's OpenAI-compatible models do; subclasses may read other shapes."""
    from lm_eval.models.openai_completions import LocalChatCompletion, LocalCompletionsAPI

    known = (LocalCompletionsAPI.parse_generations, LocalChatCompletion.parse_generations)
    return type(model).parse_generations in known


@contextmanager
def checked_answers(model: Any, seen: Callable[[Any], None]) -> Iterator[None]:
    """Meanwhile the model's own parsing raises NoAnswer for answers that hold no reply, before they are cached."""
    parse, known_shape = model.parse_generations, _in_openais_shape(model)

    def checked(outputs: Any, **kwargs: Any) -> Any:
        if known_shape and (problem := complaint(outputs)):
            raise NoAnswer(problem)
        try:
            answers = parse(outputs=outputs, **kwargs)
        except (LookupError, TypeError, AttributeError) as error:
            raise NoAnswer(f"an answer that cannot be read ({type(error).__name__})") from error
        if len(answers) != 1 or (answers[0] is None and not known_shape):
            raise NoAnswer(f"{len(answers)} replies" if len(answers) != 1 else "null content")
        seen(outputs)
        return answers

    model.parse_generations = checked
    try:
        yield
    finally:
        del model.parse_generations


@contextmanager
def quiet_errors() -> Iterator[None]:
    """lm-eval logs every failed try with the whole answer; meanwhile only the first few."""
    logger = logging.getLogger("lm_eval.models.api_models")
    shown = 0

    def few(record: logging.LogRecord) -> bool:
        nonlocal shown
        if record.levelno < logging.WARNING:
            return True
        shown += 1
        if shown == _SHOWN:
            record.msg = f"{record.getMessage()} (Further failures are counted in the progress bar.)"
            record.args = ()
        return shown <= _SHOWN

    logger.addFilter(few)
    try:
        yield
    finally:
        logger.removeFilter(few)
