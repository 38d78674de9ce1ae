"""The merge method ``layer_swap``: for each tensor, hand on the recipient's or the donor's, or blend the two.

Bandarkar et al. 2024, arXiv 2410.01335. Which tensor comes from where is planned and checked before a merge starts
(``recipe``); here the plan is followed. Blends are mergekit's own (``blending``), so that a swap equals, bit for bit,
the same swap written as slices of linear merges.

Importing this module makes mergekit know the method. Of ours it imports nothing that imports a host: where the hook is
in place, mergekit's import brings this module, and what imported mergekit may be another of ours, half-made.
"""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import mergekit.merge_methods.registry as registry
import torch
from mergekit.merge_methods.base import (
    BasePolicy,
    GroupMergeMethod,
    InputContract,
    MergeMethod,
    OptionalTensorPolicy,
    PerNonBase,
    TensorGroup,
)
from mergekit.merge_methods.easy_define import merge_method
from pydantic import Field

from turnswap.core.errors import UserError

from .swap_plan import NAME, TensorSource, origins_of
from .zones import Choice

if TYPE_CHECKING:
    from mergekit.architecture import ModelArchitecture

Depth = Annotated[int, Field(ge=0, strict=True)] | Literal["auto"] | None
Layers = Annotated[str, Field(strict=True)] | Annotated[int, Field(ge=0, strict=True)] | None


@merge_method(  # type: ignore[untyped-decorator]
    name=NAME,
    pretty_name="Layer Swapping",
    reference_url="https://arxiv.org/abs/2410.01335",
    contract=InputContract(base=BasePolicy.REQUIRED, min_inputs=2),
    # A tensor that only the recipient has (a vision tower) stays with it.
    optional_tensor_policy=OptionalTensorPolicy.PASSTHROUGH_BASE_SINGLETON,
    uses_accelerator=False,
)
def _declared(
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
    shared: Choice | None = None,
    prediction: Choice | None = None,
    blend_method: str = "linear",
    seed: Annotated[int, Field(strict=True)] = 0,
    role: PerNonBase[Literal["donor", "pretrained"]] = "donor",
    accept: str | None = None,
) -> torch.Tensor:
    """What mergekit may be given, with types and defaults. The values are heeded once: where the merge is planned."""
    raise NotImplementedError


@dataclass(frozen=True)
class Step:
    """What a merge does for one tensor."""

    source: TensorSource
    working: torch.dtype | None = None  # the models' tensors are taken in it; None for the one in which they are stored
    axis: int = 0  # the dimension in which layers' slices lie, where it has such
    dtype: torch.dtype | None = None  # in which it is written; None for the one in which it is made


@dataclass(frozen=True)
class Plan:
    """What a merge is to do, as it was checked."""

    steps: Mapping[str, Step]  # by the names of the result's tensors
    roles: Mapping[Hashable, str]  # of the models, by their references
    architecture: ModelArchitecture  # the tensors of the result, for mergekit


class LayerSwap(GroupMergeMethod):
    """Follows the plans of the merges that are under way, each found by its recipient."""

    spec = _declared.spec

    def __init__(self) -> None:
        # Not a context variable: mergekit may run kernels in other threads, which do not see those.
        self._plans: dict[Hashable, Plan] = {}

    @contextlib.contextmanager
    def following(self, recipient: Hashable, plan: Plan) -> Iterator[None]:
        """Have merges into a recipient follow a plan, for as long as the context lasts.

        Raises:
            UserError: a merge into it is under way.
        """
        plan = replace(plan)  # not the very one of another merge, so that of two threads one is refused
        if self._plans.setdefault(recipient, plan) is not plan:
            raise UserError(
                f"A merge with the recipient {recipient} is running in this process.",
                "Wait until it is done, or run this one in another process.",
            )
        try:
            yield
        finally:
            del self._plans[recipient]

    def plan_of(self, recipient: Hashable) -> Plan | None:
        """The plan of the merge into a recipient; None where none is under way."""
        return self._plans.get(recipient)

    def validate_inputs(
        self, input_ids: Sequence[Hashable], base_id: Hashable | None = None, *, group_name: str | None = None
    ) -> None:
        """Called by mergekit before it reads anything, and again for every tensor.

        Raises:
            UserError: there is no plan for these inputs, since mergekit was not started by way of ``run_merge``.
        """
        super().validate_inputs(input_ids, base_id, group_name=group_name)
        plan = self._plans.get(base_id)
        if plan is None or not plan.roles.keys() >= set(input_ids):
            raise UserError(
                "layer_swap merges whole model folders, by a plan that is made and checked first; this merge has none.",
                "Use mergekit-yaml or mergekit-multi, or from Python mergekit.merge.run_merge, with turnswap enabled.",
            )

    def merge_group(self, group: TensorGroup, /, **parameters: Any) -> torch.Tensor:
        """The tensor of one name: the very tensor of its source, or a new one where two are blended."""
        from .blending import composed, refuse_overflow  # it imports mergekit, which may be what imports this module

        base, name = group.base, str(group.metadata.name)
        assert base is not None
        plan = self._plans[base.id]
        step = plan.steps[name]
        needed = origins_of(step.source)  # of the others nothing is read
        tensors = {
            role: entry.tensor.to(step.working or entry.tensor.dtype)
            for entry in group.entries
            if (role := plan.roles[entry.id]) in needed
        }
        made = composed(step.source, tensors, name, step.axis)
        refuse_overflow(made, step.dtype or made.dtype, name)
        return made


layer_swap = LayerSwap()


class _WithLayerSwap(dict[str, MergeMethod]):
    """mergekit's methods, and ours for those who ask for it by name.

    It is not listed: who goes through the list, as mergekit's own tests do, merges tensors of any names in memory.
    """

    def __missing__(self, name: str) -> MergeMethod:
        if name == NAME:
            return layer_swap
        raise KeyError(name)


registry._METHODS = _WithLayerSwap(registry._METHODS)
