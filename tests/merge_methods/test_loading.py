"""``turnswap verify --load``: what transformers makes of a merged folder, against what was declared."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaForCausalLM

from ..conftest import Turnswap
from .models import KINDS, merge, pair, recipe, tensors


def rewrite(folder: Path, without: str = "", **more: torch.Tensor) -> None:
    content = {name: tensor.clone() for name, tensor in tensors(folder).items() if name != without}
    save_file(content | more, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("kind", KINDS)
def test_every_loaded_tensor_is_the_declared_one(tmp_path: Path, turnswap: Turnswap, kind: str) -> None:
    merge(recipe(*pair(tmp_path, kind)), tmp_path / "out")
    done = turnswap("verify", tmp_path / "out", "--load", "--json")
    report = json.loads(done.stdout)
    assert (report["problems"], report["notes"], done.exit_code) == ([], [], 0)
    assert report["loaded"] > 50


def test_what_loading_changes_is_found(tmp_path: Path, turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch) -> None:
    merge(recipe(*pair(tmp_path)), tmp_path / "out")
    load = LlamaForCausalLM.from_pretrained

    def altered(*arguments: object, **options: object) -> object:
        model, info = load(*arguments, **options)
        model.model.layers[3].mlp.up_proj.weight.data[0, 0] += 1
        return model, info

    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", altered)
    done = turnswap("verify", tmp_path / "out", "--load")
    assert done.exit_code == 1
    assert "as loaded: model.layers.3.mlp.up_proj.weight is not, bit for bit," in done.stdout


def test_tensors_that_are_left_out_by_design_are_counted_and_named(
    tmp_path: Path, turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in pair(tmp_path):
        rewrite(folder, **{"mtp.weight": torch.ones(4, dtype=torch.bfloat16)})
    merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out")
    done = turnswap("verify", tmp_path / "out", "--load")
    assert (done.exit_code, "unexpected keys: mtp.weight" in done.stdout) == (1, True)
    monkeypatch.setattr(LlamaForCausalLM, "_keys_to_ignore_on_load_unexpected", ["^mtp"])
    done = turnswap("verify", tmp_path / "out", "--load")
    assert done.exit_code == 0
    assert "Note: 1 tensors are left out when it is loaded, by design: mtp.weight" in done.stdout


def test_a_folder_with_a_problem_is_not_loaded(tmp_path: Path, turnswap: Turnswap) -> None:
    merge(recipe(*pair(tmp_path)), tmp_path / "out")
    shutil.copy(tmp_path / "out" / "model.safetensors", tmp_path / "out" / "other.safetensors")
    done = turnswap("verify", tmp_path / "out", "--load", "--json")
    report = json.loads(done.stdout)
    assert (done.exit_code, report["loaded"]) == (1, None)
    assert "the model was not loaded, since something else is wrong" in report["notes"]


def test_two_equal_copies_of_a_tied_tensor_are_each_compared(tmp_path: Path, turnswap: Turnswap) -> None:
    for folder in pair(tmp_path, "qwen3-tied"):
        rewrite(folder, **{"lm_head.weight": tensors(folder)["model.embed_tokens.weight"].clone()})
    merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out")
    done = turnswap("verify", tmp_path / "out", "--load", "--json")
    assert (json.loads(done.stdout)["problems"], done.exit_code) == ([], 0)


@pytest.mark.parametrize("kept", [True, False])
def test_a_type_that_loading_changes_is_a_problem_unless_the_models_code_keeps_it(
    tmp_path: Path, turnswap: Turnswap, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    merge(recipe(*pair(tmp_path)), tmp_path / "out")
    load = LlamaForCausalLM.from_pretrained

    def altered(*arguments: object, **options: object) -> object:
        model, info = load(*arguments, **options)
        model.model.norm.float()
        model._keep_in_fp32_modules_strict = {"norm"} if kept else set()
        return model, info

    monkeypatch.setattr(LlamaForCausalLM, "from_pretrained", altered)
    report = json.loads(turnswap("verify", tmp_path / "out", "--load", "--json").stdout)
    said = "1 tensors are loaded in another type, such as model.norm.weight: bfloat16 as float32"
    assert said in report["notes"]
    problems = [] if kept else ["as loaded: model.norm.weight is float32, stored as bfloat16"]
    assert report["problems"] == problems
