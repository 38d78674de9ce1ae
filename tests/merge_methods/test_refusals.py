"""What a merge refuses: each with words that name what was asked and what is there, and nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mergekit.options import MergeOptions

from turnswap.merge_methods.verify import verify

from .models import TOKENS, merge, recipe, same, save_model, save_tokenizer, tensors

Experts = tuple[Path, Path]
ZONES: dict[str, Any] = {"bottom": 2, "top": 1, "transition": 1}


Refusal = Callable[..., str]


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"botom": 2}, ["botom is no parameter of layer_swap", "bottom, top, transition"]),
        ({"weight": 0.5}, ["weight is no parameter of layer_swap"]),
        ({"role": "pretrained"}, ["role stands at the top level", "under the model"]),
        ({"bottom": [2, 0]}, ["bottom: ", "[2, 0]", "gradient"]),
        ({"bottom": []}, ["bottom: ", "[]", "Write one value"]),
        ({"bottom": [0, 0.5, 1]}, ["bottom: ", "[0, 0.5, 1]", "gradient"]),
        ({"layers": [0, 5]}, ["layers: ", "[0, 5]", "gradient", 'layers: "0,5"']),
        ({"bottom": [{"filter": "mlp", "value": [1, 2]}, {"value": 0}]}, ["bottom: ", "gradient"]),
        ({"bottom": [{"filter": "mlp", "value": 2}]}, ["bottom is given for 'mlp' alone", "without a filter"]),
        ({"bottom": {"filter": "mlp", "value": 2}}, ["bottom is given for 'mlp' alone"]),
        (
            {"bottom": [{"filter": "self_atn", "value": 2}, {"value": 0}]},
            ["bottom: the filter 'self_atn' matches no tensor", "model.layers.0."],
        ),
        ({"accept": "rope, colour"}, ["accept: colour", "rope, norm_eps"]),
        ({"embeddings": "both"}, ["embeddings: ", "'both'", "'donor', 'recipient' or 'blend'"]),
        ({"invert": "maybe"}, ["invert: ", "'maybe'"]),
        ({"blend": 1.5}, ["blend: ", "1.5"]),
        ({"blend": -1}, ["blend: ", "-1"]),
        ({"bottom": -1}, ["bottom: ", "-1"]),
        ({"bottom": 1.5}, ["bottom: ", "1.5"]),
        ({"bottom": "all"}, ["bottom: ", "'all'", "'auto'"]),
        ({"bottom": True}, ["bottom: ", "True"]),
        ({"bottom": 5}, ["bottom 5", "make 8 layers, the model has 6"]),
        ({"blend_layers": "9"}, ["blend_layers: layer 9", "6 layers are 0-5"]),
        ({"revert": "3"}, ["revert", "no model has that role", "role: pretrained"]),
    ],
)
def test_a_parameter_that_will_not_do_is_named(
    experts: Experts, refusal: Refusal, parameters: dict[str, Any], said: list[str]
) -> None:
    message = refusal(recipe(*experts, ZONES | parameters))
    assert [part for part in said if part not in message] == []


@pytest.mark.parametrize("value", [True, False, 1.0], ids=str)
def test_layers_that_are_neither_text_nor_a_whole_number_are_refused(
    experts: Experts, refusal: Refusal, value: object
) -> None:
    message = refusal(recipe(*experts, {"layers": value}))
    assert "layers" in message
    assert str(value) in message


def test_a_filter_that_can_never_apply_is_refused(experts: Experts, refusal: Refusal) -> None:
    hidden = [{"value": 0}, {"filter": "mlp", "value": 2}, {"value": 1}]  # mergekit takes the first that fits
    assert "mlp" in refusal(recipe(*experts, ZONES | {"bottom": hidden}))


def test_zones_without_numbers_are_refused_for_a_model_of_another_depth_than_the_papers(
    experts: Experts, refusal: Refusal
) -> None:
    message = refusal(recipe(*experts, {"invert": False}))
    assert "bottom is not given" in message
    assert "32 layers; this model has 6" in message


@pytest.mark.parametrize("name", ["revert", "accept"])
def test_a_parameter_of_the_swap_under_a_model_is_refused(experts: Experts, refusal: Refusal, name: str) -> None:
    listed = {"model": str(experts[1]), "parameters": {name: 2}}
    message = refusal(recipe(*experts, models=[listed]))
    assert f"{name} stands under {experts[1]}" in message
    assert "top-level parameters" in message


def test_an_unknown_parameter_or_role_under_a_model_is_refused(experts: Experts, refusal: Refusal) -> None:
    listed = {"model": str(experts[1]), "parameters": {"weight": 0.5}}
    assert "weight is no parameter of a model" in refusal(recipe(*experts, models=[listed]))
    listed["parameters"] = {"role": "ancestor"}
    message = refusal(recipe(*experts, models=[listed]))
    assert "role: got 'ancestor'" in message
    assert "'donor' or 'pretrained'" in message


def test_a_swap_without_a_donor_is_refused(experts: Experts, refusal: Refusal) -> None:
    recipient, donor = experts
    ancestor = {"model": str(donor), "parameters": {"role": "pretrained"}}
    for models in ([], None, [ancestor]):
        assert f"got none (the recipient is {recipient})" in refusal(recipe(recipient, donor, models=models))


def test_two_ancestors_are_refused_with_both(experts: Experts, refusal: Refusal, tmp_path: Path) -> None:
    ancestors = [str(shutil.copytree(experts[1], tmp_path / f"ancestor{n}")) for n in (1, 2)]
    listed = [{"model": model, "parameters": {"role": "pretrained"}} for model in ancestors]
    message = refusal(recipe(*experts, models=[{"model": str(experts[1])}, *listed]))
    assert f"Two models have the role pretrained: {ancestors[0]} and {ancestors[1]}" in message


@pytest.mark.parametrize("spelling", ["{0}", "{0}/", "{0}/../recipient", "{1}/link"])
def test_a_donor_that_is_the_recipient_is_refused_however_it_is_written(
    experts: Experts, refusal: Refusal, tmp_path: Path, spelling: str
) -> None:
    (tmp_path / "link").symlink_to(experts[0])
    donor = spelling.format(experts[0], tmp_path)
    message = refusal(recipe(experts[0], donor))
    assert str(experts[0]) in message
    assert "donor" in message
    with_role = refusal(recipe(experts[0], donor, models=[{"model": donor, "parameters": {"role": "donor"}}]))
    assert donor in with_role


def test_the_recipient_listed_beside_the_donor_is_no_second_donor(experts: Experts, tmp_path: Path) -> None:
    listed = [{"model": str(model)} for model in experts]
    merged = tensors(merge(recipe(*experts, models=listed), tmp_path / "out"))
    assert same(merged["model.embed_tokens.weight"], tensors(experts[1])["model.embed_tokens.weight"])


@pytest.mark.parametrize("side", ["base_model", "donor"])
def test_a_model_that_is_not_there_is_named(experts: Experts, refusal: Refusal, tmp_path: Path, side: str) -> None:
    absent = tmp_path / "nowhere"
    recipient, donor = (absent, experts[1]) if side == "base_model" else (experts[0], absent)
    assert f"{absent} is no folder here" in refusal(recipe(recipient, donor))


SLICES = [{"sources": [{"model": "x", "layer_range": [0, 6]}]}]


@pytest.mark.parametrize(
    ("top", "said"),
    [
        ({"models": None, "slices": SLICES}, ["slices and modules are not for it", "models"]),
        ({"slices": SLICES}, ["models", "slices"]),
        ({"models": None, "modules": {"default": {"slices": SLICES}}}, ["slices and modules are not for it"]),
        ({"tokenizer_source": "union"}, ["tokenizer_source: ", "recipient's vocabulary"]),
        ({"tokenizer": {"source": "base"}}, ["tokenizer: ", "recipient's vocabulary"]),
        ({"base_model": None}, ["base_model is missing", "recipient"]),
        ({"parametres": {"top": 2}}, ["parametres is no key", "parameters"]),
        ({"Dtype": "float32"}, ["Dtype is no key", "dtype"]),
        ({"dtype": "bfloat15"}, ["dtype: bfloat15", "bfloat16"]),
        ({"dtype": "int8"}, ["dtype: int8", "bfloat16"]),
        ({"out_dtype": "bfloat15"}, ["out_dtype: bfloat15", "bfloat16"]),
        ({"models": "./donor"}, ["models", "./donor"]),
        ({"models": ["./donor"]}, ["models", "./donor"]),
        ({"models": [{"model": "./donor", "weight": 1}]}, ["weight is no key", "parameters"]),
        ({"models": [{"path": "./donor"}]}, ["path is no key", "model"]),
        ({"parameters": "bottom"}, ["parameters", "bottom"]),
    ],
)
def test_a_configuration_that_is_no_layer_swap_is_refused_with_the_key(
    experts: Experts, refusal: Refusal, top: dict[str, Any], said: list[str]
) -> None:
    content = yaml.safe_load(recipe(*experts)) | top
    message = refusal(yaml.safe_dump({key: value for key, value in content.items() if value is not None}))
    assert [part for part in said if part not in message] == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_hidden_layers": 4}, "layers: 6 and 4"),
        ({"hidden_size": 64}, "hidden size: 32 and 64"),
        ({"num_attention_heads": 2}, "attention heads: 4 and 2"),
        ({"num_key_value_heads": 4}, "key-value heads: 2 and 4"),
        ({"head_dim": 16}, "head size: 8 and 16"),
        ({"intermediate_size": 64}, "intermediate size: 48 and 64"),
    ],
)
@pytest.mark.parametrize("role", ["donor", "pretrained"])
def test_models_of_another_build_are_refused_with_both_values(
    experts: Experts, refusal: Refusal, tmp_path: Path, change: dict[str, Any], said: str, role: str
) -> None:
    other = save_model(tmp_path / "other", **({"layers": 6} if "num_hidden_layers" not in change else {}) | _as(change))
    models = [{"model": str(other)}]
    if role == "pretrained":
        models = [{"model": str(experts[1])}, {"model": str(other), "parameters": {"role": role}}]
    message = refusal(recipe(*experts, ZONES | {"accept": "rope, norm_eps, tokenizer"}, models=models))
    assert f"{experts[0]} and {other} cannot be swapped" in message
    assert said in message


def _as(change: dict[str, Any]) -> dict[str, Any]:
    return {"layers" if key == "num_hidden_layers" else key: value for key, value in change.items()}


def test_every_difference_in_build_is_named_at_once(experts: Experts, refusal: Refusal, tmp_path: Path) -> None:
    message = refusal(recipe(experts[0], save_model(tmp_path / "other", layers=4, intermediate_size=64, vocab_size=96)))
    assert "layers: 6 and 4; intermediate size: 48 and 64; vocabulary size: 64 and 96" in message


@pytest.mark.parametrize(("kind", "named"), [("qwen2", "Qwen2ForCausalLM"), ("mixtral", "MixtralForCausalLM")])
def test_another_architecture_is_refused_with_both_names(
    experts: Experts, refusal: Refusal, tmp_path: Path, kind: str, named: str
) -> None:
    message = refusal(recipe(experts[0], save_model(tmp_path / "other", kind, layers=6)))
    assert f"architecture: LlamaForCausalLM and {named}" in message


@pytest.mark.parametrize(("accept", "change"), [("rope", {"rope_theta": 5e5}), ("norm_eps", {"rms_norm_eps": 1e-3})])
def test_another_rope_or_epsilon_is_refused_with_both_values_unless_accepted_by_name(
    experts: Experts, refusal: Refusal, tmp_path: Path, accept: str, change: dict[str, float]
) -> None:
    if accept == "rope":
        change = {"rope_parameters": {"rope_type": "default"} | change}  # type: ignore[dict-item]
        values = ["'rope_theta': 10000.0", "'rope_theta': 500000.0"]
    else:
        values = ["1e-06", "0.001"]
    other = save_model(tmp_path / "other", layers=6, **change)
    other_name = {"rope": "norm_eps", "norm_eps": "rope"}[accept]
    for parameters in (ZONES, ZONES | {"accept": f"tokenizer, {other_name}"}):
        message = refusal(recipe(experts[0], other, parameters))
        assert f"They differ in {accept}: " in message
        assert all(value in message for value in values)
        assert f"accept: '{accept}'" in message
    out = merge(recipe(experts[0], other, ZONES | {"accept": accept}), tmp_path / "out")
    assert verify(out, MergeOptions()).status == "verified"
    config = json.loads((out / "config.json").read_text())
    assert (config["rms_norm_eps"], config["rope_parameters"]["rope_theta"]) == (1e-6, 10000.0)  # the recipient's


def test_models_with_other_tokenizers_of_equal_size_are_refused_unless_accepted(
    refusal: Refusal, tmp_path: Path
) -> None:
    exchanged = [*TOKENS[:7], TOKENS[8], TOKENS[7], *TOKENS[9:]]
    recipient = save_model(tmp_path / "recipient", layers=6, seed=1, tokenizer=TOKENS)
    donor = save_model(tmp_path / "donor", layers=6, seed=2, tokenizer=exchanged)
    message = refusal(recipe(recipient, donor))
    assert "tokenizer: 'w4' is 7 and 'w4' is 8" in message
    assert "accept: 'tokenizer'" in message
    other = [*TOKENS[:-1], "habari"]
    save_tokenizer(donor, other)
    assert "tokenizer: 'habari' is absent and 'habari' is 63" in refusal(recipe(recipient, donor))
    out = merge(recipe(recipient, donor, ZONES | {"accept": "tokenizer"}), tmp_path / "out")
    kept = json.loads((out / "tokenizer.json").read_text())["model"]["vocab"]
    assert [token for token, _ in sorted(kept.items(), key=lambda item: item[1])] == TOKENS
    assert verify(out, MergeOptions()).status == "verified"


def test_another_way_of_cutting_words_is_another_tokenizer(refusal: Refusal, tmp_path: Path) -> None:
    recipient, donor = (save_model(tmp_path / name, layers=6, tokenizer=TOKENS) for name in ("recipient", "donor"))
    file = donor / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"normalizer": {"type": "Lowercase"}}))
    assert "They differ in tokenizer: " in refusal(recipe(recipient, donor))


def test_a_tokenizer_that_is_only_written_differently_is_the_same(tmp_path: Path) -> None:
    recipient, donor = (
        save_model(tmp_path / name, layers=6, seed=seed, tokenizer=TOKENS)
        for seed, name in enumerate(("recipient", "donor"))
    )
    file = donor / "tokenizer.json"
    written = json.loads(file.read_text())
    written["model"]["vocab"] = dict(reversed(written["model"]["vocab"].items()))
    file.write_text(json.dumps(dict(reversed(written.items())), indent=7, ensure_ascii=True))
    assert file.read_bytes() != (recipient / "tokenizer.json").read_bytes()
    out = merge(recipe(recipient, donor, ZONES), tmp_path / "out")
    assert (out / "tokenizer.json").is_file()


def test_models_of_different_types_need_a_declared_one(experts: Experts, refusal: Refusal, tmp_path: Path) -> None:
    wide = save_model(tmp_path / "wide", layers=6, dtype=torch.float32)
    message = refusal(recipe(experts[0], wide, dtype=None))
    assert "bfloat16 and float32" in message
    assert "dtype: bfloat16" in message
    merged = tensors(merge(recipe(experts[0], wide, dtype="bfloat16"), tmp_path / "out"))
    assert {tensor.dtype for tensor in merged.values()} == {torch.bfloat16}
    unnamed = tensors(merge(recipe(*experts, dtype=None), tmp_path / "alike"))
    assert {tensor.dtype for tensor in unnamed.values()} == {torch.bfloat16}


def test_an_adapter_that_is_not_there_is_named(experts: Experts, refusal: Refusal, tmp_path: Path) -> None:
    absent = tmp_path / "no-adapter"
    assert f"{absent} is no folder here" in refusal(recipe(experts[0], f"{experts[1]}+{absent}"))
