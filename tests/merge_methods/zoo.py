"""Tiny random models of the decoder architectures of transformers 5, and where each tensor that loads belongs.

Nothing here uses turnswap: which layer a loaded tensor belongs to is said by the table below, by its loaded name.
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


STATE_SPACE = {
    "layers": r"backbone\.layers",
    "embeddings": r"backbone\.embeddings\.weight",
    "head": r"backbone\.norm_f\.weight|lm_head\.weight",
}
GPT = {
    "layers": r"transformer\.h",
    "embeddings": r"transformer\.w[tp]e\.weight",
    "head": r"transformer\.ln_f\..*|lm_head\..*",
}
BLOOM = GPT | {"embeddings": r"transformer\.word_embeddings(_layernorm)?\..*"}
FINAL_LAYERNORM = {"head": r"model\.final_layernorm\..*|lm_head\..*"}
OPT = {
    "layers": r"model\.decoder\.layers",
    "embeddings": r"model\.decoder\.(embed_tokens|embed_positions|project_in)\.weight",
    "head": r"model\.decoder\.(final_layer_norm|project_out)\..*|lm_head\.weight",
}
LFM = {"head": r"model\.embedding_norm\.weight|lm_head\.weight"}  # whose final norm it is, its name notwithstanding
PER_LAYER = {r"model\.embed_tokens_per_layer\.weight": 1, r"model\.per_layer_model_projection\.weight": 0}
GEMMA4_EMBEDDINGS = r"model\.(embed_tokens|per_layer_projection_norm)\.weight"
GEMMA4 = {
    "num_kv_shared_layers": 2,
    "global_head_dim": 16,
    "sliding_window": 8,
    "layer_types": ["sliding_attention", "full_attention"] * 4,
}
GEMMA3N = {
    "num_kv_shared_layers": 2,
    "laurel_rank": 4,
    "sliding_window": 8,
    "activation_sparsity_pattern": [0.95] * 2 + [0.0] * 6,
    "layer_types": ["sliding_attention", "full_attention"] * 4,
}
TEXT = SIZES | HEADS | {"num_hidden_layers": 8}
VISION = {
    "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 2,
    "image_size": 28, "patch_size": 14,
}  # fmt: skip
QWEN_VISION = {
    "hidden_size": 16, "intermediate_size": 24, "depth": 3, "num_heads": 2, "patch_size": 4, "out_hidden_size": 32,
    "num_position_embeddings": 16,
}  # fmt: skip
QWEN_LINEAR = {name: value for name, value in KNOWN.items() if name.startswith("linear_") and name != "linear_head_dim"}
INSIDE = {
    "layers": r"model\.language_model\.layers",
    "embeddings": r"model\.language_model\.embed_tokens\.weight",
    "head": r"model\.language_model\.norm\.weight|lm_head\.weight",
    "outside": r"model\.(?!language_model\.).*",
}
DEEPSEEK = {"num_key_value_heads": 4}

KINDS: dict[str, Kind] = {
    "llama": Kind("LlamaConfig"),
    "llama-tied": Kind("LlamaConfig", {"tie_word_embeddings": True}),
    "llama-biases": Kind("LlamaConfig", {"attention_bias": True, "mlp_bias": True}),
    "mistral": Kind("MistralConfig"),
    "ministral": Kind("MinistralConfig"),
    "ministral3": Kind("Ministral3Config"),
    "mixtral": Kind("MixtralConfig"),
    "qwen2": Kind("Qwen2Config"),
    "qwen2-moe": Kind("Qwen2MoeConfig"),
    "qwen3": Kind("Qwen3Config"),
    "qwen3-moe": Kind("Qwen3MoeConfig"),
    "qwen3-next": Kind("Qwen3NextConfig"),
    "qwen3.5": Kind("Qwen3_5TextConfig"),
    "qwen3.5-moe": Kind("Qwen3_5MoeTextConfig"),
    "gemma": Kind("GemmaConfig"),
    "gemma2": Kind("Gemma2Config"),
    "gemma3": Kind("Gemma3TextConfig"),
    "gemma3-vision": Kind(
        "Gemma3Config", {"mm_tokens_per_image": 4}, parts={"text_config": TEXT, "vision_config": VISION}, **INSIDE
    ),
    "gemma4-vision": Kind(
        "Gemma4Config",
        {"audio_config": None},
        parts={
            "text_config": TEXT | GEMMA4 | {"hidden_size_per_layer_input": 4, "vocab_size_per_layer_input": 64},
            "vision_config": VISION | {"num_key_value_heads": 2, "head_dim": 8, "position_embedding_size": 16},
        },
        **INSIDE
        | {
            "embeddings": INSIDE["embeddings"] + r"|model\.language_model\.per_layer_projection_norm\.weight",
            "sliced": {name.replace(r"model\.", r"model\.language_model\."): n for name, n in PER_LAYER.items()},
        },
    ),
    "llava": Kind(
        "LlavaConfig",
        {"image_token_index": 3},
        parts={
            "text_config": TEXT | {"model_type": "llama"},
            "vision_config": VISION | {"model_type": "clip_vision_model"},
        },
        **INSIDE,
    ),
    "mistral3-vision": Kind(
        "Mistral3Config",
        {"image_token_index": 3},
        parts={
            "text_config": TEXT | {"model_type": "mistral"},
            "vision_config": VISION | {"model_type": "pixtral", "head_dim": 8},
        },
        **INSIDE,
    ),
    "qwen3-vl": Kind(
        "Qwen3VLConfig",
        parts={"text_config": TEXT, "vision_config": QWEN_VISION | {"deepstack_visual_indexes": [0]}},
        **INSIDE,
    ),
    "qwen3.5-vision": Kind(
        "Qwen3_5Config", parts={"text_config": TEXT | QWEN_LINEAR, "vision_config": QWEN_VISION}, **INSIDE
    ),
    "gemma3n": Kind(
        "Gemma3nTextConfig",
        GEMMA3N,
        embeddings=r"model\.(embed_tokens|per_layer_projection_norm|altup_projections\.\d)\.weight",
        head=r"model\.(norm|altup_unembed_projections\.\d)\.weight|lm_head\.weight",
        sliced=PER_LAYER,
    ),
    "gemma4": Kind("Gemma4TextConfig", GEMMA4, embeddings=GEMMA4_EMBEDDINGS, sliced=PER_LAYER),
    "gemma4-moe": Kind(
        "Gemma4TextConfig",
        GEMMA4
        | {"enable_moe_block": True, "top_k_experts": 2, "hidden_size_per_layer_input": 0, "num_kv_shared_layers": 0},
    ),
    "gemma4-unified": Kind("Gemma4UnifiedTextConfig", GEMMA4),
    "vaultgemma": Kind("VaultGemmaConfig"),
    "recurrent-gemma": Kind("RecurrentGemmaConfig", head=r"model\.final_norm\.weight|lm_head\.weight"),
    "phi": Kind("PhiConfig", **FINAL_LAYERNORM),
    "phi3": Kind("Phi3Config"),
    "phimoe": Kind("PhimoeConfig"),
    "gpt2": Kind("GPT2Config", **GPT),
    "gpt-neo": Kind("GPTNeoConfig", {"attention_types": [[["global", "local"], 4]]}, **GPT),
    "gpt-neox": Kind(
        "GPTNeoXConfig",
        layers=r"gpt_neox\.layers",
        embeddings=r"gpt_neox\.embed_in\.weight",
        head=r"gpt_neox\.final_layer_norm\..*|lm_head\.weight",
    ),
    "gpt-neox-japanese": Kind(
        "GPTNeoXJapaneseConfig",
        layers=r"gpt_neox_japanese\.layers",
        embeddings=r"gpt_neox_japanese\.embed_in\.weight",
        head=r"gpt_neox_japanese\.final_layer_norm\..*|embed_out\.weight",
    ),
    "gptj": Kind("GPTJConfig", {"rotary_dim": 4}, **GPT),
    "gpt-bigcode": Kind("GPTBigCodeConfig", **GPT),
    "gpt-oss": Kind("GptOssConfig"),
    "openai-gpt": Kind(
        "OpenAIGPTConfig",
        layers=r"transformer\.h",
        embeddings=r"transformer\.(tokens|positions)_embed\.weight",
        head=r"lm_head\.weight",
    ),
    "codegen": Kind("CodeGenConfig", {"rotary_dim": 4}, **GPT),
    "ctrl": Kind(
        "CTRLConfig",
        **GPT | {"embeddings": r"transformer\.w\.weight", "head": r"transformer\.layernorm\..*|lm_head\..*"},
    ),
    "opt": Kind("OPTConfig", **OPT),
    "opt-projections": Kind("OPTConfig", {"word_embed_proj_dim": 16, "do_layer_norm_before": False}, **OPT),
    "bloom": Kind("BloomConfig", **BLOOM),
    "falcon": Kind("FalconConfig", **BLOOM),
    "falcon-new": Kind("FalconConfig", {"new_decoder_architecture": True, "num_kv_heads": 2, "bias": True}, **BLOOM),
    "mpt": Kind(
        "MptConfig",
        layers=r"transformer\.blocks",
        embeddings=r"transformer\.wte\.weight",
        head=r"transformer\.norm_f\.weight|lm_head\.weight",
    ),
    "persimmon": Kind("PersimmonConfig", **FINAL_LAYERNORM),
    "stablelm": Kind("StableLmConfig"),
    "xglm": Kind("XGLMConfig", head=r"model\.layer_norm\..*|lm_head\.weight"),
    "biogpt": Kind(
        "BioGptConfig",
        layers=r"biogpt\.layers",
        embeddings=r"biogpt\.embed_(tokens|positions)\.weight",
        head=r"biogpt\.layer_norm\..*|output_projection\.weight",
    ),
    "falcon-mamba": Kind("FalconMambaConfig", **STATE_SPACE),
    "mamba": Kind("MambaConfig", **STATE_SPACE),
    "mamba2": Kind("Mamba2Config", {"num_heads": 8, "n_groups": 1}, **STATE_SPACE),
    "rwkv": Kind(
        "RwkvConfig",
        layers=r"rwkv\.blocks",
        embeddings=r"rwkv\.embeddings\.weight",  # pre_ln is a part of block 0
        head=r"rwkv\.ln_out\..*|head\.weight",
    ),
    "xlstm": Kind(
        "xLSTMConfig",
        computes=False,  # not at this size
        layers=r"backbone\.blocks",
        embeddings=r"backbone\.embeddings\.weight",
        head=r"backbone\.out_norm\.weight|lm_head\.weight",
    ),
    "falcon-h1": Kind("FalconH1Config", **FINAL_LAYERNORM),
    "zamba": Kind(
        "ZambaConfig",
        {
            "num_key_value_heads": 4,
            "attention_head_dim": 16,
            "layers_block_type": ["mamba", "mamba", "hybrid", "mamba"] * 2,
        },
        shared=r"model\.layers\.\d+\.shared_transf\..*",
        **FINAL_LAYERNORM,
    ),
    "zamba2": Kind(
        "Zamba2Config",
        {
            "n_mamba_heads": 4,
            "num_mem_blocks": 1,
            "layers_block_type": ["mamba", "mamba", "hybrid", "mamba"] * 2,
            "adapter_rank": 4,
            "num_key_value_heads": 4,
        },
        shared=r"model\.layers\.\d+\.shared_transformer\..*",
        **FINAL_LAYERNORM,
    ),
    "zamba2-two-blocks": Kind(
        "Zamba2Config",
        {
            "n_mamba_heads": 4,
            "num_mem_blocks": 2,
            "layers_block_type": ["mamba", "hybrid"] * 4,
            "adapter_rank": 4,
            "num_key_value_heads": 4,
            "use_shared_attention_adapter": True,
            "head_dim": 16,
        },
        shared=r"model\.layers\.\d+\.shared_transformer\..*",
        **FINAL_LAYERNORM,
    ),
    "jamba": Kind("JambaConfig", {"attn_layer_period": 4, "attn_layer_offset": 2}, **FINAL_LAYERNORM),
    "bamba": Kind("BambaConfig", {"attn_layer_indices": [3]}, **FINAL_LAYERNORM),
    "granitemoehybrid": Kind("GraniteMoeHybridConfig", {"layer_types": ["mamba", "attention"] * 4}),
    "nemotron": Kind("NemotronConfig"),
    "nemotron-h": Kind(
        "NemotronHConfig",
        {
            "layers_block_type": ["mamba", "moe", "attention", "mlp", "mamba", "moe", "attention", "mamba"],
            "n_groups": 1,
        },
        embeddings=r"model\.embeddings\.weight",
        head=r"model\.norm_f\.weight|lm_head\.weight",
    ),
    "deepseek-v2": Kind("DeepseekV2Config", DEEPSEEK),
    "deepseek-v3": Kind("DeepseekV3Config", DEEPSEEK),
    "deepseek-v3-prediction-layer": Kind("DeepseekV3Config", DEEPSEEK, prediction_layer=True),
    "deepseek-v3.2": Kind("DeepseekV32Config", DEEPSEEK),
    "deepseek-v4": Kind("DeepseekV4Config", {"o_lora_rank": 8}, head=r"model\.(norm|hc_head)\..*|lm_head\..*"),
    "glm": Kind("GlmConfig"),
    "glm4": Kind("Glm4Config"),
    "glm4-moe": Kind("Glm4MoeConfig"),
    "glm4-moe-prediction-layer": Kind("Glm4MoeConfig", prediction_layer=True),
    "glm4-moe-lite": Kind("Glm4MoeLiteConfig", DEEPSEEK),
    "glm-moe-dsa": Kind("GlmMoeDsaConfig", DEEPSEEK),
    "granite": Kind("GraniteConfig"),
    "granite-swa": Kind("GraniteSWAConfig"),
    "granitemoe": Kind("GraniteMoeConfig"),
    "granitemoe-swa": Kind("GraniteMoeSWAConfig"),
    "granitemoeshared": Kind("GraniteMoeSharedConfig"),
    "olmo": Kind("OlmoConfig", head=r"lm_head\.weight"),
    "olmo2": Kind("Olmo2Config"),
    "olmo3": Kind("Olmo3Config"),
    "olmoe": Kind("OlmoeConfig"),
    "olmo-hybrid": Kind("OlmoHybridConfig"),
    "flex-olmo": Kind("FlexOlmoConfig"),
    "cohere": Kind("CohereConfig"),
    "cohere2": Kind("Cohere2Config"),
    "cohere2-moe": Kind("Cohere2MoeConfig"),
    "starcoder2": Kind("Starcoder2Config"),
    "smollm3": Kind("SmolLM3Config"),
    "lfm2": Kind("Lfm2Config", {"block_multiple_of": 8, "layer_types": ["conv", "full_attention"] * 4}, **LFM),
    "lfm2-moe": Kind("Lfm2MoeConfig", {"layer_types": ["conv", "full_attention"] * 4}, **LFM),
    "lfm3": Kind("Lfm3Config", **LFM),
    "dbrx": Kind(
        "DbrxConfig",
        {
            "d_model": 32,  # which the experts take before the common name is read
            "attn_config": {"kv_n_heads": 2, "clip_qkv": 8, "rope_theta": 10000.0},
            "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2, "hidden_size": 32},
        },
        layers=r"transformer\.blocks",
        embeddings=r"transformer\.wte\.weight",
        head=r"transformer\.norm_f\.weight|lm_head\.weight",
    ),
    "minimax": Kind("MiniMaxConfig"),
    "minimax-m2": Kind("MiniMaxM2Config"),
    "ernie4.5": Kind("Ernie4_5Config"),
    "ernie4.5-moe": Kind("Ernie4_5_MoeConfig"),
    "exaone4": Kind("Exaone4Config"),
    "exaone-moe": Kind("ExaoneMoeConfig"),
    "helium": Kind("HeliumConfig"),
    "hunyuan-dense": Kind("HunYuanDenseV1Config"),
    "hunyuan-moe": Kind("HunYuanMoEV1Config"),
    "hy-v3": Kind("HYV3Config"),
    "dots1": Kind("Dots1Config"),
    "arcee": Kind("ArceeConfig"),
    "apertus": Kind("ApertusConfig"),
    "afmoe": Kind("AfmoeConfig"),
    "bitnet": Kind("BitNetConfig"),
    "seed-oss": Kind("SeedOssConfig"),
    "diffllama": Kind("DiffLlamaConfig"),
    "doge": Kind("DogeConfig"),
    "jetmoe": Kind("JetMoeConfig"),
    "longcat-flash": Kind("LongcatFlashConfig", DEEPSEEK | {"head_dim": 4, "zero_expert_num": 2, "moe_topk": 2}),
    "kimi-linear": Kind("KimiLinearConfig", DEEPSEEK),
    "bailing-hybrid": Kind("BailingHybridConfig", {"layer_group_size": 4, "num_key_value_heads": 4}),
    "llama4": Kind("Llama4TextConfig"),
    "mimo-v2-flash": Kind("MiMoV2FlashConfig"),
    "minicpm3": Kind("MiniCPM3Config", {"num_key_value_heads": 4}),
    "modernbert-decoder": Kind(
        "ModernBertDecoderConfig",
        embeddings=r"model\.embeddings\..*",
        head=r"model\.final_norm\.weight|lm_head\..*|decoder\..*",
    ),
    "nanochat": Kind("NanoChatConfig", head=r"lm_head\.weight"),
    "solar-open": Kind("SolarOpenConfig"),
    "jais2": Kind("Jais2Config"),
    "cwm": Kind("CwmConfig"),
    "youtu": Kind("YoutuConfig", DEEPSEEK),
    "laguna": Kind("LagunaConfig"),
    "aria-text": Kind("AriaTextConfig"),
    "hyperclovax": Kind("HyperCLOVAXConfig"),
    "zaya": Kind(
        "ZayaConfig",
        {"num_experts_per_tok": 1, "router_hidden_size": 8},
        embeddings=r"model\.(embed_tokens\.weight|input_hidden_states_(scale|bias))",
    ),
}
