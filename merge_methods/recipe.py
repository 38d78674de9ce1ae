"""A merge configuration, read and understood: its models checked against each other, the source of every tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from mergekit.architecture import WeightInfo
from mergekit.common import ModelReference, dtype_from_name
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions
from mergekit.parameter_resolver import resolve_parameter

from turnswap.core.errors import UserError

from .blending import Settings, mix_of
from .checkpoint import TensorInfo, type_name
from .compatibility import Model, check_pair, open_model, parse_accepted, soft_differences
from .configuration import SPECS, check_settings, conditional, parse_configuration, roles_of, validated
from .layer_swap import Plan, Step
from .layout import Layout, Weight, architecture
from .references import with_plain_paths, with_references
from .swap_plan import TensorSource, letter_of, origins_of, source_of
from .vocabulary import check_matchable, compare, matched_rows, rows_of
from .zones import NO_LAYERS, PARAMETER_NAMES, SwapParameters, ranges, resolve_depths


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


@dataclass(frozen=True)
class Recipe:
    """What a configuration says, checked: its models, every tensor of the result, and what a user should know.

    Attributes:
        config: the configuration.
        models: by role: ``recipient``, ``donor``, and perhaps ``pretrained``.
        tensors: of the result, by name.
        notes: what was decided on the user's behalf.
        warnings: what may be wrong with the swap.
        apart: the roles of models whose vocabulary is not the recipient's.
    """

    config: MergeConfiguration
    models: Mapping[str, Model]
    tensors: Mapping[str, Planned]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    apart: frozenset[str] = frozenset()

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
        lines = sorted(f"{name} {one.source.same!r} {sorted(one.matched)}" for name, one in self.tensors.items())
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def plan(self, names: Iterable[str]) -> Plan:
        """What mergekit's run has to know of the tensors that it computes."""
        working = dtype_from_name(self.config.dtype)
        computed = [self.tensors[name] for name in names]
        steps = {
            one.name: Step(one.source, one.dtype if one.is_kept else working, one.weight.place.axis, one.dtype)
            for one in computed
        }
        roles = {model.reference: role for role, model in self.models.items()}
        return Plan(steps, roles, architecture(map(self._as_mergekit_names_it, computed)))

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
    found = {model.reference: model.reference for model in models.values()}
    config = with_references(config, lambda reference: found.get(reference, reference))
    recipient = models["recipient"]
    warnings = _warnings_of_placement(recipient)
    apart: dict[str, str] = {}
    for role, model in models.items():
        if role != "recipient":
            vocabularies = compare(recipient, model, accepted)
            apart |= {role: vocabularies.reason} if vocabularies.reason else {}
            typed = config.dtype is not None
            check_pair(recipient, model, accepted, typed, role in apart, vocabularies.refused)
            warnings += soft_differences(recipient, model)
    for model in models.values():
        if model.layout.missing:
            raise UserError(
                f"Missing component: {model.config.architectures[0]} has {model.layout.missing[0]}, which {model} does "
                f"not store ({len(model.layout.missing)} in all): loaded, it would be random numbers.",
                "Check that the folder is complete and that its config.json belongs to it.",
            )
    planned, notes = plan_tensors(config, recipient.layout, references, apart.keys())
    notes += _match_vocabularies(planned, models, apart)
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
    recipe = Recipe(config, models, planned, tuple(dict.fromkeys(notes)), tuple(warnings), frozenset(apart))
    rounded = [name for name, tensor in planned.items() if is_rounded(tensor, recipe)]
    if rounded:
        told = f"{len(rounded)} tensors are rounded to the declared type, {type_name(planned[rounded[0]].dtype)}"
        notes.append(f"{told} ({rounded[0]}{', …' if rounded[1:] else ''})")
    parts = {tensor.weight.place.part for tensor in planned.values()}
    for name in ("shared", "prediction"):
        if name not in parts and any(name in (given or {}) for given in _all_parameters(config)):
            notes.append(f"{name} has no effect: this model has no such tensors")
    if (config.parameters or {}).get("blend_method") and not any(tensor.source.mix for tensor in planned.values()):
        notes.append("blend_method has no effect: no layer is blended")
    warnings += _warnings_of_borrowers(recipe)
    return replace(recipe, notes=tuple(dict.fromkeys(notes)), warnings=tuple(warnings))


def _warnings_of_placement(model: Model) -> list[str]:
    """What stands where only its name tells."""
    reason, names = model.layout.guessed
    if not names:
        return []
    return [f"placed by name alone, since {reason}: {', '.join(names)}. Check where they lie: turnswap plan --tensors"]


