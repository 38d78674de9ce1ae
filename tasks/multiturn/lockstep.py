"""The schedule that works with every model: turn t of all conversations in one ``generate_until`` call."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CachingLM
from tqdm import tqdm

from turnswap.errors import UserError

from . import backend
from .conversation import Conversation, as_text

log = logging.getLogger(f"lm_eval.{__name__}")  # a child of lm-eval's logger: shown as its own messages are


@dataclass(frozen=True)
class Job:
    """A conversation to run and, per turn, the settings to generate with."""

    conversation: Conversation
    gen_kwargs: Sequence[dict[str, Any]]


def run(lm: LM | CachingLM, jobs: Sequence[Job]) -> None:
    """Run all conversations to their end, each turn's replies entering the next turn's prompts.

    ``lm`` is the outer model: with ``--use_cache`` every reply goes through its cache. On several ranks each
    turn is padded to the same number of requests, as models that are split over ranks need it.

    Raises:
        UserError: the model cannot render a prompt, or a prompt does not fit and an error was asked for.
    """
    turns = max(_gather(lm, max(len(job.conversation.script.user_turns) for job in jobs)))
    counter = backend.token_counter(lm)
    spare: Instance | None = None
    warned = False
    for turn in range(turns):
        current = [job for job in jobs if job.conversation.has_turn(turn)]
        requests = [_request(lm, job, turn) for job in current]
        overflowing, complaint = _find_overflowing(lm, requests, turn, counter)
        if complaint:
            if any(job.conversation.script.settings.on_overflow == "error" for job in current):
                raise UserError(*complaint)
            if not warned:
                log.warning("%s %s The results count them, in later turns too.", *complaint)
            warned = True
        spare = requests[-1] if requests else spare
        assert spare is not None, "every rank has a first turn"
        padding = [spare] * (max(_gather(lm, len(requests))) - len(requests))
        log.info("Turn %d of %d: %d conversations", turn + 1, turns, len(requests))
        with _bars_named(f"Turn {turn + 1} of {turns}"):
            answers = lm.generate_until(requests + padding)
        for job, request, received, overflows in zip(current, requests, answers, overflowing, strict=False):
            answer = as_text(received)
            prompt, gen_kwargs = request.args
            cap = backend.limits(lm, gen_kwargs).reply
            job.conversation.add(
                backend.prompt_text(prompt),
                gen_kwargs,
                answer,
                truncated=counter.reply(answer) >= cap if counter and cap else None,
                overflowing=overflows,
            )


def _request(lm: LM | CachingLM, job: Job, turn: int) -> Instance:
    settings = job.conversation.script.settings
    gen_kwargs = dict(job.gen_kwargs[turn])
    prompt: backend.Prompt
    if settings.prompts == "plain":
        prompt = backend.render_plain(lm, job.conversation.messages())
        until = gen_kwargs.get("until") or []
        gen_kwargs["until"] = [*([until] if isinstance(until, str) else until), backend.PLAIN_STOP]
    else:
        prompt = backend.render_with_template(lm, job.conversation.messages())
    return Instance("generate_until", {}, (prompt, gen_kwargs), 0, (None, None, 1))


def _find_overflowing(
    lm: LM | CachingLM, requests: Sequence[Instance], turn: int, counter: backend.TokenCounter | None
) -> tuple[list[bool | None], tuple[str, str] | None]:
    """Which prompts leave too little room for a full reply, so that lm-eval would cut their beginning off.

    Returns:
        A flag per request, None where it is not known; and what to say of them with advice, if there are any.
    """
    found: list[bool | None] = []
    worst = (0, 0, 0)
    for request in requests:
        length, reply = backend.limits(lm, request.args[1])
        if counter is None or length is None or reply is None:
            found.append(None)
            continue
        if reply >= length:
            raise UserError(
                f"The reply may take {reply} tokens, but prompt and reply together have room for {length}.",
                "Lower it with --gen_kwargs max_gen_toks=…, or raise the model's max_length in --model_args.",
            )
        used = counter.prompt(backend.prompt_text(request.args[0]))
        found.append(used + reply > length)
        worst = max(worst, (used, reply, length))
    count = sum(map(bool, found))
    if not count:
        return found, None
    used, reply, length = worst
    message = (
        f"Turn {turn + 1}: {count} of {len(requests)} prompts plus the reply's room exceed the model's length "
        f"({used} tokens in the longest + max_gen_toks {reply} > {length}): lm-eval cuts off their beginning, "
        "where the system message and the first turns are."
    )
    return found, (
        message,
        "Lower --gen_kwargs max_gen_toks=…, or raise max_length in --model_args; "
        """--metadata '{"on_overflow": "error"}' ends the run instead of counting.""",
    )


def _gather(lm: LM | CachingLM, number: int) -> list[int]:
    """The number that each rank gave."""
    if lm.world_size == 1:
        return [number]
    import torch

    gathered = lm.all_gather(torch.tensor(number, device=lm.device))
    return [int(value) for value in gathered.cpu().flatten().tolist()]


@contextmanager
def _bars_named(prefix: str) -> Iterator[None]:
    """Progress bars that start meanwhile say which turn they are about.

    The bars belong to the models, which offer no way to name them; tqdm has none for bars to come either.
    """
    original = tqdm.__init__

    @functools.wraps(original)
    def named(self: Any, iterable: Any = None, desc: str | None = None, *args: Any, **kwargs: Any) -> None:
        original(self, iterable, f"{prefix}: {desc}" if desc else prefix, *args, **kwargs)

    tqdm.__init__ = named
    try:
        yield
    finally:
        tqdm.__init__ = original
