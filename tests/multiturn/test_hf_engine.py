from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs a model, of the extra hf")
import torch
import transformers
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from packaging.version import Version

from turnswap.commands.demo_model import write_demo_model
from turnswap.tasks import tasks_path
from turnswap.tasks.multiturn.answers import Answer
from turnswap.tasks.multiturn.engines import hf_batching
from turnswap.tasks.multiturn.engines.hf import OLDEST, HFEngine, refusal
from turnswap.tasks.multiturn.faults import Fault

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


@pytest.fixture(scope="module")
def shared(tiny_model: Path) -> HFLM:
    return load(tiny_model)


@pytest.fixture
def lm(shared: HFLM) -> Iterator[HFLM]:
    """A tiny model; what a test changes in its settings is undone."""
    settings, batch_size = copy.deepcopy(shared.model.generation_config), shared.batch_size_per_gpu
    yield shared
    shared.model.generation_config, shared.batch_size_per_gpu = settings, batch_size
    shared.think_end_token = None


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


def state(lm: HFLM) -> tuple[Any, ...]:
    model = lm.model
    attention = transformers.modeling_utils.ALL_ATTENTION_FUNCTIONS["sdpa"]
    settings = model.generation_config.to_dict()
    batching = [each.name for each in threading.enumerate() if "_run_generation_loop" in each.name]
    return model.config._attn_implementation, settings, attention, torch.get_rng_state().tolist(), batching


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


# ------------------------------------------------------------------------------------------------- what is refused


SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def wrapped(model: Any, shared: HFLM, **arguments: Any) -> HFLM:
    """A model of this architecture behind lm-eval's ``hf``, with the tiny model's tokenizer."""
    model.generation_config.eos_token_id = None
    return HFLM(pretrained=model.eval(), tokenizer=shared.tokenizer, device="cpu", **arguments)


def made(shared: HFLM, name: str, **more: Any) -> HFLM:
    torch.manual_seed(0)
    vocabulary = len(shared.tokenizer)
    config: Any
    match name:
        case "GPT2":
            config = transformers.GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=vocabulary)
        case "Gemma3":
            kinds = ["sliding_attention", "full_attention"]
            config = transformers.Gemma3TextConfig(
                **SIZE, vocab_size=vocabulary, num_key_value_heads=1, head_dim=16, sliding_window=8, layer_types=kinds
            )
        case "Mamba":
            config = transformers.MambaConfig(hidden_size=32, num_hidden_layers=2, vocab_size=vocabulary, state_size=4)
        case "OPT":
            config = transformers.OPTConfig(
                hidden_size=32,
                word_embed_proj_dim=32,
                ffn_dim=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                vocab_size=vocabulary,
            )
        case _:
            config = transformers.LlamaConfig(**SIZE, vocab_size=vocabulary)
    kind = getattr(transformers, f"{name}ForCausalLM", None) or getattr(transformers, f"{name}LMHeadModel")
    return wrapped(kind(config), shared, **more)


@pytest.mark.parametrize("name", ["GPT2", "Gemma3"])
def test_other_models_get_the_replies_of_lockstep(shared: HFLM, name: str) -> None:
    lm = made(shared, name, batch_size=3, max_length=200)
    assert refusal(lm, [GREEDY]) is None
    assert texts(continuous(lm, PROMPTS, GREEDY)) == lockstep(lm, PROMPTS, GREEDY)


def test_a_lora_adapter_counts(shared: HFLM) -> None:
    peft = pytest.importorskip("peft")
    plain = made(shared, "Llama", batch_size=2)
    without = lockstep(plain, PROMPTS, GREEDY)
    lora = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, target_modules=["q_proj", "v_proj"], r=4)
    lm = wrapped(plain.model, shared, batch_size=2)
    lm._model = peft.get_peft_model(plain.model, lora)
    assert refusal(lm, [GREEDY]) is None
    assert texts(continuous(lm, PROMPTS, GREEDY)) == lockstep(lm, PROMPTS, GREEDY) != without


