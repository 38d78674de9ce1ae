"""The backends that take one request while they work on others, each behind one small interface: ``engine.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import LM, CachingLM
from lm_eval.models.api_models import TemplateAPI

from ..backend import inner_model
from .api import ApiEngine
from .engine import Engine

__all__ = ["Engine", "choose"]


def choose(lm: LM | CachingLM, gen_kwargs: Sequence[dict[str, Any]], schedule: str) -> Engine | str:
    """The engine for a model, or why lm-eval's own way is taken, which answers batches.

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
        return "it was asked for"
    return f"{type(model).__name__} answers batches, not single requests"
