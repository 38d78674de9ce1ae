"""``turnswap masks``: what to train of each expert, so that nothing is trained that the swap throws away."""

from __future__ import annotations

import functools
import json
import re
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
import yaml
from mergekit.options import MergeOptions
from torch import nn

from tests.conftest import REPOSITORY, Turnswap
from turnswap.core.errors import UserError
from turnswap.merge_methods.masks import Masks, swap_masks
from turnswap.merge_methods.recipe import parse_configuration

from . import zoo, zoo_kinds
from .models import TOKENS, merge, recipe, save_model, tensors

Q, UP = "model.layers.{}.self_attn.q_proj.weight", "model.layers.{}.mlp.up_proj.weight"
ATTENTION = [{"filter": "self_attn", "value": 2}, {"value": 0}]
SWAPS: dict[str, dict[str, Any]] = {
    "zones": {"bottom": 2, "top": 1, "transition": 1},
    "reverted": {"layers": "0-1,7", "revert": "4-5", "embeddings": "recipient"},
    "attention": {"bottom": ATTENTION, "top": 0, "transition": 0, "head": "recipient"},
    "inverted": {"bottom": 2, "top": 2, "transition": 0, "invert": True},
}

# Kinds of models that are built as unlike each other as the zoo has them.
UNLIKE = [
    "llama",
    "mixtral",
    "gpt2",
    "gemma3n",
    "zamba2",
    "deepseek-v3",
    "jamba",
    "falcon-h1",
    "rwkv",
    "opt-projections",
    "lfm2",
    "gpt-oss",
    "qwen3-next",
    "gemma3-vision",
    "bloom",
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("base") / "base", dtype=torch.float32, tokenizer=TOKENS)


def swap(base: Path, recipient: object, donors: list[object], given: list[dict[str, Any]], **shared: Any) -> str:
    listed = [{"model": str(donor), "parameters": one} for donor, one in zip(donors, given, strict=True)]
    listed.append({"model": str(base), "parameters": {"role": "pretrained"}})
    return recipe(recipient, "", shared or {"accept": "tokenizer"}, models=listed, dtype="float32")


def masked(configuration: str, structure: Path | None = None) -> Masks:
    content = parse_configuration(yaml.safe_load(configuration))
    return swap_masks(content, MergeOptions(), str(structure) if structure else None)


def trained(base: Path, names: tuple[str, ...], folder: Path, seed: int) -> Path:
    """One step of AdamW on what a mask names, from the pretrained model."""
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    assert names == tuple(name for name, _ in model.named_parameters() if name in names)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.1)
    torch.manual_seed(seed)
    tokens = torch.stack([torch.randperm(64) for _ in range(4)])  # every token: every row of the embeddings learns
    model(input_ids=tokens, labels=tokens).loss.backward()
    optimizer.step()
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("given", SWAPS.values(), ids=SWAPS)
def test_the_swap_keeps_all_that_was_trained_and_takes_nothing_else(
    base: Path, given: dict[str, Any], tmp_path: Path
) -> None:
    revert = {"revert": given["revert"]} if "revert" in given else {}
    zones = {name: value for name, value in given.items() if name != "revert"}
    configuration = swap(base, tmp_path / "task", [tmp_path / "language"], [zones], **revert)
    masks = masked(configuration)
    assert masks.structure == str(base)
    folders = {"recipient": tmp_path / "task", "donor": tmp_path / "language"}
    for seed, (role, folder) in enumerate(folders.items()):
        trained(base, masks.models[role].train, folder, seed)
    merged = tensors(merge(configuration, tmp_path / "merged"))
    experts = {role: tensors(folder) for role, folder in folders.items()}
    for name, before in tensors(base).items():
        learnt = [role for role in folders if name in masks.models[role].train]
        assert [name in masks.models[role].freeze for role in folders] == [role not in learnt for role in folders]
        assert [role for role in folders if not torch.equal(experts[role][name], before)] == learnt
        match learnt:
            case []:
                assert torch.equal(merged[name], before)
            case [role]:
                assert torch.equal(merged[name], experts[role][name])
            case _:
                mean = (experts["recipient"][name] + experts["donor"][name]) / 2
                assert torch.allclose(merged[name], mean, atol=1e-6)
    sizes = {name: tensor.numel() for name, tensor in tensors(base).items()}
    for mask in masks.models.values():
        assert mask.parameters == {key: sum(map(sizes.__getitem__, getattr(mask, key))) for key in ("train", "freeze")}


def test_each_of_several_donors_has_its_own_and_one_that_is_blended_out_trains_nothing(base: Path) -> None:
    given = [{"layers": "0", "blend_layers": "4"}, {"layers": "7", "blend_layers": "4"}]
    masks = masked(swap(base, "./task", ["./swahili", "./telugu"], given))
    kept = {role: {n for n in range(8) if UP.format(n) in mask.train} for role, mask in masks.models.items()}
    assert kept == {"recipient": {1, 2, 3, 5, 6}, "donor": {0, 4}, "donor2": {4, 7}}
    assert any("blended" in note and "layers.4." in note for note in masks.models["donor"].notes)


