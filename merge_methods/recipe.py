"""A merge configuration, read and understood: its models checked against each other, the source of every tensor."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mergekit.common import ModelReference, dtype_from_name
from mergekit.config import ConditionalParameter, InputModelDefinition, MergeConfiguration
from mergekit.options import MergeOptions
from mergekit.parameter_resolver import resolve_parameter
from pydantic import BaseModel, TypeAdapter, ValidationError

from turnswap.core.errors import UserError
from turnswap.core.settings import read_yaml

from .checkpoint import TensorInfo, same_model, with_plain_paths
from .compatibility import Model, check_pair, open_model, parse_accepted, soft_differences
from .layer_swap import Plan, layer_swap
from .layout import Weight
from .swap_plan import LETTERS, NAME, PARAMETER_NAMES, Place, SwapParameters, TensorSource, resolve_depths, source_of

SPECS = {parameter.name: parameter for parameter in layer_swap.spec.parameters}
SHARED = (*PARAMETER_NAMES, "accept")
EXAMPLE = "See configs/layerswap.yml for one."


@dataclass(frozen=True)
class Planned:
    """A tensor of the merged model: where it lies, where it comes from, and what it will be."""

    name: str
    weight: Weight
    source: TensorSource
    dtype: torch.dtype

    @property
    def n_bytes(self) -> int:
        """Its size in the output."""
        return TensorInfo(self.weight.header.shape, self.dtype).n_bytes


@dataclass(frozen=True)
class Recipe:
    """What a configuration says, checked: its models, every tensor of the result, and what a user should know.

    Attributes:
        config: the configuration.
        models: by role: ``recipient``, ``donor``, and perhaps ``pretrained``.
        tensors: of the result, by name.
        notes: what was decided on the user's behalf.
        warnings: what may be wrong with the swap.
    """

    config: MergeConfiguration
    models: Mapping[str, Model]
    tensors: Mapping[str, Planned]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def recipient(self) -> Model:
        """The model that keeps its middle and gives configuration and tokenizer."""
        return self.models["recipient"]

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

    @property
    def plan(self) -> Plan:
        """What mergekit's run has to know of it."""
        sources = {name: tensor.source for name, tensor in self.tensors.items()}
        roles = {model.reference: role for role, model in self.models.items()}
        return Plan(sources, roles, self.recipient.layout.architecture(self.tensors))


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
    if not models and not content.get("slices") and not content.get("modules"):
        raise _not_one_donor([], content.get("base_model"))
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
    found: dict[str, list[ModelReference]] = {"donor": [], "pretrained": []}
    for listed in config.models or []:
        for name in listed.parameters or {}:
            if name in SHARED:
                raise UserError(
                    f"{name} stands under {listed.model}, where it has no effect.",
                    "Move it to the top-level parameters.",
                )
            if name != "role":
                raise UserError(f"{name} is no parameter of a model in layer_swap.", "There is one: role.")
        if listed.model != config.base_model:
            role = (listed.parameters or {}).get("role", "donor")
            with _validated("role", role):
                found[SPECS["role"].validate(role)].append(listed.model)
        elif listed.parameters:
            raise UserError(f"{listed.model} is the recipient (base_model) and listed with a role.", "Remove one.")
    donors, ancestors = found["donor"], found["pretrained"]
    if len(ancestors) > 1:
        raise UserError(f"Two models have the role pretrained: {ancestors[0]} and {ancestors[1]}.", "Remove one.")
    if len(donors) != 1:
        raise _not_one_donor(donors, config.base_model)
    if same_model(donors[0], config.base_model):
        raise UserError(f"The donor, {donors[0]}, is the recipient itself, {config.base_model}.", "Name two experts.")
    return {"recipient": config.base_model, "donor": donors[0]} | ({"pretrained": ancestors[0]} if ancestors else {})


def _not_one_donor(donors: list[ModelReference], recipient: object) -> UserError:
    came = f"got {len(donors)}: {', '.join(map(str, donors))}" if donors else f"got none (the recipient is {recipient})"
    return UserError(
        f"A swap has exactly one donor besides base_model, {came}.",
        "List one under models. A pretrained ancestor needs parameters: {role: pretrained}.",
    )


@contextlib.contextmanager
def _validated(name: str, value: Any) -> Iterator[None]:
    """Say in words why a parameter's value will not do."""
    try:
        yield
    except ValidationError as error:
        reasons = "; ".join(dict.fromkeys(problem["msg"] for problem in error.errors()))
        raise UserError(f"{name}: got {value!r}. {reasons}.") from error


