"""lm-eval's vllm model asked request by request, in its own environment, against its own ``generate_until``.

``make test-engines`` runs it: the interpreter must have vLLM. ``DEMO_MODEL`` names a folder with the demo model.
"""

from __future__ import annotations

import asyncio
import csv
import json
import os
import signal
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lm_eval.api.instance import Instance

from turnswap.tasks.multiif.dataset import SAMPLE
from turnswap.tasks.multiturn.answers import Answer
from turnswap.tasks.multiturn.engines.observed import observed
from turnswap.tasks.multiturn.engines.vllm import VLLMEngine, refusal
from turnswap.tasks.multiturn.faults import Fault

pytest.importorskip("vllm", reason="runs where vLLM is installed: make test-engines")

SLOTS, LENGTH = 6, 1024


def settings(**others: Any) -> dict[str, Any]:
    return {"until": [], "max_gen_toks": 24, "do_sample": False, **others}


def load(model: Path) -> Any:
    from lm_eval.models.vllm_causallms import VLLM

    sizes = {"max_model_len": LENGTH, "max_num_seqs": SLOTS, "batch_size": "auto"}
    return VLLM(pretrained=str(model), dtype="float32", enforce_eager=True, **sizes)


@pytest.fixture(scope="module")
def lm(demo_model: Path) -> Iterator[Any]:
    lm = load(demo_model)
    yield lm
    lm.model.llm_engine.engine_core.shutdown()


