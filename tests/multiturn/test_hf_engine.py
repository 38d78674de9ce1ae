"""Replies by continuous batching are those of lockstep, and the model is afterwards as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs a model, of the extra hf")
import torch
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from turnswap.commands.demo_model import write_demo_model
from turnswap.tasks import tasks_path
from turnswap.tasks.multiturn.answers import Answer
from turnswap.tasks.multiturn.engines import hf_batching
from turnswap.tasks.multiturn.engines.hf import HFEngine
from turnswap.tasks.multiturn.faults import Fault

from .continuous import DRAWN, GREEDY, PROMPTS, continuous, load, lockstep, state, texts


def end_at(lm: HFLM, prompt: str, place: int) -> int:
    """A token that the reply to a prompt holds first at this place, or after it."""
    ids = torch.tensor([lm.tok_encode(prompt)])
    reply = lm.model.generate(ids, max_new_tokens=40, do_sample=False, pad_token_id=0)[0, ids.shape[1] :].tolist()
    return next(token for n, token in enumerate(reply) if n >= place and token not in reply[:n])


# ---------------------------------------------------------------------------------------------- the same replies


def test_more_requests_than_slots_get_the_replies_of_lockstep(lm: HFLM) -> None:
    lm.batch_size_per_gpu = 2
    answers = continuous(lm, PROMPTS, GREEDY)
    assert texts(answers) == lockstep(lm, PROMPTS, GREEDY)
    assert [answer.prompt_tokens for answer in answers] == [len(lm.tok_encode(prompt)) for prompt in PROMPTS]
    assert {answer.completion_tokens for answer in answers} == {12}
    assert {answer.finish_reason for answer in answers} == {"length"}
    assert all(answer.seconds and answer.seconds > 0 for answer in answers)


def test_a_stop_string_that_spans_tokens_ends_the_reply(lm: HFLM) -> None:
    whole = continuous(lm, PROMPTS[:1], GREEDY | {"max_gen_toks": 40})[0].text
    stop = next(whole[n : n + 3] for n in range(5, 30) if "\ufffd" not in whole[n : n + 3])
    asked = GREEDY | {"max_gen_toks": 40, "until": [stop]}
    (answer,) = continuous(lm, PROMPTS[:1], asked)
    assert [answer.text] == lockstep(lm, PROMPTS[:1], asked) == [whole.split(stop)[0]]
    assert answer.finish_reason == "stop"
    assert answer.completion_tokens is not None
    assert answer.completion_tokens < 40


def test_every_end_token_of_the_model_ends_the_reply(lm: HFLM) -> None:
    ends = [end_at(lm, PROMPTS[0], 2), end_at(lm, PROMPTS[2], 4)]
    lm.model.generation_config.eos_token_id = ends
    answers = continuous(lm, [PROMPTS[0], PROMPTS[2]], GREEDY)
    assert texts(answers) == lockstep(lm, [PROMPTS[0], PROMPTS[2]], GREEDY)
    assert [answer.finish_reason for answer in answers] == ["stop", "stop"]
    assert all((answer.completion_tokens or 99) < 12 for answer in answers)


def test_a_reply_that_ends_with_its_last_token_is_no_truncated_one(lm: HFLM) -> None:
    end = end_at(lm, PROMPTS[0], 3)
    lm.model.generation_config.eos_token_id = [end]
    (free,) = continuous(lm, PROMPTS[:1], GREEDY)
    (exact,) = continuous(lm, PROMPTS[:1], GREEDY | {"max_gen_toks": free.completion_tokens})
    (short,) = continuous(lm, PROMPTS[:1], GREEDY | {"max_gen_toks": (free.completion_tokens or 0) - 1})
    assert (exact.finish_reason, exact.text) == ("stop", free.text)
    assert short.finish_reason == "length"


@pytest.mark.parametrize("name", ["max_new_tokens", "max_tokens"])
def test_other_names_of_the_cap_hold(lm: HFLM, name: str) -> None:
    (answer,) = continuous(lm, PROMPTS[:1], {"until": [], name: 3})
    assert answer.completion_tokens == 3


def test_a_prompt_that_is_too_long_is_cut_as_lm_eval_cuts_it(lm: HFLM) -> None:
    long = "".join(f"{n} green bottles. " for n in range(60))
    (answer,) = continuous(lm, [long], GREEDY)
    assert [answer.text] == lockstep(lm, [long], GREEDY)
    assert answer.prompt_tokens == lm.max_length - 12


def test_a_reply_that_leaves_the_prompt_no_room_is_a_fault(lm: HFLM) -> None:
    with pytest.raises(Fault, match="a reply of 512 tokens does not fit the model's length of 512"):
        continuous(lm, PROMPTS[:1], GREEDY | {"max_gen_toks": 512})


@pytest.mark.parametrize("marker", ["text", "token"])
def test_what_comes_before_the_end_of_thinking_is_cut_off(lm: HFLM, marker: str) -> None:
    token = end_at(lm, PROMPTS[2], 4)
    lm.think_end_token = token if marker == "token" else lm.tok_decode([token])
    assert texts(continuous(lm, PROMPTS, GREEDY)) == lockstep(lm, PROMPTS, GREEDY)


# -------------------------------------------------------------------------------------------------------- drawing


def test_the_same_seed_draws_the_same_replies_whatever_runs_beside(lm: HFLM) -> None:
    lm.batch_size_per_gpu = 4
    together = texts(continuous(lm, PROMPTS, DRAWN, seed=1))
    lm.batch_size_per_gpu = 1
    assert texts(continuous(lm, PROMPTS, DRAWN, seed=1)) == together
    assert texts(continuous(lm, PROMPTS, DRAWN, seed=2)) != together


def test_tokens_are_drawn_with_their_probabilities(lm: HFLM) -> None:
    asked = DRAWN | {"max_gen_toks": 1, "top_k": 3, "top_p": 1.0}
    lm.batch_size_per_gpu = 16

    async def draw(times: int) -> list[Answer]:
        async with HFEngine(lm, [asked]) as engine:
            return await asyncio.gather(*(engine.ask(PROMPTS[2], dict(asked), seed) for seed in range(times)))

    drawn = texts(asyncio.run(draw(300)))
    with torch.no_grad():
        logits = lm.model(torch.tensor([lm.tok_encode(PROMPTS[2])])).logits[0, -1]
    best = (logits / 0.9).topk(3)
    expected: dict[str, float] = {}
    for token, share in zip(best.indices, best.values.softmax(-1).tolist(), strict=True):
        expected[lm.tok_decode([token])] = expected.get(lm.tok_decode([token]), 0) + share  # some look the same
    assert len(expected) > 1
    assert {text: drawn.count(text) / len(drawn) for text in expected} == pytest.approx(expected, abs=0.1)


# ------------------------------------------------------------------------------------------- before and afterwards


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_afterwards_the_model_is_as_before(tiny_model: Path, attention: str) -> None:
    lm = load(tiny_model, attn_implementation=attention)
    before, replies = state(lm), lockstep(lm, PROMPTS, GREEDY)
    assert texts(continuous(lm, PROMPTS, GREEDY)) == replies
    assert state(lm) == before
    assert lockstep(lm, PROMPTS, GREEDY) == replies


def test_a_run_that_is_cancelled_leaves_nothing_behind(lm: HFLM) -> None:
    before = state(lm)

    async def run() -> None:
        async with HFEngine(lm, [GREEDY]) as engine:
            asked = asyncio.create_task(engine.ask(PROMPTS[0], GREEDY | {"max_gen_toks": 400}, 0))
            await asyncio.sleep(0.05)
            asked.cancel()
            await engine.ask(PROMPTS[1], dict(GREEDY), 0)  # the others go on
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run())
    assert state(lm) == before


def test_when_generation_fails_every_request_hears_why(lm: HFLM, monkeypatch: pytest.MonkeyPatch) -> None:
    before = state(lm)
    monkeypatch.setattr(lm.model, "forward", lambda **_: (_ for _ in ()).throw(RuntimeError("out of luck")))

    async def run() -> list[Any]:
        async with HFEngine(lm, [GREEDY]) as engine:
            first = await asyncio.gather(*(engine.ask(p, dict(GREEDY), 0) for p in PROMPTS), return_exceptions=True)
            return [*first, *await asyncio.gather(engine.ask(PROMPTS[0], dict(GREEDY), 0), return_exceptions=True)]

    outcomes = asyncio.run(run())
    assert len(outcomes) == len(PROMPTS) + 1
    for outcome in outcomes:
        assert isinstance(outcome, Fault)
        assert outcome.words == "out of luck"
    monkeypatch.undo()
    assert state(lm) == before


def test_a_thread_that_dies_without_a_word_leaves_nobody_waiting(lm: HFLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm.model, "forward", lambda **_: (_ for _ in ()).throw(SystemExit))
    with pytest.raises(Fault, match="continuous batching failed"):
        continuous(lm, PROMPTS[:1], GREEDY)


def test_auto_means_as_many_requests_as_lm_eval_would_try(tiny_model: Path) -> None:
    lm = load(tiny_model, batch_size="auto", max_batch_size=3)
    assert HFEngine(lm, [GREEDY]).slots == 3
    assert texts(continuous(lm, PROMPTS, GREEDY)) == lockstep(load(tiny_model), PROMPTS, GREEDY)


def test_too_little_memory_for_all_slots_slows_down_but_changes_nothing(
    lm: HFLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = lockstep(lm, PROMPTS, GREEDY | {"max_gen_toks": 60})
    monkeypatch.setattr(hf_batching, "_SHARE", 0)  # one page, where each request needs several: the next test
    with pytest.raises(Fault, match="No requests can be scheduled"):
        continuous(lm, PROMPTS, GREEDY | {"max_gen_toks": 60})
    monkeypatch.undo()
    assert texts(continuous(lm, PROMPTS, GREEDY | {"max_gen_toks": 60}, longest=60)) == expected


# ------------------------------------------------------------------------------------------------- a real model


@pytest.mark.slow
def test_real_conversations_get_the_replies_of_lockstep(tmp_path: Path) -> None:
    write_demo_model(tmp_path / "model")
    lm = load(tmp_path / "model", batch_size=4)

    def replies(schedule: str) -> list[list[str]]:
        metadata = {"multiif_data": "sample", "schedule": schedule}
        manager = TaskManager(include_path=str(tasks_path()), include_defaults=False, metadata=metadata)
        asked = {"tasks": ["multiif_en", "multiif_hi", "multiif_zh"], "limit": 2, "gen_kwargs": {"max_gen_toks": 8}}
        results: Any = simple_evaluate(lm, task_manager=manager, bootstrap_iters=0, **asked)
        assert results["configs"]["multiif_en"]["metadata"]["run"]["schedule"] == schedule
        return [sample["resps"] for samples in results["samples"].values() for sample in samples]

    pipelined = replies("pipelined")
    assert len(pipelined) == 6
    assert pipelined == replies("lockstep")
