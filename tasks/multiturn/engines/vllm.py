"""lm-eval's ``vllm`` model, one request at a time: through its engine's ``add_request`` and ``step``.

One thread alone touches the engine, which takes no calls from two. Between two steps new requests join those that run.
"""

from __future__ import annotations

import asyncio
import inspect
import itertools
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from typing import Any

from lm_eval.models.utils import maybe_truncate, postprocess_generated_text

from ..answers import Answer
from ..backend import Prompt
from ..faults import Fault

# The engine's whole interface, as it is used here.
_CALLS = ("add_request", "step", "abort_request", "has_unfinished_requests")
# Names by which a request asks for several replies, or for more than one way to find one.
_SEVERAL = ("n", "best_of", "num_beams", "num_return_sequences")
# Turns of the event loop that the next requests of finished conversations get to arrive before the next step.
_TURNS = 20
# How often, in seconds, it is looked whether an engine that does not answer is still there.
_LOOK = 2.0
# Below this temperature vLLM takes the likeliest token.
_GREEDY = 1e-5
_DIED = "vLLM's engine died"
# Numbers never come twice in a process: an engine may still have something to say of a request that was dropped.
_numbers = itertools.count()


def refusal(lm: Any, gen_kwargs: Sequence[dict[str, Any]]) -> str | None:
    """Why requests with these settings cannot be given to a model one by one; None where they can.

    Args:
        lm: lm-eval's ``vllm`` model itself, not its cache.
        gen_kwargs: the settings of all requests.
    """
    kind, module = type(lm).__name__, sys.modules["lm_eval.models.vllm_causallms"]
    for method in ("generate_until", "_model_generate"):
        if inspect.unwrap(getattr(type(lm), method)) is not getattr(module.VLLM, method):
            return f"{kind} generates in a way of its own, unlike lm-eval's vllm model."
    if lm.data_parallel_size > 1:
        return "With data_parallel_size > 1 lm-eval loads vLLM anew for every call: no engine is left to ask."
    if lm.world_size > 1:
        return f"The evaluation runs on {lm.world_size} ranks, which must ask the model together."
    engine: Any = getattr(lm.model, "llm_engine", None)
    missing = [name for name in _CALLS if not callable(getattr(engine, name, None))]
    if missing:
        return f"The engine of this version of vLLM has no {missing[0]}."
    if engine.vllm_config.parallel_config.distributed_executor_backend == "external_launcher":
        return "With vLLM's external launcher every rank must make the same steps, and ranks would drift apart."
    for settings in gen_kwargs:
        for name in _SEVERAL:
            if settings.get(name) not in (None, 1):
                return f"{name}={settings[name]} asks for several replies to one request."
        if settings.get("use_beam_search"):
            return "Beam search is no part of vLLM's engine."
    return None