ADAPTED: dict[str, tuple[dict[str, Any], set[str]]] = {
    "zones": (SWAPS["zones"], {"target_modules", "layers_to_transform", "layers_pattern"}),
    "attention": (SWAPS["attention"], {"target_modules", "layers_to_transform", "layers_pattern"}),
    "mixed": (
        {"layers": [{"filter": "self_attn", "value": "0-1,7"}, {"value": "7"}], "head": "recipient"},
        {"target_modules"},
    ),
}


@pytest.mark.parametrize("given", ADAPTED)
@pytest.mark.parametrize("kind", ["llama", "qwen3-moe", "qwen3-tied", "gpt2", "deepseek-v3"])
def test_peft_adapts_the_layers_linear_modules_that_are_kept_and_no_others(
    kind: str, given: str, tmp_path: Path
) -> None:
    config = zoo_kinds.KINDS[kind.removesuffix("-tied")].settings()
    config.tie_word_embeddings = config.tie_word_embeddings or kind.endswith("-tied")
    made = transformers.AutoModelForCausalLM.from_config(config)
    config.architectures = [type(made).__name__]
    config.save_pretrained(tmp_path / "build")
    parameters, keys = ADAPTED[given]
    if kind == "gpt2":
        parameters = json.loads(json.dumps(parameters).replace("self_attn", "attn."))
    if config.tie_word_embeddings:
        parameters = {name: value for name, value in parameters.items() if name != "head"} | {"embeddings": "recipient"}
    masks = masked(swap(tmp_path / "build", "./task", ["./language"], [parameters]))
    assert any("without weights" in note for note in masks.notes)
    if kind == "llama":
        assert masks.models["donor"].peft is not None
        assert masks.models["donor"].peft.keys() == keys
    for mask in masks.models.values():
        model = transformers.AutoModelForCausalLM.from_config(config)
        assert {*mask.train, *mask.freeze} == {name for name, _ in model.named_parameters()}
        linear = {
            name
            for name, module in model.named_modules()
            if isinstance(module, (nn.Linear, transformers.pytorch_utils.Conv1D)) and f"{name}.weight" in mask.train
        } - {"lm_head"}
        if kind == "deepseek-v3":  # whose dense layer and shared experts have the names of its fused experts' parts
            linear = {name for name in linear if not re.search("(gate|up|down)_proj$", name)}
        assert mask.peft is not None
        adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", **mask.peft))
        modules = adapted.base_model.model.named_modules()
        assert {name for name, module in modules if hasattr(module, "lora_A")} == linear
        others = {module for name in mask.train if (module := name.rpartition(".")[0]) not in linear}
        assert set(mask.modules_to_save) == others


def test_what_lora_cannot_train_is_saved_whole(base: Path) -> None:
    mask = masked(swap(base, "./task", ["./language"], [SWAPS["zones"]])).models["donor"]
    assert {"model.norm", "lm_head", "model.embed_tokens", "model.layers.0.input_layernorm"} <= set(
        mask.modules_to_save
    )
    model = transformers.AutoModelForCausalLM.from_pretrained(base)
    assert mask.peft is not None
    lora = peft.LoraConfig(task_type="CAUSAL_LM", **mask.peft, modules_to_save=list(mask.modules_to_save))
    learning = [name for name, held in peft.get_peft_model(model, lora).named_parameters() if held.requires_grad]
    saved = {name.removeprefix("base_model.model.").partition(".modules_to_save")[0] for name in learning
             if "modules_to_save" in name}  # fmt: skip
    assert saved == set(mask.modules_to_save)


def test_fused_experts_are_one_parameter_and_kept_where_any_of_them_is(tmp_path: Path) -> None:
    build = save_model(tmp_path / "build", "qwen3-moe")
    given = {"layers": [{"filter": "experts.2.", "value": "0"}, {"value": "none"}], "head": "recipient"}
    masks = masked(swap(build, "./task", ["./language"], [given]))
    fused = ("model.layers.0.mlp.experts.gate_up_proj", "model.layers.0.mlp.experts.down_proj")
    assert masks.models["donor"].train == fused
    assert masks.models["donor"].peft is None
    assert set(fused) <= set(masks.models["recipient"].train)
    assert any("only some of them" in note for note in masks.models["donor"].notes)


def test_a_tensor_with_a_slice_per_layer_is_kept_of_both(tmp_path: Path) -> None:
    build = zoo.save_kind(tmp_path / "build", zoo_kinds.KINDS["gemma3n"], 1)
    given = {"layers": "0-1", "embeddings": "recipient"}
    masks = masked(swap(build, "./task", ["./language"], [given])).models
    assert all("model.embed_tokens_per_layer.weight" in mask.train for mask in masks.values())
    assert any("a slice for each layer" in note for note in masks["donor"].notes)


