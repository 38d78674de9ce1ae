"""Objectives that never look at the target task, as tasks of lm-eval: perplexity of a text, language of replies.

A choice made by them is zero-shot in the sense of Layer Swapping (Bandarkar et al. 2024, arXiv 2410.01335): no example
of the task in the target language decides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.text import detect_language, known_languages

from .settings import Measure

IN_LANGUAGE = "in_language"
LONGEST_REPLY = 64  # tokens: enough to tell a language


def own_task(name: str, measure: Measure) -> tuple[dict[str, Any], str] | None:
    """The configuration of a measure's task, and its metric; None where the measure is of lm-eval's tasks.

    Raises:
        UserError: a file cannot be read or holds no text, or the language is one that cannot be told.
    """
    if measure.perplexity is not None:
        task = _task(f"{name}_text", measure.perplexity) | {
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{text}}",
            "metric_list": [
                {"metric": "byte_perplexity", "aggregation": "weighted_perplexity", "higher_is_better": False}
            ],
        }
        return task, "byte_perplexity"
    if measure.replies_in is None or measure.prompts is None:
        return None
    code = measure.replies_in
    if code not in known_languages():
        raise UserError(
            f"replies_in: {code} is no language that can be told.",
            f"There are: {', '.join(sorted(known_languages()))}.",
        )

    def grade(doc: dict[str, Any], replies: list[str]) -> dict[str, float]:
        return {IN_LANGUAGE: float(bool(replies[0].strip()) and detect_language(replies[0]) == code)}

    metric = {"metric": IN_LANGUAGE, "aggregation": "mean", "higher_is_better": True}
    task = _task(f"{name}_prompts", measure.prompts) | {
        "output_type": "generate_until",
        "doc_to_text": "{{text}}",
        "doc_to_target": "",
        "process_results": grade,
        "generation_kwargs": {"until": [], "max_gen_toks": LONGEST_REPLY, "do_sample": False},
        "metric_list": [metric],
    }
    return task, IN_LANGUAGE


def _task(name: str, path: Path) -> dict[str, Any]:
    texts = _texts(path)

    def read(**_: object) -> dict[str, Any]:
        from datasets import Dataset

        return {"test": Dataset.from_list([{"text": text} for text in texts])}

    return {"task": name, "custom_dataset": read, "test_split": "test", "metadata": {"version": 1.0}}


def _texts(path: Path) -> list[str]:
    """The texts of a file, with empty lines between them."""
    try:
        content = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read: {error}.", "Name a UTF-8 file of texts, empty lines between them."
        ) from error
    texts = [part.strip() for part in content.replace("\r\n", "\n").split("\n\n") if part.strip()]
    if not texts:
        raise UserError(f"{path} holds no text.", "Expected texts with empty lines between them.")
    return texts
