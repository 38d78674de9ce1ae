"""Documents and grading of the study's tasks, as lm-eval asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from datasets import Dataset


def documents(study_data: str, file: str, **_: Any) -> dict[str, Dataset]:
    """The documents of a file in the folder that ``--metadata '{"study_data": …}'`` names."""
    return {"test": Dataset.from_json(str(Path(study_data) / file), keep_in_memory=True)}


def grade(doc: dict[str, str], replies: list[str]) -> dict[str, float]:
    """Grade a reply.

    ``exact_match``: the answer, in the language of the question. ``right_numbers``: the answer in words of either
    language. ``own_language``: the share of the reply's words that are of the question's language.
    """
    reply = replies[0].split(".")[0].split()
    answer, translation = doc["answer"].split(), doc["translation"].split()
    right = len(reply) == len(answer) and all(
        word in pair for word, pair in zip(reply, zip(answer, translation, strict=True), strict=True)
    )
    own = set(doc["letters"])
    return {
        "exact_match": float(reply == answer),
        "right_numbers": float(right),
        "own_language": sum(own.issuperset(word) for word in reply) / len(reply) if reply else 0.0,
    }
