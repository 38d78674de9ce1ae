"""Which model a tensor comes from, and why: pure functions of a tensor's place and the parameters of a swap.

Layer swapping (Bandarkar et al. 2024, arXiv 2410.01335) replaces the bottom and top decoder layers of a task expert,
the *recipient*, by those of a language expert, the *donor*. Between the zones lie *transition* layers, averaged.
Nothing here knows of files, tensors or mergekit.

>>> swap = SwapParameters(bottom=5, top=2, transition=1)
>>> [layer for layer, source in enumerate(layer_sources(swap, 32)) if source.origin == "blend"]
[5, 29]
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from turnswap.core.errors import UserError

from .zones import PAPER_DEPTHS, SwapParameters, parse_layers, ramp, resolve_depths

Origin: TypeAlias = str  # a role, "blend", or "slices"
Part: TypeAlias = Literal["embeddings", "layer", "head", "tied", "shared", "slices", "prediction", "outside"]

NAME = "layer_swap"  # what merge_method: says
MIDDLE, NOT_NAMED = "middle", "not named in layers"
# A letter per layer, by where it comes from; "mixed" is a layer whose tensors differ in that.
LETTERS = {"recipient": "R", "donor": "D", "blend": "b", "pretrained": "P", "mixed": "*", "slices": "*"}
MORE_DONORS = "EFGHIJKLMNOQSTUVWXYZ"  # of donor2, donor3, …


@dataclass(frozen=True)
class Place:
    """Where in a model a tensor lies.

    ``part``: ``layer``; ``embeddings`` (all that comes before the layers); ``head`` (all that comes after: final norm,
    lm_head); ``tied`` (one matrix serves as embeddings and lm_head); ``shared`` (one block that several layers use);
    ``slices`` (a slice for each layer in one tensor); ``prediction`` (layers beyond the last, for multi-token
    prediction); ``outside`` the text decoder.
    """

    part: Part
    layer: int | None = None  # of ``layer``: its index, from 0
    layers: tuple[int, ...] = ()  # of ``shared``: the layers that use it
    axis: int = 0  # of ``slices``: the dimension in which the layers' slices follow each other


@dataclass(frozen=True)
class Mix:
    """How a blend is computed: by a merge method of mergekit's."""

    method: str  # its name
    inputs: tuple[str, ...]  # the roles of the models that it takes, in its order; the base is one of them
    base: str | None = None  # the role of its base model; None for methods without one
    parameters: tuple[tuple[str, object], ...] = ()  # by name: a value for all, or pairs of role and value
    seed: int = 0  # for methods that draw at random

    @property
    def told(self) -> str:
        """The method and the donors' weights in it, for people: ``0.50`` for linear, ``slerp 0.50``, ``sce``."""
        given = dict(self.parameters)
        weights = given.get("weight", given.get("t"))
        if isinstance(weights, tuple):
            weights = [weight for role, weight in weights if role.startswith("donor")]
        figures = [] if weights is None else weights if isinstance(weights, list) else [weights]
        return " ".join([*([self.method] if self.method != "linear" else []), *(f"{one:.2f}" for one in figures)])


@dataclass(frozen=True)
class TensorSource:
    """Where a tensor's values come from."""

    origin: Origin  # the role of the one model that it is copied from, ``blend``, or ``slices``
    donor_share: float  # the donors' weight together, 0 to 1
    why: str  # for people
    shares: tuple[tuple[str, float], ...] = ()  # of a blend: each donor's share, by role; the recipient has the rest
    mix: Mix | None = None  # of a blend: how it is computed
    slices: tuple[TensorSource, ...] = ()  # of a tensor that holds a slice for each layer: their sources

    @property
    def same(self) -> tuple[object, ...]:
        """Equal for sources that give equal values, whatever led to them."""
        return self.origin, self.donor_share, self.shares, self.mix, tuple(one.same for one in self.slices)


Swaps: TypeAlias = SwapParameters | Mapping[str, SwapParameters]


def origins_of(source: TensorSource) -> set[str]:
    """The roles of all models that a tensor takes values from."""
    if source.slices:
        return set().union(*map(origins_of, source.slices))
    if source.origin != "blend":
        return {source.origin}
    assert source.mix is not None
    return set(source.mix.inputs)


def letter_of(origin: str) -> str:
    """The letter of a layer that comes from there."""
    if origin in LETTERS:
        return LETTERS[origin]
    return MORE_DONORS[(int(origin.removeprefix("donor")) - 2) % len(MORE_DONORS)]


