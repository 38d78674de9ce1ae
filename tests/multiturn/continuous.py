"""Prompts answered by continuous batching and by lockstep, on the same model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from packaging.version import Version

from turnswap.tasks.multiturn.answers import Answer
from turnswap.tasks.multiturn.engines.hf import OLDEST, HFEngine

if Version(transformers.__version__) < Version(OLDEST):
    pytest.skip(f"continuous batching needs transformers {OLDEST}", allow_module_level=True)


PROMPTS = [
    "<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|>user\nHi<|im_end|>\n",
    "Once upon a time, in a land far away, there lived",
    "<|im_start|>user\nName a colour.<|im_end|>\n<|im_start|>assistant\nRed.<|im_end|>\n<|im_start|>user\nAnother.",
    "x",
]
GREEDY = {"do_sample": False, "max_gen_toks": 12, "until": []}
DRAWN = {"do_sample": True, "temperature": 0.9, "top_p": 0.95, "top_k": 40, "max_gen_toks": 12, "until": []}


def load(model: Path, **arguments: Any) -> HFLM:
    return HFLM(pretrained=str(model), device="cpu", **({"dtype": "float32", "batch_size": 4} | arguments))


def continuous(
    lm: HFLM, prompts: Sequence[str], gen_kwargs: dict[str, Any], seed: int = 0, **arguments: Any
) -> list[Answer]:
    """All prompts at once, as many in flight as the engine has slots."""

    async def run() -> list[Answer]:
        engine = HFEngine(lm, [gen_kwargs], **arguments)
        slots = asyncio.Semaphore(engine.slots)

        async def ask(prompt: str) -> Answer:
            async with slots:
                return await engine.ask(prompt, dict(gen_kwargs), seed)

        async with engine:
            return await asyncio.gather(*map(ask, prompts))

    return asyncio.run(run())


def lockstep(lm: HFLM, prompts: Sequence[str], gen_kwargs: dict[str, Any]) -> list[str]:
    requests = [Instance("generate_until", {}, (prompt, dict(gen_kwargs)), 0) for prompt in prompts]
    return lm.generate_until(requests, disable_tqdm=True)  # type: ignore[no-any-return]


def texts(answers: Sequence[Answer]) -> list[str]:
    return [answer.text for answer in answers]


def state(lm: HFLM) -> tuple[Any, ...]:
    model = lm.model
    attention = transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS["sdpa"]
    settings = model.generation_config.to_dict()
    batching = [each.name for each in threading.enumerate() if "_run_generation_loop" in each.name]
    return model.config._attn_implementation, settings, attention, torch.get_rng_state().tolist(), batching
