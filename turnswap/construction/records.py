"""What passes from step to step: conversations, and what a step makes of each."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.instructions import parse_kwargs


@dataclass(frozen=True)
class Turn:
    """What the user says, and every instruction that holds from here on: cumulative, as in the published data."""

    prompt: str
    instruction_ids: tuple[str, ...]
    kwargs: tuple[Mapping[str, Any], ...]

    @property
    def instructions(self) -> list[tuple[str, Mapping[str, Any]]]:
        """Ids with their kwargs."""
        return list(zip(self.instruction_ids, self.kwargs, strict=True))

    def instructions_as_json(self) -> list[dict[str, Any]]:
        """The same for a question."""
        return [{"id": id_, "kwargs": dict(kwargs)} for id_, kwargs in self.instructions]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Turn:
        """A turn from JSON, its kwargs parsed.

        Raises:
            ValueError: the prompt is empty, an instruction is unknown, or kwargs do not fit it; KeyError likewise.
        """
        ids, kwargs = list(content["instruction_ids"]), list(content["kwargs"])
        if not isinstance(content["prompt"], str) or not content["prompt"].strip():
            raise ValueError("a turn's prompt is empty")
        if len(ids) != len(kwargs):
            raise ValueError(f"a turn has {len(ids)} instruction ids and {len(kwargs)} kwargs")
        return cls(content["prompt"], tuple(ids), tuple(map(parse_kwargs, ids, kwargs)))


def check_extension(turns: Sequence[Turn]) -> None:
    """Refuse turns that drop or change instructions of earlier ones.

    Raises:
        ValueError: in words fit for a reason of rejection.
    """
    for number, (before, turn) in enumerate(itertools.pairwise(turns), 2):
        if turn.instructions[: len(before.instructions)] != before.instructions:
            raise ValueError(f"the instructions of turn {number} do not start with those of the turn before")


@dataclass(frozen=True)
class DraftConversation:
    """A conversation under construction: what passes from step to step.

    Attributes:
        key: its own, such as ``seed-7`` or ``seed-7:sw``; a translation keeps the source's key before the colon.
        language: a code such as ``en``, ``sw``, ``pt-br``.
        turns: one to three.
        notes: what the steps found out, by step: scores, back-translation, proof, reviewers. JSON values only.
    """

    key: str
    language: str
    turns: tuple[Turn, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> Turn:
        """The last turn, which has all instructions."""
        return self.turns[-1]

    @property
    def prompts(self) -> list[str]:
        """What the user says."""
        return [turn.prompt for turn in self.turns]

    def note(self, step: str) -> Mapping[str, Any]:
        """What a step found out; nothing where it left no note, or what a user's file has there is none."""
        note = self.notes.get(step)
        return note if isinstance(note, Mapping) else {}

    def with_note(self, step: str, note: Any) -> DraftConversation:
        """The same with what a step found out."""
        return dataclasses.replace(self, notes={**self.notes, step: note})

    def as_json(self) -> dict[str, Any]:
        """For JSONL; :meth:`from_json` is its inverse."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> DraftConversation:
        """A conversation from :meth:`as_json`, or from a user's file.

        Raises:
            UserError: a field is missing or of another kind, an instruction is unknown, or kwargs do not fit it.
        """
        try:
            turns = tuple(map(Turn.from_json, content["turns"]))
            conversation = cls(str(content["key"]), str(content["language"]), turns, dict(content.get("notes") or {}))
            if not turns:
                raise ValueError("it has no turns")
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
            key = content.get("key") if isinstance(content, Mapping) else None
            raise UserError(
                f"The conversation {key or '(without a key)'} is malformed: {reason}.",
                "Expected key, language, and turns, each with prompt, instruction_ids and kwargs.",
            ) from error
        return conversation


Conversations: TypeAlias = Sequence[DraftConversation]


@dataclass(frozen=True)
class Outcome:
    """What a step made of a conversation: kept where ``reason`` is None, otherwise rejected for that reason."""

    conversation: DraftConversation
    reason: str | None = None


json_text = partial(json.dumps, ensure_ascii=False)


def digest(*parts: Any) -> str:
    """Identifies JSON values: 16 hexadecimal digits of a SHA-256 over their canonical form."""
    canonical = json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
