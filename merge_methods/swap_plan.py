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
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Literal, TypeAlias

from turnswap.core.errors import UserError

Origin: TypeAlias = Literal["recipient", "donor", "blend", "pretrained"]
Part: TypeAlias = Literal["embeddings", "layer", "head", "tied", "outside"]
Choice: TypeAlias = Literal["donor", "recipient", "blend"]
Depth: TypeAlias = int | Literal["auto"]

NAME = "layer_swap"  # what merge_method: says
MIDDLE, NOT_NAMED = "middle", "not named in layers"
NO_LAYERS = "none"
# A letter per layer, by where it comes from; "mixed" is a layer whose tensors differ in that.
LETTERS = {"recipient": "R", "donor": "D", "blend": "b", "pretrained": "P", "mixed": "*"}
PAPER_LAYERS = 32  # Llama 3.1 8B. The default below is quoted from accounts of the paper, which published no code.
PAPER_DEPTHS = {"bottom": 5, "top": 2, "bottom_transition": 1, "top_transition": 1}


@dataclass(frozen=True)
class Place:
    """Where in a model a tensor lies.

    ``part`` is ``layer`` (then ``layer`` is its index, from 0), ``embeddings``, ``head`` (final norm, lm_head),
    ``tied`` (one matrix serves as embeddings and lm_head), or ``outside`` the text decoder.
    """

    part: Part
    layer: int | None = None


@dataclass(frozen=True)
class TensorSource:
    """Where a tensor's values come from. ``donor_share`` is the donor's weight, 0 to 1; ``why`` is for people."""

    origin: Origin
    donor_share: float
    why: str


@dataclass(frozen=True)
class SwapParameters:
    """The parameters of a swap as the user gave them, for one tensor (mergekit's ``filter:`` may vary them).

    ``bottom``, ``top``: donor layers at either end. ``transition`` (or one per end): blended layers on each inner edge.
    ``blend``: the donor's share there. ``layers``, ``blend_layers``, ``revert``: sets of layers such as ``0-4,30-31``,
    or ``none``. ``invert``: donor and recipient change places. ``embeddings``, ``head``: a choice instead of the zone
    they touch.
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


PARAMETER_NAMES = tuple(field.name for field in fields(SwapParameters))


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


@functools.lru_cache(maxsize=256)
def layer_sources(swap: SwapParameters, n_layers: int) -> tuple[TensorSource, ...]:
    """The source of every decoder layer, from 0 to ``n_layers - 1``.

    Raises:
        UserError: ranges are outside the model, overlap, or contradict each other.
    """
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
    if swap.revert is not None:
        for layer in parse_layers(swap.revert, n_layers, "revert"):
            if sources[layer].origin != "recipient":
                raise UserError(
                    f"revert: layer {layer} is already taken: {sources[layer].why}.",
                    "Only layers that would stay with the recipient can be reverted.",
                )
            sources[layer] = TensorSource("pretrained", 0.0, f"revert {swap.revert}")
    return tuple(sources)


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


def source_of(place: Place, swap: SwapParameters, n_layers: int) -> TensorSource:
    """The source of a tensor at ``place``, in a model of ``n_layers`` decoder layers.

    Raises:
        UserError: the parameters are contradictory or do not fit the model.
    """
    layers = layer_sources(swap, n_layers)
    if place.part == "outside":
        return TensorSource("recipient", 0.0, "outside the text decoder")
    if place.part == "layer":
        assert place.layer is not None
        return layers[place.layer]
    embeddings = _at_an_end("embeddings", swap.embeddings, layers[0], swap)
    head = _at_an_end("head", swap.head, layers[-1], swap)
    if place.part == "embeddings":
        return embeddings
    if place.part == "head":
        return head
    return _tied(embeddings, head, swap)


def _at_an_end(name: str, choice: Choice | None, touching: TensorSource, swap: SwapParameters) -> TensorSource:
    if choice is not None:
        share = {"donor": 1.0, "recipient": 0.0, "blend": swap.blend}[choice]
        return _taken(share, f"{name}: {choice}")
    if touching.origin == "pretrained":  # ``revert`` names layers only
        return _taken(0.0, "follows the zone that was reverted")
    return replace(touching, why=f"follows {touching.why}")


def _tied(embeddings: TensorSource, head: TensorSource, swap: SwapParameters) -> TensorSource:
    same = (embeddings.origin, embeddings.donor_share) == (head.origin, head.donor_share)
    if same or (swap.embeddings is not None and swap.head is None):
        return embeddings
    if swap.head is not None and swap.embeddings is None:
        return head
    raise UserError(
        f"This model ties its embeddings to its lm_head: they are one tensor, which cannot come from the "
        f"{embeddings.origin} ({embeddings.why}) and from the {head.origin} ({head.why}).",
        "Say embeddings: donor, recipient or blend (and the same for head, or nothing).",
    )
