"""A merge configuration, read and understood: its models checked against each other, the source of every tensor."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mergekit.architecture import WeightInfo
from mergekit.common import ModelReference, dtype_from_name
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions

from turnswap.core.errors import UserError

from .checkpoint import type_name
from .compatibility import Model, check_pair, open_model, parse_accepted, soft_differences
from .configuration import all_parameters, check_settings, parse_configuration, roles_of
from .layer_swap import Plan, Step
from .layout import architecture
from .planning import Planned, plan_tensors, resolve, rounds, working_type
from .references import with_plain_paths, with_references
from .swap_plan import letter_of, origins_of
from .vocabulary import check_matchable, compare, matched_rows, rows_of
from .zones import ranges


@dataclass(frozen=True)
class Recipe:
    """What a configuration says, checked: its models, every tensor of the result, and what a user should know."""

    config: MergeConfiguration
    models: Mapping[str, Model]  # by role: ``recipient``, ``donor``, and perhaps ``pretrained``
    tensors: Mapping[str, Planned]  # of the result, by name
    notes: tuple[str, ...]  # what was decided on the user's behalf
    warnings: tuple[str, ...]  # what may be wrong with the swap
    apart: frozenset[str] = frozenset()  # the roles of models whose vocabulary is not the recipient's

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
    accepted = parse_accepted(resolve("accept", [config.parameters], ""))
    for reference in references.values():
        if reference not in opened:
            opened[reference] = open_model(reference, options)
    models = {role: opened[reference] for role, reference in references.items()}
    found = {model.reference: model.reference for model in models.values()}
    config = with_references(config, lambda reference: found.get(reference, reference))
    recipient = models["recipient"]
    reason, guessed = recipient.layout.guessed
    placed = f"placed by name alone, since {reason}: {', '.join(guessed)}."
    warnings = [f"{placed} Check where they lie: turnswap plan --tensors"] if guessed else []
    apart: dict[str, str] = {}
    for role, model in models.items():
        if role != "recipient":
            reason, refused = compare(recipient, model, accepted)
            apart |= {role: reason} if reason else {}
            check_pair(recipient, model, accepted, config.dtype is not None, role in apart, refused)
            warnings += soft_differences(recipient, model)
    for model in models.values():
        if missing := model.layout.missing:
            raise UserError(
                f"Missing component: {model.config.architectures[0]} has {missing[0]}, which {model} does not store "
                f"({len(missing)} in all): loaded, it would be random numbers.",
                "Check that the folder is complete and that its config.json belongs to it.",
            )
    planned, notes = plan_tensors(config, recipient.layout, references, apart.keys())
    notes += _match_vocabularies(planned, models, apart)
    recipe = Recipe(config, models, planned, (), (), frozenset(apart))
    notes = [*notes, *_notes_of_rounding(recipe), *_notes_without_effect(recipe)]
    warnings = [*warnings, *_warnings_of_layers(recipe), *_warnings_of_borrowers(recipe)]
    return replace(recipe, notes=tuple(dict.fromkeys(notes)), warnings=tuple(warnings))


def _notes_of_rounding(recipe: Recipe) -> Iterator[str]:
    rounded = [tensor for tensor in recipe.tensors.values() if is_rounded(tensor, recipe)]
    if rounded:
        told = f"{len(rounded)} tensors are rounded to the declared type, {type_name(rounded[0].dtype)}"
        yield f"{told} ({rounded[0].name}{', …' if rounded[1:] else ''})"


def _notes_without_effect(recipe: Recipe) -> Iterator[str]:
    """Parameters that this model, or this swap, has no use for."""
    parts = {tensor.weight.place.part for tensor in recipe.tensors.values()}
    for name in ("shared", "prediction"):
        if name not in parts and any(name in (given or {}) for given in all_parameters(recipe.config)):
            yield f"{name} has no effect: this model has no such tensors"
    named = (recipe.config.parameters or {}).get("blend_method")
    if named and not any(tensor.source.mix for tensor in recipe.tensors.values()):
        yield "blend_method has no effect: no layer is blended"


def _warnings_of_layers(recipe: Recipe) -> Iterator[str]:
    """Models that give no layer."""
    layers = [tensor.source for tensor in recipe.tensors.values() if tensor.weight.place.part == "layer"]
    used = {origin for source in layers for origin in origins_of(source)}
    for role, model in recipe.models.items():
        if role not in used and role != "pretrained":
            alone = ": the result is the other model, layer by layer"
            yield f"no layer comes from the {role}{alone if len(recipe.donors) == 1 else f', {model}'}"


def _warnings_of_borrowers(recipe: Recipe) -> Iterator[str]:
    """Layers that use the keys and values of a layer of another source."""
    letters, borrowers = recipe.letters, recipe.recipient.layout.borrowers
    for lender in sorted(set(borrowers.values())):
        parted = [layer for layer, of in borrowers.items() if of == lender and letters[layer] != letters[lender]]
        if parted:
            one = len(parted) == 1
            has, takes = (f"layer {parted[0]} has", "takes") if one else (f"layers {ranges(parted)} have", "take")
            yield f"{has} no keys and values, and {takes} those of layer {lender}, which comes from another model"


def is_rounded(planned: Planned, recipe: Recipe) -> bool:
    """Whether the declared types cannot hold every number of a tensor's source, as its headers say."""
    for role in origins_of(planned.source):
        stored = (recipe.models[role].layout.held(planned.weight) or planned.weight).header.dtype
        working = working_type(planned, recipe.config) or stored
        if rounds(stored, working) or rounds(working, planned.dtype):
            return True
    return False


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