class VLLMEngine:
    """The engine inside lm-eval's ``vllm`` model; see engines.Engine.

    Args:
        lm: a model that ``refusal`` says nothing against. It can be used as before when the engine has been left.
    """

    name = "vLLM"
    open_per_slot = 12
    tries = 1  # the same engine with the same request fails again
    advice = """The error of vLLM is above. --metadata '{"schedule": "lockstep"}' uses lm-eval's own way."""

    def __init__(self, lm: Any) -> None:
        self.facts: dict[str, Any] = {}
        self._lm, self._engine = lm, lm.model.llm_engine
        limit = int(self._engine.vllm_config.scheduler_config.max_num_seqs)
        # A few more than run at once wait in the engine: a place that gets free is filled in the very next step.
        self.slots = limit + limit // 8 + 1
        if lm.batch_size != "auto":
            self.slots = min(self.slots, int(lm.batch_size))
        # ChatGLM's end of sequence decodes to nothing; lm-eval then takes its name.
        self._eos = lm.tokenizer.decode(lm.eot_token_id) or getattr(lm.tokenizer, "eos_token", "")
        self._asked: dict[str, asyncio.Future[Any]] = {}  # all that have no answer yet
        self._coming: list[tuple[str, Any]] = []  # of these, what the engine does not have yet
        self._dropped: list[str] = []  # and what nobody waits for any more
        self._death: str | None = None

    async def __aenter__(self) -> VLLMEngine:
        """Start to wait for requests."""
        self._work = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "vllm")
        self._pump = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exception: object) -> None:
        """Drop what is unfinished.

        It waits for the step that runs, without giving way: a cancellation must not leave requests in the engine.
        """
        self._pump.cancel()
        dropped = self._thread.submit(self._abort, list(self._asked))
        while not wait([dropped], timeout=_LOOK).done:
            self._rouse()
        self._thread.shutdown()
        self._fail("vLLM's engine was left")
        await asyncio.gather(self._pump, return_exceptions=True)

    async def ask(self, prompt: Prompt, gen_kwargs: dict[str, Any], seed: int) -> Answer:
        """The model's answer.

        Raises:
            Fault: vLLM refuses the request, or its engine died.
        """
        if self._death is not None:
            raise Fault(_DIED, words=self._death)
        started = time.monotonic()
        number = f"turnswap-{next(_numbers)}"
        until, request = self._request(str(prompt), gen_kwargs, seed)
        future = self._asked[number] = asyncio.get_running_loop().create_future()
        self._coming.append((number, request))
        self._work.set()
        try:
            output = await future
        except asyncio.CancelledError:
            self._dropped.append(number)
            raise
        think_end = self._lm.think_end_token
        text = postprocess_generated_text(output.outputs[0].text, until, think_end)
        return answer_of(output, text, think_end_token=think_end, seconds=time.monotonic() - started)

    def _request(self, prompt: str, gen_kwargs: dict[str, Any], seed: int) -> tuple[list[str], dict[str, Any]]:
        """What ends the reply, and the arguments of ``add_request``: all as in ``VLLM.generate_until``."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        lm = self._lm
        kwargs, until, cap = lm.modify_gen_kwargs(gen_kwargs, eos=self._eos, default_max_gen_toks=lm.max_gen_toks)
        tokens, cap = maybe_truncate(
            lm.tok_encode(prompt), max_gen_toks=cap, max_model_len=lm.max_length, side=lm.truncation_side, verbose=True
        )
        # A stop string inside a reasoning trace must not end the reply.
        stop = [each for each in until if each == self._eos] if lm.think_end_token else until
        try:
            params = SamplingParams(max_tokens=cap, stop=stop, **kwargs)
        except Exception as error:  # vLLM's own kind of error is none of Python's
            raise _refused(error) from error
        params.output_kind = RequestOutputKind.FINAL_ONLY
        if params.temperature >= _GREEDY and params.seed is None:
            params.seed = seed
        # The form that vLLM's own LLM.generate gives its engine; anything less is deprecated there.
        sent = {"type": "token", "prompt_token_ids": tokens}
        return until, {"prompt": sent, "params": params, "lora_request": lm.lora_request}

    async def _run(self) -> None:
        """Step as long as somebody waits; an error of the engine's goes to all who do."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._asked:
                self._work.clear()
                await self._work.wait()
            coming, self._coming = self._coming, []
            dropped, self._dropped = self._dropped, []
            try:
                step = loop.run_in_executor(self._thread, self._step, coming, dropped)
                while not (await asyncio.wait([step], timeout=_LOOK))[0]:
                    self._rouse()
                outcomes = step.result()
            except Exception as error:  # whatever comes out of an engine, no request may wait for it
                self._death = f"{type(error).__name__}: {error}"
                self._fail(_DIED, self._death)
                return
            for number in dropped:
                self._asked.pop(number, None)
            for number, outcome in outcomes:
                _settle(self._asked.pop(number, None), outcome)
            for _ in range(_TURNS):
                if len(self._coming) >= len(outcomes):
                    break
                await asyncio.sleep(0)

    def _step(self, coming: Iterable[tuple[str, Any]], dropped: list[str]) -> list[tuple[str, Any]]:
        """In the thread: hand over what came, take back what was dropped, and step; what has come to its end."""
        from vllm.v1.engine.exceptions import EngineDeadError

        outcomes: list[tuple[str, Any]] = []
        for number, request in coming:
            try:
                self._engine.add_request(number, **request)
            except EngineDeadError:
                raise
            except Exception as error:  # the request's own fault: the others go on
                outcomes.append((number, _refused(error)))
        if dropped:
            self._engine.abort_request(dropped)
        if self._engine.has_unfinished_requests():
            outcomes += [(output.request_id, output) for output in self._engine.step() if output.finished]
        return outcomes

    def _rouse(self) -> None:
        """End a step whose engine was killed: vLLM notices the death, but lets the step wait for ever."""
        core = self._engine.engine_core
        if getattr(getattr(core, "resources", None), "engine_dead", False):
            core.outputs_queue.put_nowait(RuntimeError("the engine's process ended"))

    def _abort(self, numbers: list[str]) -> None:
        with suppress(Exception):  # a dead engine holds nothing that could be dropped
            if numbers:
                self._engine.abort_request(numbers)

    def _fail(self, kind: str, words: str = "") -> None:
        for future in self._asked.values():
            _settle(future, Fault(kind, words=words))
        self._asked.clear()
        self._coming.clear()


def answer_of(output: Any, text: str, *, think_end_token: str | None, seconds: float | None = None) -> Answer:
    """The answer in what vLLM put out.

    Args:
        output: a finished ``RequestOutput``.
        text: the reply that lm-eval makes of it.
        think_end_token: lm-eval's argument of that name.
        seconds: from the request to the answer.

    Raises:
        Fault: the engine gave the request up, as it does when it is told to end.
    """
    completion = output.outputs[0]
    reason = completion.finish_reason
    if reason in ("abort", "error"):
        raise Fault("vLLM gave up the request", words=f"finish reason {reason}")
    said = completion.text.split(think_end_token)[-1].lstrip() if think_end_token else completion.text
    if text != said:
        reason = "stop"  # cut off at a stop string that vLLM was not told
    return Answer(
        text,
        finish_reason=reason,
        prompt_tokens=len(output.prompt_token_ids),
        completion_tokens=len(completion.token_ids),
        seconds=seconds,
    )


def _settle(future: asyncio.Future[Any] | None, outcome: Any) -> None:
    if future is None or future.done():
        return
    if isinstance(outcome, Fault):
        future.set_exception(outcome)
    else:
        future.set_result(outcome)


def _refused(error: BaseException) -> Fault:
    return Fault("vLLM refuses the request", words=f"{type(error).__name__}: {error}", may_pass=False)
