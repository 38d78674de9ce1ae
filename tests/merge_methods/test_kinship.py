"""Whether experts come from the ancestor, layer by layer; and weights that are no numbers."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch
import yaml

from turnswap.core.errors import UserError
from turnswap.merge_methods.analysis import layer_changes, sampled_drifts
from turnswap.merge_methods.analysis_file import kinship
from turnswap.merge_methods.configuration import parse_configuration
from turnswap.merge_methods.proposal import open_experts
from turnswap.merge_methods.recipe import Recipe, read_recipe

from .models import MergeOptions, recipe, save_model
from .test_analysis import Q, analyzed, cell, changed, noise

OPTIONS = MergeOptions(quiet=True)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return save_model(tmp_path / "base", dtype=torch.float32)


def swap_of(recipient: Path, donor: Path, ancestor: Path) -> Recipe:
    models = [{"model": str(donor)}, {"model": str(ancestor), "parameters": {"role": "pretrained"}}]
    return read_recipe(parse_configuration(yaml.safe_load(recipe(recipient, donor, models=models))), OPTIONS)


def test_kin_and_strangers_are_told_apart(base: Path, tmp_path: Path) -> None:
    stranger = save_model(tmp_path / "stranger", seed=9, dtype=torch.float32)
    found = analyzed(base, changed(base, tmp_path / "r", noise(1, 0.03)), stranger)
    assert kinship(found, "recipient").verdict == "yes"
    assert kinship(found, "donor").verdict == "no"
    assert "1.4" in kinship(found, "donor").reason
    untouched = kinship(analyzed(base, base, stranger), "recipient")
    assert "bit for bit" in untouched.reason


@pytest.mark.parametrize("of", ["base", "recipient", "donor"])
@pytest.mark.parametrize(("dtype", "value", "said"), [
    (torch.float32, float("nan"), "1 values are NaN and 0 infinite"),
    (torch.float16, float("-inf"), "0 values are NaN and 1 infinite"),
    (torch.bfloat16, 1e30, "0 values are NaN and 1 infinite or beyond 1e+15"),
])  # fmt: skip
def test_a_weight_that_is_no_number_is_refused_naming_tensor_and_model(
    tmp_path: Path, of: str, dtype: torch.dtype, value: float, said: str
) -> None:
    base = save_model(tmp_path / "plain", dtype=dtype, layers=3)

    def spoilt(name: str, tensor: torch.Tensor) -> torch.Tensor:
        moved = tensor.clone()
        if name == Q.format(1):
            moved[3, 4] = value
        return moved

    models = dict.fromkeys(("base", "recipient", "donor"), base) | {of: changed(base, tmp_path / "spoilt", spoilt)}
    with pytest.raises(UserError) as refused:
        analyzed(*models.values())
    assert Q.format(1) in str(refused.value)
    assert f"of the {of} ({tmp_path / 'spoilt'}) {said}" in str(refused.value)
    assert str(refused.value).count("NaN") == 1


def test_rows_that_were_zero_have_no_relative_change(base: Path, tmp_path: Path) -> None:
    def zeroed(name: str, tensor: torch.Tensor) -> torch.Tensor:
        moved = tensor.clone()
        if name == Q.format(1):
            moved[:8] = 0  # the first of 4 heads
        return torch.zeros_like(tensor) if name == Q.format(2) else moved

    ancestor = changed(base, tmp_path / "ancestor", zeroed)
    found = analyzed(ancestor, changed(ancestor, tmp_path / "r", noise(1, 0.01)), base)
    assert cell(found, 1, "q").donor.rows == 0
    assert cell(found, 1, "q").donor.heads == 0
    empty = cell(found, 2, "q")
    assert (empty.donor.rows, empty.donor.heads, empty.ancestor_norm) == (None, None, 0)
    assert empty.donor.relative != empty.donor.relative
    assert empty.donor.mean_absolute > 0
    assert kinship(found, "recipient").verdict == "yes"  # what has no value hides nothing else


def again(base: Path, folder: Path, where: str) -> Path:
    """A copy whose matrices with a name that matches are new random ones of the same size."""
    generator = torch.Generator().manual_seed(5)

    def new(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if not re.search(where, name) or tensor.dim() < 2:
            return noise(2, 0.03)(name, tensor)
        return torch.randn(tensor.shape, generator=generator) * tensor.std()

    return changed(base, folder, new)


@pytest.mark.parametrize(("where", "named"), [
    (r"layers\.[4-7]\.", "layers 4-7 in q, k, v, o, gate, up, down ("),
    (r"layers\.5\.self_attn", "layers 5 in q, k, v, o ("),
    (r"lm_head", "head ("),
])  # fmt: skip
def test_new_random_layers_are_named(base: Path, tmp_path: Path, where: str, named: str) -> None:
    donor = again(base, tmp_path / "d", where)
    found = analyzed(base, changed(base, tmp_path / "r", noise(1, 0.05)), donor)
    assert kinship(found, "recipient").verdict == "yes"
    judged = kinship(found, "donor")
    assert judged.verdict == "in part"
    assert named in judged.reason
    with pytest.raises(UserError, match="judged 'in part'.*--anyway"):
        open_experts(found, OPTIONS)
    (warning,) = open_experts(found, OPTIONS, anyway=True).warnings
    assert named in warning


def test_what_was_tuned_hard_is_not_called_unrelated(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base", dtype=torch.float32, attention_bias=True)

    def hard(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return noise(3, 2.0 if tensor.dim() == 1 else 0.9 if "layers.2" in name else 0.05)(name, tensor)

    expert = changed(base, tmp_path / "r", hard)
    found = analyzed(base, expert, base)
    assert kinship(found, "recipient").verdict == "likely"
    assert cell(found, 2, "up").recipient.likeness == pytest.approx(1 / 1.81**0.5, abs=0.05)
    swap = swap_of(expert, changed(base, tmp_path / "d", noise(1, 0.02)), base)
    (drift,) = sampled_drifts(swap, OPTIONS)
    assert (drift.is_far, "changed much" in str(drift)) == (False, True)


def test_before_a_search_some_rows_of_every_layer_tell_of_new_random_ones(base: Path, tmp_path: Path) -> None:
    donor = again(base, tmp_path / "d", r"layers\.(3|6)\.mlp")
    recipient = changed(base, tmp_path / "r", noise(1, 0.05))
    swap = swap_of(recipient, donor, base)
    (drift,) = sampled_drifts(swap, OPTIONS)
    assert drift.is_far
    assert f"{donor} is far from {base} in layers 3,6: the cosine of their weights is" in str(drift)


@pytest.mark.parametrize("sampled", [True, False])
def test_a_change_that_is_no_number_is_not_passed_over(base: Path, tmp_path: Path, sampled: bool) -> None:
    def spoilt(name: str, tensor: torch.Tensor) -> torch.Tensor:
        return tensor * math.nan if name == Q.format(5) else tensor

    donor = changed(base, tmp_path / "d", spoilt)
    swap = swap_of(changed(base, tmp_path / "r", noise(1, 0.05)), donor, base)
    with pytest.raises(UserError, match=rf"{Q.format(5)} cannot be compared: of the donor .* are NaN"):
        layer_changes(swap, OPTIONS, sampled)


def test_experts_of_another_type_have_a_note_on_rounding(base: Path, tmp_path: Path) -> None:
    smaller = changed(base, tmp_path / "r", lambda name, tensor: tensor.to(torch.float8_e4m3fn))
    found = analyzed(base, smaller, base)
    (note,) = found.notes
    assert note.startswith("The recipient is stored in float8_e4m3fn, the ancestor in float32: rounding is a part")
    assert 0.01 < found.relative("recipient") < 0.06
