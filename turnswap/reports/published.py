"""The Multi-IF paper's own scores, as reference lines beside measured ones."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

from turnswap.tasks.multiif.dataset import LANGUAGES
from turnswap.tasks.multiif.languages import name_of

from .figures import AVERAGE, FEWEST, FIGURES, holm
from .runs import Model
from .sheets import notes_of
from .table import Figure, Scores, Summary

SOURCE = "He et al. 2024, arXiv 2410.15553"
(PROVENANCE,) = notes_of("published", source=SOURCE)
(CAN_SAY,) = notes_of("against_published")


@dataclass(frozen=True)
class PublishedModel:
    """A model's scores in the paper, an accuracy per turn: averages over the languages, and by language where given."""

    name: str
    averages: Sequence[float]
    by_language: Mapping[str, Sequence[float]]

    def scores(self, languages: Sequence[str]) -> Scores | None:
        """The plain mean over these languages; None where the paper's figures do not tell."""
        turns = self.averages
        if set(languages) != set(LANGUAGES):
            if not all(language in self.by_language for language in languages):
                return None
            by_turn = zip(*(self.by_language[language] for language in languages), strict=True)
            turns = [sum(values) / len(values) for values in by_turn]
        return Scores(Figure(sum(turns) / len(turns)), tuple(map(Figure, turns)))


@lru_cache(maxsize=1)
def published_models() -> tuple[PublishedModel, ...]:
    """The paper's models, best third turn first. Accuracy is ``overall``: the mean of the four accuracies."""
    content = json.loads((Path(__file__).parent / "published_scores.json").read_text("utf-8"))
    models = [PublishedModel(name, **scores) for name, scores in content["models"].items()]
    return tuple(sorted(models, key=lambda model: -model.averages[-1]))


def published_scores(models: Sequence[Model]) -> dict[str, Scores]:
    """The paper's models over the languages that all these models ran; none unless each ran all of the benchmark."""
    languages = list(models[0].languages)
    if left_out(models) or any(list(model.languages) != languages for model in models):
        return {}
    return {model.name: scores for model in published_models() if (scores := model.scores(languages))}


def left_out(models: Sequence[Model]) -> str | None:
    """Why the paper's models cannot stand beside these; None where they can."""
    for model in models:
        for code, run in model.languages.items():
            if code not in LANGUAGES:
                return f"the benchmark has no {name_of(code)}"
            if not run.is_benchmark:
                return f"{model.name}'s data in {code} is not the benchmark's"
            if run.n != run.of:
                return f"{model.name} ran {run.n} of {run.of} conversations in {code}"
    return None


def against_published(summary: Summary, published: Mapping[str, Scores]) -> pd.DataFrame:
    """Whether a model's average differs from published ones: see :data:`CAN_SAY`.

    Returns:
        A row per published ``model``: its ``published`` average, the ``gap`` of ours to it, the gap's normal interval
        ``low`` to ``high`` at the summary's level, ``p`` (two-sided), and ``corrected`` by Holm's method for all rows.
        Nothing where the model's own average has no interval, or rests on fewer than 20 source prompts.
    """
    ours, rows = summary.estimates.get(summary.headline_scope), []
    column = FIGURES.index(AVERAGE)
    value, error = (float(ours.values[column]), float(np.nanstd(ours.replicates[:, column]))) if ours else (0.0, 0.0)
    for name, scores in published.items() if ours and ours.sources[column] >= FEWEST else ():
        theirs = scores.average.value
        # A share's variance is p (1 - p) by some factor, which both models have: they ran the same conversations.
        other = error * math.sqrt(theirs * (1 - theirs) / max(value * (1 - value), 1e-9))
        both, gap = math.hypot(error, other), value - theirs
        reach = NormalDist().inv_cdf(0.5 + summary.resampling.level / 2) * both
        p = 2 * NormalDist().cdf(-abs(gap) / both) if both else math.nan
        rows.append((name, theirs, gap, max(gap - reach, -1.0), min(gap + reach, 1.0), p))
    frame = pd.DataFrame(rows, columns=["model", "published", "gap", "low", "high", "p"])
    return frame.assign(corrected=holm(frame["p"].to_numpy(dtype=float)))
