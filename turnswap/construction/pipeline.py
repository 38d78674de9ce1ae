"""Steps in a row, each with a JSONL file of its own: whatever was done is never done again.

A step's file, ``3-conflicts.jsonl``, has one line per conversation that came in: what came of it (``outcomes``), and
two digests, of what came in and of what the step would do (its version and settings). A line whose digests still
hold is kept when the pipeline runs again; any other is made anew.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole

from .records import Conversation, Outcome, as_line, digest, read_jsonl


class Step(Protocol):
    """One step of the construction.

    Attributes:
        name: of its file, and of its section in the YAML.
        chunk: conversations handed to it at once; after each chunk the outcomes are on disk.
        whole: (optional) where true, one conversation to do anew means all: its outcomes depend on each other.
        identity: JSON values that its outcomes depend on beside the conversation: version, settings, the LLM.
    """

    name: str
    chunk: int

    @property
    def identity(self) -> Any:
        """See above."""

    def run(self, conversations: Sequence[Conversation]) -> Sequence[Sequence[Outcome] | None]:
        """What comes of each conversation, in order; None where that cannot be decided yet (a review is missing)."""


class Source(Protocol):
    """The first step: where conversations come from."""

    name: str

    @property
    def identity(self) -> Any:
        """JSON values that what is loaded depends on."""

    def load(self) -> Sequence[Outcome]:
        """All conversations, and what was not taken."""


@dataclass(frozen=True)
class Count:
    """What a step did: conversations that came in, were kept, rejected, or wait; and how many were done anew."""

    step: str
    came: int
    kept: int
    rejected: int
    waiting: int
    done_now: int


class Pipeline:
    """The steps of one data set, and the folder of their files."""

    def __init__(self, folder: Path, source: Source, steps: Sequence[Step]) -> None:
        self.folder, self.source, self.steps = folder, source, list(steps)

    def file(self, name: str) -> Path:
        """The file of a step."""
        names = [self.source.name, *(step.name for step in self.steps)]
        return self.folder / f"{names.index(name) + 1}-{name}.jsonl"

    def run(self, last: str | None = None, redo: str | None = None) -> Iterator[Count]:
        """Run the steps in order, up to ``last``; a count after each. Stops after a step that waits for something.

        ``redo`` names a step whose outcomes are made anew; its file is kept beside the new one, as ``.previous``.

        Raises:
            UserError: a file cannot be read or written, or a step refuses. What was done stays.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"The folder {self.folder} cannot be made: {error}.") from error
        if redo is not None and self.file(redo).exists():
            self.file(redo).replace(self.file(redo).with_suffix(".previous"))
        conversations, count = self._load()
        yield count
        for step in self.steps:
            if count.step == last or count.waiting:
                return
            conversations, count = self._run(step, conversations)
            yield count

    def outcomes(self, name: str) -> list[Outcome]:
        """What is in a step's file, whether still up to date or not."""
        return [outcome for line in read_jsonl(self.file(name)) for outcome in _outcomes(line)]

    def _load(self) -> tuple[list[Conversation], Count]:
        outcomes = list(self.source.load())
        made_by = digest(self.source.identity)
        kept = [outcome.conversation for outcome in outcomes if outcome.reason is None]
        _refuse_twice(kept)
        lines = [_line(outcome.conversation, made_by, [outcome]) for outcome in outcomes]
        write_whole(self.file(self.source.name), _as_lines(lines))
        return kept, Count(self.source.name, len(outcomes), len(kept), len(outcomes) - len(kept), 0, len(outcomes))

    def _run(self, step: Step, conversations: Sequence[Conversation]) -> tuple[list[Conversation], Count]:
        path, made_by = self.file(step.name), digest(step.identity)
        wanted = {conversation.key: digest(conversation.as_json()) for conversation in conversations}
        done = {
            line["of"]: line
            for line in read_jsonl(path)
            if line.get("made_by") == made_by and wanted.get(line.get("of", "")) == line.get("came")
        }
        left = [conversation for conversation in conversations if conversation.key not in done]
        if left and getattr(step, "whole", False):
            done, left = {}, list(conversations)
        write_whole(path, _as_lines(done.values()))
        with _opened(path) as file:
            for start in range(0, len(left), step.chunk):
                chunk = left[start : start + step.chunk]
                for conversation, outcomes in zip(chunk, step.run(chunk), strict=True):
                    if outcomes is not None:
                        done[conversation.key] = _line(conversation, made_by, outcomes)
                        file.write(as_line(done[conversation.key]))
                file.flush()
                os.fsync(file.fileno())
        found = [
            outcome
            for conversation in conversations
            if conversation.key in done
            for outcome in _outcomes(done[conversation.key])
        ]
        kept = [outcome.conversation for outcome in found if outcome.reason is None]
        _refuse_twice(kept)
        waiting = sum(conversation.key not in done for conversation in conversations)
        return kept, Count(
            step.name, len(conversations), len(kept), len(found) - len(kept), waiting, len(left) - waiting
        )


def _line(conversation: Conversation, made_by: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    return {
        "of": conversation.key,
        "came": digest(conversation.as_json()),
        "made_by": made_by,
        "outcomes": [
            {"reason": outcome.reason, "conversation": outcome.conversation.as_json()} for outcome in outcomes
        ],
    }


def _outcomes(line: dict[str, Any]) -> list[Outcome]:
    try:
        return [Outcome(Conversation.from_json(each["conversation"]), each["reason"]) for each in line["outcomes"]]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"A line for {line.get('of')} is no line of a step ({error!r}).", "Delete it: the step makes it anew."
        ) from error


def _refuse_twice(conversations: Sequence[Conversation]) -> None:
    seen: set[str] = set()
    for conversation in conversations:
        if conversation.key in seen:
            raise UserError(f"The key {conversation.key} occurs twice.", "Give every conversation a key of its own.")
        seen.add(conversation.key)


def _as_lines(lines: Iterable[dict[str, Any]]) -> str:
    return "".join(map(as_line, lines))


def _opened(path: Path) -> Any:
    try:
        return path.open("a", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error}.") from error
