"""The merge method ``layer_swap``: for each tensor, hand on the recipient's or the donor's, or blend the two.

Bandarkar et al. 2024, arXiv 2410.01335. Which tensor comes from where is decided in ``swap_plan``; blends are
mergekit's own ``linear``, so that a swap equals, bit for bit, the same swap written as slices of linear merges.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Annotated, Any, Literal

import torch
from mergekit.common import ModelReference
from mergekit.io.tasks import LoaderCache
from mergekit.merge_methods.base import (
    BasePolicy,
    GroupMergeMethod,
    InputContract,
    OptionalTensorPolicy,
    PerNonBase,
    TensorGroup,
)
from mergekit.merge_methods.easy_define import merge_method
from mergekit.merge_methods.linear import linear_merge
from pydantic import Field

from turnswap.core.errors import UserError

from .compatibility import Model, check_structure, open_model
from .swap_plan import Choice, SwapParameters, source_of

NAME = "layer_swap"
Depth = Annotated[int, Field(ge=0, strict=True)] | Literal["auto"] | None
Layers = Annotated[str, Field(strict=True)] | Annotated[int, Field(ge=0, strict=True)] | None


@merge_method(  # type: ignore[untyped-decorator]
    name=NAME,
    pretty_name="Layer Swapping",
    reference_url="https://arxiv.org/abs/2410.01335",
    contract=InputContract(base=BasePolicy.REQUIRED, min_inputs=2, max_inputs=3),
    # A tensor that only the recipient has (a vision tower) stays with it.
    optional_tensor_policy=OptionalTensorPolicy.PASSTHROUGH_BASE_SINGLETON,
    uses_accelerator=False,
)
def _kernel(
    group: TensorGroup,
    bottom: Depth = None,
    top: Depth = None,
    transition: Depth = None,
    bottom_transition: Depth = None,
    top_transition: Depth = None,
    blend: Annotated[float, Field(ge=0, le=1)] = 0.5,
    layers: Layers = None,
    blend_layers: Layers = None,
    invert: bool = False,
    revert: Layers = None,
    embeddings: Choice | None = None,
    head: Choice | None = None,
    role: PerNonBase[Literal["donor", "pretrained"]] = "donor",
    accept: str | None = None,  # differences to accept: heeded before the merge starts
) -> torch.Tensor:
    """The tensor of one name: the very tensor of its source, or a new one where two are blended."""
    swap = SwapParameters(
        bottom, top, transition, bottom_transition, top_transition, blend,
        layers, blend_layers, invert, revert, embeddings, head,
    )  # fmt: skip
    base = group.base
    assert base is not None
    layout = _checked[base.id].layout
    name = group.metadata.name or ""
    source = source_of(layout.weights[name].place, swap, layout.n_layers)
    if source.origin == "recipient":
        return base.tensor
    tensors: dict[str, torch.Tensor] = {role[entry.id]: entry.tensor for entry in group.non_base}
    if source.origin != "blend":
        return tensors[source.origin]
    return blended(base.tensor, tensors["donor"], source.donor_share, name)


def blended(recipient: torch.Tensor, donor: torch.Tensor, donor_share: float, name: str) -> torch.Tensor:
    """The weighted mean of two tensors of one shape and type, as mergekit's ``linear`` computes it (in float32).

    Raises:
        UserError: the result is not finite.
    """
    group = TensorGroup.from_tensors([recipient, donor], name=name)
    (result,) = linear_merge([group], parameters={"weight": [1 - donor_share, donor_share]})
    if not torch.isfinite(result).all():
        raise UserError(
            f"The blend of {name} is not finite: one of the two models holds NaN or infinite values.",
            "Repair or replace that model.",
        )
    return result


class LayerSwap(GroupMergeMethod):
    """The kernel, and the refusal of models that do not fit each other before anything is read."""

    spec = _kernel.spec

    def validate_inputs(
        self, input_ids: Sequence[Hashable], base_id: Hashable | None = None, *, group_name: str | None = None
    ) -> None:
        """Called by mergekit while it plans, and again for every tensor."""
        super().validate_inputs(input_ids, base_id, group_name=group_name)
        _check_once(tuple(input_ids), base_id)

    def merge_group(self, group: TensorGroup, /, **parameters: Any) -> torch.Tensor:
        """One tensor."""
        return _kernel.merge_group(group, **parameters)


# The models that were checked, by their references: layouts for the kernel, which may run in other threads.
_checked: dict[Hashable, Model] = {}


def _check_once(input_ids: tuple[Hashable, ...], base_id: Hashable) -> None:
    if all(input_id in _checked for input_id in input_ids):
        return
    references = [reference for reference in input_ids if isinstance(reference, ModelReference)]
    if len(references) < len(input_ids):
        raise UserError(
            "layer_swap merges model folders, whose configurations tell where each tensor lies.",
            "Use mergekit-yaml or mergekit-multi.",
        )
    models = {reference: open_model(reference, LoaderCache().trust_remote_code) for reference in references}
    for reference, model in models.items():
        if reference != base_id:
            check_structure(models[base_id], model)
    _checked.update(models)


def forget_models() -> None:
    """Read models anew from now on: a folder may have changed since an earlier merge of this process."""
    _checked.clear()
    open_model.cache_clear()


layer_swap = LayerSwap()
