"""Swaps composed in memory against the same swaps merged to folders: logits, tensors, and no residue."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from mergekit.options import MergeOptions
from safetensors.torch import save_file

from turnswap.core.errors import UserError
from turnswap.sweeps.in_memory import SwapInMemory

from ..merge_methods.models import GROUPED, HEADS, KINDS, merge, pair, recipe, save_model, tensors
from ..merge_methods.test_architectures import save_vision_model

pytestmark = pytest.mark.slow

IDS = torch.arange(20)[None]
EVERYTHING = "0-7"
RECIPIENT: dict[str, Any] = {"layers": "none"}
DONOR: dict[str, Any] = {"layers": EVERYTHING}
AVERAGE: dict[str, Any] = {"layers": "none", "blend_layers": EVERYTHING, "embeddings": "blend", "head": "blend"}
ZONES: dict[str, Any] = {"bottom": 2, "top": 1, "transition": 1}
# Kinds beyond those that the merge is tested on: experts that only transformers fuses, buffers that are saved.
_MOE = {"num_experts_per_tok": 2, "moe_intermediate_size": 16, "n_routed_experts": 4, "n_shared_experts": 1}
MORE_KINDS = KINDS | {
    "olmoe": ("OlmoeConfig", GROUPED | {"num_experts": 4, "num_experts_per_tok": 2}),
    "glm4-moe": ("Glm4MoeConfig", HEADS | _MOE | {"n_group": 1, "topk_group": 1}),
    "gpt2": ("GPT2Config", {}),
}


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """A model as lm-eval's ``hf`` loads it, but for the places of its weights in memory.

    Weights that need no conversion stay mapped from the file, at addresses that depend on its header, and the CPU's
    kernels for experts round otherwise at other alignments: the same folder, renamed, may give other last bits.
    """
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()
    return model


def in_memory_swap(recipient: Path, donor: Path, loading: torch.dtype = torch.float32, **more: Any) -> SwapInMemory:
    """Both models loaded; ``more`` is for the configuration."""
    folders = {"donor": donor, "pretrained": more.pop("ancestor", None)}
    models = {"recipient": str(recipient)} | {role: str(folder) for role, folder in folders.items() if folder}
    configuration = {"models": models} | more
    return SwapInMemory(
        load(recipient, loading), lambda role: load(folders[role], loading), configuration, MergeOptions()
    )


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(IDS).logits  # type: ignore[no-any-return]


def bits(model: Any) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def differing(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> list[str]:
    assert left.keys() == right.keys()
    return [name for name in left if not torch.equal(left[name], right[name])]


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return pair(tmp_path_factory.mktemp("experts"), attention_bias=True)


@pytest.mark.parametrize(
    ("kind", "stored"),
    [
        *((kind, torch.bfloat16) for kind in MORE_KINDS),
        *((kind, torch.float32) for kind in ("llama", "qwen3-tied", "mixtral", "gpt-neox")),
    ],
)
def test_every_architecture_computes_what_its_merged_folder_does(
    kind: str, stored: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(KINDS, kind, MORE_KINDS[kind])
    recipient, donor = pair(tmp_path, kind, dtype=stored)
    merged = {
        name: merge(recipe(recipient, donor, parameters, dtype=None), tmp_path / name)
        for name, parameters in (("zones", ZONES), ("average", AVERAGE))
    }
    for loading in (torch.float32, torch.bfloat16):
        swap = in_memory_swap(recipient, donor, loading)
        for name, parameters in (("zones", ZONES), ("average", AVERAGE)):
            swap.compose(parameters)
            folder = load(merged[name], loading)
            assert differing(bits(swap.model), bits(folder)) == []
            assert torch.equal(logits(swap.model), logits(folder))


@pytest.mark.parametrize(
    "parameters",
    [
        RECIPIENT,
        DONOR,
        {"bottom": 1, "top": 2, "transition": 2, "blend": 0.3},
        {"bottom": 2, "top": 1, "bottom_transition": 3, "top_transition": 0, "embeddings": "blend"},
        {"bottom": 2, "top": 2, "transition": 1, "invert": True, "head": "donor"},
        {"layers": "0-1,6", "blend_layers": "2,7", "blend": 0.7, "embeddings": "recipient"},
        {
            "bottom": [{"filter": "self_attn", "value": 3}, {"value": 0}],
            "top": [{"filter": "mlp", "value": 1}, {"value": 0}],
            "transition": 1,
        },
        {"bottom": "auto", "top": "auto", "transition": 0},
        {"bottom": 2, "top": 1, "transition": 0, "revert": "3-4"},
    ],
    ids=str,
)
def test_every_parameter_composes_what_is_merged(
    parameters: dict[str, Any], experts: tuple[Path, Path], tmp_path: Path
) -> None:
    recipient, donor = experts
    ancestor = save_model(tmp_path / "ancestor", seed=3, attention_bias=True)
    models = [{"model": str(donor)}, {"model": str(ancestor), "parameters": {"role": "pretrained"}}]
    merged = load(merge(recipe(recipient, donor, parameters, dtype=None, models=models), tmp_path / "merged"))
    swap = in_memory_swap(recipient, donor, ancestor=ancestor)
    swap.compose(parameters)
    assert differing(bits(swap.model), bits(merged)) == []
    assert torch.equal(logits(swap.model), logits(merged))


@pytest.mark.parametrize("kind", ["llama", "qwen3-tied", "mixtral", "gpt-neox"])
def test_a_composition_leaves_no_residue_in_the_next_and_none_in_the_experts(kind: str, tmp_path: Path) -> None:
    recipient, donor = pair(tmp_path, kind)
    swap = in_memory_swap(recipient, donor)
    sequence = [ZONES, AVERAGE, RECIPIENT, {"layers": "1,5", "invert": True, "embeddings": "donor"}, DONOR]
    fresh = []
    for parameters in sequence:
        alone = in_memory_swap(recipient, donor)
        alone.compose(parameters)
        fresh.append(bits(alone.model))
    assert differing(fresh[0], fresh[1])
    for number in (0, 1, 0, 2, 3, 4, 1, 2, 0, 3, 3, 2):
        swap.compose(sequence[number])
        assert differing(bits(swap.model), fresh[number]) == []
    swap.compose(RECIPIENT)
    assert differing(bits(swap.model), bits(load(recipient))) == []
    swap.compose(DONOR)
    assert differing(bits(swap.model), bits(load(donor))) == []


def test_what_is_not_blended_is_the_experts_own_tensor(experts: tuple[Path, Path]) -> None:
    loaded: list[Any] = []
    swap = in_memory_swap(*experts)
    ours = dict(swap.model.named_parameters())
    swap._load = lambda role: loaded.append(load(experts[1])) or loaded[-1]  # type: ignore[func-returns-value]
    swap.compose({"bottom": 2, "top": 0, "transition": 0})
    for name, parameter in swap.model.named_parameters():
        in_zone = "layers.0." in name or "layers.1." in name or "embed" in name
        assert parameter is (dict(loaded[0].named_parameters()) if in_zone else ours)[name]
    assert len(loaded) == 1


def test_blends_are_kept_while_they_are_needed_and_then_freed(experts: tuple[Path, Path]) -> None:
    swap = in_memory_swap(*experts)
    swap.compose({"layers": "none", "blend_layers": "3-4"})
    kept, dropped = (weakref.ref(swap.model.get_parameter(f"model.layers.{n}.mlp.up_proj.weight")) for n in (4, 3))
    swap.compose({"layers": "none", "blend_layers": "4-5"})
    assert swap.model.get_parameter("model.layers.4.mlp.up_proj.weight") is kept()
    assert dropped() is None
    swap.compose(RECIPIENT)
    assert kept() is None


def test_tied_embeddings_move_together(tmp_path: Path) -> None:
    recipient, donor = pair(tmp_path, "qwen3-tied")
    swap = in_memory_swap(recipient, donor)
    for choice in ("donor", "blend", "recipient"):
        swap.compose(RECIPIENT | {"embeddings": choice})
        assert swap.model.lm_head.weight is swap.model.model.embed_tokens.weight
    swap.compose(RECIPIENT | {"embeddings": "donor"})
    assert torch.equal(swap.model.lm_head.weight, load(donor).lm_head.weight)


def test_saved_buffers_come_from_the_source_of_their_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "glm4-moe", MORE_KINDS["glm4-moe"])
    recipient, donor = pair(tmp_path, "glm4-moe", dtype=torch.float32)
    name = "model.layers.{}.mlp.gate.e_score_correction_bias"
    for value, folder in enumerate((recipient, donor), start=1):
        stored = tensors(folder)
        changed = {key: torch.full_like(t, value) if "correction_bias" in key else t for key, t in stored.items()}
        save_file(changed, folder / "model.safetensors", {"format": "pt"})
    parameters = {"layers": "1,7", "blend_layers": "2"}
    swap = in_memory_swap(recipient, donor)
    swap.compose(parameters)
    found = {layer: swap.model.get_buffer(name.format(layer)).tolist() for layer in (1, 2, 3, 7)}
    assert found == {1: [2.0] * 4, 2: [1.5] * 4, 3: [1.0] * 4, 7: [2.0] * 4}
    merged = load(merge(recipe(recipient, donor, parameters, dtype=None), tmp_path / "merged"))
    assert differing(bits(swap.model), bits(merged)) == []


def test_a_vision_tower_stays_with_the_recipient(tmp_path: Path) -> None:
    recipient, donor = (save_vision_model(tmp_path / name, seed) for seed, name in enumerate(("recipient", "donor")))
    parameters = {"bottom": 1, "top": 1, "transition": 1}
    merged = load(merge(recipe(recipient, donor, parameters, dtype=None), tmp_path / "merged"))
    swap = in_memory_swap(recipient, donor)
    swap.compose(parameters)
    assert differing(bits(swap.model), bits(merged)) == []
    assert differing(bits(swap.model), bits(load(recipient)))


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    stored = {name: tensor.clone() for name, tensor in tensors(folder).items()}
    save_file(change(stored), folder / "model.safetensors", {"format": "pt"})


def test_a_stored_tensor_without_a_place_in_memory_is_a_missing_component(tmp_path: Path) -> None:
    models = pair(tmp_path)
    for folder in models:
        rewrite(folder, lambda stored: stored | {"model.layers.3.extra.weight": torch.ones(4, dtype=torch.bfloat16)})
    swap = in_memory_swap(*models)
    with pytest.raises(UserError, match=r"Missing component: .* stores model\.layers\.3\.extra\.weight"):
        swap.compose(ZONES)


def test_a_parameter_that_is_not_stored_is_a_missing_component(tmp_path: Path) -> None:
    models = pair(tmp_path)
    for folder in models:
        rewrite(folder, lambda stored: {name: t for name, t in stored.items() if "layers.3.mlp.up_proj" not in name})
    swap = in_memory_swap(*models)
    with pytest.raises(UserError, match=r"Missing component: LlamaForCausalLM has model\.layers\.3\.mlp\.up_proj"):
        swap.compose(ZONES)


def test_models_of_another_build_are_refused_before_the_donor_is_loaded(
    experts: tuple[Path, Path], tmp_path: Path
) -> None:
    other = save_model(tmp_path / "other", layers=6)
    swap = in_memory_swap(experts[0], other)
    swap._load = lambda role: pytest.fail("loaded")
    with pytest.raises(UserError, match="They differ in layers: 8 and 6"):
        swap.compose(ZONES)


def test_a_blend_that_is_not_finite_leaves_the_recipient_and_the_next_composition_is_whole(tmp_path: Path) -> None:
    recipient, donor = pair(tmp_path)

    def spoilt(stored: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        stored["model.layers.2.mlp.up_proj.weight"][0, 0] = float("nan")
        return stored

    rewrite(donor, spoilt)
    swap = in_memory_swap(recipient, donor)
    swap.compose({"bottom": 1, "top": 1, "transition": 0})
    with pytest.raises(UserError, match=r"The blend of model\.layers\.2\.mlp\.up_proj\.weight is not finite"):
        swap.compose(ZONES)
    assert swap.recipe is None
    assert differing(bits(swap.model), bits(load(recipient))) == []
    swap.compose({"bottom": 1, "top": 1, "transition": 1})
    merged = load(merge(recipe(recipient, donor, {"bottom": 1, "top": 1, "transition": 1}), tmp_path / "merged"))
    assert differing(bits(swap.model), bits(merged)) == []


def test_a_declared_type_is_heeded_or_refused_where_it_would_round_copies(tmp_path: Path) -> None:
    recipient, donor = pair(tmp_path, dtype=torch.float32)
    merged = merge(recipe(recipient, donor, ZONES, dtype="bfloat16"), tmp_path / "merged")
    swap = in_memory_swap(recipient, donor, torch.bfloat16, dtype="bfloat16")
    swap.compose(ZONES)
    assert differing(bits(swap.model), bits(load(merged, torch.bfloat16))) == []
    wider = in_memory_swap(recipient, donor, torch.float32, dtype="bfloat16")
    with pytest.raises(UserError, match=r"declared in bfloat16 and loaded in float32.*dtype=bfloat16"):
        wider.compose(ZONES)


def test_experts_of_two_types_are_refused_as_the_merge_does(tmp_path: Path) -> None:
    recipient = save_model(tmp_path / "recipient", seed=1)
    donor = save_model(tmp_path / "donor", seed=2, dtype=torch.float32)
    with pytest.raises(UserError, match="bfloat16 and float32"):
        in_memory_swap(recipient, donor).compose(ZONES)
    declared = in_memory_swap(recipient, donor, dtype="float32")
    declared.compose(ZONES)
    merged = load(merge(recipe(recipient, donor, ZONES, dtype="float32"), tmp_path / "merged"))
    assert differing(bits(declared.model), bits(merged)) == []


def test_blends_that_do_not_fit_into_memory_are_refused_with_numbers(
    experts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from turnswap.sweeps import capacity

    swap = in_memory_swap(*experts)
    swap.compose(RECIPIENT)
    monkeypatch.setattr(capacity, "free_bytes", lambda device: 100_000)
    with pytest.raises(UserError, match=r"the blends need \d+\.\d kB, and 100\.0 kB are free.*dtype=bfloat16"):
        swap.compose(AVERAGE)
    swap.compose(DONOR)
    assert differing(bits(swap.model), bits(load(experts[1]))) == []


def test_the_plan_is_the_merges_plan(experts: tuple[Path, Path]) -> None:
    swap = in_memory_swap(*experts)
    composed = swap.compose(ZONES)
    assert swap.recipe is composed
    assert composed.digest == swap.compose({"layers": "0-1,7", "blend_layers": "2,6"}).digest
    assert composed.digest != swap.compose({"layers": "0-1,7", "blend_layers": "2"}).digest
    with pytest.raises(UserError, match="botom is no parameter of layer_swap"):
        swap.compose({"botom": 1})
