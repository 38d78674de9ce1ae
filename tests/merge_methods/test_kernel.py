"""The method as mergekit sees it: it hands tensors on, and computes only where two are blended."""

from __future__ import annotations

import functools
import inspect
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from mergekit.common import ModelReference
from mergekit.merge_methods import BasePolicy, MergeMethod, TensorGroup, get, merge_state_dicts, registered_methods
from mergekit.options import MergeOptions

from turnswap.core.errors import UserError
from turnswap.merge_methods import layer_swap as module
from turnswap.merge_methods import planning
from turnswap.merge_methods.blending import mix_of, mixed
from turnswap.merge_methods.configuration import parse_configuration
from turnswap.merge_methods.layer_swap import Plan, layer_swap
from turnswap.merge_methods.recipe import Recipe, read_recipe
from turnswap.merge_methods.swap_plan import TensorSource
from turnswap.merge_methods.zones import PARAMETER_NAMES, SwapParameters

from .models import merge, pair, recipe, same, tensors

NAME = "model.layers.{}.mlp.up_proj.weight"


def references(*folders: Path) -> list[ModelReference]:
    return [ModelReference.parse(str(folder)) for folder in folders]


def planned(recipient: Path, donor: Path) -> Recipe:
    """2 layers of the donor at the bottom and 1 at the top, and a blended one at each inner edge."""
    content = {"merge_method": "layer_swap", "base_model": str(recipient), "models": [{"model": str(donor)}]}
    zones = {"bottom": 2, "top": 1, "transition": 1}
    return read_recipe(parse_configuration(content | {"parameters": zones}), MergeOptions())


def _plan(recipient: Path, donor: Path) -> Plan:
    found = planned(recipient, donor)
    return found.plan(found.tensors)


def test_mergekit_knows_the_method_which_needs_no_accelerator() -> None:
    assert get("layer_swap") is layer_swap
    assert layer_swap not in registered_methods()  # those merge any tensors in memory
    assert not layer_swap.spec.uses_accelerator
    assert {parameter.name for parameter in layer_swap.spec.parameters} == {
        *PARAMETER_NAMES, "blend_method", "seed", "role", "accept"
    }  # fmt: skip


@pytest.mark.parametrize("method", registered_methods(), ids=lambda method: method.spec.name)
def test_every_method_that_mergekit_lists_merges_any_tensors_in_memory(method: MergeMethod) -> None:
    base = 0 if method.spec.contract.base in (BasePolicy.REQUIRED, BasePolicy.OPTIONAL) else None
    count = min(2 if base is None else 3, method.spec.contract.max_inputs or 3)
    values = {"weight": 1.0, "t": 0.4, "density": 0.7}
    known = {parameter.name for parameter in method.spec.parameters}
    parameters = {name: value for name, value in values.items() if name in known}
    models = [{"w": torch.randn(6, 4)} for _ in range(count)]
    merged = merge_state_dicts(models, method.spec.name, base=base, parameters=parameters)
    assert merged["w"].isfinite().all()


def test_its_defaults_are_the_plans() -> None:
    swap = SwapParameters()
    defaults = {name: p.default for name, p in inspect.signature(module._declared.implementation).parameters.items()}
    assert {name: getattr(swap, name) for name in PARAMETER_NAMES} == {name: defaults[name] for name in PARAMETER_NAMES}


def test_tensors_that_are_not_blended_are_handed_on_uncopied(tmp_path: Path) -> None:
    recipient, donor = pair(tmp_path)
    ids = references(donor, recipient)
    ours, theirs = tensors(recipient), tensors(donor)
    with layer_swap.following(ids[1], _plan(recipient, donor)):
        for layer, source in {0: theirs, 1: theirs, 4: ours, 7: theirs}.items():
            name = NAME.format(layer)
            group = TensorGroup.from_tensors([theirs[name], ours[name]], ids=ids, base_index=1, name=name)
            # Contrary parameters change nothing: what counts is the plan that was checked.
            contrary = {"bottom": 0, "top": 0, "transition": 0, "invert": True}
            with ThreadPoolExecutor(1) as pool:  # as with --multi-gpu: mergekit's kernels may run in other threads
                for run in (layer_swap, functools.partial(_in_a_thread, pool)):
                    (result,) = run([group], parameters=contrary)
                    assert result.data_ptr() == source[name].data_ptr()


def _in_a_thread(pool: ThreadPoolExecutor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, ...]:
    return pool.submit(layer_swap, *args, **kwargs).result()


def test_what_is_planned_is_what_is_written_and_nothing_else_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipient, donor = pair(tmp_path)
    monkeypatch.setattr(planning, "source_of", lambda place, *_: TensorSource(
        "donor" if place.layer in (3, 5) else "recipient", 0.0, "whatever the parameters say"
    ))  # fmt: skip
    written = tensors(merge(recipe(recipient, donor, {"bottom": 2, "top": 1, "transition": 1}), tmp_path / "out"))
    ours, theirs = tensors(recipient), tensors(donor)
    for name, tensor in written.items():
        assert same(tensor, (theirs if ".layers.3." in name or ".layers.5." in name else ours)[name])


def test_without_a_plan_mergekit_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("recipient", "donor", "c", "d")]  # that are not there
    ids = references(*folders)
    with pytest.raises(UserError, match=r"by a plan .* this merge has none\. .*run_merge, with turnswap enabled"):
        layer_swap.validate_inputs(ids[:2], ids[0])
    with pytest.raises(UserError, match="layer_swap merges whole model folders"):
        merge_state_dicts({"a": {"w": torch.ones(2)}, "b": {"w": torch.ones(2)}}, "layer_swap", base="a")
    with pytest.raises(UserError, match="this merge has none"):
        layer_swap.validate_inputs(ids, ids[0])


def test_a_plan_holds_for_its_models_and_its_merge_alone(tmp_path: Path) -> None:
    recipient, donor = pair(tmp_path)
    plan, (ours, theirs, other) = _plan(recipient, donor), references(recipient, donor, tmp_path)
    with layer_swap.following(ours, plan):
        layer_swap.validate_inputs([ours, theirs], ours)
        with pytest.raises(UserError, match="this merge has none"):
            layer_swap.validate_inputs([ours, other], ours)
        with (
            pytest.raises(UserError, match=r"A merge with the recipient .*recipient is running"),
            layer_swap.following(ours, plan),
        ):
            pass
        layer_swap.validate_inputs([ours, theirs], ours)
    assert layer_swap.plan_of(ours) is None


def blended(recipient: torch.Tensor, donor: torch.Tensor, share: float, name: str) -> torch.Tensor:
    """A blend by shares, as a recipe without a blend_method makes it."""
    source = TensorSource("blend", share, "", (("donor", share),))
    mix = mix_of("linear", source, name, {"recipient": [], "donor": []})
    return mixed(mix, {"recipient": recipient, "donor": donor}, name)


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
