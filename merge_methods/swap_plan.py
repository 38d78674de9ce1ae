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
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeAlias

from turnswap.core.errors import UserError

Origin: TypeAlias = str  # a role, "blend", or "slices"
Part: TypeAlias = Literal["embeddings", "layer", "head", "tied", "shared", "slices", "prediction", "outside"]
Choice: TypeAlias = Literal["donor", "recipient", "blend"]
Depth: TypeAlias = int | Literal["auto"]

NAME = "layer_swap"  # what merge_method: says
MIDDLE, NOT_NAMED = "middle", "not named in layers"
NO_LAYERS = "none"
# A letter per layer, by where it comes from; "mixed" is a layer whose tensors differ in that.
LETTERS = {"recipient": "R", "donor": "D", "blend": "b", "pretrained": "P", "mixed": "*", "slices": "*"}
MORE_DONORS = "EFGHIJKLMNOQSTUVWXYZ"  # of donor2, donor3, …
PAPER_LAYERS = 32  # Llama 3.1 8B. The default below is quoted from accounts of the paper, which published no code.
PAPER_DEPTHS = {"bottom": 5, "top": 2, "bottom_transition": 1, "top_transition": 1}


@dataclass(frozen=True)
class Place:
    """Where in a model a tensor lies.

    Attributes:
        part: ``layer``; ``embeddings`` (all that comes before the layers); ``head`` (all that comes after: final norm,
            lm_head); ``tied`` (one matrix serves as embeddings and lm_head); ``shared`` (one block that several layers
            use); ``slices`` (a slice for each layer in one tensor); ``prediction`` (layers beyond the last, for
            multi-token prediction); ``outside`` the text decoder.
        layer: of ``layer``: its index, from 0.
        layers: of ``shared``: the layers that use it.
        axis: of ``slices``: the dimension in which the layers' slices follow each other.
    """

    part: Part
    layer: int | None = None
    layers: tuple[int, ...] = ()
    axis: int = 0


@dataclass(frozen=True)
class Mix:
    """How a blend is computed: by a merge method of mergekit's.

    Attributes:
        method: its name.
        inputs: the roles of the models that it takes, in its order; the base is one of them.
        base: the role of its base model; None for methods without one.
        parameters: by name: a value for all, or pairs of role and value.
        seed: for methods that draw at random.
    """

    method: str
    inputs: tuple[str, ...]
    base: str | None = None
    parameters: tuple[tuple[str, object], ...] = ()
    seed: int = 0


@dataclass(frozen=True)
class TensorSource:
    """Where a tensor's values come from.

    Attributes:
        origin: the role of the one model that it is copied from, ``blend``, or ``slices``.
        donor_share: the donors' weight together, 0 to 1.
        why: for people.
        shares: of a blend: each donor's share, by role. The recipient has the rest.
        mix: of a blend: how it is computed.
        slices: of a tensor that holds a slice for each layer: their sources.
    """

    origin: Origin
    donor_share: float
    why: str
    shares: tuple[tuple[str, float], ...] = ()
    mix: Mix | None = None
    slices: tuple[TensorSource, ...] = ()

    @property
    def same(self) -> tuple[object, ...]:
        """Equal for sources that give equal values, whatever led to them."""
        return self.origin, self.donor_share, self.shares, self.mix, tuple(one.same for one in self.slices)


@dataclass(frozen=True)
class SwapParameters:
    """The parameters of a swap as the user gave them, for one tensor (mergekit's ``filter:`` may vary them).

    ``bottom``, ``top``: donor layers at either end. ``transition`` (or one per end): blended layers on each inner edge.
    ``blend``: the donor's share there. ``layers``, ``blend_layers``, ``revert``: sets of layers such as ``0-4,30-31``,
    or ``none``. ``invert``: donor and recipient change places. ``embeddings``, ``head``, ``prediction``: a choice
    instead of the zone they touch. ``shared``: the choice for a block that layers of several sources share.
    """

    bottom: Depth | None = None
    top: Depth | None = None
    transition: Depth | None = None
    bottom_transition: Depth | None = None
    top_transition: Depth | None = None
    blend: float = 0.5
    layers: str | int | None = None
    blend_layers: str | int | None = None
    invert: bool = False
    revert: str | int | None = None
    embeddings: Choice | None = None
    head: Choice | None = None
    shared: Choice | None = None
    prediction: Choice | None = None


Swaps: TypeAlias = SwapParameters | Mapping[str, SwapParameters]
PARAMETER_NAMES = tuple(field.name for field in fields(SwapParameters))


def letter_of(origin: str) -> str:
    """The letter of a layer that comes from there."""
    if origin in LETTERS:
        return LETTERS[origin]
    return MORE_DONORS[(int(origin.removeprefix("donor")) - 2) % len(MORE_DONORS)]


