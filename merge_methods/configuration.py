"""A merge configuration for layer_swap: read, its models told apart by their roles, and its parameters checked."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mergekit.common import ModelReference
from mergekit.config import ConditionalParameter, InputModelDefinition, MergeConfiguration
from mergekit.merge_methods.base import ParameterScope
from pydantic import BaseModel, TypeAdapter, ValidationError

from turnswap.core.errors import UserError
from turnswap.core.settings import read_yaml

from .blending import blend_method
from .layer_swap import layer_swap
from .references import same_model
from .swap_plan import NAME
from .zones import PARAMETER_NAMES, is_ambiguous, is_unreadable, what_to_write

SPECS = {parameter.name: parameter for parameter in layer_swap.spec.parameters}
SHARED = (*PARAMETER_NAMES, "blend_method", "seed", "accept")
OF_A_DONOR = [name for name in (*PARAMETER_NAMES, "blend_method") if name != "revert"]
EXAMPLE = "See configs/layerswap.yml for one."


def read_configuration(path: Path) -> MergeConfiguration:
    """A merge configuration for layer_swap.

    Raises:
        UserError: there is none, it is for another method, or it is malformed.
    """
    content = read_yaml(path, EXAMPLE)
    if content.get("merge_method") != NAME:
        raise UserError(
            f"{path} is not for layer_swap: its merge_method is {content.get('merge_method')}.",
            "Add merge_method: layer_swap.",
        )
    return parse_configuration(content)


def parse_configuration(content: Mapping[str, Any]) -> MergeConfiguration:
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
    if models is not None and not isinstance(models, list):
        raise UserError(
            f"models: expected a list, got {models!r}.", "Write each donor on a line of its own: - model: ./donor."
        )
    if not models and not content.get("slices") and not content.get("modules"):
        raise _no_donor(content.get("base_model"))
    try:
        # Not model_validate, which calls this function where mergekit's commands are guarded.
        return TypeAdapter(MergeConfiguration).validate_python(content)
    except (ValidationError, RuntimeError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):  # one reason per place, not one per type that would have done
            places = {".".join(map(str, e["loc"][:2])): e["input"] for e in error.errors()}
            reason = "; ".join(f"{place} cannot be {value!r}" for place, value in places.items())
        raise UserError(f"The merge configuration is malformed: {reason}.", EXAMPLE) from error


def roles_of(config: MergeConfiguration) -> dict[str, ModelReference]:
    """The references by role: ``recipient``, ``donor`` (and ``donor2``, …), and perhaps ``pretrained``.

    Raises:
        UserError: a model is missing, there are too many, or something is said in the wrong place.
    """
    if config.slices or config.modules:
        raise UserError(
            "layer_swap finds the layers itself: slices and modules are not for it.", "List the donors under models."
        )
    for key in ("tokenizer_source", "tokenizer"):
        if getattr(config, key):
            raise UserError(
                f"{key}: a swap keeps the recipient's vocabulary and tokenizer.",
                f"Remove {key}. Where vocabularies differ, embeddings: donor matches the rows by token.",
            )
    if config.base_model is None:
        raise UserError(
            "base_model is missing: it names the recipient, which keeps its middle and gives the tokenizer.",
            "Add base_model: ./task-expert.",
        )
    donors: list[ModelReference] = []
    ancestors: list[ModelReference] = []
    for listed in config.models or []:
        given = listed.parameters or {}
        if listed.model == config.base_model:
            if "role" in given:
                raise UserError(f"{listed.model} is the recipient (base_model) and listed with a role.", "Remove one.")
            continue
        role = given.get("role", "donor")
        with validated("role", role):
            found = {"donor": donors, "pretrained": ancestors}[SPECS["role"].validate(role)]
        if any(same_model(one, listed.model) for one in found):
            raise UserError(f"{listed.model} is listed twice.", "List each model once; layers may be '0-4,30-31'.")
        found.append(listed.model)
    if len(ancestors) > 1:
        raise UserError(f"Two models have the role pretrained: {ancestors[0]} and {ancestors[1]}.", "Remove one.")
    if not donors:
        raise _no_donor(config.base_model)
    for donor in donors:
        if same_model(donor, config.base_model):
            raise UserError(f"The donor, {donor}, is the recipient itself, {config.base_model}.", "Name two models.")
    roles = {f"donor{number if number > 1 else ''}": donor for number, donor in enumerate(donors, 1)}
    return {"recipient": config.base_model, **roles} | ({"pretrained": ancestors[0]} if ancestors else {})


def _no_donor(recipient: object) -> UserError:
    return UserError(
        f"A swap needs a donor besides base_model, got none (the recipient is {recipient}).",
        "List one or more under models. A pretrained ancestor needs parameters: {role: pretrained}.",
    )


@contextlib.contextmanager
def validated(name: str, value: Any) -> Iterator[None]:
    """Say in words why a parameter's value will not do."""
    try:
        yield
    except ValidationError as error:
        reasons = "; ".join(dict.fromkeys(problem["msg"] for problem in error.errors()))
        raise UserError(f"{name}: got {value!r}. {reasons}.", what_to_write(name, value)) from error


