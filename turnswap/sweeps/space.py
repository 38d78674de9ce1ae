"""The space of swaps that a search draws from: zones, shares per layer or module, methods and donors, from a YAML.

A dimension is a list (one of them), or a range: ``0-8``, or ``{low, high, step}``. Of ``bottom``, ``top`` and
``transition``, those that are not said are 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from turnswap.core.errors import UserError
from turnswap.merge_methods.configuration import OF_A_DONOR
from turnswap.merge_methods.layer_figures import module_filters
from turnswap.merge_methods.layout import Layout
from turnswap.merge_methods.zones import NO_LAYERS, ranges

SHARES = ("layers", "modules")  # per what ``shares`` draws one
DEPTHS = ("bottom", "top")
ENDS, CHOICES = ("embeddings", "head", "shared", "prediction"), ("donor", "recipient", "blend")
REAL = ("shares", "blend")  # dimensions whose ranges are of any numbers; others are of whole ones
_FORM = "Write a list, 0-8, 0.2-0.8, or {low: 0, high: 1, step: 0.25}."


@dataclass(frozen=True)
class Range:
    """From ``low`` to ``high``, both belonging to it."""

    low: float
    high: float
    step: float | None = None
    whole: bool = False


Dimension: TypeAlias = Range | list[Any]
Shares: TypeAlias = Mapping[tuple[int, str], float]  # the donor's, by layer and module ("" for the whole layer)


class Space:
    """The dimensions of a space, and the swap that a point in it is."""

    def __init__(self, content: Mapping[str, Any], donors: list[str], layout: Layout) -> None:
        """Check a space.

        Args:
            content: what the YAML says.
            donors: their roles.
            layout: of the recipient.

        Raises:
            UserError: a dimension is malformed, or is none of a swap's parameters.
        """
        content = dict(content)
        self.layout = layout
        self.filters = {"": [""]}
        self.choose_donor = content.pop("donors", None)
        self.donors = donors
        if self.choose_donor not in (None, "one"):
            raise UserError(
                f"space: donors cannot be {self.choose_donor!r}.", "Write donors: one, to choose one each time."
            )
        own = {role: content.pop(role) for role in donors if role in content}
        for role, given in own.items():
            if not isinstance(given, Mapping):
                raise UserError(
                    f"space: {role}: expected dimensions, got {given!r}.", f"Write {role}: {{bottom: 0-8}}."
                )
        self.parts: dict[str, dict[str, Dimension]] = {}
        self.parts[""] = self._part("", content)
        self.parts |= {role: self._part(role, given) for role, given in own.items()}
        if not any(self.parts.values()):
            raise UserError("space: there is no dimension.", "Write bottom: 0-8 and top: 0-4, or shares: layers.")

    def _part(self, role: str, content: Mapping[str, Any]) -> dict[str, Dimension]:
        content = dict(content)
        found: dict[str, Dimension] = {}
        shares = content.pop("shares", None)
        if shares is not None:
            limits = dict(shares) if isinstance(shares, Mapping) else {"per": shares}
            per = limits.pop("per", None)
            if per not in SHARES or role or content.keys() & {"bottom", "top", "layers", "blend"}:
                raise UserError(
                    f"space: shares cannot be {shares!r} here.",
                    "Write shares: layers, or modules, for one donor and without zones.",
                )
            if per == "modules":
                self.filters = dict(module_filters(self.layout))
            share = _dimension("shares", {"low": 0, "high": 1} | limits)
            if not isinstance(share, Range) or not 0 <= share.low <= share.high <= 1:
                raise UserError(f"space: shares cannot be {limits!r}.", "They lie between low: 0 and high: 1.")
            found = {_name(n, module): share for n in range(self.layout.n_layers) for module in self.filters}
        for name, given in content.items():
            if name not in OF_A_DONOR and name not in ("revert", "seed"):
                raise UserError(
                    f"space: {name} is no dimension.", f"There are: shares, donors, {', '.join(OF_A_DONOR)}."
                )
            found[name] = _dimension(name, given)
        if found.keys() & set(DEPTHS):  # the method's defaults are for one size of models
            shared = self.parts.get("", {}) if role else {}
            for name in ("bottom", "top", "transition"):
                if name not in shared:
                    found.setdefault(name, [0])
        return found

    @property
    def n_numbers(self) -> int:
        """How many dimensions are ranges."""
        return sum(isinstance(one, Range) for part in self.parts.values() for one in part.values())

    def suggest(self, trial: Any) -> dict[str, Any]:
        """The parameters of the swap that a trial of Optuna's draws, as :func:`.in_memory.swap_content` takes them."""
        drawn: dict[str, dict[str, Any]] = {}
        for role, dimensions in self.parts.items():
            drawn[role] = {name: _draw(trial, f"{role} {name}".strip(), one) for name, one in dimensions.items()}
        shares = {key: drawn[""].pop(_name(*key)) for key in self._share_keys()}
        # Shares are of layers: unless it is said, no layer's share decides on embeddings and head.
        ends = {"embeddings": "recipient", "head": "recipient"} if shares else {}
        found = ends | drawn.pop("") | (of_shares(shares, self.layout, self.filters) if shares else {})
        if self.choose_donor:
            chosen = trial.suggest_categorical("donor", self.donors)
            own = {name: found.pop(name) for name in list(found) if name in OF_A_DONOR}
            drawn = {
                role: own | drawn.get(role, {}) if role == chosen else {"layers": NO_LAYERS} for role in self.donors
            }
        return found | {role: values for role, values in drawn.items() if values}

    def shares(self, params: Mapping[str, Any]) -> Shares:
        """The shares that a trial drew; empty for a space of zones."""
        return {key: params[_name(*key)] for key in self._share_keys() if _name(*key) in params}

    def with_shares(self, parameters: Mapping[str, Any], shares: Shares) -> dict[str, Any]:
        """The parameters of a swap of this space with other shares."""
        if "blend_layers" not in parameters:  # they stand under a donor
            return {
                name: self.with_shares(given, shares)
                if isinstance(given, Mapping) and "blend_layers" in given
                else given
                for name, given in parameters.items()
            }
        others = {name: given for name, given in parameters.items() if name != "blend"}
        return others | of_shares(shares, self.layout, self.filters)

    def _share_keys(self) -> list[tuple[int, str]]:
        keys = [(layer, module) for layer in range(self.layout.n_layers) for module in self.filters]
        return [key for key in keys if _name(*key) in self.parts[""]]