def test_virtual_tokens_before_the_prompt_are_refused(shared: HFLM) -> None:
    peft = pytest.importorskip("peft")
    lm = made(shared, "Llama")
    lm._model = peft.get_peft_model(lm.model, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    said = "The adapter puts virtual tokens before the prompt, which continuous batching leaves out."
    assert refusal(lm, [GREEDY]) == said


def test_recurrent_models_are_refused_and_work_as_before(shared: HFLM) -> None:
    lm = made(shared, "Mamba", batch_size=1)
    before, replies = state(lm), lockstep(lm, PROMPTS[:2], GREEDY)
    assert refusal(lm, [GREEDY]) == (
        "MambaForCausalLM cannot be served in this way: Invalid layer type: linear_attention"
    )
    assert state(lm) == before
    assert lockstep(lm, PROMPTS[:2], GREEDY) == replies


def test_a_model_that_fails_only_when_it_runs_is_refused(shared: HFLM) -> None:
    lm = made(shared, "OPT")
    before = state(lm)
    assert str(refusal(lm, [GREEDY])).startswith("OPTForCausalLM cannot be served in this way: 'PagedAttentionCache'")
    assert state(lm) == before


def test_a_model_that_replies_otherwise_is_refused(lm: HFLM, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = lm.model.forward

    def forward(*arguments: Any, cu_seq_lens_q: Any = None, **named: Any) -> Any:
        found = plain(*arguments, **named) if cu_seq_lens_q is None else plain(cu_seq_lens_q=cu_seq_lens_q, **named)
        found.logits = found.logits if cu_seq_lens_q is None else -found.logits
        return found

    monkeypatch.setattr(lm.model, "forward", forward)
    said = "LlamaForCausalLM gives another reply by continuous batching than by generate."
    assert refusal(lm, [GREEDY]) == said


def test_encoder_decoders_are_refused(shared: HFLM) -> None:
    config = transformers.T5Config(
        d_model=32,
        d_ff=64,
        d_kv=16,
        num_layers=2,
        num_heads=2,
        vocab_size=len(shared.tokenizer),
        decoder_start_token_id=0,
    )
    lm = wrapped(transformers.T5ForConditionalGeneration(config), shared, backend="seq2seq")
    assert refusal(lm, [GREEDY]) == "T5ForConditionalGeneration is an encoder-decoder."


class Own(HFLM):
    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        return ["mine"] * len(requests)


def test_a_model_that_generates_in_its_own_way_is_refused(tiny_model: Path) -> None:
    assert refusal(Own(pretrained=str(tiny_model), device="cpu"), [GREEDY]) == (
        "Own generates in its own way: its generate_until is not that of lm-eval's hf model."
    )


ASKED: list[tuple[dict[str, Any], str]] = [
    ({"repetition_penalty": 1.3}, "leaves out what the generation settings ask for: RepetitionPenaltyLogitsProcessor."),
    ({"min_p": 0.1, "do_sample": True, "temperature": 1.0}, "ask for: MinPLogitsWarper."),
    ({"num_beams": 2}, "Continuous batching does not know beam search."),
    ({"num_beams": 2, "do_sample": True, "temperature": 1.0}, "Continuous batching does not know beam sample."),
    ({"min_new_tokens": 4}, "ask for: MinNewTokensLengthLogitsProcessor."),
    ({"max_length": 40}, "Continuous batching does not know max_length=40."),
    ({"invented": 1}, "Continuous batching does not know invented=1."),
    ({"num_return_sequences": 2, "do_sample": True, "temperature": 1.0}, "does not know num_return_sequences=2."),
]


@pytest.mark.parametrize(
    ("settings", "said"), ASKED, ids=lambda value: "-".join(value) if isinstance(value, dict) else ""
)
def test_settings_that_would_be_dropped_are_refused(lm: HFLM, settings: dict[str, Any], said: str) -> None:
    assert str(refusal(lm, [GREEDY | settings])).endswith(said)


def test_the_models_own_settings_that_would_be_dropped_are_refused(lm: HFLM) -> None:
    assert refusal(lm, [GREEDY]) is None
    lm.model.generation_config.update(repetition_penalty=1.05, temperature=0.7, top_p=0.8, top_k=20)
    assert refusal(lm, [GREEDY]) == (
        "Continuous batching leaves out what the generation settings ask for: RepetitionPenaltyLogitsProcessor."
    )
    lm.model.generation_config.update(repetition_penalty=1.0, max_new_tokens=30)
    assert refusal(lm, [GREEDY]) == "Continuous batching does not know max_new_tokens=30."


def test_drawing_in_two_ways_in_one_run_is_refused(lm: HFLM) -> None:
    assert refusal(lm, [DRAWN, DRAWN | {"max_gen_toks": 5, "until": ["x"]}]) is None
    said = str(refusal(lm, [GREEDY, DRAWN]))
    assert said.startswith("The requests of one run are generated in different ways: {'do_sample': False} and {")


def test_an_old_transformers_is_refused(lm: HFLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformers, "__version__", "5.16.1")
    assert refusal(lm, [GREEDY]) == "transformers 5.16.1 is too old for it: it needs 5.19."


def test_several_ranks_and_two_types_are_refused(lm: HFLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm, "mixed_precision_dtype", torch.bfloat16)
    assert refusal(lm, [GREEDY]) == "mixed_precision_dtype computes in two types."
    monkeypatch.setattr(lm, "_world_size", 2)
    assert refusal(lm, [GREEDY]) == "The model runs in 2 processes."


def test_a_model_on_several_devices_is_refused(lm: HFLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lm.model, "hf_device_map", {"model.layers.0": 0, "model.layers.1": 1}, raising=False)
    assert refusal(lm, [GREEDY]) == "The model is split over several devices."


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