def check_settings(config: MergeConfiguration) -> None:
    """Refuse parameters that are unknown or stand where they have no effect, unusual values, and unknown types."""
    for key in ("dtype", "out_dtype"):
        name = str(getattr(config, key))
        if name.removeprefix("torch.") not in ("None", "", "bfloat16", "float16", "float32", "float64"):
            raise UserError(
                f"{key}: {name} is no type that mergekit writes.", "Write bfloat16, float16, float32 or float64."
            )
    shared = config.parameters or {}
    if "role" in shared:
        raise UserError("role stands at the top level, where it has no effect.", "Move it under the model it is of.")
    kernels = _kernel_parameters(config)
    for name, setting in shared.items():
        if name not in (*SHARED, *kernels):
            raise UserError(f"{name} is no parameter of layer_swap.", f"There are: {', '.join([*SHARED, *kernels])}.")
        _check_setting(name, setting)
    for listed in config.models or []:
        given = listed.parameters or {}
        is_donor = listed.model != config.base_model and given.get("role", "donor") == "donor"
        allowed = ["role", *(OF_A_DONOR if is_donor else ()), *(name for name, is_own in kernels.items() if is_own)]
        for name, setting in given.items():
            if name not in allowed:
                if name in (*SHARED, *kernels):
                    what = f"{name} stands under {listed.model}, where it has no effect."
                    raise UserError(what, "Move it to the top-level parameters.")
                what = f"{name} is no parameter of a model in layer_swap."
                raise UserError(what, f"There are: {', '.join(allowed)}.")
            if name != "role":
                _check_setting(name, setting)


def _kernel_parameters(config: MergeConfiguration) -> dict[str, bool]:
    """The parameters of the merge methods that blend_method names, and whether each model may have its own."""
    found: dict[str, bool] = {}
    for given in all_parameters(config):
        setting = (given or {}).get("blend_method")
        for value in [entry.value for entry in conditional(setting)] or [setting]:
            if isinstance(value, str):
                found |= {one.name: one.scope != ParameterScope.SHARED for one in blend_method(value).spec.parameters}
    return found


def _check_setting(name: str, setting: Any) -> None:
    """Refuse a gradient, and filters that leave some tensors to a default or never apply."""
    entries = conditional(setting)
    if isinstance(setting, list) and (not setting or len(entries) < len(setting)):
        written = ",".join(map(str, setting))
        raise UserError(
            f"{name}: mergekit reads the list {setting} as a gradient over the layers.",
            f'Write one value, or several as a string: {name}: "{written}".',
        )
    if any(isinstance(entry.value, list) for entry in entries):
        raise UserError(f"{name}: gradients (lists of values) are not for layer_swap.", "Write one value.")
    for value in [entry.value for entry in entries] or [setting] if name in SPECS else ():
        with validated(name, value):
            SPECS[name].validate(value)
        if is_ambiguous(name, value):
            got = f"got the number {value}, which may be what YAML made of {value // 60}:{value % 60}"
            raise UserError(f"{name}: {got}.", what_to_write(name, value))
        if is_unreadable(name, value):
            got = f"expected layers such as '0-4,30-31', got {value!r}"
            raise UserError(f"{name}: {got}.", what_to_write(name, value))
    # Some tensors must not be left to a default, nor an entry never apply: mergekit takes the first that fits.
    filters = [None if entry.filter == "*" else entry.filter for entry in entries]
    if filters and None not in filters:
        alone = ", ".join(map(repr, filters))
        raise UserError(
            f"{name} is given for {alone} alone; other tensors would get the default.",
            "Add a last entry without a filter, such as: - value: 0.",
        )
    hidden = filters[filters.index(None) + 1 :] if filters else []
    if hidden:
        raise UserError(
            f"{name}: the entry {f'for {hidden[0]!r}' if hidden[0] else 'after that'} never applies, since one "
            "without a filter stands before it.",
            "Put the entry without a filter last.",
        )


def conditional(setting: Any) -> list[ConditionalParameter]:
    """A parameter's entries with a filter, or a ``value:`` for whatever is left."""
    entries = setting if isinstance(setting, list) else [setting]
    return [entry for entry in entries if isinstance(entry, ConditionalParameter)]


def all_parameters(config: MergeConfiguration) -> list[Mapping[str, Any] | None]:
    """What stands under ``parameters``, for all models and for each."""
    return [config.parameters, *(listed.parameters for listed in config.models or [])]