def parse_layers(value: str | int, n_layers: int, name: str) -> frozenset[int]:
    """The layers that ``"0-4,30-31"`` names: both ends of a range belong to it. ``"none"`` names no layer.

    Raises:
        UserError: it is no such list, a layer is outside the model, or one is named twice.
    """
    found: set[int] = set()
    if value == NO_LAYERS:
        return frozenset()
    for item in str(value).split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", item)
        if not match:
            raise UserError(
                f"{name}: expected layers such as '0-4,30-31', got {value!r}.",
                "Write it as a quoted string in the YAML.",
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise UserError(f"{name}: the range {first}-{last} runs backwards.", f"Write {last}-{first}.")
        if last >= n_layers:
            raise UserError(
                f"{name}: layer {last} is outside the model, whose {n_layers} layers are 0-{n_layers - 1}.",
                "Both ends of a range belong to it.",
            )
        layers = set(range(first, last + 1))
        if found & layers:
            raise UserError(f"{name}: the ranges of {value!r} overlap in layer {min(found & layers)}.")
        found |= layers
    return frozenset(found)


@dataclass(frozen=True)
class Depths:
    """How many layers each zone has, and what was decided on the user's behalf."""

    bottom: int
    top: int
    bottom_transition: int
    top_transition: int
    notes: tuple[str, ...]


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as :func:`parse_layers` reads them; none is an empty text.

    >>> ranges([7, 0, 1, 2])
    '0-2,7'
    """
    runs = itertools.groupby(enumerate(sorted(numbers)), lambda pair: pair[1] - pair[0])
    ends = [(run[0], run[-1]) for run in ([number for _, number in pairs] for _, pairs in runs)]
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ends)


@functools.lru_cache(maxsize=256)
def resolve_depths(swap: SwapParameters, n_layers: int) -> Depths:
    """The four depths as numbers: the user's, the paper's for 32 layers, or scaled for ``auto``.

    Raises:
        UserError: a number is missing, negative, or the zones do not fit into the model.
    """
    if swap.transition is not None and None not in (swap.bottom_transition, swap.top_transition):
        raise UserError("transition is given beside bottom_transition and top_transition.", "Remove one or the other.")
    depths: dict[str, int] = {}
    notes: list[str] = []
    for name, paper in PAPER_DEPTHS.items():
        given = getattr(swap, name)
        if name.endswith("_transition"):
            if depths[name.removesuffix("_transition")] == 0:  # no zone, no inner edge
                if given not in (None, 0):
                    notes.append(f"{name} has no effect: there is no zone at that end")
                depths[name] = 0
                continue
            given = swap.transition if given is None else given
        if given is None and n_layers == PAPER_LAYERS:
            notes.append(f"{name} = {paper}: the paper's default for {PAPER_LAYERS} layers")
            given = paper
        if given is None:
            asked = "transition" if name.endswith("_transition") else name
            raise UserError(
                f"{asked} is not given, and the paper's defaults (5, 2, 1) are for {PAPER_LAYERS} layers; this model "
                f"has {n_layers}.",
                f"Give a number ({asked}: 1) or let it be scaled ({asked}: auto).",
            )
        if given == "auto":
            # Halves round up: 2.5 layers are 3, on every platform and without banker's rounding.
            scaled = max(1, int(paper * n_layers / PAPER_LAYERS + 0.5))
            notes.append(f"{name} = {scaled}: auto, {paper} of {PAPER_LAYERS} layers scaled to {n_layers}")
            given = scaled
        if given < 0:
            raise UserError(f"{name}: expected 0 or more layers, got {given}.")
        depths[name] = given
    total = sum(depths.values())
    if total > n_layers:
        listed = ", ".join(f"{name} {depth}" for name, depth in depths.items())
        raise UserError(
            f"The zones overlap: {listed} make {total} layers, the model has {n_layers}.", "Make them smaller."
        )
    return Depths(**depths, notes=tuple(notes))


def ramp(width: int, blend: float, outer: float = 1, inner: float = 0) -> list[float]:
    """The donor's share in each layer of a transition, from the outer zone inwards.

    One layer has ``blend``; a wider transition runs linearly from the outer zone's share through ``blend`` in its
    centre to the inner zone's, both exclusive.

    >>> ramp(3, 0.5)
    [0.75, 0.5, 0.25]
    """
    import numpy as np  # the command line, which imports this for the letters, does without

    end = width + 1
    return [float(share) for share in np.interp(range(1, end), (0, end / 2, end), (outer, blend, inner))]


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
            "Give it to one of them, or blend it: blend_layers with a blend under each, which together make 1 at most.",
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
            return _sliced(layers)
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
        "Say whose it is: add shared: recipient, donor or blend to the parameters.",
    )


def _sliced(layers: tuple[TensorSource, ...]) -> TensorSource:
    """The source of a tensor that holds a slice for each layer."""
    if len({source.same for source in layers}) == 1:
        return layers[0]
    share = sum(source.donor_share for source in layers) / len(layers)
    return TensorSource("slices", share, "a slice for each layer, which follows it", slices=layers)


def _at_an_end(name: str, touching: TensorSource, swaps: Mapping[str, SwapParameters]) -> TensorSource:
    """The source of what lies before the first layer or behind the last: what was chosen, or that layer's."""
    chosen = _chosen(name, swaps)
    if chosen is not None:
        return chosen
    if touching.origin == "pretrained":  # ``revert`` names layers only
        return _taken(0.0, "follows the zone that was reverted")
    return replace(touching, why=f"follows {touching.why}")


def _tied(embeddings: TensorSource, head: TensorSource, swaps: Mapping[str, SwapParameters]) -> TensorSource:
    chosen = [any(getattr(swap, name) is not None for swap in swaps.values()) for name in ("embeddings", "head")]
    if embeddings.same == head.same or chosen == [True, False]:
        return embeddings
    if chosen == [False, True]:
        return head
    raise UserError(
        f"This model ties its embeddings to its lm_head: they are one tensor, which cannot come from the "
        f"{embeddings.origin} ({embeddings.why}) and from the {head.origin} ({head.why}).",
        "Say embeddings: donor, recipient or blend (and the same for head, or nothing).",
    )
