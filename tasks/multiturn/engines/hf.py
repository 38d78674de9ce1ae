"""lm-eval's ``hf`` model through transformers' continuous batching: requests join and leave a running batch.

Each request means what it means in ``HFLM.generate_until``: the same tokens go in, the same settings, stop strings and
limits hold, and the same is cut off the text. The keys and values of a conversation's earlier turns are still there
when its next turn comes, and are not computed again.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import time
import zlib
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import torch
import transformers
from lm_eval.models.huggingface import HFLM
from lm_eval.models.utils import handle_stop_sequences, normalize_gen_kwargs, postprocess_generated_text
from lm_eval.models.utils_hf import stop_sequences_criteria
from packaging.version import Version

from ..answers import Answer
from ..backend import Prompt, prompt_text
from ..faults import Fault
from .hf_batching import PAGE, running_batch

OLDEST = "5.19"  # before it, the attention functions of continuous batching were others
_OURS = ("generate_until", "_model_generate", "tok_batch_encode", "tok_decode")  # of HFLM, done here in its place


def refusal(lm: Any, gen_kwargs: Sequence[dict[str, Any]]) -> str | None:
    """Why a model, or these settings, cannot be served by continuous batching; None where they can.

    Tries it: two short prompts, which must begin their replies as ``generate`` begins them.

    Args:
        lm: the inner model.
        gen_kwargs: the settings of all requests of the run.
    """
    if Version(transformers.__version__) < Version(OLDEST):
        return f"transformers {transformers.__version__} is too old for it: it needs {OLDEST}."
    kind = type(lm).__name__
    if not isinstance(lm, HFLM):
        return f"{kind} is not lm-eval's hf model."
    changed = [name for name in _OURS if inspect.unwrap(getattr(type(lm), name, None)) is not getattr(HFLM, name)]  # type: ignore[arg-type]
    if changed:
        return f"{kind} generates in its own way: its {' and '.join(changed)} is not that of lm-eval's hf model."
    if lm.backend != "causal":
        return f"{type(lm.model).__name__} is an encoder-decoder."
    if lm.world_size > 1:
        return f"The model runs in {lm.world_size} processes."
    if lm.mixed_precision_dtype is not None:
        return "mixed_precision_dtype computes in two types."
    if len(set(getattr(lm.model, "hf_device_map", {}).values())) > 1 or getattr(lm.model, "_device_mesh", None):
        return "The model is split over several devices."
    if any(adapter.is_prompt_learning for adapter in getattr(lm.model, "peft_config", {}).values()):
        return "The adapter puts virtual tokens before the prompt, which continuous batching leaves out."
    asked = [_sampling(lm, each) for each in gen_kwargs]
    if different := [each for each in asked if each != asked[0]]:
        return f"The requests of one run are generated in different ways: {asked[0]} and {different[0]}."
    try:
        return _unserved(lm, asked[0]) or _tried(lm)
    except Exception as error:  # whatever transformers raises for a model that it cannot serve in this way
        return f"{type(lm.model).__name__} cannot be served in this way: {_failed(error).words}"


class HFEngine:
    """The ``hf`` model as an engine; :func:`refusal` says beforehand whether it can be.

    Args:
        lm: the inner model.
        gen_kwargs: the settings of all requests of the run.
        longest: how many tokens a prompt and its reply have at most; the model's length by default. Memory for
            ``slots`` times as many is set aside where there is enough.

    Attributes:
        slots: lm-eval's batch size; for ``auto`` its ``max_batch_size``, as far as memory serves.
    """

    name = "hf"
    open_per_slot = 1  # more would drive the keys and values of their earlier turns out of memory
    tries = 1  # what failed here fails again
    advice = """The error of transformers is above. --metadata '{"schedule": "lockstep"}' uses lm-eval's own way."""

    def __init__(self, lm: Any, gen_kwargs: Sequence[dict[str, Any]], longest: int | None = None) -> None:
        self.slots = int(lm.max_batch_size or 64) if lm.batch_size == "auto" else int(lm.batch_size)
        self._lm, self._longest = lm, min(longest or lm.max_length, lm.max_length)
        self._config = _generation_config(lm, _sampling(lm, gen_kwargs[0]))[0]
        eos = self._config.eos_token_id
        # lm-eval stops at the tokenizer's end as well, by its text
        self._ends = [lm.eot_token_id, *(eos if isinstance(eos, list) else [] if eos is None else [eos])]
        self._end = lm.tok_decode(lm.eot_token_id, skip_special_tokens=False)
        # can change a reply where numbers are rounded
        self.facts: dict[str, Any] = {"attention": lm.model.config._attn_implementation, "at_once": self.slots}
        self._numbers = itertools.count()
        self._held = ExitStack()

    async def __aenter__(self) -> HFEngine:
        """Start the batch."""
        self._manager = self._held.enter_context(running_batch(self._lm, self._config, self.slots, self._longest))
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Stop it after its present step, and leave the model as it was."""
        self._held.close()

    async def ask(self, prompt: Prompt, gen_kwargs: dict[str, Any], seed: int) -> Answer:
        """The model's answer, as lm-eval would generate it.

        Args:
            prompt: the prompt's text.
            gen_kwargs: lm-eval's generation settings.
            seed: where tokens are drawn, the same seed draws the same reply to a prompt, whatever runs beside it.

        Raises:
            Fault: the prompt leaves no room for a reply, or generation failed.
        """
        start = time.perf_counter()
        text, lm = prompt_text(prompt), self._lm
        kwargs = normalize_gen_kwargs(gen_kwargs, lm.max_gen_toks)
        until, cap = handle_stop_sequences(kwargs["until"], eos=self._end), kwargs["max_gen_toks"]
        room = lm.max_length - cap
        if room <= 0:
            words = f"a reply of {cap} tokens does not fit the model's length of {lm.max_length}"
            raise Fault("no room", words=words, may_pass=False)
        ids = lm.tok_batch_encode([text], left_truncate_len=room, truncation=lm.truncation)[0][0].tolist()
        stops = stop_sequences_criteria(lm.tokenizer, [stop for stop in until if stop != self._end], 0, 1)
        drawn = {"seed": zlib.crc32(text.encode(), seed & 0xFFFFFFFF) >> 1} if self._config.do_sample else {}
        tokens, stopped = await self._generate(ids, cap, stops, drawn)
        kept = tokens
        if isinstance(lm.think_end_token, int) and lm.think_end_token in tokens:
            kept = tokens[len(tokens) - tokens[::-1].index(lm.think_end_token) :]
        reply = lm.tok_decode(kept)
        if isinstance(lm.think_end_token, int):
            reply = reply.lstrip()
        thinking = lm.think_end_token if isinstance(lm.think_end_token, str) else None
        return Answer(
            text=postprocess_generated_text(reply, until, thinking),
            finish_reason="stop" if stopped or tokens[-1] in self._ends else "length",
            prompt_tokens=len(ids),
            completion_tokens=len(tokens),
            seconds=time.perf_counter() - start,
        )

    async def _generate(
        self, ids: list[int], cap: int, stops: Sequence[Callable[..., bool]], drawn: dict[str, int]
    ) -> tuple[list[int], bool]:
        """The reply's tokens, and whether a stop string ended it."""
        number = str(next(self._numbers))
        done: asyncio.Future[tuple[list[int], bool]] = asyncio.get_running_loop().create_future()

        def receive(output: Any) -> None:
            if done.done():  # a token that was under way when the request was cancelled
                return
            if output.error is not None:
                done.set_exception(_failed(output.error))
            elif any(stop(torch.tensor([output.generated_tokens]), None) for stop in stops):
                done.set_result((output.generated_tokens, True))
            elif output.is_finished():
                done.set_result((output.generated_tokens, False))

        manager = self._manager
        manager.register_result_handler(number, receive)
        asked = manager.add_request(
            ids, number, max_new_tokens=cap, streaming=bool(stops), eos_token_id=self._ends, **drawn
        )
        try:
            # Its thread fails all requests before it ends, but one that came at that moment hears nothing.
            while asked is not None and not (await asyncio.wait([done], timeout=1))[0]:
                if not manager.is_running():
                    break
            if done.done():
                return done.result()
            status = manager.background_thread_status
            # A thread that ends tells those who wait first, and records why afterwards.
            for _ in range(20):
                if status.fatal_error is None and manager.is_running():
                    await asyncio.sleep(0.05)
            raise _failed(status.fatal_error or "it has stopped")
        finally:
            if asked is not None:
                manager.cancel_request(number)  # one that is finished is left alone
            done.cancel()


