"""The backends that take one request while they work on others, each behind one small interface: :class:`Engine`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from lm_eval.api.model import LM, CachingLM
from lm_eval.models.api_models import TemplateAPI

from ..answers import Answer
from ..backend import Prompt, inner_model, is_a
from . import vllm
from .api import ApiEngine

__all__ = ["Engine", "choose"]


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


def choose(lm: LM | CachingLM, gen_kwargs: Sequence[dict[str, Any]], schedule: str) -> Engine | str:
    """The engine for a model, or a sentence why lm-eval's own way is taken, which answers batches.

    Args:
        lm: the outer model.
        gen_kwargs: the settings of all requests to come.
        schedule: as ``Settings.schedule``. API models have an engine in lockstep too, since lm-eval's own way drops
            what endpoints say beside the text.
    """
    model = inner_model(lm)
    if isinstance(model, TemplateAPI):
        return ApiEngine(model)
    if schedule == "lockstep":
        return "--metadata schedule asks for it."
    if is_a(model, "vllm_causallms", "VLLM"):
        return vllm.refusal(model, gen_kwargs) or vllm.VLLMEngine(model)
    if is_a(model, "huggingface", "HFLM"):
        if schedule == "auto":  # make bench tells whether that is still so
            return "hf's continuous batching is used on request only: docs/how_to/scale.md says when it helps."
        from . import hf

        return hf.refusal(model, gen_kwargs) or hf.HFEngine(model, gen_kwargs)
    return f"{type(model).__name__} takes batches, not single requests."