def layer_sources(swap: Swaps, n_layers: int) -> tuple[TensorSource, ...]:
    """The source of every decoder layer, from 0 to ``n_layers - 1``.

    Args:
        swap: the parameters, or for several donors those of each, by role.
        n_layers: of the model.

    Raises:
        UserError: ranges are outside the model, overlap, or contradict each other.
    """
    return _layer_sources(tuple(_by_role(swap).items()), n_layers)


def _by_role(swap: Swaps) -> Mapping[str, SwapParameters]:
    return {"donor": swap} if isinstance(swap, SwapParameters) else swap


@functools.lru_cache(maxsize=256)
def _layer_sources(swaps: tuple[tuple[str, SwapParameters], ...], n_layers: int) -> tuple[TensorSource, ...]:
    if len(swaps) > 1 and any(swap.invert for _, swap in swaps):
        raise UserError("invert is for one donor, and there are several.", "Name each donor's layers.")
    claims = {role: _claimed(swap, n_layers) for role, swap in swaps}
    sources = [
        _combined({role: claim[layer] for role, claim in claims.items()}, f"layer {layer}") for layer in range(n_layers)
    ]
    revert = swaps[0][1].revert
    if revert is not None:
        for layer in parse_layers(revert, n_layers, "revert"):
            if sources[layer].origin != "recipient":
                raise UserError(
                    f"revert: layer {layer} is already taken: {sources[layer].why}.",
                    "Only layers that would stay with the recipient can be reverted.",
                )
            sources[layer] = TensorSource("pretrained", 0.0, f"revert {revert}")
    return tuple(sources)


def _claimed(swap: SwapParameters, n_layers: int) -> list[TensorSource]:
    """What one donor would give of each layer."""
    if not 0 <= swap.blend <= 1:
        raise UserError(f"blend: expected the donor's share, 0 to 1, got {swap.blend}.")
    sources = _partition(swap, n_layers) if swap.layers is not None else _zones(swap, n_layers)
    if swap.blend_layers is not None:
        for layer in parse_layers(swap.blend_layers, n_layers, "blend_layers"):
            if sources[layer].why not in (MIDDLE, NOT_NAMED):
                raise UserError(
                    f"blend_layers: layer {layer} is already taken: {sources[layer].why}.", "Name each layer once."
                )
            sources[layer] = _taken(swap.blend, f"blend_layers {swap.blend_layers}")
    return sources


def _combined(claims: Mapping[str, TensorSource], what: str) -> TensorSource:
    """The source of what several donors may claim: one of them, the recipient, or a blend by all their shares.

    Raises:
        UserError: two claim it whole, or their shares make more than 1.
    """
    claimed = {role: source for role, source in claims.items() if source.donor_share}
    if not claimed:
        return next(iter(claims.values()))
    if len(claimed) == 1:
        ((role, source),) = claimed.items()
        if source.origin == "donor":
            return replace(source, origin=role)
        return replace(source, shares=((role, source.donor_share),))
    total = sum(source.donor_share for source in claimed.values())
    told = " and ".join(f"{role} ({source.why})" for role, source in claimed.items())
    if any(source.origin != "blend" for source in claimed.values()) or total > 1 + 1e-9:
        raise UserError(
            f"Several donors claim {what}: {told}.",
            f"Their shares add up to {total:g}. Give it to one of them, or blend it: write blend_layers and blend "
            "under each donor; together, the blends make 1 at most."
            if what.startswith("layer")
            else f"Write {what}: donor under one of them, or {what}: blend under each.",
        )
    shares = tuple((role, source.donor_share) for role, source in claimed.items())
    return TensorSource("blend", min(total, 1.0), told, shares)


def _partition(swap: SwapParameters, n_layers: int) -> list[TensorSource]:
    """The source of each layer from ``layers``."""
    given = [name for name in ("bottom", "top", "transition", *PAPER_DEPTHS) if getattr(swap, name) is not None]
    if given:
        raise UserError(
            f"layers and {given[0]} are two ways of saying the same.",
            "Keep layers and blend_layers, or bottom and top.",
        )
    assert swap.layers is not None
    named = parse_layers(swap.layers, n_layers, "layers")
    share, rest = _shares(swap)
    taken = _taken(share, f"layers {swap.layers}" + (", inverted" if swap.invert else ""))
    return [taken if layer in named else _taken(rest, NOT_NAMED) for layer in range(n_layers)]


