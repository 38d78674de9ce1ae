"""A merge configuration, understood: its models checked against each other, and the source of every tensor."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from mergekit.common import dtype_from_name
from mergekit.config import ConditionalParameter, MergeConfiguration
from mergekit.options import MergeOptions
from mergekit.parameter_resolver import resolve_parameter
from pydantic import ValidationError

from turnswap.core.errors import UserError

from .compatibility import Model, check, open_model, parse_accepted, soft_differences
from .configuration import SPECS, check_settings, roles_of, with_plain_paths
from .layout import Weight
from .swap_plan import LETTERS, PARAMETER_NAMES, Place, Source, SwapParameters, resolve_depths, source_of


@dataclass(frozen=True)
class Planned:
    """A tensor of the merged model: where it lies, where it comes from, and what it will be."""

    name: str
    weight: Weight
    source: Source
    dtype: torch.dtype

    @property
    def n_bytes(self) -> int:
        """Its size in the output."""
        return math.prod(self.weight.header.shape) * int(self.dtype.itemsize)


@dataclass(frozen=True)
class Recipe:
    """What a configuration says, checked: its models, every tensor of the result, and what a user should know."""

    config: MergeConfiguration
    recipient: Model
    donor: Model
    pretrained: Model | None
    tensors: Mapping[str, Planned]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def models(self) -> dict[str, Model]:
        """The models by role."""
        models = {"recipient": self.recipient, "donor": self.donor}
        return models | ({"pretrained": self.pretrained} if self.pretrained else {})

    @property
    def n_layers(self) -> int:
        """Decoder layers, of every model and of the result."""
        return self.recipient.layout.n_layers

    @property
    def letters(self) -> str:
        """A letter per decoder layer (:data:`.swap_plan.LETTERS`), ``*`` where its tensors have several sources."""
        origins: list[set[str]] = [set() for _ in range(self.n_layers)]
        for tensor in self.tensors.values():
            if tensor.weight.place.layer is not None:
                origins[tensor.weight.place.layer].add(tensor.source.origin)
        return "".join(LETTERS[min(found) if len(found) == 1 else "mixed"] for found in origins)

    @property
    def digest(self) -> str:
        """The same for swaps in which every tensor has the same source and share, whatever parameters say so."""
        lines = sorted(f"{name} {t.source.origin} {t.source.donor_share!r}" for name, t in self.tensors.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def read_recipe(config: MergeConfiguration, options: MergeOptions) -> Recipe:
    """Understand a configuration and refuse what would go wrong; reads configurations and headers only.

    Raises:
        UserError: unknown or contradictory parameters, missing or surplus models, models that do not fit each other.
    """
    config = with_plain_paths(config)
    references = roles_of(config)
    check_settings(config)
    settings = config.parameters or {}
    accepted = parse_accepted(_resolve("accept", settings, ""))
    models = {
        role: open_model(reference, options.trust_remote_code, options.transformers_cache, options.lora_merge_cache)
        for role, reference in references.items()
    }
    recipient = models["recipient"]
    warnings = []
    for role, model in models.items():
        if role != "recipient":
            check(recipient, model, accepted, dtype_is_set=config.dtype is not None)
            warnings += soft_differences(recipient, model)
    planned, notes = _plan(config, recipient)
    _check_filters(settings, planned)
    if any(tensor.source.origin == "pretrained" for tensor in planned.values()) and "pretrained" not in models:
        raise UserError(
            "revert takes layers from the pretrained model, but no model has that role.",
            "Add it to models: - {model: PATH, parameters: {role: pretrained}}.",
        )
    for role in ("donor", "recipient"):
        if not any(
            tensor.source.origin in (role, "blend")
            for tensor in planned.values()
            if tensor.weight.place.layer is not None
        ):
            warnings.append(f"no layer comes from the {role}: the result is the other model, layer by layer")
    return Recipe(
        config,
        recipient,
        models["donor"],
        models.get("pretrained"),
        planned,
        tuple(dict.fromkeys(notes)),
        tuple(warnings),
    )


def _check_filters(settings: Mapping[str, Any], planned: Mapping[str, Planned]) -> None:
    for name, setting in settings.items():
        for item in setting if isinstance(setting, list) else [setting]:
            text = item.filter if isinstance(item, ConditionalParameter) else None
            if text and text != "*" and not any(text in tensor for tensor in planned):
                example = next(tensor for tensor, plan in planned.items() if plan.weight.place.layer == 0)
                raise UserError(
                    f"{name}: the filter {text!r} matches no tensor of this model.",
                    f"Its tensors have names such as {example}.",
                )


def _resolve(name: str, settings: Mapping[str, Any], tensor: str) -> Any:
    try:
        return resolve_parameter(SPECS[name], [settings], tensor_name=tensor)
    except ValidationError as error:
        reasons = "; ".join(dict.fromkeys(problem["msg"] for problem in error.errors()))
        raise UserError(f"{name}: {settings[name]!r} will not do. {reasons}.") from error


def _plan(config: MergeConfiguration, recipient: Model) -> tuple[dict[str, Planned], list[str]]:
    """The source of every tensor, and what was decided on the user's behalf."""
    settings = config.parameters or {}
    n_layers = recipient.layout.n_layers
    asked = dtype_from_name(config.out_dtype) or dtype_from_name(config.dtype)
    planned: dict[str, Planned] = {}
    notes: list[str] = []
    for name, weight in recipient.layout.weights.items():
        swap = SwapParameters(**{parameter: _resolve(parameter, settings, name) for parameter in PARAMETER_NAMES})
        source = source_of(weight.place, swap, n_layers)
        dtype = dtype_from_name(weight.info.force_dtype) or asked or weight.header.dtype
        planned[name] = Planned(name, weight, source, dtype)
        if swap.layers is None and weight.place != Place("outside"):
            notes += resolve_depths(swap, n_layers).notes
    return planned, notes