def test_the_command_writes_yaml_or_json_of_all_experts_or_one(base: Path, tmp_path: Path, turnswap: Turnswap) -> None:
    file = tmp_path / "layerswap.yml"
    file.write_text(swap(base, "./task", ["./language"], [SWAPS["zones"]]))
    whole = turnswap("masks", str(file))
    assert whole.exit_code == 0, whole.output
    content = yaml.safe_load(whole.output)
    assert content["models"].keys() == {"recipient", "donor"}
    one = turnswap("masks", str(file), "--role", "donor", "--json", "-o", str(tmp_path / "new/masks.json"))
    assert one.exit_code == 0, one.output
    assert json.loads((tmp_path / "new/masks.json").read_text()) == content | {
        "models": {"donor": content["models"]["donor"]}
    }
    refused = turnswap("masks", str(file), "--role", "donor2")
    assert (refused.exit_code, "There are: recipient, donor" in refused.output) == (1, True)


def test_where_no_model_is_there_a_model_is_asked_for(base: Path, tmp_path: Path) -> None:
    configuration = recipe("./task", "./language")
    with pytest.raises(UserError) as raised:
        masked(configuration)
    assert "./task is no folder here" in str(raised.value)
    assert "--model PRETRAINED" in str(raised.value)
    assert masked(configuration, base).structure == str(base)


@pytest.mark.parametrize(
    ("given", "said"),
    [({"bottom": [{"filter": "attn.", "value": 1}, {"value": 0}]}, "top is not given"),
     ({"layers": [{"filter": "nowhere", "value": "1"}, {"value": "0"}]}, "matches no tensor"),
     ({"layers": "0", "revert": "4"}, "no model has that role"), ({"botom": 1}, "botom is no parameter")],
)  # fmt: skip
def test_what_the_merge_would_refuse_is_refused(given: dict[str, Any], said: str, base: Path) -> None:
    with pytest.raises(UserError) as raised:
        masked(recipe("./task", "./language", given), base)
    assert said in str(raised.value)


@pytest.mark.slow
def test_the_example_of_the_document_trains_what_the_swap_keeps(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, turnswap: Turnswap
) -> None:
    trl = pytest.importorskip("trl")
    from datasets import Dataset

    section = (
        (REPOSITORY / "docs/how_to/layer_swap.md").read_text("utf-8").partition("## Train only what the swap keeps")[2]
    )
    first, second = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    here = {"use_cpu": True, "bf16": False, "max_steps": 2, "report_to": "none"}
    monkeypatch.setattr(trl, "SFTConfig", functools.partial(trl.SFTConfig, **here))
    (tmp_path / "pretrained").symlink_to(base)
    listed = [{"model": "./language-expert"}, {"model": "./pretrained", "parameters": {"role": "pretrained"}}]
    (tmp_path / "layerswap.yml").write_text(recipe("./task", "", models=listed))
    assert turnswap("masks", "layerswap.yml", "-o", "masks.yml").exit_code == 0
    names: dict[str, Any] = {"dataset": Dataset.from_dict({"text": ["w1 w2 w3 w4 w5"] * 8})}
    exec(first, names)
    before, after = tensors(base), tensors(tmp_path / "language-expert")
    train = set(yaml.safe_load((tmp_path / "masks.yml").read_text())["models"]["donor"]["train"])
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved <= train
    assert {Q.format(0), UP.format(7)} <= moved
    exec(second, names)
    names["mask"]["peft"] |= {"modules_to_save": names["mask"]["modules_to_save"]}
    exec(second, names)
    assert (tmp_path / "language-adapter/adapter_config.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("name", UNLIKE)
def test_every_architectures_parameters_are_trained_for_one_expert_and_adapted_in_it_alone(
    name: str, tmp_path: Path
) -> None:
    kind = zoo_kinds.KINDS[name]
    model = kind.model_class.from_config(kind.settings())
    model.config.save_pretrained(tmp_path / "build")
    settings = json.loads((tmp_path / "build/config.json").read_text("utf-8"))
    settings["architectures"] = [type(model).__name__]
    (tmp_path / "build/config.json").write_text(json.dumps(settings), "utf-8")
    given = {"layers": "0-1", "embeddings": "recipient", "shared": "recipient"}
    masks = masked(swap(tmp_path / "build", "./task", ["./language"], [given])).models
    own = {name for name, _ in model.named_parameters()}
    sliced = {name for name in own if kind.belongs(name)[0] == "sliced"}
    assert set(masks["recipient"].train) & set(masks["donor"].train) == sliced
    assert all({*mask.train, *mask.freeze} == own for mask in masks.values())
    assert {*masks["recipient"].train, *masks["donor"].train} == own
    donor = masks["donor"]
    assert donor.peft is not None
    adapted = peft.get_peft_model(model, peft.LoraConfig(**donor.peft)).base_model.model
    found = {name for name, module in adapted.named_modules() if hasattr(module, "lora_A")}
    learnt = {name.rpartition(".")[0] for name in donor.train}
    assert found <= learnt
    around = {name for name in learnt if any(one.startswith(f"{name}.") for one in found)}
    assert learnt - found - around == set(donor.modules_to_save)
