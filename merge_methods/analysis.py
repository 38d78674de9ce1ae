"""Where fine-tuning changed each expert: per layer and component, one tensor at a time; and how far in all.

Layer Swapping chose its layers by the magnitude of parameter change (Bandarkar et al. 2024, arXiv 2410.01335): where
the donor changed more than the recipient, its layers carry the language. Later work looks at the relative change per
module (Shin and Hwang 2026, arXiv 2601.22620) and at the cosine between the two task vectors (arXiv 2605.26735): what
fine-tuning added, expert minus ancestor (Ilharco et al. 2023, arXiv 2212.04089). Merging fails where backbones drifted
apart (DRIFT, arXiv 2510.15050); ||task vector|| / ||ancestor|| shows it beforehand.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from mergekit.options import MergeOptions
from tqdm import tqdm

from turnswap.core.errors import UserError

from .analysis_file import EXPERTS, UNRELATED, Analysis
from .change_sums import Sums, add, finished
from .checkpoint import type_name
from .compatibility import Model, check_structure, open_model
from .layout import cells_of, fact
from .recipe import Recipe
from .weights import expert_reader
from .zones import ranges

# About so many numbers of a matrix tell whether two are related: for unrelated ones the cosine is within 0.02 of 0.
SAMPLE = 1 << 16
# A rule of thumb, no published bound: fine-tuning moves weights by a few percent.
LARGE = 0.2
# No weight is as large, and its square could not be added up in float32.
ABSURD = 1e15


def analyze_references(base: str, recipient: str, donor: str, options: MergeOptions) -> Analysis:
    """Compare two experts with their ancestor, tensor by tensor; with a progress bar over bytes.

    Args:
        base: the pretrained ancestor: a folder, a Hub id, or ``model+adapter``, as the others.
        recipient: the task expert.
        donor: the language expert.
        options: mergekit's, for how inputs are read.

    Raises:
        UserError: a model is not there or damaged, holds NaN or infinite values, or the models' structures differ.
    """
    names = {"base": base, "recipient": recipient, "donor": donor}
    models = {role: open_model(name, options) for role, name in names.items()}
    ancestor = models["base"]
    for role in EXPERTS:
        check_structure(ancestor, models[role])
    readers = {role: expert_reader(model, options) for role, model in models.items()}
    head_size = _head_size(ancestor)
    n_layers, compared = ancestor.layout.n_layers, ancestor.layout.compared
    total = len(models) * sum(weight.header.n_bytes for weight in compared)
    cells: dict[tuple[int | None, str], Sums] = {}
    with tqdm(total=total, unit="B", unit_scale=True, desc="Comparing", leave=False) as bar:
        for weight in compared:
            tensors = {role: reader.read(weight) for role, reader in readers.items()}
            bar.update(sum(tensor.nbytes for tensor in tensors.values()))
            if weight.transposed:
                tensors = {role: tensor.T for role, tensor in tensors.items()}
            places = cells_of(weight, n_layers)
            for number, (layer, component) in enumerate(places):
                if len(places) > 1:
                    piece = {role: one.chunk(len(places), weight.place.axis)[number] for role, one in tensors.items()}
                else:
                    piece = tensors
                cell = cells.setdefault((layer, component), Sums())
                add(cell, piece, component, head_size)
                if not cell.is_finite:
                    raise _no_numbers(weight.name, models, tensors)
    names = {role: str(model) for role, model in models.items()}
    return Analysis(names, n_layers, finished(cells), _notes(models))


def _no_numbers(name: str, models: Mapping[str, Model], tensors: Mapping[str, torch.Tensor]) -> UserError:
    """What to say of a tensor that cannot be compared, and of which models it cannot."""
    held = {role: tensor.float().flatten() for role, tensor in tensors.items()}
    counts = {role: (int(torch.isnan(one).sum()), int((one.abs() > ABSURD).sum())) for role, one in held.items()}
    said = [
        f"of the {role} ({models[role]}) {nan} values are NaN and {large} infinite or beyond {ABSURD:g}"
        for role, (nan, large) in counts.items()
        if nan or large
    ]
    return UserError(
        f"{name} cannot be compared: {'; '.join(said)}.", "Repair or replace that model: no swap with it would work."
    )


def _notes(models: Mapping[str, Model]) -> tuple[str, ...]:
    """Where blocks count that several layers share, and whose change is a change of type, too."""
    ancestor = models["base"].layout
    shared = sorted({weight.place.layers for weight in ancestor.compared if weight.place.part == "shared"})
    notes = [f"Layers {ranges(of)} share one block: it counts once, in layer {of[0]}." for of in shared]
    before = ancestor.main_type
    for role in EXPERTS:
        after = models[role].layout.main_type
        if after != before:
            step = max(torch.finfo(before).eps, torch.finfo(after).eps) / 2
            notes.append(
                f"The {role} is stored in {type_name(after)}, the ancestor in {type_name(before)}: rounding is a part "
                f"of its change, up to {step:.1g} of each value."
            )
    return tuple(notes)


def _head_size(model: Model) -> int | None:
    if fact(model.config, "kv_lora_rank"):
        return None  # latent attention's heads differ in size, and share what head_dim tells of
    heads = fact(model.config, "num_attention_heads")
    return fact(model.config, "head_dim") or (fact(model.config, "hidden_size") // heads if heads else None)


@dataclass(frozen=True)
class TensorChange:
    """How one tensor changed from the ancestor to each expert.

    ``relative`` is ||expert - ancestor|| / ||ancestor|| (Frobenius), by role; ``likeness``, by role, the cosine between
    the weights of expert and ancestor; ``cosine``, by donor, is between its task vector and the recipient's. NaN where
    one of what is compared is zero; a likeness also where the tensor is no matrix.
    """

    name: str
    layer: int
    relative: Mapping[str, float]
    likeness: Mapping[str, float]
    cosine: Mapping[str, float]

    def as_json(self) -> dict[str, str | float | None]:
        """In one mapping: ``cosine`` is the first donor's, ``cosine2`` the second's. NaN is None."""
        cosines = {role.replace("donor", "cosine"): value for role, value in self.cosine.items()}
        figures = {role: None if value != value else value for role, value in ({**self.relative, **cosines}).items()}
        return {"name": self.name, **figures}


def layer_changes(recipe: Recipe, options: MergeOptions, sampled: bool = False) -> list[TensorChange]:
    """The change of every tensor of the text decoder's layers, one at a time in float32.

    ``sampled``: of one matrix per layer and component, by some of its rows.

    Raises:
        UserError: no model has the role pretrained, or what is read holds NaN or infinite values.
    """
    if "pretrained" not in recipe.models:
        raise UserError(
            "There is no pretrained model to compare with.",
            "Add it to models: - {model: PATH, parameters: {role: pretrained}}.",
        )
    readers = {role: expert_reader(model, options) for role, model in recipe.models.items()}
    found, seen = [], set()
    for name, planned in recipe.tensors.items():
        weight = planned.weight
        layer, shape = weight.place.layer, weight.header.shape
        if layer is None or not weight.header.dtype.is_floating_point:
            continue
        if sampled:
            (cell,) = cells_of(weight, recipe.n_layers)
            if len(shape) < 2 or cell in seen:
                continue
            seen.add(cell)
        tensors = {role: reader.read(weight) for role, reader in readers.items()}
        step = max(1, math.prod(shape) // SAMPLE)
        rows = {role: one.reshape(-1, shape[-1])[::step] if sampled else one for role, one in tensors.items()}
        sums, roles = Sums(), [role for role in rows if role != "pretrained"]
        add(sums, {"base": rows["pretrained"]} | {role: rows[role] for role in roles})
        if not sums.is_finite:
            raise _no_numbers(name, recipe.models, tensors)
        relative, likeness = ({role: of(role) for role in roles} for of in (sums.relative, sums.likeness))
        cosines = {role: sums.cosine(role) for role in roles if role != "recipient"}
        found.append(TensorChange(name, layer, relative, likeness, cosines))
    return found


@dataclass(frozen=True)
class Drift:
    """What changes say against an expert. ``is_far``: layers may have another ancestor, so a swap needs a reason."""

    said: str
    is_far: bool

    def __str__(self) -> str:
        return self.said


def drifts(recipe: Recipe, changes: Sequence[TensorChange]) -> list[Drift]:
    """What the changes say against the swap's experts."""
    found = []
    for role in changes[0].relative if changes else ():
        expert, ancestor = recipe.models[role], recipe.models["pretrained"]
        strange = [each for each in changes if each.likeness[role] < UNRELATED]
        known = [each for each in changes if not math.isnan(each.relative[role])]
        worst = max(known, key=lambda each: each.relative[role], default=None)
        change = worst.relative[role] if worst else math.nan
        if strange:
            least = min(strange, key=lambda each: each.likeness[role])
            said = (
                f"{expert} is far from {ancestor} in layers {ranges({each.layer for each in strange})}: the cosine of "
                f"their weights is {least.likeness[role]:.2f} in {least.name} (fine-tuned: nearly 1; unrelated: about "
                "0). They may have another ancestor"
            )
            found.append(Drift(said, is_far=True))
        elif worst and change > LARGE:
            said = (
                f"{expert} changed much from {ancestor}: ||change|| / ||ancestor|| is {change:.2f} in {worst.name} "
                "(fine-tuning: a few hundredths)"
            )
            found.append(Drift(said, is_far=False))
        elif change == 0:
            said = f"{expert} does not differ from {ancestor} in what was compared"
            found.append(Drift(said, is_far=False))
    return found


def sampled_drifts(recipe: Recipe, options: MergeOptions) -> list[Drift]:
    """The same from some rows of each kind of matrix of every layer; nothing where no ancestor is given."""
    return drifts(recipe, layer_changes(recipe, options, sampled=True)) if "pretrained" in recipe.models else []
