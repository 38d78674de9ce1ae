"""Tiny random models of many architectures, merge configurations, and merges in this process."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
import yaml
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from turnswap.hosts import startup

startup.install(force=True)  # before mergekit.merge is imported

import mergekit.merge  # noqa: E402
from mergekit.config import MergeConfiguration  # noqa: E402
from mergekit.options import MergeOptions  # noqa: E402

from turnswap.merge_methods.checkpoint import Checkpoint  # noqa: E402

transformers.utils.logging.set_verbosity_error()
logging.getLogger("mergekit").setLevel(logging.ERROR)

LAYERS = 8
BLENDED = "model.layers.2.mlp.up_proj.weight"  # by the zones of a recipe that says nothing else
TOKENS = ["<unk>", "<s>", "</s>", *(f"w{n}" for n in range(61))]  # as many as a tiny model has embeddings
SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
}
GROUPED: dict[str, Any] = {"num_key_value_heads": 2}
HEADS = GROUPED | {"head_dim": 8}
# Transformers' configuration classes and what they need beside the sizes.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", GROUPED),
    "qwen2": ("Qwen2Config", GROUPED),
    "qwen3-tied": ("Qwen3Config", HEADS | {"tie_word_embeddings": True}),
    "gemma2-tied": ("Gemma2Config", HEADS),
    "gemma3-tied": ("Gemma3TextConfig", HEADS),
    "mixtral": ("MixtralConfig", GROUPED | {"num_local_experts": 4}),
    "qwen3-moe": ("Qwen3MoeConfig", HEADS | {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
    "gpt-neox": ("GPTNeoXConfig", {}),
    "smollm3": ("SmolLM3Config", GROUPED | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}),
}


def save_model(
    folder: Path,
    kind: str = "llama",
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    shards: str | None = None,
    layers: int = LAYERS,
    tokenizer: Sequence[str] | None = None,
    **config: Any,
) -> Path:
    """A random model; ``shards`` is the largest size of a file, ``tokenizer`` its words, ``config`` the rest."""
    name, needed = KINDS[kind]
    settings = getattr(transformers, name)(**(SIZES | needed | {"num_hidden_layers": layers} | config))
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(settings)
    for parameter in model.parameters():  # norms too: all ones in every new model, they would prove nothing
        parameter.data.add_(torch.randn_like(parameter), alpha=0.02)
    model.to(dtype).save_pretrained(folder, **({"max_shard_size": shards} if shards else {}))
    if tokenizer is not None:
        save_tokenizer(folder, tokenizer)
    return folder


def save_tokenizer(folder: Path, tokens: Sequence[str]) -> None:
    """A tokenizer of whole words, whose ids are their places in the list."""
    words = Tokenizer(WordLevel({token: n for n, token in enumerate(tokens)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>")
    fast.save_pretrained(folder)


def pair(folder: Path, kind: str = "llama", **config: Any) -> tuple[Path, Path]:
    """A recipient and a donor of one kind."""
    return save_model(folder / "recipient", kind, 1, **config), save_model(folder / "donor", kind, 2, **config)


def recipe(recipient: object, donor: object, parameters: dict[str, Any] | None = None, **more: Any) -> str:
    """A merge configuration, 2 layers at the bottom and 1 at the top if nothing else is said."""
    content = {
        "merge_method": "layer_swap",
        "base_model": str(recipient),
        "models": [{"model": str(donor)}],
        "parameters": parameters or {"bottom": 2, "top": 1, "transition": 1},
        "dtype": "bfloat16",
    }
    return yaml.safe_dump({key: value for key, value in (content | more).items() if value is not None}, sort_keys=False)


def merge(configuration: str, out: Path, **options: Any) -> Path:
    """Merge in this process, as mergekit-yaml does."""
    config = MergeConfiguration.model_validate(yaml.safe_load(configuration))
    mergekit.merge.run_merge(config, str(out), MergeOptions(quiet=True, **options), config_source=configuration)
    return out


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of a model."""
    checkpoint = Checkpoint(folder)
    return {name: checkpoint.read(name) for name in checkpoint.tensors}


def same(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Equality of every bit of two bfloat16 tensors."""
    return torch.equal(left.view(torch.int16), right.view(torch.int16))


def changed_copy(model: Path, folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """A model's copy with other tensors."""
    shutil.copytree(model, folder)
    content = {name: tensor.clone() for name, tensor in tensors(model).items()}
    change(content)
    save_file(content, folder / "model.safetensors", metadata={"format": "pt"})
    return folder