def _zones(swap: SwapParameters, n_layers: int) -> list[TensorSource]:
    """The source of each layer from bottom, top and their transitions."""
    depths = resolve_depths(swap, n_layers)
    outer, middle = _shares(swap)
    bottom, top = (
        ramp(width, swap.blend, outer, middle) for width in (depths.bottom_transition, depths.top_transition)
    )
    sources = [_taken(outer, f"bottom {depths.bottom}")] * depths.bottom
    sources += [_taken(share, "bottom transition") for share in bottom]
    sources += [_taken(middle, MIDDLE)] * (n_layers - len(sources) - len(top) - depths.top)
    sources += [_taken(share, "top transition") for share in reversed(top)]
    sources += [_taken(outer, f"top {depths.top}")] * depths.top
    return sources


def _shares(swap: SwapParameters) -> tuple[float, float]:
    """The donor's share in what is swapped, and in the rest."""
    return (0.0, 1.0) if swap.invert else (1.0, 0.0)


def _taken(share: float, why: str) -> TensorSource:
    """A blend, or the model that has it all: a share of 0 or 1 must be a copy, bit for bit."""
    if 0 < share < 1:
        return TensorSource("blend", share, why)
    return TensorSource("donor", 1.0, why) if share else TensorSource("recipient", 0.0, why)


def source_of(place: Place, swap: Swaps, n_layers: int) -> TensorSource:
    """The source of a tensor at ``place``, in a model of ``n_layers`` decoder layers.

    Args:
        place: where it lies.
        swap: the parameters, or for several donors those of each, by role.
        n_layers: of the model.

    Raises:
        UserError: the parameters are contradictory or do not fit the model.
    """
    swaps = _by_role(swap)
    layers = layer_sources(swaps, n_layers)
    match place.part:
        case "outside":
            return TensorSource("recipient", 0.0, "outside the text decoder")
        case "layer":
            assert place.layer is not None
            return layers[place.layer]
        case "shared":
            return _shared([(layer, layers[layer]) for layer in place.layers], swaps)
        case "slices":
            if len({source.same for source in layers}) == 1:
                return layers[0]
            share = sum(source.donor_share for source in layers) / len(layers)
            return TensorSource("slices", share, "a slice for each layer, which follows it", slices=layers)
        case "embeddings":
            return _at_an_end("embeddings", layers[0], swaps)
        case "head" | "prediction":
            return _at_an_end(place.part, layers[-1], swaps)
        case _:
            ends = _at_an_end("embeddings", layers[0], swaps), _at_an_end("head", layers[-1], swaps)
            return _tied(*ends, swaps)


def _chosen(name: str, swaps: Mapping[str, SwapParameters]) -> TensorSource | None:
    """What was chosen for a part by its name; None where nothing was."""
    claims = {}
    for role, swap in swaps.items():
        choice = getattr(swap, name)
        share = {None: 0.0, "donor": 1.0, "recipient": 0.0, "blend": swap.blend}[choice]
        claims[role] = _taken(share, f"{name}: {choice}")
    if all(getattr(swap, name) is None for swap in swaps.values()):
        return None
    return _combined(dict(sorted(claims.items(), key=lambda claim: getattr(swaps[claim[0]], name) is None)), name)


def _shared(users: Sequence[tuple[int, TensorSource]], swaps: Mapping[str, SwapParameters]) -> TensorSource:
    """The source of a block that several layers use."""
    chosen = _chosen("shared", swaps)
    if chosen is not None:
        return chosen
    if len({source.same for _, source in users}) == 1:
        return users[0][1]
    told = ", ".join(f"{layer} ({source.origin})" for layer, source in users)
    raise UserError(
        f"This model stores one block for several of its layers, which cannot come from several models: layers {told}.",
        "Say which model gives it: add shared: recipient, donor or blend to the parameters.",
    )


def _at_an_end(name: str, touching: TensorSource, swaps: Mapping[str, SwapParameters]) -> TensorSource:
    """The source of what lies before the first layer or behind the last: what was chosen, or that layer's."""
    chosen = _chosen(name, swaps)
    if chosen is not None:
        return chosen
    if touching.origin == "pretrained":  # ``revert`` names layers only
        return _taken(0.0, "follows the zone that was reverted")
    return replace(touching, why=f"follows {touching.why}" if touching.why != NOT_NAMED else "follows its layer")


def _tied(embeddings: TensorSource, head: TensorSource, swaps: Mapping[str, SwapParameters]) -> TensorSource:
    chosen = [any(getattr(swap, name) is not None for swap in swaps.values()) for name in ("embeddings", "head")]
    if embeddings.same == head.same or chosen == [True, False]:
        return embeddings
    if chosen == [False, True]:
        return head
    raise UserError(
        f"This model ties its embeddings to its lm_head: they are one tensor, which cannot come from the "
        f"{embeddings.origin} ({embeddings.why}) and from the {head.origin} ({head.why}).",
        "Write embeddings: donor, recipient or blend (and the same for head, or nothing).",
    )
