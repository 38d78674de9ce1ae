"""How far experts moved from their pretrained ancestor: whether it is one, and whether a swap can work.

A task vector is what fine-tuning added, expert minus ancestor (Ilharco et al. 2023, arXiv 2212.04089). Merging fails
where backbones drifted apart (DRIFT, arXiv 2510.15050); ||task vector|| / ||ancestor|| shows it beforehand.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from mergekit.options import MergeOptions

from turnswap.core.errors import UserError

from .recipe import Recipe
from .weights import WeightReader

# A rule of thumb, no published bound: fine-tuning moves weights by a few percent, unrelated weights differ by 140.
LARGE = 0.2


@dataclass(frozen=True)
class Change:
    """How one tensor changed from the ancestor to each expert.

    ``recipient`` and ``donor`` are ||expert - ancestor|| / ||ancestor|| (Frobenius); ``cosine`` is between the two task
    vectors, NaN where one of them is zero.
    """

    name: str
    recipient: float
    donor: float
    cosine: float


@dataclass(frozen=True)
class Distance:
    """What speaks against an expert: it is far from the ancestor, or does not differ from it.

    ``change`` is the largest ||expert - ancestor|| / ||ancestor|| of what was looked at, ``tensor`` where it was found.
    """

    model: str
    ancestor: str
    change: float
    tensor: str

    @property
    def is_far(self) -> bool:
        """Whether the expert may have another ancestor."""
        return self.change > LARGE

    def __str__(self) -> str:
        if self.is_far:
            return (
                f"{self.model} is far from {self.ancestor}: ||change|| / ||ancestor|| is {self.change:.2f} "
                f"in {self.tensor} (fine-tuning: a few hundredths; unrelated models: about 1.4). It may have another "
                "ancestor"
            )
        return f"{self.model} does not differ from {self.ancestor} in what was looked at"


def changes(recipe: Recipe, options: MergeOptions, names: Iterable[str]) -> Iterator[Change]:
    """The change of each named tensor, one at a time in float32. The recipe must have a pretrained model."""
    readers = {role: WeightReader(model, options) for role, model in recipe.models.items()}
    for name in names:
        weight = recipe.tensors[name].weight
        base, recipient, donor = (
            readers[role].read(weight).float().flatten() for role in ("pretrained", "recipient", "donor")
        )
        recipient, donor = recipient - base, donor - base
        sizes = [float(torch.linalg.vector_norm(vector)) for vector in (base, recipient, donor)]
        product = sizes[1] * sizes[2]
        yield Change(
            name,
            sizes[1] / sizes[0] if sizes[0] else float("nan"),
            sizes[2] / sizes[0] if sizes[0] else float("nan"),
            float(recipient @ donor) / product if product else float("nan"),
        )


def of_all_layers(recipe: Recipe, options: MergeOptions) -> list[Change]:
    """The change of every tensor of the text decoder's layers.

    Raises:
        UserError: no model has the role pretrained.
    """
    if recipe.pretrained is None:
        raise UserError(
            "There is no ancestor to compare with.",
            "Add it to models: - {model: PATH, parameters: {role: pretrained}}.",
        )
    names = [
        name
        for name, tensor in recipe.tensors.items()
        if tensor.weight.place.layer is not None and tensor.weight.header.dtype.is_floating_point
    ]
    return list(changes(recipe, options, names))


def with_warnings(recipe: Recipe, found: list[Change]) -> Recipe:
    """The recipe with what the changes say against it among its warnings."""
    return dataclasses.replace(recipe, warnings=(*recipe.warnings, *map(str, findings(recipe, found))))


def sampled_findings(recipe: Recipe, options: MergeOptions) -> list[Distance]:
    """Findings from one matrix of the first, the middle and the last layer, where an ancestor is given."""
    if recipe.pretrained is None:
        return []
    layers = {0, recipe.n_layers // 2, recipe.n_layers - 1}
    first_of: dict[int, str] = {}
    for name, tensor in recipe.tensors.items():
        place = tensor.weight.place
        if place.layer in layers and len(tensor.weight.header.shape) == 2:
            first_of.setdefault(place.layer, name)
    return findings(recipe, list(changes(recipe, options, first_of.values())))


def findings(recipe: Recipe, found: list[Change]) -> list[Distance]:
    """What the changes say against the swap: at most one finding per expert."""
    said = []
    for role in ("recipient", "donor"):
        values = [getattr(change, role) for change in found]
        worst = max(values, default=0.0)
        if worst > LARGE or (values and worst == 0):
            name = next(change.name for change in found if getattr(change, role) == worst)
            said.append(Distance(str(recipe.models[role]), str(recipe.pretrained), worst, name))
    return said
