"""Controls as hard as the winner: chosen, as it was, as the best of many on the same documents.

The best of 20 placements against the mean of 5 unselected ones shows selection, not placement. So as many random
placements are tried as swaps were, and averages of whole models with other weights than the plain one's.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping
from typing import Any

from turnswap.merge_methods.recipe import Recipe
from turnswap.merge_methods.swap_plan import letter_of
from turnswap.merge_methods.zones import NO_LAYERS, PARAMETER_NAMES, ranges

from .configurations import Configuration, Planner, average_of
from .space import ENDS, Space


def averages(planner: Planner) -> list[Configuration]:
    """The averages of whole models with the weights that the settings list."""
    made = [(share, average_of(planner.recipe, share)) for share in planner.settings.averages]
    return [planner.plan(f"average {share:g}", "weight", parameters) for share, parameters in made]


def placements(
    planner: Planner, space: Space | None, best: Configuration, number: int
) -> tuple[list[Configuration], list[str]]:
    """Random placements as wide as a swap, and notes: fewer than asked for where there are no more.

    Each has as many layers of every origin as the swap, blended ones with its mean share; where the swap has shares per
    layer, the same shares in another order. Its embeddings and head stay. None is the swap itself.
    """
    drawing = random.Random(f"controls {planner.settings.seed}")
    if best.shares and space is not None:
        n_placements, drawn = math.factorial(planner.recipe.n_layers), _reordered(space, best, drawing)
    elif "*" in best.layers:
        return [], [f"no controls: {best.name} takes parts of layers (filters), whose width is no number of layers"]
    elif len(planner.donors) > 1 and "b" in best.layers:
        return [], [f"no controls: {best.name} blends layers of several donors"]
    else:
        n_placements, drawn = _placed(planner, best, drawing)
    found: dict[str, Configuration] = {}
    # Drawn with replacement: after so many draws hardly a placement is left that was not among them.
    for _ in range(20 * min(n_placements, number + 1)):
        if len(found) == min(number, n_placements - 1):
            break
        one = planner.plan(f"control {len(found) + 1}", "control", next(drawn))
        if one.plan != best.plan:
            found.setdefault(one.plan, one)
    controls = list(found.values())
    few = f"{len(controls)} random placements instead of {number}: there are not enough of that width"
    return controls, [few] if len(controls) < number else []


def _reordered(space: Space, best: Configuration, drawing: random.Random) -> Iterator[dict[str, Any]]:
    layers = sorted({layer for layer, _ in best.shares})
    while True:
        moved = dict(zip(layers, drawing.sample(layers, len(layers)), strict=True))
        shares = {(moved[layer], module): share for (layer, module), share in best.shares.items()}
        yield space.with_shares(best.parameters, shares)


def _placed(planner: Planner, best: Configuration, drawing: random.Random) -> tuple[int, Iterator[dict[str, Any]]]:
    recipe = planner.read(best.parameters)
    groups = {role: best.layers.count(letter_of(role)) for role in planner.donors}
    groups |= {"blend": best.layers.count("b"), "pretrained": best.layers.count("P")}
    n_placements, left = 1, recipe.n_layers
    for width in groups.values():
        n_placements, left = n_placements * math.comb(left, width), left - width
    fixed = _beside_placement(best.parameters)

    def draw() -> Iterator[dict[str, Any]]:
        while True:
            layers = drawing.sample(range(recipe.n_layers), sum(groups.values()))
            placed: dict[str, str] = {}
            for role, width in groups.items():
                placed[role], layers = ranges(layers[:width]) or NO_LAYERS, layers[width:]
            yield _parameters(planner, recipe, placed, fixed)

    return n_placements, draw()


def _parameters(
    planner: Planner, recipe: Recipe, placed: Mapping[str, str], fixed: Mapping[str, Any]
) -> dict[str, Any]:
    found = dict(fixed) | ({"revert": placed["pretrained"]} if placed["pretrained"] != NO_LAYERS else {})
    if len(planner.donors) == 1:
        blended = {"blend_layers": placed["blend"]} if placed["blend"] != NO_LAYERS else {}
        return found | {"layers": placed["donor"]} | blended | _origins(recipe) | _mean_share(recipe)
    for role in planner.donors:
        ends = {name: "donor" if origin == role else "recipient" for name, origin in _origins(recipe).items()}
        found[role] = dict(fixed.get(role, {})) | {"layers": placed[role]} | ends
    return found


def _beside_placement(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What is said of a swap, and under its models, but which layers come from where: how blends are computed."""
    return {
        name: _beside_placement(value) if isinstance(value, Mapping) else value
        for name, value in parameters.items()
        if name not in PARAMETER_NAMES
    }


def _origins(recipe: Recipe) -> dict[str, str]:
    """Where embeddings, head and the like come from, but for the pretrained model, which gives layers alone."""
    sources: dict[str, str] = {tensor.weight.place.part: tensor.source.origin for tensor in recipe.tensors.values()}
    if "tied" in sources:
        sources |= {"embeddings": sources["tied"], "head": sources["tied"]}
    return {name: sources[name] for name in ENDS if sources.get(name, "pretrained") != "pretrained"}


def _mean_share(recipe: Recipe) -> dict[str, float]:
    sources = [tensor.source for tensor in recipe.tensors.values() if tensor.weight.place.layer is not None]
    blends = [source.donor_share for source in sources if source.origin == "blend"]
    if not blends:
        return {}
    # A mean of equal shares may be off in its last bit.
    return {"blend": blends[0] if len(set(blends)) == 1 else sum(blends) / len(blends)}
