"""The configurations of a search: a grid or a list of swaps, points of a space, and the rows that are always there.

Two configurations are the same where every tensor has the same source, whatever they are called.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions

from turnswap.core.errors import UserError
from turnswap.merge_methods.compatibility import Model
from turnswap.merge_methods.configuration import OF_A_DONOR, read_configuration, roles_of
from turnswap.merge_methods.planning import Planned
from turnswap.merge_methods.recipe import Recipe, read_recipe
from turnswap.merge_methods.references import same_model
from turnswap.merge_methods.swap_plan import layer_sources, origins_of
from turnswap.merge_methods.zones import PARAMETER_NAMES, SwapParameters

from .in_memory import parameters_of, swap_content
from .settings import Settings
from .space import Shares

Kind: TypeAlias = Literal["recipient", "donor", "average", "swap", "control", "weight"]
ALWAYS: tuple[Kind, ...] = ("recipient", "donor", "average")
NOTE = "embeddings and head are one tensor in these models: the setting embeddings decides, or the first layer"
_OF_MERGEKIT = {"trust_remote_code", "lora_merge_cache", "transformers_cache"}  # settings under mergekit's own names


@dataclass(frozen=True)
class Configuration:
    """A composition to evaluate."""

    name: str  # for people, unique among the rows
    kind: Kind
    parameters: Mapping[str, Any]  # as :func:`.in_memory.swap_content` takes them
    plan: str  # the recipe's digest of every tensor's source: equal for equal compositions
    layers: str  # a letter per decoder layer: R, D, b, P, or ``*`` where its tensors differ
    cells: tuple[Mapping[str, Any], ...] = ()  # its places in the grid; several where equal configurations were joined
    also: tuple[str, ...] = ()  # the names of those joined with it
    shares: Shares = field(default_factory=dict)  # of the donor, where a space of shares drew them


class Planner:
    """Plans configurations of the same models, from configurations and headers alone.

    Attributes:
        recipe: of the plain recipient: its models were checked against each other.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.options = MergeOptions(**settings.model_dump(include=_OF_MERGEKIT))
        self._opened: dict[ModelReference, Model] = {}
        self.recipe = self.read({"layers": "none"})
        self.donors = [role for role in self.recipe.models if role.startswith("donor")]

    def read(self, parameters: Mapping[str, Any]) -> Recipe:
        """The checked plan of a swap.

        Raises:
            UserError: as a merge of it would.
        """
        return read_recipe(merge_content(self.settings, parameters), self.options, self._opened)

    def _read(self, name: str, parameters: Mapping[str, Any]) -> Recipe:
        try:
            return self.read(parameters)
        except UserError as error:
            raise UserError(f"{name}: {error.message}", error.advice) from error

    def plan(
        self, name: str, kind: Kind, parameters: Mapping[str, Any], cell: Mapping[str, Any] | None = None
    ) -> Configuration:
        """A configuration; a refusal names it."""
        recipe = self._read(name, parameters)
        return Configuration(name, kind, dict(parameters), recipe.digest, recipe.letters, (cell,) if cell else ())

    def point(self, name: str, parameters: Mapping[str, Any], shares: Shares) -> Configuration:
        """The swap at a point of a space; of tied models, with one choice for embeddings and head."""
        if is_tied(self.recipe):
            own = {r: with_tied_ends(parameters[r], self.recipe.n_layers) for r in self.donors if r in parameters}
            parameters = dict(parameters) | own if own else with_tied_ends(parameters, self.recipe.n_layers)
        return replace(self.plan(name, "swap", parameters), shares=shares)

    def always(self) -> list[Configuration]:
        """The recipient, each donor and the plain average of all."""
        whole, none = {"layers": every_layer(self.recipe)}, {"layers": "none"}
        several = len(self.donors) > 1
        donors = [self.plan(role, "donor", none | {role: whole} if several else whole) for role in self.donors]
        average = self.plan("average", "average", average_of(self.recipe))
        return [self.plan("recipient", "recipient", none), *donors, average]

    def swaps(self) -> tuple[list[Configuration], list[str]]:
        """The grid's swaps and the listed ones, and notes on what was left out or assumed.

        Raises:
            UserError: a swap that cannot be composed, or a file that is for other models.
        """
        found, notes = self._grid()
        for name, given in self.settings.swaps.items():
            if name in (*ALWAYS, *self.donors) or name.startswith(("control ", "average ", "trial ")):
                raise UserError(f"swaps: {name} is the name of another row.", "Give this swap another name.")
            parameters = self._from_file(name, Path(given), notes) if isinstance(given, str) else given
            found.append(self.plan(name, "swap", parameters))
        if not found:
            raise UserError("No swap of the grid fits into the model.", "Make the zones smaller.")
        return found, notes

    def _grid(self) -> tuple[list[Configuration], list[str]]:
        axes = dict(self.settings.grid)
        notes: list[str] = []
        if not axes:
            return [], notes
        for depth in ("bottom", "top"):
            if depth not in axes:
                raise UserError(f"The grid needs {depth}.", f"To take no layers there, write {depth}: 0.")
        if not any("transition" in name for name in axes):
            axes["transition"] = [0]
            notes.append("the grid names no transition: there is none")
        tied = is_tied(self.recipe)
        if tied and "embeddings" in axes:
            axes.pop("head", None)
        cells = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
        fitting = [cell for cell in cells if _width(cell) <= self.recipe.n_layers]
        if left_out := len(cells) - len(fitting):
            notes.append(f"left out of the grid: {left_out} swaps whose zones make more than the model's layers")
        named = [axis for axis, values in axes.items() if axis in ("bottom", "top") or len(values) > 1]
        names = [" ".join(f"{axis}={cell[axis]}" for axis in named) for cell in fitting]
        settled = [with_tied_ends(cell, self.recipe.n_layers) if tied else cell for cell in fitting]
        notes += [NOTE] if settled != fitting or axes.keys() != self.settings.grid.keys() | axes.keys() else []
        planned = zip(names, settled, fitting, strict=True)
        return [self.plan(name, "swap", parameters, cell) for name, parameters, cell in planned], notes

    def _from_file(self, name: str, path: Path, notes: list[str]) -> dict[str, Any]:
        config = read_configuration(path)
        ours = self._our_roles(name, path, config)
        planned = read_recipe(config, self.options, self._opened).tensors.values()
        if any(tensor.dtype != tensor.weight.header.dtype for tensor in planned):
            notes.append(f"{name}: dtype in {path} is not the type in which its models are stored, and is ignored here")
        parameters = parameters_of(config)
        found = {ours.get(key, key): value for key, value in parameters.items() if ours.get(key, key)}
        if missing := [role for role in self.donors if role not in ours.values()]:
            moved = {key: found.pop(key) for key in OF_A_DONOR if key in found}
            found |= {role: moved | found.get(role, {}) for role in ours.values() if role in self.donors}
            found |= {role: {"layers": "none"} for role in missing}
        if _amounts(self._read(name, found).tensors.values()) != _amounts(planned):
            raise UserError(
                f"swaps: {name}: {path} makes one swap of its own models and another of this search's models.",
                "Name the same models in both, and write all depths of a donor under that donor.",
            )
        return found

    def _our_roles(self, name: str, path: Path, config: MergeConfiguration) -> dict[str, str]:
        """The search's role of each model of a file, by the role there; empty of an ancestor that the search lacks."""
        found = {}
        for role, reference in roles_of(config).items():
            of_its_kind = [ours for ours in self.recipe.models if ours[:5] == role[:5]]
            same = [ours for ours in of_its_kind if same_model(reference, self.recipe.models[ours].reference)]
            if of_its_kind and not same:
                named = " and ".join(str(self.recipe.models[ours]) for ours in of_its_kind)
                raise UserError(
                    f"swaps: {name}: {path} is for another {role}, {reference}; this search has {named}.",
                    "Compare swaps of the same models.",
                )
            found[role] = same[0] if same else ""
        return found