def _check_settings(config: MergeConfiguration) -> None:
    """Refuse unknown parameters, gradients, filters that leave some tensors to a default, and unknown types."""
    for key in ("dtype", "out_dtype"):
        name = str(getattr(config, key))
        if name.removeprefix("torch.") not in ("None", "", "bfloat16", "float16", "float32", "float64"):
            raise UserError(
                f"{key}: {name} is no type that mergekit writes.", "Take bfloat16, float16, float32 or float64."
            )
    for name, setting in (config.parameters or {}).items():
        if name == "role":
            raise UserError(
                "role stands at the top level, where it has no effect.", "Move it under the model it is of."
            )
        if name not in SHARED:
            raise UserError(f"{name} is no parameter of layer_swap.", f"There are: {', '.join(SHARED)}.")
        entries = _conditional(setting)
        if isinstance(setting, list) and (not setting or len(entries) < len(setting)):
            written = ",".join(map(str, setting))
            raise UserError(
                f"{name}: mergekit takes the list {setting} for a gradient over the layers.",
                f'Write one value, or several as a string: {name}: "{written}".',
            )
        if any(isinstance(entry.value, list) for entry in entries):
            raise UserError(f"{name}: gradients (lists of values) are not for layer_swap.", "Write one value.")
        # Some tensors must not be left to a default, nor an entry never apply: mergekit takes the first that fits.
        filters = [None if entry.filter == "*" else entry.filter for entry in entries]
        if filters and None not in filters:
            alone = ", ".join(map(repr, filters))
            raise UserError(
                f"{name} is given for {alone} alone; other tensors would fall to the default.",
                "Add a last entry without a filter, such as: - value: 0.",
            )
        hidden = filters[filters.index(None) + 1 :] if filters else []
        if hidden:
            raise UserError(
                f"{name}: the entry {f'for {hidden[0]!r}' if hidden[0] else 'after that'} never applies, since one "
                "without a filter stands before it.",
                "Put the entry without a filter last.",
            )


def _conditional(setting: Any) -> list[ConditionalParameter]:
    """A parameter's entries with a filter, or a ``value:`` for whatever is left."""
    entries = setting if isinstance(setting, list) else [setting]
    return [entry for entry in entries if isinstance(entry, ConditionalParameter)]


def read_recipe(
    config: MergeConfiguration | Mapping[str, Any],
    options: MergeOptions,
    opened: dict[ModelReference, Model] | None = None,
) -> Recipe:
    """Understand a configuration and refuse what would go wrong; reads configurations and headers only.

    Args:
        config: for layer_swap, or what a YAML file of one holds.
        options: mergekit's, for how models are read.
        opened: the models that need not be read again, which the others are added to: for those who plan many swaps of
            the same ones.

    Raises:
        UserError: unknown or contradictory parameters, missing or surplus models, models that do not fit each other.
    """
    config = with_plain_paths(config if isinstance(config, MergeConfiguration) else parse_configuration(config))
    opened = {} if opened is None else opened
    references = roles_of(config)
    _check_settings(config)
    settings = config.parameters or {}
    accepted = parse_accepted(_resolve("accept", settings, ""))
    for reference in references.values():
        if reference not in opened:
            opened[reference] = open_model(reference, options)
    models = {role: opened[reference] for role, reference in references.items()}
    recipient = models["recipient"]
    warnings = []
    for role, model in models.items():
        if role != "recipient":
            check_pair(recipient, model, accepted, dtype_is_set=config.dtype is not None)
            warnings += soft_differences(recipient, model)
    planned, notes = _plan(config, recipient)
    _check_that_filters_match(settings, planned)
    if any(tensor.source.origin == "pretrained" for tensor in planned.values()) and "pretrained" not in models:
        raise UserError(
            "revert takes layers from the pretrained model, but no model has that role.",
            "Add it to models: - {model: PATH, parameters: {role: pretrained}}.",
        )
    origins = {tensor.source.origin for tensor in planned.values() if tensor.weight.place.layer is not None}
    for role in ("donor", "recipient"):
        if not origins & {role, "blend"}:
            warnings.append(f"no layer comes from the {role}: the result is the other model, layer by layer")
    return Recipe(config, models, planned, tuple(dict.fromkeys(notes)), tuple(warnings))


def _check_that_filters_match(settings: Mapping[str, Any], planned: Mapping[str, Planned]) -> None:
    for name, setting in settings.items():
        for text in (entry.filter for entry in _conditional(setting)):
            if text and text != "*" and not any(text in tensor for tensor in planned):
                example = next(tensor for tensor, plan in planned.items() if plan.weight.place.layer == 0)
                raise UserError(
                    f"{name}: the filter {text!r} matches no tensor of this model.",
                    f"Its tensors have names such as {example}.",
                )


def _resolve(name: str, settings: Mapping[str, Any], tensor: str) -> Any:
    """A parameter's value for a tensor, by its filters."""
    with _validated(name, settings.get(name)):
        return resolve_parameter(SPECS[name], [settings], tensor_name=tensor)


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
