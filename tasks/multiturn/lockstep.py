"""The schedule that works with every model: turn t of all conversations in one ``generate_until`` call."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CachingLM

from turnswap.core.errors import UserError

from . import backend
from .lm_eval_contract import bars_named
from .turns import Job, Turns

log = logging.getLogger(f"lm_eval.{__name__}")  # a child of lm-eval's logger: shown as its own messages are


def run(lm: LM | CachingLM, jobs: Sequence[Job], wave: int | None = None) -> None:
    """Run all conversations to their end, each turn's replies entering the next turn's prompts.

    Args:
        lm: the outer model: with ``--use_cache`` every reply goes through its cache. On several ranks each turn is
            padded to the same number of requests, as models that are split over ranks need it.
        jobs: the conversations.
        wave: this many conversations go through all their turns before the next ones start, so that an engine's
            prefix cache still holds their earlier turns; all at once by default.

    Raises:
        UserError: the model cannot render a prompt, a prompt does not fit and an error was asked for, or waves are
            asked of an engine that loads the model at every call.
    """
    if wave is not None and int(getattr(backend.inner_model(lm), "data_parallel_size", 1) or 1) > 1:
        raise UserError(
            "Waves were asked for, but with data_parallel_size > 1 vLLM loads the model anew at every call.",
            "Leave --metadata wave out, or run several single engines behind an API.",
        )
    turns = Turns(lm)
    size = wave or max(len(jobs), 1)
    waves = max(_gather(lm, -(-len(jobs) // size)))
    spare: Instance | None = None
    for number in range(waves):
        named = f"Wave {number + 1} of {waves}, turn" if waves > 1 else "Turn"
        spare = _run_wave(lm, turns, jobs[number * size : (number + 1) * size], spare, named)


def _run_wave(lm: LM | CachingLM, turns: Turns, jobs: Sequence[Job], spare: Instance | None, named: str) -> Instance:
    """All turns of these conversations; returns a request that can be asked once more where padding is needed."""
    last = max(_gather(lm, max((len(job.conversation.script.user_turns) for job in jobs), default=0)))
    for turn in range(last):
        current = [job for job in jobs if job.conversation.has_turn(turn)]
        requests = [turns.request(job) for job in current]
        overflowing = turns.overflowing(current, requests)
        spare = requests[-1] if requests else spare
        assert spare is not None, "every rank has a first turn"
        padding = [spare] * (max(_gather(lm, len(requests))) - len(requests))
        log.info("%s %d of %d: %d conversations", named, turn + 1, last, len(requests))
        with bars_named(lm, f"{named} {turn + 1} of {last}"):
            answers = lm.generate_until(requests + padding)
        for job, request, answer, overflows in zip(current, requests, answers, overflowing, strict=False):
            turns.take(job, request, answer, overflows)
    assert spare is not None, "every rank has a first turn"
    return spare


def _gather(lm: LM | CachingLM, number: int) -> list[int]:
    """The number that each rank gave."""
    if lm.world_size == 1:
        return [number]
    import torch

    gathered = lm.all_gather(torch.tensor(number, device=lm.device))
    return [int(value) for value in gathered.cpu().flatten().tolist()]
