"""The schedule without barriers: each conversation moves on as soon as its reply is in.

In lockstep every turn waits for the slowest reply of the turn before. Here conversations are independent: at
most ``engine.slots`` requests are in flight, and the next slot goes to the conversation with the fewest turns
done, among those to the one whose replies have taken longest, which is likely to stay slow.

A conversation whose request fails for good is set aside; the others go on. The same request is asked once: who needs
its answer while it is under way waits for it.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from lm_eval.api.instance import Instance
from more_itertools import chunked
from tqdm import tqdm

from turnswap.core.errors import UserError

from .answers import Answer
from .cache import Replies
from .conversation import Conversation
from .engines import Engine
from .faults import Failure, Fault
from .gate import Gate, Stopped
from .turns import Turns

log = logging.getLogger(f"lm_eval.{__name__}")  # a child of lm-eval's logger: shown as its own messages are

GRACE = 30.0  # seconds that requests in flight get after Ctrl-C or SIGTERM
# So many failures before the first reply mean that the server, not the conversation, is at fault.
HOPELESS = 10
# So many seconds without any reply, a server may say that it is asked too often.
LONGEST_THROTTLE = 1800.0


Round = tuple[Sequence[Conversation], int | None]
Then = Callable[[Conversation, Fault | None], Conversation | None]


def _nothing(conversation: Conversation, fault: Fault | None) -> None:
    """What comes after most conversations."""


def run(
    engine: Engine,
    turns: Turns,
    replies: Replies,
    conversations: Sequence[Conversation],
    open_conversations: int | None = None,
    rounds: Sequence[Round] | None = None,
    then: Then = _nothing,
    named: str = "Requesting turns",
    replies_to_come: int = 0,
) -> list[Failure]:
    """Run all conversations to their end, or to the request that failed for good.

    Args:
        engine: takes the requests.
        turns: makes them, and takes the answers in.
        replies: where answers are kept and looked for.
        conversations: to run; they are opened in this order.
        open_conversations: how many may be under way at once, whose earlier turns the engine's prefix cache should
            hold; the engine's own number by default.
        rounds: conversations, and up to which turn they go before the next round begins; all to their end by default.
        then: is told of each conversation that ended, with the fault of its request where that failed for good, and
            may give the next one, which goes on in its place. What it raises ends the run as an error of ours does.
        named: what the progress bar calls the run.
        replies_to_come: how many the bar expects at least, where ``then`` gives more conversations.

    Returns:
        What failed; the conversations concerned lack the replies from that turn on.

    Raises:
        UserError: a prompt cannot be rendered, or does not fit and an error was asked for.
        KeyboardInterrupt, SystemExit: on Ctrl-C and SIGTERM, after what was in flight came in or 30 seconds went by.
    """
    if not replies.lasting:
        log.warning("Without --use_cache PATH, a run that stops or fails keeps nothing.")
    pipeline = _Pipeline(engine, turns, replies, conversations, then)
    pipeline.named, pipeline.expected = named, replies_to_come
    limit = open_conversations or engine.open_per_slot * engine.slots
    rounds = [(conversations, None)] if rounds is None else rounds
    try:
        _in_a_loop(pipeline, rounds, limit)
    except (asyncio.CancelledError, concurrent.futures.CancelledError):
        if pipeline.stopped_by is None:  # or it was a second Ctrl-C
            raise
    finally:
        replies.finish()
    pipeline.report_stop()
    return pipeline.failures


def turn_by_turn(conversations: Sequence[Conversation], wave: int | None = None) -> list[Round]:
    """The rounds of lockstep: every turn of all conversations, or of ``wave`` of them, before the next turn begins."""
    rounds: list[Round] = []
    for under_way in chunked(conversations, wave):
        last = max(len(each.script.user_turns) for each in under_way)
        rounds += [(under_way, turn) for turn in range(1, last + 1)]
    return rounds


def _in_a_loop(pipeline: _Pipeline, rounds: Sequence[Round], limit: int) -> None:
    """Run it in an event loop of its own: where one runs already, as in a notebook, in another thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(pipeline.run(rounds, limit))
        return
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="turnswap") as threads:
        done = threads.submit(asyncio.run, pipeline.run(rounds, limit))
        while not done.done():
            try:
                concurrent.futures.wait([done], timeout=0.2)
            except KeyboardInterrupt:  # comes to this thread alone
                with suppress(RuntimeError):  # over at the same moment
                    pipeline.stop(signal.SIGINT)
        done.result()


