"""What the schedule asks of an engine: one request in, one answer out, many at once."""

from __future__ import annotations

from typing import Any, Protocol

from ..answers import Answer
from ..backend import Prompt


class Engine(Protocol):
    """A backend that takes a request while it works on others.

    It is entered (``async with``) in the event loop that asks it, once per run.

    Attributes:
        name: what the results call it.
        slots: how many requests it works on at once; the schedule never has more in flight.
        open_per_slot: how many conversations per slot are under way at once, where nothing else is asked for. Many keep
            all slots busy to the end; few let an engine find their earlier turns again.
        tries: how often a request that failed is sent before it has failed for good.
        advice: what to do where the first requests all fail.
        facts: what the results should say of how it answered.
    """

    name: str
    slots: int
    open_per_slot: int
    tries: int
    advice: str
    facts: dict[str, Any]

    async def __aenter__(self) -> Any:
        """Get ready."""

    async def __aexit__(self, *exception: object) -> None:
        """Give back all it holds. What is still in flight is dropped."""

    async def ask(self, prompt: Prompt, gen_kwargs: dict[str, Any], seed: int) -> Answer:
        """The model's answer, with lm-eval's meaning of every generation setting.

        Raises:
            Fault: there is none; the fault says whether another try may help.
        """
