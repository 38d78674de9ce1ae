"""A merge configuration, understood: its models checked against each other, and the source of every tensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from mergekit.common import ModelReference, dtype_from_name
from mergekit.config import ConditionalParameter, InputModelDefinition, MergeConfiguration
from mergekit.options import MergeOptions
from mergekit.parameter_resolver import resolve_parameter
from pydantic import BaseModel, ValidationError

from turnswap.errors import UserError

from .compatibility import Model, check, open_model, parse_accepted, soft_differences
from .layer_swap import NAME, layer_swap
from .layout import Weight
from .swap_plan import PARAMETER_NAMES, Place, Source, SwapParameters, layer_sources, resolve_depths, source_of

SPECS = {parameter.name: parameter for parameter in layer_swap.spec.parameters}
SHARED = (*PARAMETER_NAMES, "accept")


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
    """What a configuration says, checked. ``layers`` holds the sources of the layers where no filter is used."""

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


def is_layer_swap(config: MergeConfiguration) -> bool:
    """Whether a configuration is ours to plan."""
    return bool(config.merge_method == NAME)


def read_configuration(path: Path) -> MergeConfiguration:
    """A merge configuration for layer_swap.

    Raises:
        UserError: there is none, it is for another method, or it is malformed.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read: {reason}.", "See configs/layerswap.yml for one.") from error
    method = content.get("merge_method") if isinstance(content, dict) else None
    if method != NAME:
        raise UserError(f"{path} is not for layer_swap: its merge_method is {method}.", "Add merge_method: layer_swap.")
    return parse_configuration(content, MergeConfiguration.model_validate)


def parse_configuration(
    content: Mapping[str, Any], model_validate: Callable[..., MergeConfiguration]
) -> MergeConfiguration:
    """mergekit's configuration from what a YAML file holds, with words for what is wrong with it.

    Raises:
        UserError: keys that mergekit would overlook, values of another kind, no model beside base_model.
    """
    levels: list[tuple[str, Mapping[str, Any], type[BaseModel]]] = [("configuration", content, MergeConfiguration)]
    models = content.get("models")
    if isinstance(models, list):
        levels += [("model", listed, InputModelDefinition) for listed in models if isinstance(listed, dict)]
    for what, mapping, kind in levels:
        unknown = [key for key in mapping if key not in kind.model_fields]
        if unknown:
            raise UserError(f"{unknown[0]} is no key of a merge {what}.", f"There are: {', '.join(kind.model_fields)}.")
    if not models and not content.get("slices") and not content.get("modules"):
        raise _not_one_donor([], content.get("base_model"))
    try:
        return model_validate(content)
    except (ValidationError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"The merge configuration is malformed: {reason}", "See configs/layerswap.yml for one."
        ) from error


def read_recipe(config: MergeConfiguration, options: MergeOptions) -> Recipe:
    """Understand a configuration and refuse what would go wrong; reads configurations and headers only.

    Raises:
        UserError: unknown or contradictory parameters, missing or surplus models, models that do not fit each other.
    """
    for key in ("dtype", "out_dtype"):
        _check_dtype(key, getattr(config, key))
    references = _roles(config)
    settings = config.parameters or {}
    _check_settings(settings)
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


