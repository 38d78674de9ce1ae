"""The parameters of a swap as a user gives them: sets of layers, zones at the ends of a model, and likely slips.

The paper's default (Bandarkar et al. 2024, arXiv 2410.01335) is for 32 layers: 5 of the donor's at the bottom, 2 at the
top, 1 blended at each inner edge. Nothing here knows of files, tensors or mergekit.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, get_args

from turnswap.core.errors import UserError

Choice: TypeAlias = Literal["donor", "recipient", "blend"]
Depth: TypeAlias = int | Literal["auto"]

NO_LAYERS = "none"
PAPER_LAYERS = 32  # Llama 3.1 8B. The default below is quoted from accounts of the paper, which published no code.
PAPER_DEPTHS = {"bottom": 5, "top": 2, "bottom_transition": 1, "top_transition": 1}


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


PARAMETER_NAMES = tuple(field.name for field in fields(SwapParameters))
SETS = ("layers", "blend_layers", "revert")
DEPTHS = ("transition", *PAPER_DEPTHS)
RANGES = re.compile(r"\s*\d+\s*(-\s*\d+\s*)?(,\s*\d+\s*(-\s*\d+\s*)?)*|none")
SEXAGESIMAL = 60  # YAML 1.1 reads 1:2 as 1 * 60 + 2


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


def is_ambiguous(name: str, value: object) -> bool:
    """Whether a set of layers is a number that YAML may have made of something else, such as ``1:2``."""
    return name in SETS and type(value) is int and value >= SEXAGESIMAL


def is_unreadable(name: str, value: object) -> bool:
    """Whether a text is no set of layers."""
    return name in SETS and isinstance(value, str) and not RANGES.fullmatch(value)


def what_to_write(name: str, value: Any) -> str:
    """Advice for a value of a parameter that was refused; empty where nothing is to be guessed."""
    if name in SETS:
        return _for_layers(name, value)
    text = str(value).strip().strip("'\"").lower()
    if name in DEPTHS:
        if isinstance(value, bool):
            return f"Write a number: {name}: 1."
        if whole := re.fullmatch(r"(\d+)(\.0*)?", text):
            return f"Write {name}: {int(whole[1])}."
        return f"Write {name}: auto." if text == "auto" else f"Write a number of layers, such as {name}: 2, or auto."
    if name == "blend":
        number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", text.replace(",", "."))
        share = float(number[1]) / (1 if "%" not in text and float(number[1]) <= 1 else 100) if number else 2.0
        return f"Write blend: {share:g}." if share <= 1 else "Write the donor's share, such as blend: 0.5."
    if name == "invert":
        return "Write invert: true or invert: false."
    return f"Write {name}: {text}." if text in (*get_args(Choice), "pretrained") else ""


def _for_layers(name: str, value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return f'Write which layers, in quotes: {name}: "0-4".'
    if is_ambiguous(name, value):
        minutes, rest = divmod(value, SEXAGESIMAL)
        return f'Write {name}: "{value}" for that layer, or {name}: "{minutes}-{rest}" for a range.'
    text = re.sub(r"\s*(?:[:\u2010-\u2015\u2212]|\.{2,3}|\bto\b)\s*", "-", str(value).strip().strip("[](){}'\""))
    text = re.sub(r"\s*[;,]\s*|(?<=\d)\s+(?=\d)", ",", text)
    if RANGES.fullmatch(text):
        return f'Write {name}: "{text}" (both ends of a range belong to it).'
    return f'Write layers and ranges of them, in quotes: {name}: "0-4,30-31".'
