"""The architectures of the zoo: what each needs to be tiny, and where its tensors lie, by their loaded names."""

from __future__ import annotations

from .models import HEADS, SIZES
from .zoo import KNOWN, Kind

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
