"""A merge configuration, read and understood: its models checked against each other, the source of every tensor."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mergekit.architecture import WeightInfo
from mergekit.common import ModelReference, dtype_from_name
from mergekit.config import ConditionalParameter, InputModelDefinition, MergeConfiguration
from mergekit.options import MergeOptions
from mergekit.parameter_resolver import resolve_parameter
from pydantic import BaseModel, TypeAdapter, ValidationError

from turnswap.core.errors import UserError
from turnswap.core.settings import read_yaml

from .blending import Settings, blend_method, mix_of
from .checkpoint import TensorInfo, same_model, type_name, with_plain_paths
from .compatibility import Model, check_pair, open_model, parse_accepted, soft_differences
from .layer_swap import Plan, Step, layer_swap
from .layout import Layout, Weight, architecture
from .swap_plan import (
    NAME,
    NO_LAYERS,
    PARAMETER_NAMES,
    SwapParameters,
    TensorSource,
    letter_of,
    resolve_depths,
    source_of,
)
from .wording import is_ambiguous, is_unreadable, what_to_write

SPECS = {parameter.name: parameter for parameter in layer_swap.spec.parameters}
SHARED = (*PARAMETER_NAMES, "blend_method", "seed", "accept")
OF_A_DONOR = [name for name in (*PARAMETER_NAMES, "blend_method") if name != "revert"]
EXAMPLE = "See configs/layerswap.yml for one."


@dataclass(frozen=True)
class Planned:
    """A tensor of the merged model: where it lies, where it comes from, and what it will be.

    ``is_kept``: its type is its own, not the one that the configuration declares.
    """

    name: str
    weight: Weight
    source: TensorSource
    dtype: torch.dtype
    is_kept: bool = False

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
    def donors(self) -> list[Model]:
        """The models that give layers, in the order of the configuration."""
        return [model for role, model in self.models.items() if role.startswith("donor")]

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
        return "".join(letter_of(min(found) if len(found) == 1 else "mixed") for found in origins)

    @property
    def digest(self) -> str:
        """The same for swaps in which every tensor has the same source and share, whatever parameters say so."""
        lines = sorted(f"{name} {tensor.source.same!r}" for name, tensor in self.tensors.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    @property
    def plan(self) -> Plan:
        """What mergekit's run has to know of it."""
        working = dtype_from_name(self.config.dtype)
        steps = {
            name: Step(one.source, one.dtype if one.is_kept else working, one.weight.place.axis)
            for name, one in self.tensors.items()
        }
        roles = {model.reference: role for role, model in self.models.items()}
        return Plan(steps, roles, architecture(map(self._as_mergekit_names_it, self.tensors.values())))

    def _as_mergekit_names_it(self, tensor: Planned) -> WeightInfo:
        layouts = [model.layout for model in self.models.values()]
        others = {held.name for layout in layouts if (held := layout.same_as(tensor.weight))} - {tensor.name}
        return WeightInfo(
            name=tensor.name,
            aliases=tuple(sorted(others)) or None,
            optional=tensor.weight.place.part == "outside",  # donors may do without a vision tower
            force_dtype=type_name(tensor.dtype) if tensor.is_kept else None,  # mergekit reads it in this type, too
        )

    @property
    def for_mergekit(self) -> MergeConfiguration:
        """The configuration for mergekit's run, which leaves it to the plan in what type each tensor is computed."""
        declared = self.config.out_dtype or self.config.dtype
        return self.config.model_copy(update={"dtype": None, "out_dtype": declared}, deep=True)


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
        with _validated("role", role):
            found = {"donor": donors, "pretrained": ancestors}[SPECS["role"].validate(role)]
        twin = next((one for one in found if same_model(one, listed.model)), None)
        if twin is not None:
            raise UserError(f"{listed.model} is listed twice.", "List each model once; layers may be '0-4,30-31'.")
        found.append(listed.model)
    if len(ancestors) > 1:
        raise UserError(f"Two models have the role pretrained: {ancestors[0]} and {ancestors[1]}.", "Remove one.")
    if not donors:
        raise _no_donor(config.base_model)
    for donor in donors:
        if same_model(donor, config.base_model):
            raise UserError(f"The donor, {donor}, is the recipient itself, {config.base_model}.", "Name two experts.")
    roles = {f"donor{number if number > 1 else ''}": donor for number, donor in enumerate(donors, 1)}
    return {"recipient": config.base_model, **roles} | ({"pretrained": ancestors[0]} if ancestors else {})


