"""The task class behind the ``multiif_*`` and ``leaderboard_multiif_*`` YAMLs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from turnswap.tasks.multiturn import MultiTurnTask, Reply

from . import metrics
from .dataset import find_source, load_conversations
from .grading import grade_reply


class MultiIF(MultiTurnTask):
    """Multi-IF in one language.

    In the YAML, ``dataset_name`` is the language's name in the data; ``dataset_kwargs: {revision: …}`` may pin a commit
    of the data on the Hub.
    """

    def load_docs(self) -> list[dict[str, Any]]:
        """The language's conversations; the metadata of the results tell where they came from."""
        source = find_source(self.config.metadata, **(self.config.dataset_kwargs or {}))
        self.config.dataset_path = source.name
        self.config.metadata["data"] = source.description
        if source.kind != "hub":
            self.config.dataset_kwargs = None  # the results must not name a revision that was not used
            self.config.metadata["data_sha256"] = hashlib.sha256(Path(source.location).read_bytes()).hexdigest()
        return load_conversations(source, self.config.dataset_name)

    def doc_to_turns(self, doc: dict[str, Any]) -> list[str]:
        """The user's two or three prompts."""
        return [turn["prompt"] for turn in doc["turns"]]

    def grade(self, doc: dict[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
        """Each turn's reply against that turn's whole cumulative list of instructions."""
        graded = [
            (reply, grade_reply(reply, turn["instruction_ids"], turn["kwargs"]))
            for reply, turn in zip(replies, doc["turns"], strict=False)
        ]
        return metrics.conversation_values(graded, len(doc["turns"]))

    def combine_repeats(self, values: Sequence[Any]) -> Any:
        """Repeats are pooled."""
        return metrics.combine_repeats(values)

    def aggregation(self) -> dict[str, Any]:
        """Ratios of sums over conversations, and counts."""
        return metrics.aggregations()

    def higher_is_better(self) -> dict[str, bool]:
        """By metric."""
        return metrics.higher_is_better()
