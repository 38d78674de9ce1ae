"""The backends that take one request while they work on others, each behind one small interface: ``engine.py``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lm_eval.api.model import LM, CachingLM
from lm_eval.models.api_models import TemplateAPI

from ..backend import inner_model, is_a
from . import vllm
from .api import ApiEngine
from .engine import Engine

__all__ = ["Engine", "choose"]

PAYS_ON_HF = False  # without being asked for, that is: see make bench


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
        return "It was asked for."
    if is_a(model, "vllm_causallms", "VLLM"):
        return vllm.refusal(model, gen_kwargs) or vllm.VLLMEngine(model)
    if is_a(model, "huggingface", "HFLM"):
        if schedule == "auto" and not PAYS_ON_HF:
            return "hf's continuous batching is used where it is asked for: docs/scale.md says when it pays."
        from . import hf

        return hf.refusal(model, gen_kwargs) or hf.HFEngine(model, gen_kwargs)
    return f"{type(model).__name__} answers batches, not single requests."