def _no_donor(recipient: object) -> UserError:
    return UserError(
        f"A swap has a donor besides base_model, got none (the recipient is {recipient}).",
        "List one or more under models. A pretrained ancestor needs parameters: {role: pretrained}.",
    )


@contextlib.contextmanager
def _validated(name: str, value: Any) -> Iterator[None]:
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
                f"{key}: {name} is no type that mergekit writes.", "Take bfloat16, float16, float32 or float64."
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
        allowed = ["role", *(OF_A_DONOR if is_donor else ()), *kernels]
        for name, setting in given.items():
            if name not in allowed:
                where = "Move it to the top-level parameters." if name in SHARED else ""
                raise UserError(
                    f"{name} stands under {listed.model}, where it has no effect."
                    if where
                    else f"{name} is no parameter of a model in layer_swap.",
                    where or f"There are: {', '.join(allowed)}.",
                )
            if name != "role":
                _check_setting(name, setting)


def _kernel_parameters(config: MergeConfiguration) -> list[str]:
    """The parameters of the merge methods that blend_method names."""
    found: dict[str, None] = {}
    for given in (config.parameters, *(listed.parameters for listed in config.models or [])):
        setting = (given or {}).get("blend_method")
        for value in [entry.value for entry in _conditional(setting)] or [setting] if setting else ():
            found |= dict.fromkeys(parameter.name for parameter in blend_method(value).spec.parameters)
    return list(found)


def _check_setting(name: str, setting: Any) -> None:
    """Refuse a gradient, and filters that leave some tensors to a default or never apply."""
    entries = _conditional(setting)
    if isinstance(setting, list) and (not setting or len(entries) < len(setting)):
        written = ",".join(map(str, setting))
        raise UserError(
            f"{name}: mergekit takes the list {setting} for a gradient over the layers.",
            f'Write one value, or several as a string: {name}: "{written}".',
        )
    if any(isinstance(entry.value, list) for entry in entries):
        raise UserError(f"{name}: gradients (lists of values) are not for layer_swap.", "Write one value.")
    for value in [entry.value for entry in entries] or [setting]:
        if name in SPECS:
            _check_value(name, value)
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


def _check_value(name: str, value: Any) -> None:
    with _validated(name, value):
        SPECS[name].validate(value)
    if is_ambiguous(name, value):
        raise UserError(
            f"{name}: got the number {value}, which may be what YAML made of {value // 60}:{value % 60}.",
            what_to_write(name, value),
        )
    if is_unreadable(name, value):
        raise UserError(f"{name}: expected layers such as '0-4,30-31', got {value!r}.", what_to_write(name, value))


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
    check_settings(config)
    accepted = parse_accepted(_resolve("accept", [config.parameters], ""))
    for reference in references.values():
        if reference not in opened:
            opened[reference] = open_model(reference, options)
    models = {role: opened[reference] for role, reference in references.items()}
    recipient = models["recipient"]
    warnings = _warnings_of_placement(recipient)
    for role, model in models.items():
        if role != "recipient":
            check_pair(recipient, model, accepted, dtype_is_set=config.dtype is not None)
            warnings += soft_differences(recipient, model)
    for model in models.values():
        if model.layout.missing:
            raise UserError(
                f"Missing component: {model.config.architectures[0]} has {model.layout.missing[0]}, which {model} does "
                f"not store ({len(model.layout.missing)} in all): loaded, it would be random numbers.",
                "Check that the folder is complete and that its config.json belongs to it.",
            )
    planned, notes = plan_tensors(config, recipient.layout, references)
    in_layers = {
        origin
        for tensor in planned.values()
        if tensor.weight.place.part == "layer"
        for origin in origins_of(tensor.source)
    }
    for role in models.keys() - {"pretrained"}:
        if role not in in_layers:
            left = "the result is the other model, layer by layer" if len(models.keys() - {"pretrained"}) == 2 else ""
            warnings.append(f"no layer comes from the {role}" + (f": {left}" if left else f", {models[role]}"))
    return Recipe(config, models, planned, tuple(dict.fromkeys(notes)), tuple(warnings))


def _warnings_of_placement(model: Model) -> list[str]:
    """What stands where only its name tells, and layers that use what others compute."""
    reason, names = model.layout.guessed
    if not names:
        return []
    return [f"placed by name alone, since {reason}: {', '.join(names)}. Check where they lie: turnswap plan --tensors"]


def origins_of(source: TensorSource) -> set[str]:
    """The roles of all models that a tensor takes values from."""
    if source.slices:
        return set().union(*map(origins_of, source.slices))
    if source.origin != "blend":
        return {source.origin}
    assert source.mix is not None
    return set(source.mix.inputs)


