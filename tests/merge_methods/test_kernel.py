"""The method as mergekit sees it: it hands tensors on, and computes only where two are blended."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
import torch
from mergekit.common import ModelReference
from mergekit.merge_methods import TensorGroup, get, registered_methods

from turnswap.core.errors import UserError
from turnswap.merge_methods import layer_swap as module
from turnswap.merge_methods.layer_swap import blended, layer_swap
from turnswap.merge_methods.swap_plan import PARAMETER_NAMES

from .models import pair, save_model, tensors


def references(*folders: Path) -> list[ModelReference]:
    return [ModelReference.parse(str(folder)) for folder in folders]


def test_mergekit_knows_the_method_which_needs_no_accelerator() -> None:
    assert get("layer_swap") is layer_swap
    assert layer_swap in registered_methods()
    assert not layer_swap.spec.uses_accelerator
    assert {parameter.name for parameter in layer_swap.spec.parameters} == {*PARAMETER_NAMES, "role", "accept"}


def test_its_defaults_are_the_plans(tmp_path: Path) -> None:
    swap = module.SwapParameters()
    defaults = {name: p.default for name, p in inspect.signature(module._kernel.implementation).parameters.items()}
    assert {name: getattr(swap, name) for name in PARAMETER_NAMES} == {name: defaults[name] for name in PARAMETER_NAMES}


def test_tensors_that_are_not_blended_are_handed_on_uncopied(tmp_path: Path) -> None:
    recipient, donor = pair(tmp_path)
    ids = references(donor, recipient)
    layer_swap.validate_inputs(ids, ids[1])
    parameters = {"bottom": 2, "top": 1, "transition": 1}
    ours, theirs = tensors(recipient), tensors(donor)
    for layer, source in {0: theirs, 1: theirs, 4: ours, 7: theirs}.items():
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        group = TensorGroup.from_tensors([theirs[name], ours[name]], ids=ids, base_index=1, name=name)
        (result,) = layer_swap([group], parameters=parameters)
        assert result.data_ptr() == source[name].data_ptr()


def test_models_of_different_build_are_refused_while_mergekit_plans(tmp_path: Path) -> None:
    recipient, donor = save_model(tmp_path / "recipient"), save_model(tmp_path / "donor", intermediate_size=64)
    ids = references(recipient, donor)
    with pytest.raises(UserError, match="intermediate size: 48 and 64"):
        layer_swap.validate_inputs(ids, ids[0])
    with pytest.raises(UserError, match="layer_swap merges model folders"):
        layer_swap.validate_inputs(["a", "b"], "a")
    with pytest.raises(ValueError, match="at most 3 inputs"):
        layer_swap.validate_inputs([*ids, *references(tmp_path / "c", tmp_path / "d")], ids[0])


def test_a_blend_is_the_weighted_mean_in_single_precision() -> None:
    torch.manual_seed(0)
    recipient, donor = torch.randn(2, 50, 50).bfloat16()
    assert torch.equal(blended(recipient, donor, 0.5, "w"), ((recipient.float() + donor.float()) / 2).bfloat16())
    for share in (0.25, 0.9):  # here products are rounded: a last bit may differ from the double-precision mean
        expected = ((1 - share) * recipient.double() + share * donor.double()).bfloat16()
        torch.testing.assert_close(blended(recipient, donor, share, "w"), expected, rtol=2**-7, atol=1e-6)


def test_a_blend_that_is_not_finite_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"The blend of w is not finite"):
        blended(torch.tensor([1.0, float("nan")]), torch.ones(2), 0.5, "w")
