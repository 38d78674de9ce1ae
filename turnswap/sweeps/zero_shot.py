"""Objectives that never look at the target task, as tasks of lm-eval: perplexity of a text, language of replies.

A choice made by them is zero-shot in the sense of Layer Swapping (Bandarkar et al. 2024, arXiv 2410.01335): no example
of the task in the target language decides.
"""

from __future__ import annotations

import copy
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from turnswap.core.errors import UserError, reason_of
from turnswap.tasks.multiif.text import detect_language, known_languages

from .settings import Measure

TASKS: dict[str, dict[str, Any]] = yaml.safe_load((files(__package__) / "zero_shot.yaml").read_text("utf-8"))


def own_task(name: str, measure: Measure) -> tuple[dict[str, Any], str] | None:
    """The configuration of a measure's task, and its metric; None where the measure is of lm-eval's tasks.

    Raises:
        UserError: a file cannot be read or holds no text, or the language is one that cannot be told.
    """
    if measure.perplexity is not None:
        return _task(name, "text", measure.perplexity), "byte_perplexity"
    if measure.replies_in is None or measure.prompts is None:
        return None
    code = measure.replies_in
    if code not in known_languages():
        raise UserError(
            f"replies_in: {code} is no language that can be recognized.",
            f"There are: {', '.join(sorted(known_languages()))}.",
        )

    def grade(doc: dict[str, Any], replies: list[str]) -> dict[str, float]:
        return {"in_language": float(bool(replies[0].strip()) and detect_language(replies[0]) == code)}

    return _task(name, "prompts", measure.prompts) | {"process_results": grade}, "in_language"


def _task(name: str, kind: str, path: Path) -> dict[str, Any]:
    texts = _texts(path)

    def read(**_: object) -> dict[str, Any]:
        from datasets import Dataset

        return {"test": Dataset.from_list([{"text": text} for text in texts])}

    return copy.deepcopy(TASKS[kind]) | {"task": f"{name}_{kind}", "custom_dataset": read}


def _texts(path: Path) -> list[str]:
    """The texts of a file, with empty lines between them."""
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read: {reason_of(error)}.", "Name a UTF-8 file of texts, empty lines between them."
        ) from error
    texts = [part.strip() for part in content.replace("\r\n", "\n").split("\n\n") if part.strip()]
    if not texts:
        raise UserError(f"{path} holds no text.", "Expected texts with empty lines between them.")
    return texts
