"""Damaged models: refused by name, and nothing left behind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mergekit.options import MergeOptions
from safetensors.torch import save_file

from turnswap.merge_methods.verify import verify

from .models import BLENDED, changed_copy, merge, recipe, save_model, tensors

Experts = tuple[Path, Path]
ZONES: dict[str, Any] = {"bottom": 2, "top": 1, "transition": 1}
Refusal = Callable[..., str]


@pytest.fixture(params=["recipient", "donor"])
def damaged(request: pytest.FixtureRequest, experts: Experts, tmp_path: Path) -> tuple[Path, str]:
    """A sharded copy of one expert, to be damaged, and a swap with it on either side."""
    damaged = save_model(tmp_path / "damaged", layers=6, seed=3, shards="40KB")
    return damaged, recipe(damaged, experts[1]) if request.param == "recipient" else recipe(experts[0], damaged)


SHARD = "model-00002-of-*.safetensors"


def cut_short(folder: Path) -> Path:
    (shard,) = folder.glob(SHARD)
    shard.write_bytes(shard.read_bytes()[:-100])
    return shard


def cut_in_the_header(folder: Path) -> Path:
    (shard,) = folder.glob(SHARD)
    shard.write_bytes(shard.read_bytes()[:100])
    return shard


def empty(folder: Path) -> Path:
    (shard,) = folder.glob(SHARD)
    shard.write_bytes(b"")
    return shard


def garble_the_header(folder: Path) -> Path:
    (shard,) = folder.glob(SHARD)
    content = bytearray(shard.read_bytes())
    content[8:200] = b"\xff" * 192
    shard.write_bytes(content)
    return shard


def replace_by_a_web_page(folder: Path) -> Path:
    (shard,) = folder.glob(SHARD)
    shard.write_text("<!doctype html><title>404 Not Found</title>")
    return shard


def replace_by_an_lfs_pointer(folder: Path) -> Path:
    (shard,) = folder.glob(SHARD)
    shard.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 40000\n")
    return shard


@pytest.mark.parametrize(
    "damage", [cut_short, cut_in_the_header, empty, garble_the_header, replace_by_a_web_page, replace_by_an_lfs_pointer]
)
def test_a_damaged_file_is_refused_by_name(
    damaged: tuple[Path, str], refusal: Refusal, damage: Callable[[Path], Path]
) -> None:
    folder, configuration = damaged
    file = damage(folder)
    message = refusal(configuration)
    assert f"{file} cannot be read" in message
    assert "Download or copy it again" in message


def test_a_missing_shard_is_refused_by_name(damaged: tuple[Path, str], refusal: Refusal) -> None:
    folder, configuration = damaged
    (shard,) = folder.glob(SHARD)
    shard.unlink()
    message = refusal(configuration)
    assert f"{folder} is incomplete" in message
    assert shard.name in message


def edit_index(folder: Path, change: Callable[[dict[str, str]], object]) -> None:
    file = folder / "model.safetensors.index.json"
    index = json.loads(file.read_text())
    change(index["weight_map"])
    file.write_text(json.dumps(index))


def test_an_index_that_names_a_tensor_which_is_nowhere_is_refused(damaged: tuple[Path, str], refusal: Refusal) -> None:
    folder, configuration = damaged
    edit_index(folder, lambda files: files.update({"model.layers.3.ghost.weight": next(iter(files.values()))}))
    message = refusal(configuration)
    assert f"{folder} is incomplete" in message
    assert "model.layers.3.ghost.weight" in message


def test_an_index_that_names_a_tensors_wrong_file_is_refused(damaged: tuple[Path, str], refusal: Refusal) -> None:
    folder, configuration = damaged

    def misplace(files: dict[str, str]) -> None:
        files[BLENDED] = next(file for file in sorted(files.values()) if file != files[BLENDED])

    edit_index(folder, misplace)
    message = refusal(configuration)
    assert BLENDED in message
    assert str(folder) in message


def test_an_index_that_leaves_out_a_tensor_is_refused(damaged: tuple[Path, str], refusal: Refusal) -> None:
    folder, configuration = damaged
    edit_index(folder, lambda files: files.pop(BLENDED))
    message = refusal(configuration)
    assert BLENDED in message
    assert str(folder) in message


@pytest.mark.parametrize("text", ["", '{"weight_map": {"lm_', "{}", "[]", '{"weight_map": []}', '{"weight_map": {}}'])
def test_an_index_that_is_none_is_refused_by_its_models_name(
    damaged: tuple[Path, str], refusal: Refusal, text: str
) -> None:
    folder, configuration = damaged
    (folder / "model.safetensors.index.json").write_text(text)
    assert str(folder) in refusal(configuration)


def test_a_folder_without_weights_is_refused(damaged: tuple[Path, str], refusal: Refusal) -> None:
    folder, configuration = damaged
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    assert f"{folder} holds no weights" in refusal(configuration)


@pytest.mark.parametrize("text", [None, "", '{"model_type": "llama", ', "[]", "{}", '{"model_type": "unheard_of"}'])
def test_a_configuration_file_that_is_missing_or_nonsense_is_refused_by_its_models_name(
    damaged: tuple[Path, str], refusal: Refusal, text: str | None
) -> None:
    folder, configuration = damaged
    if text is None:
        (folder / "config.json").unlink()
    else:
        (folder / "config.json").write_text(text)
    assert f"The configuration of {folder} cannot be read" in refusal(configuration)


@pytest.mark.parametrize(
    "change",
    [{"num_hidden_layers": "six"}, {"num_hidden_layers": 7}, {"num_hidden_layers": 0}, {"architectures": None}],
    ids=str,
)
def test_a_configuration_file_that_does_not_describe_its_weights_is_refused(
    damaged: tuple[Path, str], refusal: Refusal, change: dict[str, Any]
) -> None:
    folder, configuration = damaged
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert str(folder) in refusal(configuration)


def test_a_quantised_model_is_refused(damaged: tuple[Path, str], refusal: Refusal) -> None:
    folder, configuration = damaged
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"quantization_config": {"quant_method": "fp8"}}))
    assert f"{folder} is quantised" in refusal(configuration)


@pytest.mark.parametrize("size", [0, 4, 1000, -2000])
def test_a_pickle_that_is_cut_short_is_refused_by_name(
    experts: Experts, refusal: Refusal, tmp_path: Path, size: int
) -> None:
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    shutil.copy(experts[1] / "config.json", pickled)
    file = pickled / "pytorch_model.bin"
    torch.save(tensors(experts[1]), file)
    file.write_bytes(file.read_bytes()[:size])
    message = refusal(recipe(experts[0], pickled))
    assert str(file) in message
    assert "cannot be read" in message


@pytest.mark.parametrize("side", [0, 1], ids=["recipient", "donor"])
def test_a_tensor_that_one_model_lacks_is_named(experts: Experts, refusal: Refusal, tmp_path: Path, side: int) -> None:
    without = changed_copy(experts[side], tmp_path / "without", lambda content: content.pop(BLENDED))
    models = [without, experts[1]] if side == 0 else [experts[0], without]
    message = refusal(recipe(*models))
    assert BLENDED in message
    assert ("missing and there" if side == 0 else "there and missing") in message


def test_a_tensor_of_another_shape_is_named_with_both(experts: Experts, refusal: Refusal, tmp_path: Path) -> None:
    def transpose(content: dict[str, torch.Tensor]) -> None:
        content[BLENDED] = content[BLENDED].T.contiguous()

    message = refusal(recipe(experts[0], changed_copy(experts[1], tmp_path / "other", transpose)))
    assert f"shape of {BLENDED}: (48, 32) and (32, 48)" in message


@pytest.mark.parametrize("side", [0, 1], ids=["recipient", "donor"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_blend_that_is_not_finite_is_refused_with_the_tensors_name(
    experts: Experts, refusal: Refusal, tmp_path: Path, side: int, value: float
) -> None:
    spoilt = changed_copy(experts[side], tmp_path / "spoilt", lambda content: content[BLENDED][3, 3].fill_(value))
    models = [spoilt, experts[1]] if side == 0 else [experts[0], spoilt]
    message = refusal(recipe(*models))
    assert f"The blend of {BLENDED} is not finite" in message
    merge(recipe(*models, ZONES | {"transition": 0, "bottom": 2 + (side == 0)}), tmp_path / "out")  # not from there
    assert verify(tmp_path / "out", MergeOptions()).status == "verified"


@pytest.mark.parametrize("types", [{"dtype": "float16"}, {"dtype": "float32", "out_dtype": "float16"}])
@pytest.mark.parametrize("name", [BLENDED, "model.layers.0.mlp.up_proj.weight"])
def test_a_number_too_large_for_the_declared_type_is_refused_with_the_tensors_name(
    experts: Experts, refusal: Refusal, tmp_path: Path, types: dict[str, str], name: str
) -> None:
    large = changed_copy(experts[1], tmp_path / "large", lambda content: content[name].fill_(1e6))
    message = refusal(recipe(experts[0], large, **types))
    assert name in message
    assert "not finite" in message


@pytest.mark.parametrize("same", [True, False])
def test_tied_embeddings_that_are_stored_twice_must_be_the_same(
    experts: Experts, refusal: Refusal, tmp_path: Path, same: bool
) -> None:
    recipient, donor = (save_model(tmp_path / role, "qwen3-tied", seed) for seed, role in enumerate("rd"))
    content = {name: tensor.clone() for name, tensor in tensors(recipient).items()}
    copy = content["model.embed_tokens.weight"].clone()
    save_file(
        content | {"lm_head.weight": copy if same else copy + 1}, recipient / "model.safetensors", {"format": "pt"}
    )
    swap = recipe(recipient, donor, {"bottom": 2, "top": 1, "transition": 1, "embeddings": "donor"})
    if same:
        merged = tensors(merge(swap, tmp_path / "merged"))
        assert torch.equal(merged["lm_head.weight"], merged["model.embed_tokens.weight"])
    else:
        assert "are one tensor by its configuration, and differ" in refusal(swap)
