"""The source of every tensor of a swap, by the parameters that apply to it, and the type in which it is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from mergekit.common import ModelReference, dtype_from_name
from mergekit.config import MergeConfiguration
from mergekit.parameter_resolver import resolve_parameter

from turnswap.core.errors import UserError

from .blending import Settings, mix_of
from .checkpoint import TensorInfo, type_name
from .configuration import SPECS, all_parameters, conditional, validated
from .layout import Layout, Weight
from .swap_plan import TensorSource, origins_of, source_of
from .zones import NO_LAYERS, PARAMETER_NAMES, SwapParameters, resolve_depths


@dataclass(frozen=True)
class Planned:
    """A tensor of the merged model: where it lies, where it comes from, and what it will be.

    ``is_kept``: its type is its own, not the one that the configuration declares. ``matched``: the roles of models
    whose rows are matched with the recipient's by token.
    """

    name: str
    weight: Weight
    source: TensorSource
    dtype: torch.dtype
    is_kept: bool = False
    matched: frozenset[str] = frozenset()

    @property
    def is_computed(self) -> bool:
        """Whether its values lie in no model as they are: a blend, slices of several, rows matched by token."""
        return bool(self.source.origin in ("blend", "slices") or self.matched)

    @property
    def n_bytes(self) -> int:
        """Its size in the output."""
        return TensorInfo(self.weight.header.shape, self.dtype).n_bytes


def working_type(planned: Planned, config: MergeConfiguration) -> torch.dtype | None:
    """The type in which a merge takes a tensor of its inputs; None for the one in which each is stored."""
    # In mergekit, dtype is for the inputs and out_dtype for the output.
    return planned.dtype if planned.is_kept else dtype_from_name(config.dtype)


def _check_that_filters_match(config: MergeConfiguration, planned: Mapping[str, Planned]) -> None:
    for given in all_parameters(config):
        for name, setting in (given or {}).items():
            for text in (entry.filter for entry in conditional(setting)):
                if text and text != "*" and not any(text in tensor for tensor in planned):
                    example = next(tensor for tensor, plan in planned.items() if plan.weight.place.layer == 0)
                    raise UserError(
                        f"{name}: the filter {text!r} matches no tensor of this model.",
                        f"Its tensors have names such as {example}.",
                    )


def resolve(name: str, settings: Sequence[Mapping[str, Any] | None], tensor: str) -> Any:
    """A parameter's value for a tensor, by its filters; what stands first in ``settings`` wins."""
    given = next((one[name] for one in settings if one and name in one), None)
    with validated(name, given):
        return resolve_parameter(SPECS[name], settings, tensor_name=tensor)


def plan_tensors(
    config: MergeConfiguration, layout: Layout, roles: Mapping[str, ModelReference], apart: Collection[str] = ()
) -> tuple[dict[str, Planned], list[str]]:
    """The source of every tensor, and what was decided on the user's behalf.

    Args:
        config: its parameters are known and in their places (:func:`check_settings`).
        layout: the recipient's.
        roles: the models' references by role.
        apart: the roles of those whose vocabulary is not the recipient's: their embeddings and head are not taken
            unless they are asked for.

    Raises:
        UserError: ranges do not fit the model, or contradict each other; a filter matches nothing; no model is there to
            revert to.
    """
    listed = {one.model: one.parameters for one in config.models or []}
    settings = {role: (listed.get(reference), config.parameters) for role, reference in roles.items()}
    donors = [role for role in roles if role.startswith("donor")]
    asked = dtype_from_name(config.out_dtype) or dtype_from_name(config.dtype)
    planned: dict[str, Planned] = {}
    notes: list[str] = []
    for name, weight in layout.weights.items():
        swaps = {role: _swap_of(role, settings[role], name, len(donors)) for role in donors}
        if weight.by_token:
            is_tied = weight.place.part == "tied"
            swaps |= {role: _with_ends_kept(swaps[role], is_tied) for role in donors if role in apart}
        try:
            source = source_of(weight.place, swaps, layout.n_layers)
        except UserError as error:
            names = ", ".join(f"{role} is {roles[role]}" for role in donors)
            named = f" ({names}.)" if len(donors) > 1 else ""
            raise UserError(f"{error.message}{named}", error.advice) from error
        source = _with_mix(source, name, settings)
        stored = weight.header.dtype
        is_kept = not stored.is_floating_point or (stored != layout.main_type and rounds(stored, asked))
        matched = origins_of(source) & {*apart} if weight.by_token else ()
        dtype = stored if is_kept else asked or stored
        planned[name] = Planned(name, weight, source, dtype, is_kept, frozenset(matched))
        for swap in swaps.values() if weight.place.part != "outside" else ():
            if swap.layers is None:
                notes += resolve_depths(swap, layout.n_layers).notes
    _check_that_filters_match(config, planned)
    if "pretrained" not in roles and any("pretrained" in origins_of(tensor.source) for tensor in planned.values()):
        raise UserError(
            "revert takes layers from the pretrained model, but no model has that role.",
            "Add it to models: - {model: PATH, parameters: {role: pretrained}}.",
        )
    kept = [tensor for tensor in planned.values() if tensor.is_kept and tensor.dtype.is_floating_point]
    if kept:
        notes.append(
            f"{len(kept)} tensors stay in {type_name(kept[0].dtype)}, as in the recipient, whose main type is "
            f"{type_name(layout.main_type)} ({kept[0].name}{', …' if kept[1:] else ''})"
        )
    return planned, notes


def rounds(stored: torch.dtype, asked: torch.dtype | None) -> bool:
    """Whether numbers of one type lose digits or range in the other."""
    return asked is not None and torch.promote_types(stored, asked) != asked


def _swap_of(role: str, settings: Sequence[Mapping[str, Any] | None], tensor: str, n_donors: int) -> SwapParameters:
    """One donor's parameters for a tensor. Of several donors each says its own zones, and has no others."""
    swap = SwapParameters(**{name: resolve(name, settings, tensor) for name in PARAMETER_NAMES})
    if n_donors == 1 or swap.layers is not None:
        return swap
    if swap.bottom is None and swap.top is None:
        if swap.blend_layers is not None:
            return replace(swap, layers=NO_LAYERS)
        raise UserError(
            f"There are several donors, and {role} has no layers of its own.",
            'Write under each donor which layers it gives, such as parameters: {layers: "0-4"}.',
        )
    swap = replace(swap, bottom=swap.bottom or 0, top=swap.top or 0)
    if swap.transition is not None:
        return swap
    return replace(swap, bottom_transition=swap.bottom_transition or 0, top_transition=swap.top_transition or 0)


def _with_ends_kept(swap: SwapParameters, is_tied: bool) -> SwapParameters:
    """With embeddings and head left to the recipient, unless they are asked for."""
    if is_tied and (swap.embeddings or swap.head):  # one of the two says it for both
        return swap
    return replace(swap, embeddings=swap.embeddings or "recipient", head=swap.head or "recipient")


def _with_mix(source: TensorSource, tensor: str, settings: Settings) -> TensorSource:
    """A source whose blends say how they are computed."""
    if source.slices:
        return replace(source, slices=tuple(_with_mix(one, tensor, settings) for one in source.slices))
    if source.origin != "blend":
        return source
    named = {resolve("blend_method", settings[role], tensor) for role, _ in source.shares}
    if len(named) > 1:
        raise UserError(
            f"Two donors blend {tensor} by different methods: {', '.join(sorted(named))}.",
            "Give both the same blend_method.",
        )
    seed = resolve("seed", settings["recipient"], tensor)
    return replace(source, mix=mix_of(named.pop(), source, tensor, settings, seed))