def _warnings_of_borrowers(recipe: Recipe) -> Iterator[str]:
    """Layers that use the keys and values of a layer of another source."""
    letters, borrowers = recipe.letters, recipe.recipient.layout.borrowers
    for lender in sorted(set(borrowers.values())):
        parted = [layer for layer, of in borrowers.items() if of == lender and letters[layer] != letters[lender]]
        if parted:
            one = len(parted) == 1
            has, takes = (f"layer {parted[0]} has", "takes") if one else (f"layers {ranges(parted)} have", "take")
            yield f"{has} no keys and values, and {takes} those of layer {lender}, which comes from another model"


def working_type(planned: Planned, config: MergeConfiguration) -> torch.dtype | None:
    """The type in which a merge takes a tensor of its inputs; None for the one in which each is stored."""
    # In mergekit, dtype is for the inputs and out_dtype for the output.
    return planned.dtype if planned.is_kept else dtype_from_name(config.dtype)


def is_rounded(planned: Planned, recipe: Recipe) -> bool:
    """Whether the declared types cannot hold every number of a tensor's source, as its headers say."""
    for role in origins_of(planned.source):
        stored = (recipe.models[role].layout.held(planned.weight) or planned.weight).header.dtype
        working = working_type(planned, recipe.config) or stored
        if (
            torch.promote_types(stored, working) != working
            or torch.promote_types(working, planned.dtype) != planned.dtype
        ):
            return True
    return False


def _all_parameters(config: MergeConfiguration) -> list[Mapping[str, Any] | None]:
    return [config.parameters, *(listed.parameters for listed in config.models or [])]


def _check_that_filters_match(config: MergeConfiguration, planned: Mapping[str, Planned]) -> None:
    for given in _all_parameters(config):
        for name, setting in (given or {}).items():
            for text in (entry.filter for entry in conditional(setting)):
                if text and text != "*" and not any(text in tensor for tensor in planned):
                    example = next(tensor for tensor, plan in planned.items() if plan.weight.place.layer == 0)
                    raise UserError(
                        f"{name}: the filter {text!r} matches no tensor of this model.",
                        f"Its tensors have names such as {example}.",
                    )


def _resolve(name: str, settings: Sequence[Mapping[str, Any] | None], tensor: str) -> Any:
    """A parameter's value for a tensor, by its filters; what stands first in ``settings`` wins."""
    given = next((one[name] for one in settings if one and name in one), None)
    with validated(name, given):
        return resolve_parameter(SPECS[name], settings, tensor_name=tensor)


def _match_vocabularies(
    planned: Mapping[str, Planned], models: Mapping[str, Model], apart: Mapping[str, str]
) -> list[str]:
    """What becomes of embeddings and head where a model has another vocabulary, for people.

    Raises:
        UserError: they are to come from a model whose rows cannot be matched.
    """
    notes = []
    for role, reason in apart.items():
        taken = [tensor for tensor in planned.values() if role in tensor.matched]
        if not taken:
            notes.append(f"{reason}: embeddings and lm_head stay with the recipient")
            continue
        check_matchable(models["recipient"], models[role])
        rows, total = len(matched_rows(models["recipient"], models[role])[0]), rows_of(models["recipient"].layout)
        notes.append(
            f"{reason}: of the {total} rows of {taken[0].name}, {rows} are matched with the {role}'s by token, "
            f"{total - rows} stay with the recipient"
        )
    return notes


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
            raise UserError(
                f"{error.message} ({names}.)" if len(donors) > 1 else error.message, error.advice
            ) from error
        source = _with_mix(source, name, settings)
        stored = weight.header.dtype
        is_kept = not stored.is_floating_point or (stored != layout.main_type and _rounds(stored, asked))
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
            f"{len(kept)} tensors stay in {type_name(kept[0].dtype)}, which the recipient keeps for them beside "
            f"{type_name(layout.main_type)} ({kept[0].name}{', …' if kept[1:] else ''})"
        )
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
    named = {_resolve("blend_method", settings[role], tensor) for role, _ in source.shares}
    if len(named) > 1:
        raise UserError(
            f"Two donors blend {tensor} by different methods: {', '.join(sorted(named))}.", "Give both the same."
        )
    seed = _resolve("seed", settings["recipient"], tensor)
    return replace(source, mix=mix_of(named.pop(), source, tensor, settings, seed))
