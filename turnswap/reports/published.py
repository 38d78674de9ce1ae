"""The Multi-IF paper's own scores, as reference lines beside measured ones."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from turnswap.tasks.multiif.dataset import LANGUAGES

from .runs import Model

SOURCE = "He et al. 2024, arXiv 2410.15553"

# Conversations per language in the published data: what tells the benchmark from other data in its format.
CONVERSATIONS = {"en": 909, "zh": 454, "fr": 548, "ru": 515, "hi": 542, "es": 516, "it": 493, "pt": 524}


@dataclass(frozen=True)
class PublishedModel:
    """A model's scores in the paper: turn -> macro average, and turn -> language -> score where it has them."""

    name: str
    averages: Mapping[int, float]
    by_language: Mapping[int, Mapping[str, float]]

    def overall(self, turn: int, languages: Sequence[str]) -> float | None:
        """The plain mean over these languages; None where the paper's figures do not tell."""
        if set(languages) == set(LANGUAGES):
            return self.averages[turn]
        known = self.by_language.get(turn, {})
        if not all(language in known for language in languages):
            return None
        return sum(known[language] for language in languages) / len(languages)


@lru_cache(maxsize=1)
def published_models() -> tuple[PublishedModel, ...]:
    """The paper's models, best third turn first. Accuracy is ``overall``: the mean of the four accuracies."""
    content = json.loads((Path(__file__).parent / "published_scores.json").read_text("utf-8"))
    codes = content["languages"]
    models = []
    for name, turns in content["models"].items():
        scores = {int(turn.removeprefix("turn")): score for turn, score in turns.items()}
        models.append(
            PublishedModel(
                name,
                {turn: score["average"] for turn, score in scores.items()},
                {
                    turn: dict(zip(codes, score["by_language"], strict=True))
                    for turn, score in scores.items()
                    if "by_language" in score
                },
            )
        )
    return tuple(sorted(models, key=lambda model: -model.averages[3]))


@dataclass(frozen=True)
class PublishedRow:
    """A published model beside measured ones: its average over the turns, the three turns, and turn 3 less turn 1."""

    name: str
    values: tuple[float, float, float, float]

    @property
    def change(self) -> float:
        """Turn 3 less turn 1."""
        return self.values[3] - self.values[1]


def published_rows(models: Sequence[Model]) -> list[PublishedRow]:
    """The paper's models over the languages that all these models ran; none unless each ran all of the benchmark."""
    languages = list(models[0].languages)
    whole = all(run.n == run.of for model in models for run in model.languages.values())
    if not whole or not all(is_benchmark(model) and list(model.languages) == languages for model in models):
        return []
    rows = []
    for model in published_models():
        turns = [model.overall(turn, languages) for turn in (1, 2, 3)]
        first, second, third = turns
        if first is not None and second is not None and third is not None:
            rows.append(PublishedRow(model.name, ((first + second + third) / 3, first, second, third)))
    return rows


def is_benchmark(model: Model) -> bool:
    """Whether the data held as many conversations as the benchmark does, in every language that was run."""
    return all(run.of == CONVERSATIONS.get(code) for code, run in model.languages.items())
