"""Tiny random models of the decoder architectures of transformers 5, and where each tensor that loads belongs.

Nothing here uses turnswap: the table in zoo_kinds says, by its loaded name, which layer a tensor belongs to.
"""

from __future__ import annotations

import functools
import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file, save_file

from .models import HEADS, SIZES

NONE = r"(?!)"  # matches no name
# Of these, a configuration gets those that its class knows.
KNOWN: dict[str, Any] = SIZES | HEADS | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
KNOWN |= dict.fromkeys(("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"), 4)
KNOWN |= dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "expert_ffn_hidden_size"), 16)
KNOWN |= dict.fromkeys(("shared_intermediate_size", "moe_shared_expert_intermediate_size"), 16)
KNOWN |= dict.fromkeys(("ffn_dim", "ffn_hidden_size", "dff", "intermediate_size_mlp", "dense_intermediate_size"), 48)
KNOWN |= {"num_experts_per_tok": 2, "n_shared_experts": 1, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}
# Latent attention and its indexer.
KNOWN |= {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 4, "qk_nope_head_dim": 8, "v_head_dim": 8}
KNOWN |= {"index_head_dim": 8, "index_n_heads": 2, "index_topk": 8}
# State spaces and linear attention.
KNOWN |= {"mamba_d_state": 8, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_ssm": 64}
KNOWN |= {"mamba_num_heads": 4, "mamba_head_dim": 16, "mamba_dt_rank": 4, "mamba_expand": 2, "mamba_chunk_size": 8}
KNOWN |= {"state_size": 8, "ssm_state_size": 8, "chunk_size": 8}
KNOWN |= {"linear_num_key_heads": 2, "linear_num_value_heads": 2, "linear_num_heads": 2}
KNOWN |= {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_head_dim": 8}
# Gemma's embeddings for each layer.
KNOWN |= {"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 64}


@dataclass(frozen=True)
class Kind:
    """An architecture.

    Attributes:
        config: the name of transformers' configuration class.
        needs: what it needs beside what of :data:`KNOWN` it knows.
        n_layers: decoder layers.
        layers: what stands before a layer's number in the names of loaded tensors, a regular expression as all below.
        embeddings: the tensors that are used before the first layer.
        head: those that are used after the last.
        outside: those of towers and projectors.
        shared: those of blocks that several layers share.
        sliced: those that hold a slice per layer, and the dimension along which.
        prediction_layer: whether a layer that predicts further tokens is added to the checkpoint by hand.
        parts: the settings of parts that have a configuration of their own, by name.
        computes: whether a forward pass is cheap and possible.
    """

    config: str
    needs: dict[str, Any] = field(default_factory=dict)
    n_layers: int = 8
    layers: str = r"model\.layers"
    embeddings: str = r"model\.embed_tokens\.weight"
    head: str = r"model\.norm\..*|lm_head\..*"
    outside: str = NONE
    shared: str = NONE
    sliced: dict[str, int] = field(default_factory=dict)
    prediction_layer: bool = False
    parts: dict[str, dict[str, Any]] = field(default_factory=dict)
    computes: bool = True

    @property
    def model_class(self) -> Any:
        """What loads it: with its towers, where it has any."""
        return transformers.AutoModelForImageTextToText if self.parts else transformers.AutoModelForCausalLM

    @property
    def is_tied(self) -> bool:
        """Whether one matrix serves as embeddings and lm_head."""
        settings = self.settings()
        return any(getattr(one, "tie_word_embeddings", False) for one in (settings, settings.get_text_config()))

    def settings(self) -> transformers.PretrainedConfig:
        """A configuration of it."""
        cls = getattr(transformers, self.config)
        if self.parts:
            return cls(**{name: dict(part) for name, part in self.parts.items()}, **self.needs)
        known = known_to(cls)
        sizes = {name: value for name, value in KNOWN.items() if name in known}
        numbers = [name for name in ("num_hidden_layers", "num_layers", "n_layers") if name in known]
        return cls(**(sizes | dict.fromkeys(numbers[:1], self.n_layers) | self.needs))

    def belongs(self, name: str) -> tuple[str, int]:
        """The part of the model that a loaded tensor belongs to, and its layer, or the dimension of the slices."""
        for part, pattern in (("shared", self.shared), ("outside", self.outside)):
            if re.fullmatch(pattern, name):
                return part, 0
        for pattern, dimension in self.sliced.items():
            if re.fullmatch(pattern, name):
                return "sliced", dimension
        if match := re.match(rf"(?:{self.layers})\.(\d+)\.", name):
            return "layer", int(match[1])
        found = [part for part in ("embeddings", "head") if re.fullmatch(getattr(self, part), name)]
        assert len(found) == 1, f"The table of {self.config} does not say where {name} belongs."
        return found[0], 0


@functools.cache
def known_to(cls: type) -> frozenset[str]:
    """The settings that a configuration class knows, by its own or by the common names."""
    annotated = {name for base in cls.__mro__ for name in getattr(base, "__annotations__", ())}
    return frozenset(annotated | set(inspect.signature(cls).parameters) | set(getattr(cls, "attribute_map", ())))


def in_float32(model: torch.nn.Module) -> Iterator[str]:
    """The tensors that real bfloat16 checkpoints of this model keep in float32, by the model's own code."""
    kept = {"e_score_correction_bias"}
    for names in ("_keep_in_fp32_modules", "_keep_in_fp32_modules_strict"):
        kept |= set(getattr(model, names, None) or ())
    pattern = re.compile(rf"(^|\.)({'|'.join(map(re.escape, sorted(kept)))})(\.|$)")
    return (name for name in model.state_dict() if pattern.search(name))


def save_kind(folder: Path, kind: Kind, seed: int) -> Path:
    """A model of which every tensor of floating-point numbers is random: norms, biases and buffers too."""
    torch.manual_seed(seed)
    model = kind.model_class.from_config(kind.settings(), dtype=torch.float32)
    persistent = model.state_dict().keys()
    held = [*model.parameters(), *(buffer for name, buffer in model.named_buffers() if name in persistent)]
    kept = set(in_float32(model))
    for n, tensor in enumerate(held):
        if tensor.is_floating_point():  # enough for bfloat16 not to round it away
            noise = torch.randn_like(tensor) * (0.02 + 0.1 * tensor.data.abs())
            tensor.data += noise if tensor.numel() > 1 else 0.1 * seed + 0.001 * n
    for name, tensor in model.state_dict(keep_vars=True).items():
        if tensor.is_floating_point() and name not in kept:
            tensor.data = tensor.data.bfloat16()
    model.save_pretrained(folder)
    settings = json.loads((folder / "config.json").read_text("utf-8"))
    settings["dtype"] = "bfloat16"  # transformers takes the first tensor's, which may be one of the few in float32
    (folder / "config.json").write_text(json.dumps(settings, indent=2), "utf-8")
    if kind.prediction_layer:
        add_prediction_layer(folder, kind)
    return folder


def add_prediction_layer(folder: Path, kind: Kind) -> None:
    """A layer beyond the last, as DeepSeek-V3 and GLM-4.5 have one; transformers neither makes nor writes it."""
    file = folder / "model.safetensors"
    content = load_file(file)
    last, further = (f"model.layers.{kind.n_layers + n}." for n in (-1, 0))
    layer = {further + name.removeprefix(last): tensor for name, tensor in content.items() if name.startswith(last)}
    width = content["model.norm.weight"].numel()
    for name in ("enorm", "hnorm", "shared_head.norm"):
        layer[f"{further}{name}.weight"] = torch.empty(width, dtype=torch.bfloat16)
    for name in ("embed_tokens", "shared_head.head"):
        layer[f"{further}{name}.weight"] = torch.empty_like(content["model.embed_tokens.weight"])
    layer[f"{further}eh_proj.weight"] = torch.empty(width, 2 * width, dtype=torch.bfloat16)
    content |= {name: (torch.randn(tensor.shape) * 0.02 + 0.1).to(tensor.dtype) for name, tensor in layer.items()}
    save_file(content, file, metadata={"format": "pt"})
