"""The schedule that works with every model: turn t of all conversations in one ``generate_until`` call."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM, CachingLM

from turnswap.core.errors import UserError

from . import backend
from .answers import Answer
from .cache import Replies
from .conversation import Conversation
from .engines.observed import observed
from .lm_eval_contract import bars_named
from .turns import Turns

log = logging.getLogger(f"lm_eval.{__name__}")  # a child of lm-eval's logger: shown as its own messages are


def run(
    lm: LM | CachingLM,
    turns: Turns,
    replies: Replies,
    conversations: Sequence[Conversation],
    wave: int | None = None,
    named: str = "Turn",
) -> None:
    """Run all conversations to their end, each turn's replies entering the next turn's prompts.

    Args:
        lm: the outer model. On several ranks each turn is padded to the same number of requests, as models that are
            split over ranks need it.
        turns: makes the requests, and takes the answers in.
        replies: where answers are kept and looked for.
        conversations: to run.
        wave: this many conversations go through all their turns before the next ones start, so that an engine's
            prefix cache still holds their earlier turns; all at once by default.
        named: what the progress bars call a turn.

    Raises:
        UserError: the model cannot render a prompt, a prompt does not fit and an error was asked for, or waves are
            asked of an engine that loads the model at every call.
    """
    model = backend.inner_model(lm)
    if wave is not None and int(getattr(model, "data_parallel_size", 1) or 1) > 1:
        raise UserError(
            "--metadata wave: with data_parallel_size > 1, vLLM loads the model again at every call.",
            "Leave --metadata wave out, or run several single engines behind an API.",
        )
    size = wave or max(len(conversations), 1)
    waves = max(_gather(model, -(-len(conversations) // size)))
    hook, lockstep = model.cache_hook, _Lockstep(model, turns, replies)
    model.set_cache_hook(replies)
    try:
        for number in range(waves):
            within = f"Wave {number + 1} of {waves}, turn" if waves > 1 else named
            lockstep.run_wave(conversations[number * size : (number + 1) * size], within)
    finally:
        model.set_cache_hook(hook)
        replies.finish()


class _Lockstep:
    def __init__(self, model: LM, turns: Turns, replies: Replies) -> None:
        self.model, self.turns, self.replies = model, turns, replies
        self.spare: Instance | None = None  # a request that can be asked once more where ranks need padding

    def run_wave(self, conversations: Sequence[Conversation], named: str) -> None:
        """All turns of these conversations."""
        last = max(_gather(self.model, max((len(each.script.user_turns) for each in conversations), default=0)))
        for turn in range(last):
            current = [each for each in conversations if each.has_turn(turn)]
            requests = [self.turns.request(each) for each in current]
            overflowing = self.turns.overflowing(current, requests)
            log.info("%s %d of %d: %d conversations", named, turn + 1, last, len(requests))
            answers = self._answers(current, requests, f"{named} {turn + 1} of {last}")
            for conversation, request, answer, overflows in zip(current, requests, answers, overflowing, strict=True):
                self.turns.take(conversation, request, answer, overflows)

    def _answers(self, conversations: Sequence[Conversation], requests: Sequence[Instance], named: str) -> list[Answer]:
        """An answer per request: those that are kept, and the model's for the others, each asked once."""
        keys = [self.replies.key(request.args, each) for each, request in zip(conversations, requests, strict=True)]
        # Where each request's answer comes from: its key, or its own number where it has none.
        places = [key if key is not None else number for number, key in enumerate(keys)]
        missing = {
            place: request
            for place, key, request in zip(places, keys, requests, strict=True)
            if self.replies.get(key) is None
        }
        to_ask = list(missing.values())
        if self.replies.lasting:
            log.info("Cached requests: %d, Requests remaining: %d", len(requests) - len(to_ask), len(to_ask))
        self.spare = requests[-1] if requests else self.spare
        padding = max(_gather(self.model, len(to_ask))) - len(to_ask)
        if padding:
            assert self.spare is not None, "every rank has a first turn"
            to_ask += [self.spare] * padding
        new = {}
        if to_ask:
            self.replies.expect((r.args, place if isinstance(place, str) else None) for place, r in missing.items())
            with observed(self.model) as seen, bars_named(self.model, named):
                texts = self.model.generate_until(to_ask)
            for (place, request), text in zip(missing.items(), texts, strict=False):
                answer = seen.get(*request.args) or Answer(text)
                new[place] = self.replies.put(place if isinstance(place, str) else None, answer)
        return [new.get(place) or self.replies.get(key) for place, key in zip(places, keys, strict=True)]  # type: ignore[misc]


def _gather(model: LM, number: int) -> list[int]:
    """The number that each rank gave."""
    if model.world_size == 1:
        return [number]
    import torch

    gathered = model.all_gather(torch.tensor(number, device=model.device))
    return [int(value) for value in gathered.cpu().flatten().tolist()]