def conversations(number: int) -> list[list[str]]:
    """What the users say in real conversations, in several languages."""
    with SAMPLE.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))[:: 48 // number]
    prompts = [[row[f"turn_{turn}_prompt"] for turn in (1, 2, 3)] for row in rows[:number]]
    return [[json.loads(prompt)["content"] for prompt in turns if prompt] for turns in prompts]


def first_prompts(lm: Any, number: int) -> list[str]:
    return [lm.apply_chat_template([{"role": "user", "content": turns[0]}]) for turns in conversations(number)]


def in_lockstep(lm: Any, prompts: Sequence[str], gen_kwargs: dict[str, Any]) -> list[str]:
    requests = [Instance("generate_until", {}, (prompt, gen_kwargs), 0, (None, None, 1)) for prompt in prompts]
    return [str(text) for text in lm.generate_until(requests)]


def asked(lm: Any, prompts: Sequence[str], gen_kwargs: dict[str, Any], seeds: Sequence[int] = ()) -> list[Answer]:
    """Each prompt asked through the engine, as many at once as it takes."""

    async def ask(engine: VLLMEngine, slots: asyncio.Semaphore, prompt: str, seed: int) -> Answer:
        async with slots:
            return await engine.ask(prompt, gen_kwargs, seed)

    async def run() -> list[Answer]:
        async with VLLMEngine(lm) as engine:
            slots = asyncio.Semaphore(engine.slots)
            each = zip(prompts, seeds or [1] * len(prompts), strict=True)
            return await asyncio.gather(*(ask(engine, slots, prompt, seed) for prompt, seed in each))

    return asyncio.run(within(300, run()))


async def within(seconds: float, what: Coroutine[Any, Any, Any]) -> Any:
    return await asyncio.wait_for(what, seconds)


def test_conversations_move_on_by_themselves_with_locksteps_replies(lm: Any) -> None:
    scripts = conversations(12)
    gen_kwargs = settings(until=["\n\n"])
    order: list[tuple[int, int]] = []
    histories: list[list[dict[str, str]]] = [[] for _ in scripts]
    answers: list[list[Answer]] = [[] for _ in scripts]

    async def converse(engine: VLLMEngine, slots: asyncio.Semaphore, number: int) -> None:
        async with slots:
            for turn, said in enumerate(scripts[number]):
                histories[number].append({"role": "user", "content": said})
                answer = await engine.ask(lm.apply_chat_template(histories[number]), gen_kwargs, 1)
                histories[number].append({"role": "assistant", "content": answer.text})
                answers[number].append(answer)
                order.append((number, turn))

    async def run() -> None:
        async with VLLMEngine(lm) as engine:
            slots = asyncio.Semaphore(engine.slots)
            assert engine.slots > SLOTS  # some wait in the engine for a place
            await asyncio.gather(*(converse(engine, slots, number) for number in range(len(scripts))))

    asyncio.run(within(600, run()))
    assert order.index((0, 1)) < order.index((11, 0))  # nobody waited for the slowest of a turn

    for turn in range(3):
        there = [number for number, turns in enumerate(scripts) if turn < len(turns)]
        prompts = [lm.apply_chat_template(histories[number][: 2 * turn + 1]) for number in there]
        with observed(lm) as seen:
            texts = in_lockstep(lm, prompts, gen_kwargs)
        for prompt, text, number in zip(prompts, texts, there, strict=True):
            ours, theirs = answers[number][turn], seen.get(prompt, gen_kwargs)
            assert theirs is not None
            assert ours.text == theirs.text == text
            for known in ("finish_reason", "prompt_tokens", "completion_tokens"):
                assert getattr(ours, known) == getattr(theirs, known)
    reasons = [answer.finish_reason for replies in answers for answer in replies]
    assert set(reasons) == {"stop", "length"}
    assert all(answer.completion_tokens == 24 for replies in answers for answer in replies if answer.truncated(24))


def test_the_cap_and_a_stop_string_end_a_reply_each_with_its_reason(lm: Any) -> None:
    prompts = first_prompts(lm, 6)
    capped = asked(lm, prompts, settings(max_gen_toks=5))
    assert {(answer.finish_reason, answer.completion_tokens) for answer in capped} == {("length", 5)}
    stopped = asked(lm, prompts, settings(until=[" ", "."]))
    assert {answer.finish_reason for answer in stopped} == {"stop"}
    assert not any({" ", "."} & set(answer.text) for answer in stopped)
    assert [answer.text for answer in stopped] == in_lockstep(lm, prompts, settings(until=[" ", "."]))
    assert all(answer.seconds and answer.seconds > 0 for answer in stopped)


def test_a_sampled_reply_follows_its_seed_and_a_greedy_one_has_none(lm: Any) -> None:
    (prompt,) = first_prompts(lm, 1)
    sampled = settings(do_sample=True, temperature=1.0)
    one, again, other = asked(lm, [prompt] * 3, sampled, seeds=[7, 7, 8])
    assert one.text == again.text != other.text
    fixed = asked(lm, [prompt] * 2, sampled | {"seed": 3}, seeds=[7, 8])
    assert fixed[0].text == fixed[1].text
    greedy = asked(lm, [prompt] * 2, settings(), seeds=[7, 8])
    assert greedy[0].text == greedy[1].text


def test_a_prompt_that_does_not_fit_is_cut_as_in_lockstep(lm: Any, caplog: pytest.LogCaptureFixture) -> None:
    prompts = ["rain and sun and wind " * 400 + each for each in ("one", "two")]
    caplog.set_level("WARNING")
    answers = asked(lm, prompts, settings())
    assert "Truncating context" in caplog.text
    assert [answer.prompt_tokens for answer in answers] == [LENGTH - 24] * 2
    assert [answer.text for answer in answers] == in_lockstep(lm, prompts, settings())


def test_a_trace_is_cut_off_and_stop_strings_count_only_after_it(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = first_prompts(lm, 6)
    plain = asked(lm, prompts, settings())
    mark = plain[0].text.split()[4]  # a word of the first reply ends its trace
    monkeypatch.setattr(lm, "think_end_token", mark)
    gen_kwargs = settings(until=["e"])
    with observed(lm) as seen:
        texts = in_lockstep(lm, prompts, gen_kwargs)
    answers = asked(lm, prompts, gen_kwargs)
    assert [answer.text for answer in answers] == texts
    assert "e" not in answers[0].text
    assert answers[0].completion_tokens == plain[0].completion_tokens
    assert answers[0].finish_reason == "stop"  # cut at a stop string, not at the cap
    for prompt, answer in zip(prompts, answers, strict=True):
        assert (lockstep := seen.get(prompt, gen_kwargs)) is not None
        assert lockstep.finish_reason == answer.finish_reason


def test_settings_that_vllm_does_not_know_fail_their_request_alone(lm: Any) -> None:
    async def run() -> list[Any]:
        async with VLLMEngine(lm) as engine:
            good, unknown, impossible = settings(), settings(lenght=3), settings(logprobs=10**6)
            asks = [engine.ask(prompt, kwargs, 1) for kwargs in (unknown, good, impossible)]
            return list(await asyncio.gather(*asks, return_exceptions=True))

    (prompt,) = first_prompts(lm, 1)
    unknown, good, impossible = asyncio.run(within(120, run()))
    assert isinstance(unknown, Fault)
    assert isinstance(impossible, Fault)
    assert "lenght" in unknown.words
    assert not unknown.may_pass
    assert "logprobs" in impossible.words
    assert [good.text] == in_lockstep(lm, [prompt], settings())


def test_a_run_that_is_cancelled_leaves_the_model_as_it_was(lm: Any) -> None:
    prompts = first_prompts(lm, 8)
    expected = in_lockstep(lm, prompts, settings())

    async def run() -> None:
        async with VLLMEngine(lm) as engine:
            long = settings(max_gen_toks=600)
            asks = [asyncio.ensure_future(engine.ask(prompt, long, 1)) for prompt in prompts]
            await engine.ask(prompts[0], settings(max_gen_toks=8), 1)
            assert lm.model.llm_engine.has_unfinished_requests()
            raise asyncio.CancelledError(len(asks))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(within(120, run()))
    assert not lm.model.llm_engine.has_unfinished_requests()
    assert in_lockstep(lm, prompts, settings()) == expected
    assert [answer.text for answer in asked(lm, prompts, settings())] == expected


def test_a_request_that_nobody_waits_for_gives_its_place_to_others(lm: Any) -> None:
    prompts = first_prompts(lm, 8)

    async def run() -> list[Answer]:
        async with VLLMEngine(lm) as engine:
            long = [asyncio.ensure_future(engine.ask(prompt, settings(max_gen_toks=700), 1)) for prompt in prompts[:4]]
            await asyncio.sleep(1)
            for task in long[1:]:
                task.cancel()
            answers = await asyncio.gather(*(engine.ask(prompt, settings(), 1) for prompt in prompts[4:]))
            assert not long[0].done()
            assert lm.model.llm_engine.get_num_unfinished_requests() == 1
            return answers

    answers = asyncio.run(within(120, run()))
    assert [answer.text for answer in answers] == in_lockstep(lm, prompts[4:], settings())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_engine_that_dies_fails_all_who_wait_and_who_come_later(number: signal.Signals, demo_model: Path) -> None:
    lm = load(demo_model)
    prompts = first_prompts(lm, 6)
    (process,) = lm.model.llm_engine.engine_core.resources.engine_manager.processes
    workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    async def run() -> list[Any]:
        async with VLLMEngine(lm) as engine:
            asks = [asyncio.ensure_future(engine.ask(each, settings(max_gen_toks=600), 1)) for each in prompts]
            await engine.ask(prompts[0], settings(max_gen_toks=8), 1)
            os.kill(process.pid, number)
            faults: list[Any] = list(await asyncio.gather(*asks, return_exceptions=True))
            while not engine._death:  # told to end, it first gives up what it has
                faults += await asyncio.gather(engine.ask(prompts[0], settings(), 1), return_exceptions=True)
            return faults + await asyncio.gather(engine.ask(prompts[0], settings(), 1), return_exceptions=True)

    try:
        faults = asyncio.run(within(120, run()))
    finally:
        for worker in workers:  # which vLLM leaves behind where its engine was killed
            with suppress(ProcessLookupError):
                os.kill(int(worker), signal.SIGKILL)
    assert len(faults) > len(prompts)
    assert all(isinstance(fault, Fault) and fault.words for fault in faults)
    assert "EngineDeadError" in faults[-1].words


def test_what_cannot_be_asked_one_by_one_is_named(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from lm_eval.models.vllm_causallms import VLLM

    class Own(VLLM):
        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
            return super().generate_until(requests, disable_tqdm)

    def said(attribute: str, value: Any, where: Any = None) -> str | None:
        with monkeypatch.context() as patched:
            patched.setattr(where or lm, attribute, value, raising=False)
            return refusal(lm, [settings()])

    assert refusal(lm, [settings(), settings(n=1, do_sample=True, temperature=0.7)]) is None
    assert "n=2" in str(refusal(lm, [settings(), settings(n=2)]))
    assert "Beam search" in str(refusal(lm, [settings(use_beam_search=True)]))
    assert "a way of its own" in str(refusal(object.__new__(Own), []))
    assert "data_parallel_size" in str(said("data_parallel_size", 2))
    assert "2 ranks" in str(said("_world_size", 2))
    assert "add_request" in str(said("add_request", None, lm.model.llm_engine))
    parallel = lm.model.llm_engine.vllm_config.parallel_config
    assert "external launcher" in str(said("distributed_executor_backend", "external_launcher", parallel))


def test_lockstep_hands_the_cache_each_reply_under_the_settings_it_was_asked_with(lm: Any) -> None:
    told = []

    class Hook:
        def add_partial(self, attr: str, request: Any, result: str) -> None:
            told.append((attr, request, result))

    (prompt,), before, hook = first_prompts(lm, 1), dict(vars(lm)), lm.cache_hook
    lm.cache_hook = Hook()
    try:
        with observed(lm):
            (text,) = in_lockstep(lm, [prompt], settings(max_gen_toks=4))
    finally:
        lm.cache_hook = hook
    assert told == [("generate_until", (prompt, settings(max_gen_toks=4)), text)]
    assert vars(lm) == before


def test_lm_evals_batch_size_bounds_what_is_asked_at_once(lm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    unbounded = VLLMEngine(lm).slots
    monkeypatch.setattr(lm, "batch_size", 2)
    assert VLLMEngine(lm).slots == 2
    monkeypatch.setattr(lm, "batch_size", 64)
    assert VLLMEngine(lm).slots == unbounded
