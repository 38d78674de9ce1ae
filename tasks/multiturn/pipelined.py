"""The schedule for API models: each conversation moves on as soon as its reply is in.

In lockstep every turn waits for the slowest reply of the turn before. Here conversations are independent: at
most ``num_concurrent`` requests are in flight, and the next slot goes to the conversation with the fewest turns
done, among those to the one whose replies have taken longest, which is likely to stay slow. Requests, headers,
parsing and caching are the model's own (``TemplateAPI.amodel_call``), and so is how often a request is tried.

A conversation whose request fails for good is set aside; the others go on.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from lm_eval.api.model import LM, CachingLM, hash_args
from lm_eval.models.api_models import TemplateAPI
from tqdm import tqdm

from turnswap.core.errors import UserError

from . import backend
from .faults import Failure, Retrying, checked_answers, quiet_errors
from .gate import Gate, Stopped, Ticket
from .turns import Job, Turns

log = logging.getLogger(f"lm_eval.{__name__}")  # a child of lm-eval's logger: shown as its own messages are

OPEN_PER_REQUEST = 12
GRACE = 30.0  # seconds that requests in flight get after Ctrl-C or SIGTERM
# So many failures before the first reply mean that the server, not the conversation, is at fault.
HOPELESS = 10


def suits(lm: LM | CachingLM) -> bool:
    """Whether this model can be asked for one reply at a time: lm-eval's API models."""
    return isinstance(backend.inner_model(lm), TemplateAPI)


def run(lm: LM | CachingLM, jobs: Sequence[Job], open_conversations: int | None = None) -> list[Failure]:
    """Run all conversations to their end, or to the request that failed for good.

    Args:
        lm: the outer model: with ``--use_cache`` every reply goes through its cache, as it comes in.
        jobs: the conversations; they are opened in this order.
        open_conversations: how many may be under way at once, whose earlier turns a server's prefix cache should
            hold; 12 × ``num_concurrent`` by default.

    Returns:
        What failed; the conversations concerned lack the replies from that turn on.

    Raises:
        UserError: a prompt cannot be rendered, or does not fit and an error was asked for.
        KeyboardInterrupt, SystemExit: on Ctrl-C and SIGTERM, after what was in flight came in or 30 seconds went by.
    """
    if not isinstance(lm, CachingLM):
        log.warning("Without --use_cache PATH nothing is kept of a run that is stopped or fails.")
    pipeline = _Pipeline(lm, jobs)
    limit = open_conversations or OPEN_PER_REQUEST * pipeline.slots
    try:
        with suppress(asyncio.CancelledError):  # a second Ctrl-C
            asyncio.run(pipeline.run(limit))
    finally:
        if isinstance(lm, CachingLM):
            lm.dbdict.commit(blocking=True)
    pipeline.report_stop()
    return pipeline.failures


