"""Who may send next: a semaphore that lets the most urgent in first, adapts to the server, and can be closed."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

Urgency = tuple[int, float]


class Stopped(Exception):
    """The gate was closed while one waited at it."""


class Gate:
    """At most ``slots`` are in at once; of those who wait, the one with the smallest urgency enters next.

    A server that asks for fewer requests gets fewer: :meth:`narrow` and :meth:`widen`.
    """

    def __init__(self, slots: int) -> None:
        self.most = self.slots = slots
        self.in_flight = 0
        self.closed = asyncio.Event()
        self._waiting: list[tuple[Urgency, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._served = 0
        self._not_before = 0.0

    @asynccontextmanager
    async def entered(self, urgency: Urgency) -> AsyncIterator[None]:
        """A slot for the time of the block; raises Stopped once the gate is closed."""
        await self.enter(urgency)
        try:
            yield
        finally:
            self.leave()

    async def wait_out(self) -> None:
        """Wait as long as the server asked everybody to; raises Stopped when the gate is closed meanwhile."""
        while (seconds := self._not_before - time.monotonic()) > 0:
            await self.sleep(seconds)

    def narrow(self, wait: float = 0.0) -> None:
        """Half as many slots from now on, at least one; until so few are in, further refusals change nothing.

        Args:
            wait: the seconds that the server asks to wait, whoever comes.
        """
        self._not_before = max(self._not_before, time.monotonic() + wait)
        if self.in_flight <= self.slots:
            self.slots, self._served = max(1, self.in_flight // 2), 0

    def widen(self) -> None:
        """One slot more, up to as many as at first, for every round of requests that were served."""
        self._served += 1
        if self.slots < self.most and self._served >= self.slots:
            self.slots, self._served = self.slots + 1, 0
            self._let_in()

    async def enter(self, urgency: Urgency) -> None:
        """Wait for a slot; raises Stopped once the gate is closed."""
        if self.closed.is_set():
            raise Stopped
        if self.in_flight < self.slots and not self._waiting:
            self.in_flight += 1
            return
        future = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (urgency, next(self._order), future))
        try:
            await future
        except asyncio.CancelledError:
            if future.done() and not future.cancelled() and future.exception() is None:
                self.leave()  # let in and cancelled at the same moment: the slot goes to the next
            raise

    def leave(self) -> None:
        """Give the slot to the most urgent of those who wait."""
        self.in_flight -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self.in_flight < self.slots:
            *_, future = heapq.heappop(self._waiting)
            if not future.done():
                self.in_flight += 1
                future.set_result(None)

    def close(self) -> None:
        """Let nobody in any more; who waits is turned away."""
        self.closed.set()
        for *_, future in self._waiting:
            if not future.done():
                future.set_exception(Stopped())
        self._waiting.clear()

    async def sleep(self, seconds: float) -> None:
        """Wait outside; raises Stopped when the gate is closed meanwhile."""
        try:
            await asyncio.wait_for(self.closed.wait(), seconds)
        except TimeoutError:
            return
        raise Stopped
