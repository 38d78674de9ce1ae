"""Where the experts of a study changed, per layer and over its seeds, from ``turnswap analyze``."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from turnswap.merge_methods import layer_figures
from turnswap.merge_methods.analysis_file import read_analysis

Changes = dict[str, dict[str, float]]


def changes_of(analysis: Path) -> Changes:
    """By layer (``0``, ``1``, …): ||change|| / ||ancestor|| of both experts, and the cosine of their task vectors."""
    layers, _ = layer_figures.matrices(read_analysis(analysis))
    return {
        str(layer): {
            "recipient": layer_figures.change(cells, "recipient"),
            "donor": layer_figures.change(cells, "donor"),
            "cosine": layer_figures.cosine(cells),
        }
        for layer, cells in layers.items()
    }


def mean_changes(by_seed: Sequence[Changes]) -> Changes:
    """The plain mean over seeds."""
    return {
        place: {name: statistics.fmean(one[place][name] for one in by_seed) for name in figures}
        for place, figures in by_seed[0].items()
    }


def markdown(changes: Changes) -> str:
    """A column per layer."""
    lines = [f"| layer | {' | '.join(changes)} |", "|---|" + "--:|" * len(changes)]
    for name, said in (("recipient", "recipient's change"), ("donor", "donor's change"), ("cosine", "cosine")):
        lines.append(f"| {said} | {' | '.join(f'{place[name]:.2f}' for place in changes.values())} |")
    return "\n".join(lines) + "\n"