def merge_content(settings: Settings, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A swap of the search's models as a layerswap.yml has it."""
    return swap_content({"models": settings.models}, with_accepted(settings, parameters))


def with_accepted(settings: Settings, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters with the differences between the models that the search puts up with."""
    return ({"accept": settings.accept} if settings.accept else {}) | dict(parameters)


def join_equal(configurations: Iterable[Configuration]) -> list[Configuration]:
    """One configuration per plan, the first of its name; the others' names and places in the grid go with it.

    Raises:
        UserError: two that differ have one name.
    """
    by_plan: dict[str, Configuration] = {}
    names: dict[str, str] = {}
    for one in configurations:
        if names.setdefault(one.name, one.plan) != one.plan:
            raise UserError(f"Two different swaps are called {one.name}.", "Rename one of them.")
        first = by_plan.setdefault(one.plan, one)
        if first is not one:
            by_plan[one.plan] = replace(first, cells=first.cells + one.cells, also=(*first.also, one.name))
    return list(by_plan.values())


def _width(cell: Mapping[str, Any]) -> int:
    """How many layers the zones and their transitions take."""
    ends = ((cell[end], cell.get(f"{end}_transition", cell.get("transition", 0))) for end in ("bottom", "top"))
    return sum(depth + (transition if depth else 0) for depth, transition in ends)


def average_of(recipe: Recipe, share: float | None = None) -> dict[str, Any]:
    """The parameters of the average of all models: the plain one, or with this share of the donors together."""
    n_donors = len(recipe.donors)
    if share is not None:
        shares = {"blend": share / n_donors}
    else:
        shares = {"blend": 1 / (n_donors + 1)} if n_donors > 1 else {}
    return {"layers": "none", "blend_layers": every_layer(recipe), "embeddings": "blend", "head": "blend"} | shares


def _amounts(planned: Iterable[Planned]) -> list[tuple[float, int]]:
    """How much of each tensor is the donors', and how many models it comes from."""
    return [(one.source.donor_share, len(origins_of(one.source))) for one in planned]


def every_layer(recipe: Recipe) -> str:
    """All layers, as a set of them is written."""
    return f"0-{recipe.n_layers - 1}"


def is_tied(recipe: Recipe) -> bool:
    """Whether the recipient's embeddings are its head too."""
    return any(tensor.weight.place.part == "tied" for tensor in recipe.tensors.values())


def with_tied_ends(parameters: Mapping[str, Any], n_layers: int) -> dict[str, Any]:
    """A swap's parameters with one choice for embeddings and head, where they would be two.

    The embeddings' own choice goes before the head's. Without either, both follow the first layer.

    >>> with_tied_ends({"bottom": 2, "top": 0, "transition": 0}, 6)["embeddings"]
    'donor'
    """
    settled = dict(parameters)
    if settled.get("embeddings"):
        settled.pop("head", None)
    elif not settled.get("head"):
        placed = {name: value for name, value in settled.items() if name in PARAMETER_NAMES}
        first, *_, last = layer_sources(SwapParameters(**placed), n_layers)
        if first.same != last.same:
            settled["embeddings"] = first.origin
    return settled
