"""The Multi-IF paper's own scores, as reference lines beside measured ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from turnswap.tasks.multiif.dataset import LANGUAGES

from .runs import Model
from .table import Figure, Scores

SOURCE = "He et al. 2024, arXiv 2410.15553"

# Conversations per language in the published data: what tells the benchmark from other data in its format.
CONVERSATIONS = {"en": 909, "zh": 454, "fr": 548, "ru": 515, "hi": 542, "es": 516, "it": 493, "pt": 524}


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
    whole = all(run.n == run.of for model in models for run in model.languages.values())
    if not whole or not all(is_benchmark(model) and list(model.languages) == languages for model in models):
        return {}
    return {model.name: scores for model in published_models() if (scores := model.scores(languages))}


def is_benchmark(model: Model) -> bool:
    """Whether the data held as many conversations as the benchmark does, in every language that was run."""
    return all(run.of == CONVERSATIONS.get(code) for code, run in model.languages.items())