def _failed(error: object) -> Fault:
    return Fault("continuous batching failed", words=str(error) or type(error).__name__)


def _sampling(lm: Any, gen_kwargs: dict[str, Any]) -> dict[str, Any]:
    """The settings that ``generate`` is given by lm-eval for all requests, beside each one's limits."""
    kwargs = dict(normalize_gen_kwargs(gen_kwargs, lm.max_gen_toks))
    del kwargs["until"], kwargs["max_gen_toks"]
    if not kwargs["do_sample"]:
        kwargs.pop("temperature", None)
    return kwargs


def _generation_config(lm: Any, sampling: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """What ``generate`` makes of the settings and the model's own, and what it would hand on to the model."""
    config, rest = lm.model._prepare_generation_config(None, **sampling, pad_token_id=lm.tokenizer.pad_token_id)
    lm.model._prepare_special_tokens(config, True, device=lm.device)  # some processors come only with these
    return config, rest


def _unserved(lm: Any, sampling: dict[str, Any]) -> str | None:
    """What in the settings, or in the model's own, continuous batching does not know."""
    config, rest = _generation_config(lm, sampling)
    limits = {name: getattr(config, name, None) for name in ("max_new_tokens", "max_time", "stop_strings")}
    limits |= {name: sampling[name] for name in ("max_length", "num_return_sequences") if name in sampling}
    if unknown := {name: value for name, value in (rest | limits).items() if value is not None}:
        return f"Continuous batching does not know {', '.join(f'{name}={value}' for name, value in unknown.items())}."
    if (mode := config.get_generation_mode()) not in ("greedy_search", "sample"):
        return f"Continuous batching does not know {mode.value.replace('_', ' ')}."
    processors = lm.model._get_logits_processor(config, input_ids_seq_length=1)
    if unserved := [type(each).__name__ for each in processors if not each.supports_continuous_batching]:
        return f"Continuous batching leaves out what the generation settings ask for: {', '.join(unserved)}."
    return None


def _tried(lm: Any) -> str | None:
    """What goes wrong with two short prompts, side by side."""
    config = _generation_config(lm, {"do_sample": False})[0]
    ids = lm.tok_encode(" 1 2 3 4 5 6 7 8 9 10 11 12 13 14")
    prompts = [ids, ids[: len(ids) // 2]]
    with running_batch(lm, config, 2, 2 * len(ids) + 2 * PAGE) as manager:
        for number, prompt in enumerate(prompts):
            manager.add_request(prompt, str(number), max_new_tokens=2, eos_token_id=-1)
        outputs: dict[int, Any] = {}
        while len(outputs) < len(prompts) and (output := manager.get_result(timeout=60)):
            outputs[int(output.request_id)] = output
    if failed := next((output.error for output in outputs.values() if output.error), None):
        return f"{type(lm.model).__name__} cannot be served in this way: {_failed(failed).words}"
    for number, prompt in enumerate(prompts):
        given = torch.tensor([prompt], device=lm.device)
        first = lm.model.generate(
            input_ids=given, attention_mask=torch.ones_like(given), max_new_tokens=1, do_sample=False, pad_token_id=0
        )[0, -1]
        if number not in outputs or outputs[number].generated_tokens[0] != first:
            return f"{type(lm.model).__name__} gives another reply by continuous batching than by generate."
    return None
