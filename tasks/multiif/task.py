"""The task class behind the ``multiif_*`` and ``leaderboard_multiif_*`` YAMLs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError
from turnswap.core.processes import call_many
from turnswap.tasks.multiturn import MultiTurnTask, Reply

from . import corrected, metrics
from .dataset import content_sha256, count_corrected, find_source, load_conversations, load_every_language
from .instructions import load_instructions
from .kept import Judged, judge
from .languages import code_of
from .left_out import NOTHING, read_left_out

VERDICTS = ("published", "both")


class MultiIF(MultiTurnTask):
    """Multi-IF in one language.

    In the YAML, ``dataset_name`` is the language's name in the data; ``dataset_kwargs: {revision: …}`` may pin a commit
    of the data on the Hub. ``metadata: {verdicts: both}`` adds the figures by corrected verdicts to the published ones;
    the verdicts themselves are in the samples in any case, by both sets of rules (see :mod:`.kept`). ``leave_out``
    names a CSV of slots that the corrected ones leave out (see :mod:`.left_out`). ``instructions_file`` names a Python
    file with instructions of the data's own, relative to the YAML; it is run (see :mod:`.instructions.own`).
    """

    # What was judged before it was asked for, by key, turn and reply.
    _judged: Mapping[tuple[str, int, str], Judged] = {}

    own_metadata = frozenset({"multiif_data", "verdicts", "leave_out", "cluster_column"})

    def load_docs(self) -> list[dict[str, Any]]:
        """The language's conversations; the metadata of the results tell where they came from."""
        self.both = _both_verdicts(self.config.metadata)
        if own := self.config.metadata.get("instructions_file"):
            folder = Path(str(self.config.metadata.get("config_source", ""))).parent
            self.config.metadata["instructions"] = load_instructions(folder / str(own))
        source = find_source(self.config.metadata, **(self.config.dataset_kwargs or {}))
        self.config.dataset_path = source.name
        self.config.metadata["data"] = source.description
        if source.kind != "hub":
            self.config.dataset_kwargs = None  # the results must not name a revision that was not used
            self.config.metadata["data_sha256"] = hashlib.sha256(Path(source.location).read_bytes()).hexdigest()
        column = self.config.metadata.get("cluster_column")
        conversations = load_conversations(source, self.config.dataset_name, column)
        self.left_out = NOTHING
        if asked := self.config.metadata.get("leave_out"):
            if not self.both:
                raise UserError(
                    "metadata leave_out changes only corrected figures, and this run does not ask for them.",
                    "Ask for them: --metadata '{}'.".format(json.dumps({"verdicts": "both", "leave_out": str(asked)})),
                )
            self.left_out = read_left_out(Path(str(asked)), load_every_language(source, column))
        self.config.metadata["corrected_rules"] = f"{corrected.rules_in_use()}{self.left_out.name}"
        self.config.metadata["content_sha256"] = content_sha256(conversations)
        if corrected_slots := count_corrected(conversations):
            self.config.metadata["graded_by"] = corrected_slots
        languages = {str(code_of(self.config.dataset_name))}
        self.config.metadata["corrected_unlabelled"] = corrected.measured().unlabelled(languages)
        return conversations

    def doc_to_turns(self, doc: dict[str, Any]) -> list[str]:
        """The user's two or three prompts."""
        return [turn["prompt"] for turn in doc["turns"]]

    def grade(self, doc: dict[str, Any], replies: Sequence[Reply]) -> dict[str, Any]:
        """Each turn's reply against that turn's whole cumulative list of instructions."""
        turns = doc["turns"]
        judged = [
            self._judged.get((doc["key"], number, reply)) or judge(*self._asked(doc, number, reply))
            for number, (reply, _) in enumerate(zip(replies, turns, strict=False))
        ]
        published = [(reply, turn.published) for reply, turn in zip(replies, judged, strict=True)]
        values = metrics.conversation_values(published, len(turns))
        values |= metrics.conversation_totals(replies, self.settings.price is not None)
        if self.both:
            values |= metrics.corrected_values([turn.corrected for turn in judged])
        return values | {metrics.VERDICTS: [[turn.kept for turn in judged]]}

    def _asked(self, doc: dict[str, Any], number: int, reply: str) -> tuple[Any, ...]:
        """The arguments of :func:`judge` for a reply to a turn, counted from 0."""
        language = str(code_of(doc["language"]))  # one without a code was refused when the data was loaded
        turn, prompts = doc["turns"][number], self.doc_to_turns(doc)
        left_out = self.left_out.of(doc["key"], number + 1)
        asked = (str(reply), turn["instruction_ids"], turn["kwargs"], language, prompts[: number + 1])
        return *asked, left_out, turn.get("graded_by", ())

    def apply_filters(self) -> None:
        """After the filters all replies are there: they are judged at once, so that many go over processes."""
        super().apply_filters()
        asked = {}
        for instance in self._instances:
            for replies in instance.filtered_resps.values():
                for reply in replies if isinstance(replies, list) else [replies]:
                    if reply is not None:
                        place = (instance.doc["key"], instance.idx, str(reply))
                        asked[place] = self._asked(instance.doc, instance.idx, reply)
        self._judged = dict(zip(asked, call_many(judge, list(asked.values())), strict=True))

    def combine_repeats(self, graded: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Repeats are pooled, and told how they differ."""
        return metrics.combine_repeats(graded)

    def process_results(self, doc: dict[str, Any], results: Sequence[Any]) -> dict[str, Any]:
        """As every conversation, with its source prompt beside its values: errors are over source prompts."""
        values = super().process_results(doc, results).items()
        return {n: metrics.OfSource(v, doc["source"]) if isinstance(v, tuple) else v for n, v in values}

    def aggregation(self) -> dict[str, Any]:
        """Ratios of sums over conversations, counts, and totals."""
        return metrics.aggregations(self.both, self.config.repeats, self.settings.price is not None)

    def higher_is_better(self) -> dict[str, bool]:
        """By metric."""
        return metrics.higher_is_better(self.aggregation())


def _both_verdicts(metadata: Mapping[str, Any]) -> bool:
    """Whether the corrected verdicts are asked for beside the published ones."""
    asked = metadata.get("verdicts", VERDICTS[0])
    if asked not in VERDICTS:
        raise UserError(
            f"metadata verdicts is {asked!r}.",
            "Expected 'published', which is the default, or 'both' for the corrected ones beside them: "
            """--metadata '{"verdicts": "both"}'.""",
        )
    return bool(asked == VERDICTS[1])
