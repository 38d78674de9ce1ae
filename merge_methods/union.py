"""What a rule suggests of several donors, each compared with the same recipient, as one: every layer has one taker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turnswap.core.errors import UserError

from . import layer_figures as figures
from .analysis_file import Analysis
from .layout import Layout
from .suggest import BLEND, Decision, Suggestion, as_layers, ends_of
from .swap_plan import layer_sources
from .zones import SwapParameters, ranges


def united(suggestions: Sequence[Suggestion], analyses: Sequence[Analysis], layout: Layout) -> Suggestion:
    """One suggestion of several by the same rule; ``parameters`` holds those of each donor by its name.

    A layer that several donors would give comes from the one whose share of change there is the largest: ||change|| /
    ||ancestor|| of the layer's matrices, divided by the sum over the layers. ``layout`` is the recipient's.
    """
    names = [analysis.models["donor"] for analysis in analyses]
    if any(isinstance(one.parameters.get("layers"), list) for one in suggestions):
        raise UserError("Of several donors each gives whole layers.", "Leave --granularity module out.")
    claims = [layer_sources(SwapParameters(**one.parameters), layout.n_layers) for one in suggestions]
    shares = [figures.shares(figures.matrices(one)[0], figures.change)["donor"] for one in analyses]
    taken: list[dict[int, Decision]] = [dict.fromkeys(range(layout.n_layers), "recipient") for _ in names]
    contested: dict[tuple[str, str], list[int]] = {}
    for layer in range(layout.n_layers):
        wanting = [donor for donor, _ in enumerate(names) if claims[donor][layer].donor_share]
        wanting.sort(key=lambda donor: -shares[donor][layer])
        if wanting:
            taken[wanting[0]][layer] = "blend" if claims[wanting[0]][layer].origin == "blend" else "donor"
        for loser in wanting[1:]:
            contested.setdefault((names[wanting[0]], names[loser]), []).append(layer)
    parameters: dict[str, Any] = {}
    notes = [note for one in suggestions for note in one.notes]
    for name, suggestion, claimed, decisions in zip(names, suggestions, claims, taken, strict=True):
        touching, more = ends_of(decisions[0], decisions[layout.n_layers - 1], layout)
        notes += more
        parameters[name] = as_layers(decisions) | touching
        if "blend" in decisions.values():
            share = parameters[name]["blend"] = suggestion.parameters.get("blend", BLEND)
            if any(source.origin == "blend" and source.donor_share != share for source in claimed):
                notes.append(
                    f"{name}: every blended layer has {share:g} of the donor; alone its transitions would ramp."
                )
    reasons = [f"{name}: {said}" for name, one in zip(names, suggestions, strict=True) for said in one.reasons]
    reasons += [
        f"Layers {ranges(layers)}, which {winner} and {loser} would both give, are {winner}'s: its share of change "
        "there is the larger."
        for (winner, loser), layers in contested.items()
    ]
    rows = [{"donor": name, **row} for name, one in zip(names, suggestions, strict=True) for row in one.figures]
    first = suggestions[0]
    return Suggestion(first.rule, first.source, parameters, tuple(reasons), tuple(rows), tuple(dict.fromkeys(notes)))
