"""Which models and settings continuous batching takes, and which it refuses, saying why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("transformers", reason="needs a model, of the extra hf")
import torch
import transformers
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from turnswap.tasks.multiturn.engines.hf import refusal

from .continuous import DRAWN, GREEDY, PROMPTS, continuous, lockstep, state, texts

SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}


def wrapped(model: Any, shared_lm: HFLM, **arguments: Any) -> HFLM:
    """A model of this architecture behind lm-eval's ``hf``, with the tiny model's tokenizer."""
    model.generation_config.eos_token_id = None
    return HFLM(pretrained=model.eval(), tokenizer=shared_lm.tokenizer, device="cpu", **arguments)


def made(shared_lm: HFLM, name: str, **more: Any) -> HFLM:
    torch.manual_seed(0)
    vocabulary = len(shared_lm.tokenizer)
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
    return wrapped(kind(config), shared_lm, **more)


@pytest.mark.parametrize("name", ["GPT2", "Gemma3"])
def test_other_models_get_the_replies_of_lockstep(shared_lm: HFLM, name: str) -> None:
    lm = made(shared_lm, name, batch_size=3, max_length=200)
    assert refusal(lm, [GREEDY]) is None
    assert texts(continuous(lm, PROMPTS, GREEDY)) == lockstep(lm, PROMPTS, GREEDY)


def test_a_lora_adapter_counts(shared_lm: HFLM) -> None:
    peft = pytest.importorskip("peft")
    plain = made(shared_lm, "Llama", batch_size=2)
    without = lockstep(plain, PROMPTS, GREEDY)
    lora = peft.LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, target_modules=["q_proj", "v_proj"], r=4)
    lm = wrapped(plain.model, shared_lm, batch_size=2)
    lm._model = peft.get_peft_model(plain.model, lora)
    assert refusal(lm, [GREEDY]) is None
    assert texts(continuous(lm, PROMPTS, GREEDY)) == lockstep(lm, PROMPTS, GREEDY) != without


def test_virtual_tokens_before_the_prompt_are_refused(shared_lm: HFLM) -> None:
    peft = pytest.importorskip("peft")
    lm = made(shared_lm, "Llama")
    lm._model = peft.get_peft_model(lm.model, peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4))
    said = "The adapter puts virtual tokens before the prompt, which continuous batching leaves out."
    assert refusal(lm, [GREEDY]) == said


def test_recurrent_models_are_refused_and_work_as_before(shared_lm: HFLM) -> None:
    lm = made(shared_lm, "Mamba", batch_size=1)
    before, replies = state(lm), lockstep(lm, PROMPTS[:2], GREEDY)
    assert refusal(lm, [GREEDY]) == (
        "MambaForCausalLM cannot be served in this way: Invalid layer type: linear_attention"
    )
    assert state(lm) == before
    assert lockstep(lm, PROMPTS[:2], GREEDY) == replies


def test_a_model_that_fails_only_when_it_runs_is_refused(shared_lm: HFLM) -> None:
    lm = made(shared_lm, "OPT")
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


def test_encoder_decoders_are_refused(shared_lm: HFLM) -> None:
    config = transformers.T5Config(
        d_model=32,
        d_ff=64,
        d_kv=16,
        num_layers=2,
        num_heads=2,
        vocab_size=len(shared_lm.tokenizer),
        decoder_start_token_id=0,
    )
    lm = wrapped(transformers.T5ForConditionalGeneration(config), shared_lm, backend="seq2seq")
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
