"""A merge configuration as its YAML says it: read, with words for what is wrong with it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from mergekit.common import ModelReference, dtype_from_name
from mergekit.config import ConditionalParameter, InputModelDefinition, MergeConfiguration
from pydantic import BaseModel, ValidationError

from turnswap.core.errors import UserError

from .layer_swap import NAME, layer_swap
from .swap_plan import PARAMETER_NAMES

SPECS = {parameter.name: parameter for parameter in layer_swap.spec.parameters}
SHARED = (*PARAMETER_NAMES, "accept")


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
        reason = str(error)
        if isinstance(error, ValidationError):  # one reason per place, not one per type that would have done
            places = {".".join(map(str, e["loc"][:2])): e["input"] for e in error.errors()}
            reason = "; ".join(f"{place} cannot be {value!r}" for place, value in places.items())
        raise UserError(
            f"The merge configuration is malformed: {reason}.", "See configs/layerswap.yml for one."
        ) from error


def with_plain_paths(config: MergeConfiguration) -> MergeConfiguration:
    """The configuration with ``./`` before relative folders: mergekit takes ``models/x`` for a Hub id."""

    def plain(reference: ModelReference) -> ModelReference:
        changes = {
            part: path.model_copy(update={"path": f"./{path.path}"})
            for part in ("model", "lora")
            if (path := getattr(reference, part)) and path.path[:1] not in "./~" and os.path.isdir(path.path)
        }
        return reference.model_copy(update=changes)

    models = config.models and [listed.model_copy(update={"model": plain(listed.model)}) for listed in config.models]
    base = config.base_model and plain(config.base_model)
    return config.model_copy(update={"models": models, "base_model": base}, deep=True)


def roles_of(config: MergeConfiguration) -> dict[str, ModelReference]:
    """The references by role: ``recipient``, ``donor``, and perhaps ``pretrained``.

    Raises:
        UserError: a model is missing, there are too many, or something is said in the wrong place.
    """
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
    if same_model(donors[0], config.base_model):
        raise UserError(f"The donor, {donors[0]}, is the recipient itself, {config.base_model}.", "Name two experts.")
    return {"recipient": roles["recipient"], "donor": donors[0], **{k: v for k, v in roles.items() if k != "recipient"}}


def same_model(one: ModelReference | str, other: ModelReference | str) -> bool:
    """Whether two references name one model: one folder by whatever path, or one id; and the same adapter."""
    return _where(one) == _where(other)


def _where(reference: ModelReference | str) -> tuple[str, str | None]:
    """A model and its adapter as folders without detours, or as Hub ids."""
    if isinstance(reference, str):
        reference = ModelReference.parse(reference)
    paths = [
        part and (os.path.realpath(str(part)) if os.path.isdir(part.path) else str(part))
        for part in (reference.model, reference.lora)
    ]
    return paths[0], paths[1]


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


def check_settings(config: MergeConfiguration) -> None:
    """Refuse unknown parameters, gradients, filters that leave some tensors to a default, and unknown types.

    Raises:
        UserError: it names what was found and what to write instead.
    """
    for key in ("dtype", "out_dtype"):
        _check_dtype(key, getattr(config, key))
    for name, setting in (config.parameters or {}).items():
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
                    f'Write one value, or several as a string: {name}: "{written}".',
                )
            if any(isinstance(item.value, list) for item in setting):
                raise UserError(f"{name}: gradients (lists of values) are not for layer_swap.", "Write one value.")
            _check_filters(name, [None if item.filter == "*" else item.filter for item in setting])


def _check_filters(name: str, filters: list[str | None]) -> None:
    """Refuse filters that leave some tensors to a default, or that never apply: mergekit takes the first that fits."""
    if None not in filters:
        alone = ", ".join(map(repr, filters))
        raise UserError(
            f"{name} is given for {alone} alone; other tensors would fall to the default.",
            "Add a last entry without a filter, such as: - value: 0.",
        )
    hidden = filters[filters.index(None) + 1 :]
    if hidden:
        raise UserError(
            f"{name}: the entry {f'for {hidden[0]!r}' if hidden[0] else 'after that'} never applies, since one without "
            "a filter stands before it.",
            "Put the entry without a filter last.",
        )


def _validated(name: str, value: Any) -> Any:
    try:
        return SPECS[name].validate(value)
    except ValidationError as error:
        reasons = "; ".join(dict.fromkeys(problem["msg"] for problem in error.errors()))
        raise UserError(f"{name}: got {value!r}. {reasons}.") from error
