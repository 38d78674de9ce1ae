"""Models whose tensors' names do not say where they lie: what loads after a swap is what was declared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
import yaml
from mergekit.options import MergeOptions
from safetensors.torch import save_file

from turnswap.core.errors import UserError
from turnswap.merge_methods.configuration import parse_configuration
from turnswap.merge_methods.module_graph import module_graph
from turnswap.merge_methods.recipe import read_recipe
from turnswap.merge_methods.swap_plan import Place
from turnswap.merge_methods.verify import verify

from .loaded import both_ends, check_loaded, file_tensors, load, mixed, same_bits, top_only
from .models import merge, recipe
from .zoo import save_kind
from .zoo_kinds import KINDS, PER_LAYER

BOTTOM = {"bottom": 2, "top": 0, "transition": 0}  # embeddings: the donor's; head: the recipient's
FOUND = pytest.mark.parametrize(
    "name", ["gemma3n", "gemma4", "zamba2", "deepseek-v3-prediction-layer", "opt-projections", "rwkv", "gpt2"]
)


def pair_of(tmp_path: Path, name: str) -> tuple[Path, Path]:
    recipient, donor = (
        save_kind(tmp_path / role, KINDS[name], seed) for seed, role in enumerate(("recipient", "donor"))
    )
    return recipient, donor


def swapped(tmp_path: Path, name: str, parameters: dict[str, Any]) -> list[dict[str, torch.Tensor]]:
    """The loaded tensors of recipient, donor, and a swap that was verified."""
    recipient, donor = pair_of(tmp_path, name)
    merged = merge(recipe(recipient, donor, parameters), tmp_path / "merged")
    assert verify(merged, MergeOptions()).status == "verified"
    return [load(folder, KINDS[name])[0].state_dict() for folder in (recipient, donor, merged)]


def sources(name: str, ours: torch.Tensor, theirs: torch.Tensor, made: torch.Tensor) -> str:
    """R or D, whichever a tensor comes from."""
    found = [letter for letter, tensor in (("R", ours), ("D", theirs)) if same_bits(made, tensor)]
    assert len(found) == 1, f"{name} comes from {found or 'neither'}"
    return found[0]


def origins(models: list[dict[str, torch.Tensor]], *names: str) -> str:
    """A letter per named tensor."""
    return "".join(sources(name, *(model[name] for model in models)) for name in names)


@FOUND
def test_every_loaded_tensor_has_its_declared_source(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    recipient, donor = pair_of(tmp_path, name)
    swap = both_ends(kind.n_layers)
    merged = merge(recipe(recipient, donor, swap.parameters_for(kind)), tmp_path / "merged")
    assert verify(merged, MergeOptions()).status == "verified"
    check_loaded(kind, swap, recipient, donor, merged)


@pytest.mark.parametrize("name", ["gemma3n", "gemma4"])
def test_a_matrix_with_a_slice_per_layer_is_swapped_slice_by_slice(name: str, tmp_path: Path) -> None:
    models = swapped(tmp_path, name, BOTTOM | {"embeddings": "recipient"})
    for matrix, dimension in (("embed_tokens_per_layer", 1), ("per_layer_model_projection", 0)):
        slices = (model[f"model.{matrix}.weight"].chunk(8, dimension) for model in models)
        assert "".join(sources(matrix, *three) for three in zip(*slices, strict=True)) == "DDRRRRRR"
    assert origins(models, "model.embed_tokens.weight", "model.per_layer_projection_norm.weight") == "RR"


def test_gemma_3n_projects_at_both_ends_of_the_decoder(tmp_path: Path) -> None:
    models = swapped(tmp_path, "gemma3n", BOTTOM | {"embeddings": "donor"})
    assert origins(models, *(f"model.altup_projections.{n}.weight" for n in range(3))) == "DDD"
    assert origins(models, *(f"model.altup_unembed_projections.{n}.weight" for n in range(3)), "model.norm.weight") == (
        "RRRR"
    )


def save_gemma_3n_with_towers(folder: Path, seed: int) -> Path:
    """As released: the text decoder inside, towers beside it; transformers needs timm to make one."""
    save_kind(folder, KINDS["gemma3n"], seed)
    config = transformers.Gemma3nConfig(text_config=KINDS["gemma3n"].settings().to_dict())
    content = {
        name.replace("model.", "model.language_model.", 1): tensor for name, tensor in file_tensors(folder).items()
    }
    for name in ("vision_tower.timm_model.conv_stem.conv", "audio_tower.conformer.0.norm", "embed_vision.embedding"):
        content[f"model.{name}.weight"] = torch.randn(4, 4).bfloat16()
    save_file(content, folder / "model.safetensors", metadata={"format": "pt"})
    settings = config.to_dict() | {"architectures": ["Gemma3nForConditionalGeneration"], "dtype": "bfloat16"}
    (folder / "config.json").write_text(json.dumps(settings), "utf-8")
    return folder


def test_gemma_3n_with_towers_is_placed_as_its_text_decoder_is(tmp_path: Path) -> None:
    recipient, donor = (save_gemma_3n_with_towers(tmp_path / role, seed) for seed, role in enumerate("rd"))
    merged = merge(recipe(recipient, donor, BOTTOM | {"embeddings": "donor"}), tmp_path / "merged")
    assert verify(merged, MergeOptions()).status == "verified"
    ours, theirs, made = (file_tensors(folder) for folder in (recipient, donor, merged))
    assert made.keys() == ours.keys()
    kind, placed = KINDS["gemma3n"], {"embeddings": "D", "head": "R"}
    for name in made:
        inside = name.replace("model.language_model.", "model.", 1)
        if inside == name:  # a tower
            assert sources(name, ours[name], theirs[name], made[name]) == "R"
        elif inside.startswith(("model.embed_tokens_per_layer", "model.per_layer_model_projection")):
            dimension = next(n for matrix, n in PER_LAYER.items() if matrix.split("\\.")[1] in inside)
            slices = (tensor[name].chunk(8, dimension) for tensor in (ours, theirs, made))
            assert "".join(sources(name, *three) for three in zip(*slices, strict=True)) == "DDRRRRRR"
        else:
            part, layer = kind.belongs(inside)
            expected = placed.get(part) or "DDRRRRRR"[layer]
            assert sources(name, ours[name], theirs[name], made[name]) == expected, name


def test_layers_of_gemma_4_differ_in_shape_and_share_keys_and_values(tmp_path: Path) -> None:
    models = swapped(tmp_path, "gemma4", {"layers": "1,7", "embeddings": "recipient"})
    shapes = {tuple(models[2][f"model.layers.{n}.self_attn.q_proj.weight"].shape) for n in range(8)}
    assert shapes == {(32, 32), (64, 32)}
    assert origins(models, *(f"model.layers.{n}.self_attn.q_proj.weight" for n in range(8))) == "RDRRRRRD"


BLOCK = "shared_transformer.feed_forward.down_proj.weight"


@pytest.mark.parametrize(("shared", "letter"), [("recipient", "R"), ("donor", "D")])
def test_a_block_that_layers_share_follows_one_choice(shared: str, letter: str, tmp_path: Path) -> None:
    models = swapped(tmp_path, "zamba2", {"layers": "2", "shared": shared, "embeddings": "recipient"})
    assert origins(models, f"model.layers.2.{BLOCK}", f"model.layers.6.{BLOCK}") == letter * 2
    assert origins(models, *(f"model.layers.{n}.linear.weight" for n in (2, 6))) == "DR"
    assert origins(models, *(f"model.layers.{n}.mamba_decoder.mamba.D" for n in (2, 6))) == "DR"


def test_a_block_that_layers_share_is_not_swapped_unasked(tmp_path: Path) -> None:
    recipient, donor = pair_of(tmp_path, "zamba2")
    with pytest.raises(UserError, match="shared"):
        merge(recipe(recipient, donor, {"layers": "2", "embeddings": "recipient"}), tmp_path / "merged")


@pytest.mark.parametrize("name", ["deepseek-v3-prediction-layer", "glm4-moe-prediction-layer"])
@pytest.mark.parametrize(("zones", "letter"), [(BOTTOM, "R"), ({"bottom": 0, "top": 2, "transition": 0}, "D")])
def test_a_prediction_layer_follows_the_head(name: str, zones: dict[str, Any], letter: str, tmp_path: Path) -> None:
    recipient, donor = pair_of(tmp_path, name)
    merged = merge(recipe(recipient, donor, zones), tmp_path / "merged")
    assert verify(merged, MergeOptions()).status == "verified"
    models = [file_tensors(folder) for folder in (recipient, donor, merged)]
    names = [f"model.layers.8.{part}.weight" for part in ("enorm", "eh_proj", "shared_head.head", "self_attn.o_proj")]
    assert origins(models, *names, "lm_head.weight") == letter * 5


def test_a_prediction_layer_loads_with_its_experts(tmp_path: Path) -> None:
    kind = KINDS["deepseek-v3-prediction-layer"]
    recipient, donor = pair_of(tmp_path, "deepseek-v3-prediction-layer")
    merged = merge(recipe(recipient, donor, top_only(8).parameters), tmp_path / "merged")
    check_loaded(kind, top_only(8), recipient, donor, merged)


@pytest.mark.parametrize(
    ("zones", "letters"),
    [
        (BOTTOM | {"embeddings": "donor"}, "DDDR"),
        ({"bottom": 0, "top": 2, "transition": 0, "embeddings": "recipient"}, "RRRD"),
    ],
)
def test_opts_projections_lie_with_embeddings_and_head(zones: dict[str, Any], letters: str, tmp_path: Path) -> None:
    models = swapped(tmp_path, "opt-projections", zones)
    places = ("embed_tokens", "embed_positions", "project_in", "project_out")
    assert origins(models, *(f"model.decoder.{place}.weight" for place in places)) == letters


def test_rwkvs_ln_out_and_head_are_its_head(tmp_path: Path) -> None:
    models = swapped(tmp_path, "rwkv", BOTTOM)
    assert origins(models, "rwkv.embeddings.weight", "rwkv.blocks.0.pre_ln.weight") == "DD"
    assert origins(models, "rwkv.ln_out.weight", "rwkv.ln_out.bias", "head.weight") == "RRR"


def test_float32_in_a_bfloat16_checkpoint_is_not_rounded(tmp_path: Path) -> None:
    recipient, donor = pair_of(tmp_path, "deepseek-v3")
    merged = merge(recipe(recipient, donor, {"layers": "1", "blend_layers": "2"}), tmp_path / "merged")
    assert verify(merged, MergeOptions()).status == "verified"
    ours, theirs, made = (file_tensors(folder) for folder in (recipient, donor, merged))
    for layer, letter in enumerate("Db" + "R" * 5, 1):
        name = f"model.layers.{layer}.mlp.gate.e_score_correction_bias"
        assert ours[name].dtype == torch.float32
        assert same_bits(made[name], mixed(letter, ours[name], theirs[name], torch.float32)), name


def test_gpt2s_matrices_that_lie_on_their_side_move_whole(tmp_path: Path) -> None:
    models = swapped(tmp_path, "gpt2", BOTTOM | {"embeddings": "recipient"})
    matrices = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")
    for matrix in matrices:
        names = [f"transformer.h.{n}.{matrix}.{part}" for n in range(8) for part in ("weight", "bias")]
        assert origins(models, *names) == "DDDD" + "R" * 12
    assert models[2]["transformer.h.0.attn.c_attn.weight"].shape == (32, 96)
    assert origins(models, "transformer.wte.weight", "transformer.wpe.weight", "transformer.ln_f.weight") == "RRR"


def test_layers_that_use_keys_and_values_of_another_source_are_told(tmp_path: Path) -> None:
    kind = KINDS["gemma3n"]
    recipient, donor = (save_kind(tmp_path / role, kind, seed) for seed, role in enumerate("rd"))
    content = yaml.safe_load(recipe(recipient, donor, {"layers": "7", "embeddings": "recipient"}))
    told = " ".join(read_recipe(parse_configuration(content), MergeOptions()).warnings)
    assert "layer 7 has no keys and values, and takes those of layer 5" in told


def test_a_tower_inside_the_decoder_stays_with_the_recipient() -> None:
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "image_size": 28, "patch_size": 14, "projection_dim": 16,
    }  # fmt: skip
    config = transformers.GitConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=4, vocab_size=64,
        vision_config=vision, architectures=["GitForCausalLM"],
    )  # fmt: skip
    graph = module_graph(config)
    towers = [name for name in graph.tensors if "image_encoder" in name or "visual_projection" in name]
    assert len(towers) > 40
    assert {graph.place(name) for name in towers} == {Place("outside")}
