"""Which layers to take from the donor, by published rules, from where fine-tuning changed both experts.

Each is a pure function of an analysis and of the recipient's layout. None of them is known to find the best swap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import takewhile
from statistics import fmean
from typing import Any, Literal, TypeAlias

from turnswap.core.errors import UserError

from . import layer_figures as figures
from .analysis_file import Analysis
from .layer_figures import ROUNDING, Unit, module_filters
from .layout import MIXERS, MODULES, Layout
from .zones import NO_LAYERS, PAPER_LAYERS, SwapParameters, ranges, resolve_depths

Granularity: TypeAlias = Literal["layer", "module"]
Decision: TypeAlias = Literal["donor", "recipient", "blend"]
THRESHOLD, BLEND = 0.001, 0.5
MATRICES = "Norms do not count; a projection's bias counts with its matrix."


@dataclass(frozen=True)
class Suggestion:
    """What a rule suggests."""

    rule: str  # its name
    source: str  # where the rule comes from, and what of it is not from there
    parameters: Mapping[str, Any]  # what stands under ``parameters:`` in a layerswap.yml
    reasons: tuple[str, ...]  # why, for people
    figures: tuple[Mapping[str, object], ...] = ()  # what the rule went by: a row per layer or module, of the same keys
    notes: tuple[str, ...] = ()  # what was decided on the user's behalf


def paper(analysis: Analysis, layout: Layout) -> Suggestion:
    """Five layers at the bottom and two at the top, with one blended layer at each inner edge, whatever the figures.

    Bandarkar et al. 2024, arXiv 2410.01335, for 32 layers; scaled to other depths.

    Raises:
        UserError: the model has too few layers for the zones.
    """
    n_layers = analysis.n_layers
    depths = resolve_depths(SwapParameters(bottom="auto", top="auto", transition="auto"), n_layers)
    zones = {"bottom": depths.bottom, "top": depths.top, "transition": depths.bottom_transition}
    ends, notes = ends_of("donor", "donor", layout)
    scaled = "" if n_layers == PAPER_LAYERS else f", scaled to the {n_layers} of this model"
    reasons = (
        f"bottom {zones['bottom']}, top {zones['top']}, transition {zones['transition']}: "
        f"5, 2 and 1 of {PAPER_LAYERS} layers{scaled}.",
        "It is the same for every pair of experts: it does not use the analysis.",
    )
    source = "Bandarkar et al. 2024, arXiv 2410.01335, its default as quoted from accounts of the paper."
    return Suggestion("paper", source, zones | ends, reasons, notes=notes)


def ratio(analysis: Analysis, layout: Layout) -> Suggestion:
    """The donor's layers at either end, as far as its share of the change exceeds the recipient's.

    The change of a layer is ||change|| / ||ancestor|| over its matrices together; an expert's figures are divided by
    their sum over the layers. After the analysis of Bandarkar et al. 2024, arXiv 2410.01335; the form is ours.

    Raises:
        UserError: an expert did not change, or the donor's share is the larger at neither end.
    """
    layers, notes = figures.matrices(analysis)
    shares = figures.shares(layers, figures.change)

    def run(order: Iterable[int]) -> int:
        return len(list(takewhile(lambda layer: _difference(shares, layer) > ROUNDING, order)))

    bottom, top = run(range(analysis.n_layers)), run(reversed(range(analysis.n_layers)))
    if not bottom + top:
        ends = [f"layer {n}: recipient {shares['recipient'][n]:.4f}, donor {shares['donor'][n]:.4f}"
                for n in (0, analysis.n_layers - 1)]  # fmt: skip
        raise UserError(
            f"ratio: the donor did not change more than the recipient at either end ({'; '.join(ends)}; shares "
            "of each expert's change over all layers).",
            "The rule has nothing to suggest for these experts. Try --rule shin-hwang: it can take any layer.",
        )
    donors = {*range(bottom), *range(analysis.n_layers - top, analysis.n_layers)}
    decisions: dict[int, Decision] = {layer: "donor" if layer in donors else "recipient" for layer in layers}
    touching, more = ends_of(decisions[0], decisions[analysis.n_layers - 1], layout)
    reasons = (
        f"bottom {bottom}: {_told('from layer 0 on', bottom)}.",
        f"top {top}: {_told('from the last layer down', top)}.",
        "transition 0: the paper found no significant gain from blended layers, as accounts of it say.",
    )
    source = (
        "after the analysis of Bandarkar et al. 2024, arXiv 2410.01335, of where each expert changed most. "
        f"The form is turnswap's: ||change|| / ||ancestor|| of a layer, divided by the sum over layers. {MATRICES}"
    )
    parameters = {"bottom": bottom, "top": top, "transition": 0} | touching
    return Suggestion("ratio", source, parameters, reasons, _rows(shares, decisions), (*notes, *more))


def shin_hwang(
    analysis: Analysis,
    layout: Layout,
    granularity: Granularity = "layer",
    threshold: float = THRESHOLD,
    blend: float = BLEND,
) -> Suggestion:
    """Per layer, or per attention and MLP: the expert whose share of the relative change is larger, or a blend.

    Shin and Hwang 2026, arXiv 2601.22620: r(W) = ||W_expert - W_base|| / ||W_base|| (Frobenius), summed per unit,
    divided by the sum over units; where the shares differ by ``threshold`` or less, both are blended.

    Args:
        analysis: of the three models.
        layout: the recipient's.
        granularity: what the unit is.
        threshold: tau, 0 or more.
        blend: the donor's share in blends, 0 to 1.

    Raises:
        UserError: a value is out of range, an expert did not change, or modules cannot be told by their names.
    """
    if not (0 <= threshold < math.inf):
        raise UserError(f"threshold: expected 0 or more, got {threshold}.")
    if not 0 <= blend <= 1:
        raise UserError(f"blend: expected the donor's share, 0 to 1, got {blend}.")
    layers, notes = figures.matrices(analysis)
    shares = figures.shares(layers, figures.summed)
    decisions = {n: _decided(_difference(shares, n), threshold) for n in layers}
    ends, more = ends_of(decisions[0], decisions[analysis.n_layers - 1], layout)
    named: dict[str, Any] = {**as_layers(decisions)}
    rows, words = _rows(shares, decisions), _in_words(decisions)
    if granularity == "module":
        held = dict.fromkeys(cell.component for cells in layers.values() for cell in cells)
        beside = [name for name in held if not any(name in parts for parts in MODULES.values())]
        filters = module_filters(layout)
        units = {
            (n, module): inside
            for n, cells in layers.items()
            for module, parts in MODULES.items()
            if (inside := [cell for cell in cells if cell.component in parts])
        }
        of_modules = figures.shares(units, figures.summed)
        chosen = {at: _decided(_difference(of_modules, at), threshold) for at in units}
        sets = {module: as_layers({n: made for (n, of), made in chosen.items() if of == module}) for module in filters}
        for name, value in named.items():
            entries = [{"filter": text, "value": sets[of][name]} for of, texts in filters.items() for text in texts]
            named[name] = [*entries, {"value": value}]
        more = (
            *more,
            f"What belongs to neither module ({', '.join(['norms before and after them', *beside])}) follows the "
            f"decision for the whole layer: {words}. Norms inside a module follow the module.",
        )
        if mixers := [name for name in MIXERS if name in held]:
            more = (*more, f"{', '.join(mixers)} count as attention, whose place they take.")
        rows, words = _rows(of_modules, chosen), _in_words(chosen)
    more = (*figures.deviations(layers), *more)
    reasons = (
        f"{granularity} by {granularity}: d = p_donor - p_recipient; where |d| > {threshold:g}, the expert "
        f"with the larger p gives it; else both are blended, {blend:g} from the donor.",
        f"{granularity.capitalize()}s: {words}.",
    )
    source = (
        "Shin and Hwang 2026, arXiv 2601.22620: r(W) = ||W_expert - W_base|| / ||W_base||, summed per "
        f"{granularity}, divided by the sum over all: p. {MATRICES}"
    )
    return Suggestion("shin-hwang", source, named | {"blend": blend} | ends, reasons, rows, (*notes, *more))


def alignment(analysis: Analysis, layout: Layout) -> Suggestion:
    """The recipient's middle, where the task vectors align, between the donor's ends, where they do not.

    arXiv 2605.26735 found the middle updates of two experts aligned and the outer ones diverging. The form is ours: the
    cosine of the two task vectors per layer; of all ways to cut the layers into an inner block and two outer zones of
    at least one layer each, the one that leaves the least squared deviation within the two groups.

    Raises:
        UserError: a layer has no cosine, since an expert left it as it was; or no middle is the more aligned.
    """
    layers, notes = figures.matrices(analysis)
    cosines = {layer: figures.cosine(cells) for layer, cells in layers.items()}
    undefined = [layer for layer, cosine in cosines.items() if math.isnan(cosine)]
    if undefined:
        raise UserError(
            f"alignment: layers {ranges(undefined)} have no cosine, since an expert did not change there.",
            "Use another rule: ratio and shin-hwang accept unchanged layers.",
        )
    values = list(cosines.values())
    first, end = figures.best_middle(values)
    middle, outer = values[first:end], values[:first] + values[end:]
    listed = ", ".join(f"{value:.3f}" for value in values)
    if not middle or fmean(middle) - fmean(outer) <= ROUNDING:
        raise UserError(
            "alignment: these task vectors have no middle that is more aligned than the layers around it. The cosines, "
            f"layer by layer: {listed}.",
            "The rule has nothing to suggest for these experts. Use another rule.",
        )
    decisions: dict[int, Decision] = {layer: "recipient" if first <= layer < end else "donor" for layer in layers}
    ends, more = ends_of("donor", "donor", layout)
    explained = 1 - (figures.deviation(middle) + figures.deviation(outer)) / figures.deviation(values)
    reasons = (
        f"The middle, layers {first}-{end - 1}, has a mean cosine of {fmean(middle):.4f}, the layers around it "
        f"{fmean(outer):.4f}; the cut explains {explained:.0%} of the cosines' variance.",
        "Where the updates align, the recipient keeps its own; where they diverge, the donor's are taken.",
        "There is always a best cut: it says little if the two means hardly differ.",
    )
    source = (
        "after arXiv 2605.26735, which found the middle updates of two experts aligned and the outer ones diverging. "
        f"The form is turnswap's: the cut of the layers that leaves the least squared deviation. {MATRICES}"
    )
    parameters = {"bottom": first, "top": analysis.n_layers - end, "transition": 0} | ends
    rows = tuple({"layer": n, "cosine": cosines[n], "from": decisions[n]} for n in layers)
    return Suggestion("alignment", source, parameters, reasons, rows, (*notes, *more))


RULES: Mapping[str, Callable[..., Suggestion]] = {
    "paper": paper,
    "ratio": ratio,
    "shin-hwang": shin_hwang,
    "alignment": alignment,
}


def _difference(shares: Mapping[str, Mapping[Unit, float]], unit: Unit) -> float:
    return shares["donor"][unit] - shares["recipient"][unit]


def _rows(
    shares: Mapping[str, Mapping[Unit, float]], decisions: Mapping[Unit, Decision]
) -> tuple[dict[str, object], ...]:
    """The figures of each layer, or of each ``(layer, module)``, and what was decided."""
    rows = []
    for unit, decision in decisions.items():
        place = dict(zip(("layer", "module"), unit if isinstance(unit, tuple) else (unit,), strict=False))
        told = {f"p_{role}": of[unit] for role, of in shares.items()} | {"d": _difference(shares, unit)}
        rows.append({**place, **told, "from": decision})
    return tuple(rows)


def _decided(difference: float, threshold: float) -> Decision:
    if abs(difference) <= threshold:
        return "blend"
    return "donor" if difference > 0 else "recipient"


def as_layers(decisions: Mapping[int, Decision]) -> dict[str, str]:
    """Decisions as ``layers`` and ``blend_layers``."""
    return {
        name: ranges(layer for layer, made in decisions.items() if made == decision) or NO_LAYERS
        for name, decision in (("layers", "donor"), ("blend_layers", "blend"))
    }


def _in_words(decisions: Mapping[Any, Decision]) -> str:
    told: dict[Decision, str] = {"donor": "of the donor", "recipient": "of the recipient", "blend": "blended"}
    made = list(decisions.values())
    return ", ".join(f"{made.count(decision)} {words}" for decision, words in told.items())


def _told(where: str, depth: int) -> str:
    exceeds, running = ("exceeds", f" in {depth} layers running") if depth else ("does not exceed", "")
    return f"{where}, the donor's share of its total change {exceeds} the recipient's share{running}"


def ends_of(first: Decision, last: Decision, layout: Layout) -> tuple[dict[str, str], tuple[str, ...]]:
    """Embeddings and head, said outright: no account tells what the paper did with them. They follow the end layers.

    A block that several layers share stays with the recipient.
    """
    parts = {weight.place.part for weight in layout.weights.values()}
    ends: dict[str, str] = {"embeddings": first, "head": last}
    note = (
        "Embeddings and head (final norm, lm_head) follow the layers that they touch: no rule covers them, and "
        "accounts of the paper do not say what it did with them."
    )
    if "tied" in parts and first != last:
        ends = {"embeddings": "recipient"}
        note = (
            f"Embeddings and lm_head are one matrix here, and the layers that they touch differ (layer 0: {first}, the "
            f"last: {last}): it stays with the recipient. The final norm follows the last layer."
        )
    if "shared" not in parts:
        return ends, (note,)
    return ends | {"shared": "recipient"}, (note, "What several layers share stays with the recipient.")