class _Pipeline:
    """One run: what is under way, and what became of it."""

    def __init__(
        self, engine: Engine, turns: Turns, replies: Replies, conversations: Sequence[Conversation], then: Then
    ) -> None:
        self.engine, self.turns, self.replies, self.conversations = engine, turns, replies, list(conversations)
        self.then, self.named, self.expected = then, "", 0
        self.failures: list[Failure] = []
        self.under_way: dict[str, asyncio.Future[Answer]] = {}
        self.tokens = 0
        self.hopeful = False  # whether any reply came, from the engine or from the cache
        self.stopped_by: int | None = None
        self.started = self.last_answer = time.monotonic()
        self.total = sum(len(each.script.user_turns) for each in conversations)

    async def run(self, rounds: Sequence[Round], limit: int) -> None:
        self.loop, self.main = asyncio.get_running_loop(), asyncio.current_task()
        self.gate = Gate(self.engine.slots)
        total = max(self.total, self.expected)
        with tqdm(total=total, desc=self.named, unit="reply", smoothing=0.05) as self.bar, self._signals():
            async with self.engine:
                for conversations, last in rounds:
                    if not self.gate.closed.is_set():
                        waiting = iter(conversations)
                        workers = range(min(limit, len(conversations)))
                        await self._finish([asyncio.create_task(self._work(waiting, last)) for _ in workers])

    async def _finish(self, workers: list[asyncio.Task[None]]) -> None:
        """Wait for the workers; after a stop or an error of ours, for what is in flight, up to a bound."""
        stopped = asyncio.create_task(self.gate.closed.wait())
        running: set[asyncio.Task[Any]] = {stopped, *workers}
        try:
            while running - {stopped} and not self.gate.closed.is_set():
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                if any(not task.cancelled() and task.exception() for task in done):
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

    async def _work(self, waiting: Iterator[Conversation], last: int | None) -> None:
        """Take one conversation after the other through its turns, up to the last of the round."""
        for conversation in waiting:
            following: Conversation | None = conversation
            while following is not None:
                fault = await self._converse(following, last)
                if self.gate.closed.is_set():
                    return
                if (following := self.then(following, fault)) is not None:
                    self._add(following)

    async def _converse(self, conversation: Conversation, last: int | None) -> Fault | None:
        """The conversation's turns; the fault where a request failed for good."""
        seconds = 0.0
        while not (conversation.finished or conversation.failure or conversation.turn == last):
            request = self.turns.request(conversation)
            (overflowing,) = self.turns.overflowing([conversation], [request])
            key = self.replies.key(request.args, conversation)
            answer = self.replies.get(key)
            if answer is None:
                began = time.monotonic()
                try:
                    answer = await self._shared(key, conversation, request, seconds)
                except Fault as fault:
                    self._set_aside(conversation, fault)
                    return fault
                seconds += answer.seconds or time.monotonic() - began
            else:
                await asyncio.sleep(0)  # a cache may hold thousands of replies: let others have their turn
            self.turns.take(conversation, request, answer, overflowing)
            self.hopeful = True
            self._progress(1)
        return None

    def _add(self, conversation: Conversation) -> None:
        self.conversations.append(conversation)
        self.total += len(conversation.script.user_turns)
        self.bar.total = max(self.bar.total, self.total)

    async def _shared(self, key: str | None, conversation: Conversation, request: Instance, seconds: float) -> Answer:
        """The answer to a request; one that is under way is waited for, not asked again."""
        if key is None:
            return await self._ask(conversation, request, seconds)
        if (asked := self.under_way.get(key)) is not None:
            return await asyncio.shield(asked)
        self.under_way[key] = asked = self.loop.create_future()
        try:
            answer = self.replies.put(key, await self._ask(conversation, request, seconds))
            asked.set_result(answer)
            return answer
        except BaseException as error:
            if isinstance(error, Exception):
                asked.set_exception(error)
                asked.exception()  # seen, also where nobody waits
            else:
                asked.cancel()
            raise
        finally:
            del self.under_way[key]

    async def _ask(self, conversation: Conversation, request: Instance, seconds: float) -> Answer:
        """One request with its tries. A server that is asked too often uses up none, and gets fewer at once."""
        tries = throttled = 0
        while True:
            async with self.gate.entered((conversation.turn, -seconds)):
                try:
                    await self.gate.wait_out()
                    prompt, gen_kwargs = request.args
                    answer = await self.engine.ask(prompt, gen_kwargs, conversation.seed)
                except Fault as error:
                    fault = error
                    if fault.throttled:
                        self.gate.narrow(fault.wait)
                else:
                    self.gate.widen()
                    self.last_answer = time.monotonic()
                    self.tokens += answer.completion_tokens or 0
                    return answer
            tries, throttled = tries + (not fault.throttled), throttled + fault.throttled
            patient = time.monotonic() - self.last_answer < LONGEST_THROTTLE
            if not fault.may_pass or tries >= self.engine.tries or (fault.throttled and not patient):
                raise fault
            await self.gate.sleep(max(pause(throttled if fault.throttled else tries), fault.wait))

    def _set_aside(self, conversation: Conversation, fault: Fault) -> None:
        conversation.failure = fault.kind
        self.failures.append(Failure(conversation.script.name, conversation.turn, fault))
        self._progress(len(conversation.script.user_turns) - conversation.turn)
        if not self.hopeful and len(self.failures) >= HOPELESS:
            self.gate.close()

    def _progress(self, turns: int) -> None:
        shown = {}
        if self.tokens:
            shown["tok/s"] = f"{self.tokens / (time.monotonic() - self.started):.0f}"
        if self.failures:
            shown["failed"] = str(len(self.failures))
        if self.gate.slots < self.gate.most:
            shown["at once"] = str(self.gate.slots)
        self.bar.set_postfix(shown, refresh=False)
        self.bar.update(turns)

    def stop(self, number: int) -> None:
        """Stop sending; at the second call do not wait for what is in flight either. From any thread."""
        self.loop.call_soon_threadsafe(self._stop, number)

    def _stop(self, number: int) -> None:
        if self.stopped_by is None:
            self.stopped_by = number
            log.warning("Stopping: waiting up to %.0f s for %d requests in flight.", GRACE, self.gate.in_flight)
            self.gate.close()
        elif self.main is not None:
            self.main.cancel()

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM stop sending; a second one does not wait for what is in flight."""
        handled = []
        for number in (signal.SIGINT, signal.SIGTERM):
            if threading.current_thread() is not threading.main_thread():
                break
            with suppress(NotImplementedError, RuntimeError, ValueError):  # not on Unix
                self.loop.add_signal_handler(number, self._stop, number)
                handled.append(number)
        try:
            yield
        finally:
            for number in handled:
                self.loop.remove_signal_handler(number)

    def report_stop(self) -> None:
        """End the process as the signal would have, or say that the server answers nothing."""
        if self.stopped_by is not None:
            done = sum(each.turn for each in self.conversations)
            kept = "The same command goes on from there." if self.replies.lasting else "Nothing was kept."
            log.warning("Stopped: %d of %d turns have their reply. %s", done, self.total, kept)
            if self.stopped_by == signal.SIGINT:
                raise KeyboardInterrupt
            raise SystemExit(128 + self.stopped_by)
        if self.gate.closed.is_set():
            raise UserError(
                f"The first {len(self.failures)} conversations failed before any reply came: {self.failures[0].fault}",
                self.engine.advice,
            )


def pause(tries: int) -> float:
    """lm-eval's own pauses before the next try, in seconds: doubled from try to try, between 1 and 10."""
    return float(min(10, max(1, 0.5 * 2 ** (tries - 1))))