class _Pipeline:
    """One run: what is under way, and what became of it."""

    def __init__(self, lm: LM | CachingLM, jobs: Sequence[Job]) -> None:
        self.lm, self.model, self.jobs = lm, backend.inner_model(lm), jobs
        self.slots = max(1, int(self.model._concurrent))
        self.turns = Turns(lm)
        self.failures: list[Failure] = []
        self.answered = self.tokens = 0
        self.stopped_by: int | None = None
        self.started = time.monotonic()

    async def run(self, limit: int) -> None:
        from aiohttp import ClientSession, ClientTimeout, TCPConnector

        self.gate = Gate(self.slots)
        self.retrying = Retrying(self.model.max_retries, self.gate)
        waiting = iter(self.jobs)
        # Session and connector as lm-eval's own concurrent path sets them up.
        connector = TCPConnector(limit=self.slots, ssl=self.model.verify_certificate)
        timeout = ClientTimeout(total=self.model.timeout)
        total = sum(len(job.conversation.script.user_turns) for job in self.jobs)
        with (
            tqdm(total=total, desc="Requesting turns", unit="reply", smoothing=0.05) as self.bar,
            checked_answers(self.model, self._count_tokens),
            quiet_errors(),
            self._signals(),
        ):
            async with ClientSession(connector=connector, timeout=timeout) as self.session:
                workers = [asyncio.create_task(self._work(waiting)) for _ in range(min(limit, len(self.jobs)))]
                await self._finish(workers)

    async def _finish(self, workers: list[asyncio.Task[None]]) -> None:
        """Wait for the workers; after a stop or an error of ours, for what is in flight, up to a bound."""
        stopped = asyncio.create_task(self.gate.closed.wait())
        running: set[asyncio.Task[Any]] = {stopped, *workers}
        try:
            while running - {stopped} and not self.gate.closed.is_set():
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if any(task.exception() for task in done):
                    self.gate.close()
            if running - {stopped}:
                await asyncio.wait(running - {stopped}, timeout=GRACE)
        finally:  # also when a second Ctrl-C cancels the waiting
            for task in (stopped, *workers):
                task.cancel()
            outcomes = await asyncio.gather(*workers, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, Stopped):
                raise outcome

    async def _work(self, waiting: Iterator[Job]) -> None:
        """Take one conversation after the other through all its turns."""
        for job in waiting:
            seconds = 0.0
            while not job.finished:
                request = self.turns.request(job)
                (overflowing,) = self.turns.overflowing([job], [request])
                answer = self._cached(request.args)
                if answer is None:
                    ticket = self.gate.ticket((job.turn, -seconds))
                    try:
                        answer = await self._ask(request.args, ticket)
                    except self.retrying.faults as fault:
                        self._set_aside(job, fault)
                        break
                    seconds += time.monotonic() - ticket.entered
                    self.answered += 1
                else:
                    await asyncio.sleep(0)  # a cache may hold thousands of replies: let others have their turn
                self.turns.take(job, request, answer, overflowing)
                self._progress(1)
            if self.gate.closed.is_set():
                return

    def _cached(self, args: tuple[Any, dict[str, Any]]) -> str | None:
        """The reply in lm-eval's cache, under the key that its own path uses; sampled replies are not cached."""
        if not isinstance(self.lm, CachingLM) or args[1].get("do_sample", False):
            return None
        return self.lm.dbdict.get(hash_args("generate_until", args))  # type: ignore[no-any-return]

    async def _ask(self, args: tuple[Any, dict[str, Any]], ticket: Ticket) -> str:
        """One request with its retries, through the model's own call; the reply is cached by it."""
        prompt, gen_kwargs = args
        # lm-eval's sequential path passes the end-of-sequence string, its concurrent path does not.
        extra = {"eos": self.model.eos_string} if self.slots == 1 else {}
        message = self._message(prompt, gen_kwargs)

        async def call() -> Any:
            return await self.model.amodel_call(
                session=self.session,
                sem=ticket,
                messages=[message],
                generate=True,
                cache_keys=[args],
                gen_kwargs=gen_kwargs,
                **extra,
            )

        (answer,) = await self.retrying.call(call)
        return str(answer)

    def _message(self, prompt: Any, gen_kwargs: dict[str, Any]) -> Any:
        """What is sent: the prompt, or its tokens, cut as lm-eval's own path cuts them."""
        if not self.model.tokenized_requests:
            return prompt
        room = self.model.max_length - gen_kwargs.get("max_gen_toks", self.model._max_gen_toks)
        return self.model.tok_encode([prompt], add_special_tokens=self.model.add_bos_token)[0][-room:]

    def _set_aside(self, job: Job, fault: BaseException) -> None:
        failure = Failure.of(job.conversation.script.name, job.turn, fault)
        job.conversation.failure = failure.kind
        self.failures.append(failure)
        self._progress(len(job.conversation.script.user_turns) - job.turn)
        if not self.answered and len(self.failures) >= HOPELESS:
            self.gate.close()

    def _count_tokens(self, outputs: Any) -> None:
        usage = outputs.get("usage") if isinstance(outputs, dict) else None
        if isinstance(usage, dict) and isinstance(usage.get("completion_tokens"), int):
            self.tokens += usage["completion_tokens"]

    def _progress(self, turns: int) -> None:
        shown = {}
        if self.tokens:
            shown["tok/s"] = f"{self.tokens / (time.monotonic() - self.started):.0f}"
        if self.failures:
            shown["failed"] = str(len(self.failures))
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(turns)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM stop sending; a second one does not wait for what is in flight."""
        loop = asyncio.get_running_loop()
        main = asyncio.current_task()

        def stop(number: int) -> None:
            if self.stopped_by is None:
                self.stopped_by = number
                log.warning("Stopping: waiting up to %.0f s for %d requests in flight.", GRACE, self.gate.in_flight)
                self.gate.close()
            elif main is not None:
                main.cancel()

        handled = []
        for number in (signal.SIGINT, signal.SIGTERM):
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread, or not on Unix
                loop.add_signal_handler(number, stop, number)
                handled.append(number)
        try:
            yield
        finally:
            for number in handled:
                loop.remove_signal_handler(number)

    def report_stop(self) -> None:
        """End the process as the signal would have, or say that the server answers nothing."""
        if self.stopped_by is not None:
            done = sum(job.turn for job in self.jobs)
            kept = "The same command goes on from there." if isinstance(self.lm, CachingLM) else "Nothing was kept."
            log.warning("Stopped: %d of %d turns have their reply. %s", done, self.bar.total, kept)
            if self.stopped_by == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + self.stopped_by)
        if self.gate.closed.is_set():
            raise UserError(
                f"The first {len(self.failures)} conversations failed before any reply came: {self.failures[0].detail}",
                "Check the address, the model's name and the key in --model_args, and that the server is up.",
            )