def _check_that_filters_match(config: MergeConfiguration, planned: Mapping[str, Planned]) -> None:
    for given in (config.parameters, *(listed.parameters for listed in config.models or [])):
        for name, setting in (given or {}).items():
            for text in (entry.filter for entry in _conditional(setting)):
                if text and text != "*" and not any(text in tensor for tensor in planned):
                    example = next(tensor for tensor, plan in planned.items() if plan.weight.place.layer == 0)
                    raise UserError(
                        f"{name}: the filter {text!r} matches no tensor of this model.",
                        f"Its tensors have names such as {example}.",
                    )


def _resolve(name: str, settings: Sequence[Mapping[str, Any] | None], tensor: str) -> Any:
    """A parameter's value for a tensor, by its filters; what stands first in ``settings`` wins."""
    given = next((one[name] for one in settings if one and name in one), None)
    with _validated(name, given):
        return resolve_parameter(SPECS[name], settings, tensor_name=tensor)


def plan_tensors(
    config: MergeConfiguration, layout: Layout, roles: Mapping[str, ModelReference]
) -> tuple[dict[str, Planned], list[str]]:
    """The source of every tensor, and what was decided on the user's behalf.

    Args:
        config: its parameters are known and in their places (:func:`check_settings`).
        layout: the recipient's.
        roles: the models' references by role.

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
    rounded: dict[torch.dtype, int] = {}
    for name, weight in layout.weights.items():
        swaps = {role: _swap_of(role, settings[role], name, len(donors)) for role in donors}
        try:
            source = source_of(weight.place, swaps, layout.n_layers)
        except UserError as error:
            names = ", ".join(f"{role} is {roles[role]}" for role in donors)
            raise UserError(
                f"{error.message} ({names}.)" if len(donors) > 1 else error.message, error.advice
            ) from error
        source = _with_mix(source, name, settings)
        stored = weight.header.dtype
        is_kept = not stored.is_floating_point or (stored != layout.main_type and _rounds(stored, asked))
        if not is_kept and _rounds(stored, asked):
            rounded[stored] = rounded.get(stored, 0) + 1
        planned[name] = Planned(name, weight, source, stored if is_kept else asked or stored, is_kept)
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
            f"{len(kept)} tensors stay in {type_name(kept[0].dtype)}, which the recipient keeps for them beside "
            f"{type_name(layout.main_type)} ({kept[0].name}{', …' if kept[1:] else ''})"
        )
    for stored, count in rounded.items():
        notes.append(f"{count} tensors of the recipient's are stored in {type_name(stored)}: declared, and rounded to, "
                     f"{type_name(asked)}")  # fmt: skip
    return planned, notes


def _rounds(stored: torch.dtype, asked: torch.dtype | None) -> bool:
    """Whether numbers of one type lose digits or range in the other."""
    return asked is not None and torch.promote_types(stored, asked) != asked


def _swap_of(role: str, settings: Sequence[Mapping[str, Any] | None], tensor: str, n_donors: int) -> SwapParameters:
    """One donor's parameters for a tensor. Of several donors each says its own zones, and has no others."""
    swap = SwapParameters(**{name: _resolve(name, settings, tensor) for name in PARAMETER_NAMES})
    if n_donors == 1 or swap.layers is not None:
        return swap
    if swap.bottom is None and swap.top is None:
        if swap.blend_layers is not None:
            return replace(swap, layers=NO_LAYERS)
        raise UserError(
            f"There are several donors, and {role} has no layers of its own.",
            'Write under each which it gives, such as parameters: {layers: "0-4"}.',
        )
    bottom, top, transition = (0 if one is None else one for one in (swap.bottom, swap.top, swap.transition))
    return replace(swap, bottom=bottom, top=top, transition=transition)


def _with_mix(source: TensorSource, tensor: str, settings: Settings) -> TensorSource:
    """A source whose blends say how they are computed."""
    if source.slices:
        return replace(source, slices=tuple(_with_mix(one, tensor, settings) for one in source.slices))
    if source.origin != "blend":
        return source
    named = {_resolve("blend_method", settings[role], tensor) for role, _ in source.shares}
    if len(named) > 1:
        raise UserError(
            f"Two donors blend {tensor} by different methods: {', '.join(sorted(named))}.", "Give both the same."
        )
    seed = _resolve("seed", settings["recipient"], tensor)
    return replace(source, mix=mix_of(named.pop(), source, tensor, settings, seed))
