"""Who may send next: a semaphore that lets the most urgent in first, and that can be closed."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time

Urgency = tuple[int, float]


class Stopped(Exception):
    """The gate was closed while one waited at it."""


class Gate:
    """At most ``slots`` are in at once; of those who wait, the one with the smallest urgency enters next."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.in_flight = 0
        self.closed = asyncio.Event()
        self._waiting: list[tuple[Urgency, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def ticket(self, urgency: Urgency) -> Ticket:
        """What ``TemplateAPI.amodel_call`` takes for its semaphore."""
        return Ticket(self, urgency)

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


class Ticket:
    """One request's place at the gate, in a semaphore's shape."""

    def __init__(self, gate: Gate, urgency: Urgency) -> None:
        self._gate, self._urgency = gate, urgency
        self.entered = 0.0

    async def acquire(self) -> bool:
        """Enter the gate; ``entered`` tells when, in seconds of the monotonic clock."""
        await self._gate.enter(self._urgency)
        self.entered = time.monotonic()
        return True

    def release(self) -> None:
        """Leave it."""
        self._gate.leave()