def _name(layer: int, module: str) -> str:
    return f"share {layer} {module}".strip()


def _dimension(name: str, given: Any) -> Dimension:
    if name in ENDS and (wrong := [one for one in given if one not in CHOICES] if isinstance(given, list) else [given]):
        raise UserError(f"space: {name} cannot be {wrong[0]!r}.", f"There are: {', '.join(CHOICES)}.")
    if isinstance(given, list) and given and all(isinstance(one, (str, int, float)) for one in given):
        return list(dict.fromkeys(given))
    limits = given
    if isinstance(given, str) and (match := re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)\s*", given)):
        limits = {"low": float(match[1]), "high": float(match[2])}
    if isinstance(limits, Mapping) and {"low", "high"} <= limits.keys() <= {"low", "high", "step"}:
        numbers = [limits["low"], limits["high"], limits.get("step", 1)]
        if all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers):
            low, high, step = map(float, numbers)
            whole = name not in REAL
            if low <= high and step > 0 and not (whole and any(n % 1 for n in (low, high, step))):
                return Range(low, high, step if "step" in limits else None, whole)
    if isinstance(given, (int, float, bool)):
        return [given]
    raise UserError(f"space: {name} cannot be {given!r}.", _FORM)


def _draw(trial: Any, name: str, dimension: Dimension) -> Any:
    if isinstance(dimension, list):
        return trial.suggest_categorical(name, dimension)
    if dimension.whole:
        return trial.suggest_int(name, int(dimension.low), int(dimension.high), step=int(dimension.step or 1))
    return trial.suggest_float(name, dimension.low, dimension.high, step=dimension.step)


def of_shares(shares: Shares, layout: Layout, filters: Mapping[str, list[str]]) -> dict[str, Any]:
    """The parameters of a swap with these shares of the donor: 0 keeps the recipient's tensors, 1 takes the donor's.

    What is in no module (norms, where shares are per module) stays with the recipient.
    """
    whole = {module: ranges(n for n, m in shares if m == module and shares[n, m] == 1) for module in filters}
    mixed = {module: ranges(n for n, m in shares if m == module and 0 < shares[n, m] < 1) for module in filters}
    blends = [
        {"filter": prefix + text.removeprefix("."), "value": shares[layer, module]}
        for layer, prefix in _prefixes(layout)
        for module, texts in filters.items()
        for text in texts
        if 0 < shares[layer, module] < 1
    ]
    found = {"layers": _filtered(whole, filters), "blend_layers": _filtered(mixed, filters)}
    return found | ({"blend": [*blends, {"value": 0.5}]} if blends else {})


def _filtered(layers: Mapping[str, str], filters: Mapping[str, list[str]]) -> Any:
    if filters.keys() == {""}:
        return layers[""] or NO_LAYERS
    values = [{"filter": text, "value": layers[module] or NO_LAYERS} for module in filters for text in filters[module]]
    return [*values, {"value": NO_LAYERS}]


def _prefixes(layout: Layout) -> Iterator[tuple[int, str]]:
    """What the names of each layer's tensors begin with, up to the point after its number."""
    seen = set()
    for weight in layout.weights.values():
        layer = weight.place.layer
        if layer is not None and (start := f"{weight.name.partition(f'.{layer}.')[0]}.{layer}.") not in seen:
            seen.add(start)
            yield layer, start