def _roles(config: MergeConfiguration) -> dict[str, ModelReference]:
    """The references by role, the donor after the recipient."""
    if config.slices or config.modules:
        raise UserError(
            "layer_swap finds the layers itself: slices and modules are not for it.", "List the donor under models."
        )
    for key in ("tokenizer_source", "tokenizer"):
        if getattr(config, key):
            raise UserError(
                f"{key}: a swap keeps the recipient's vocabulary, which every model must share.", f"Remove {key}."
            )
    if config.base_model is None:
        raise UserError(
            "base_model is missing: it names the recipient, which keeps its middle and gives the tokenizer.",
            "Add base_model: ./task-expert.",
        )
    roles: dict[str, ModelReference] = {"recipient": config.base_model}
    donors: list[ModelReference] = []
    for listed in config.models or []:
        for name in listed.parameters or {}:
            if name in SHARED:
                raise UserError(
                    f"{name} stands under {listed.model}, where it has no effect.",
                    "Move it to the top-level parameters.",
                )
            if name != "role":
                raise UserError(f"{name} is no parameter of a model in layer_swap.", "There is one: role.")
        if listed.model == config.base_model:
            if listed.parameters:
                raise UserError(f"{listed.model} is the recipient (base_model) and listed with a role.", "Remove one.")
            continue
        role = _validated("role", (listed.parameters or {}).get("role", "donor"))
        if role == "donor":
            donors.append(listed.model)
        elif role in roles:
            raise UserError(f"Two models have the role pretrained: {roles[role]} and {listed.model}.", "Remove one.")
        else:
            roles[role] = listed.model
    if len(donors) != 1:
        raise _not_one_donor(donors, config.base_model)
    return {"recipient": roles["recipient"], "donor": donors[0], **{k: v for k, v in roles.items() if k != "recipient"}}


def _not_one_donor(donors: list[ModelReference], recipient: object) -> UserError:
    came = f"got {len(donors)}: {', '.join(map(str, donors))}" if donors else f"got none (the recipient is {recipient})"
    return UserError(
        f"A swap has exactly one donor besides base_model, {came}.",
        "List one under models. A pretrained ancestor needs parameters: {role: pretrained}.",
    )


def _check_dtype(key: str, name: str | None) -> None:
    try:
        dtype = dtype_from_name(name)
    except RuntimeError:
        dtype = torch.int64  # as good a wrong one as any
    if dtype is not None and not dtype.is_floating_point:
        raise UserError(
            f"{key}: {name} is no type that mergekit writes.", "Take bfloat16, float16, float32 or float64."
        )


def _check_settings(settings: Mapping[str, Any]) -> None:
    """Refuse unknown names, gradients, and filters that leave some tensors to a default."""
    for name, setting in settings.items():
        if name == "role":
            raise UserError(
                "role stands at the top level, where it has no effect.", "Move it under the model it is of."
            )
        if name not in SHARED:
            raise UserError(f"{name} is no parameter of layer_swap.", f"There are: {', '.join(SHARED)}.")
        if isinstance(setting, ConditionalParameter):
            setting = [setting]
        if isinstance(setting, list):
            if not all(isinstance(item, ConditionalParameter) for item in setting):
                written = ",".join(map(str, setting))
                raise UserError(
                    f"{name}: mergekit takes the list {setting} for a gradient over the layers.",
                    f'For a set of layers write a string: {name}: "{written}".',
                )
            if any(isinstance(item.value, list) for item in setting):
                raise UserError(f"{name}: gradients (lists of values) are not for layer_swap.", "Write one value.")
            if setting[-1].filter not in (None, "*"):
                raise UserError(
                    f"{name} is given for {setting[-1].filter!r} alone; other tensors would fall to the default.",
                    "Add a last entry without a filter, such as: - value: 0.",
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


def _validated(name: str, value: Any) -> Any:
    try:
        return SPECS[name].validate(value)
    except ValidationError as error:
        reasons = "; ".join(dict.fromkeys(problem["msg"] for problem in error.errors()))
        raise UserError(f"{name}: got {value!r}. {reasons}.") from error


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


def layers_by_filter(recipe: Recipe) -> Iterable[tuple[str, tuple[Source, ...]]]:
    """The sources of the layers, once for each set of tensors that a filter tells apart, by an example's name."""
    settings = recipe.config.parameters or {}
    seen: dict[tuple[Source, ...], str] = {}
    for name, tensor in recipe.tensors.items():
        if tensor.weight.place.layer == 0:
            swap = SwapParameters(**{parameter: _resolve(parameter, settings, name) for parameter in PARAMETER_NAMES})
            seen.setdefault(layer_sources(swap, recipe.n_layers), name)
    return [(name, sources) for sources, name in seen.items()]
