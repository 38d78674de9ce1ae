"""Steps in a row, each with a JSONL file of its own: whatever was done is never done again.

A step's file, ``3-conflicts.jsonl``, has one line per conversation that came in: what came of it (``outcomes``), and
two digests, of what came in and of what the step would do (its version and settings). A line whose digests still
hold is kept when the pipeline runs again; any other is made anew.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from more_itertools import chunked

from turnswap.core.errors import UserError, reason_of
from turnswap.core.files import set_aside, write_whole
from turnswap.core.journal import Journal, as_line, read_jsonl

from .asking import NO_ANSWER
from .records import Conversations, DraftConversation, Outcome, digest

FAILED = "failed"
_LONGEST = 120  # characters of a reason in a table


class Step(Protocol):
    """One step of the construction.

    Attributes:
        name: of its file, and of its section in the YAML.
        llm, judge: (optional) what it asks.
        chunk: (optional) conversations handed to it at once, after which their outcomes are on disk; all of them where
            it is not given. For steps that work long and ask nothing: answers are on disk as they come.
        whole: (optional) where true, one conversation to do anew means all: its outcomes depend on each other.
        identity: JSON values that its outcomes depend on beside the conversation: version, settings, the LLM.
    """

    name: str
    identity: Any

    def run(self, conversations: Conversations) -> Sequence[Sequence[Outcome] | None]:
        """What comes of each conversation, in order; None where that cannot be decided yet (a review is missing)."""


class FirstStep(Protocol):
    """Where conversations come from; see :class:`Step`."""

    name: str
    identity: Any

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

    def __init__(self, folder: Path, first: FirstStep, steps: Sequence[Step]) -> None:
        self.folder, self.first, self.steps = folder, first, list(steps)

    @property
    def names(self) -> list[str]:
        """Of the steps, in order."""
        return [self.first.name, *(step.name for step in self.steps)]

    def file(self, name: str) -> Path:
        """The file of a step."""
        return self.folder / f"{self.names.index(name) + 1}-{name}.jsonl"

    def run(self, last: str | None = None, redo: str | None = None) -> Iterator[Count]:
        """Run the steps in order, up to ``last``; a count after each. Stops after a step that waits for something.

        ``redo`` names a step whose outcomes are made anew, its LLM asked again; its file and the answers so far stay
        beside the new ones, as ``.previous`` (of a second redo ``.previous.2``). Or it is ``failed``: what the LLM gave
        no answer to is asked again.

        Raises:
            UserError: a file cannot be read or written, or a step refuses. What was done stays. Or ``redo`` is behind
                ``last``; then nothing was touched.
        """
        self.check_order(last, redo)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"The folder {self.folder} cannot be made: {reason_of(error)}.") from error
        if redo not in (None, FAILED):
            self._set_aside(redo)
        conversations, count = self._load()
        yield count
        for step in self.steps:
            if count.step == last or count.waiting:
                return
            conversations, count = self._run(step, conversations, redo == FAILED)
            yield count

    def check_order(self, last: str | None, redo: str | None) -> None:
        """Refuse to make a step anew that is never reached; what is no step here comes after all.

        Raises:
            UserError: ``redo`` is behind ``last``.
        """
        places = {name: place for place, name in enumerate(self.names)}
        behind = redo not in (None, FAILED) and places.get(str(redo), len(places)) > places.get(str(last), len(places))
        if behind:
            raise UserError(
                f"The step {redo} cannot be made again (--redo): the run ends before it, after {last} (--last).",
                "Leave --last out, or name the same step or a later one there. Nothing was touched.",
            )

    def _set_aside(self, name: str) -> None:
        set_aside(self.file(name))
        for step in self.steps:
            for asked in ("llm", "judge"):
                if step.name == name and (llm := getattr(step, asked, None)):
                    llm.set_aside()

    def behind(self) -> Iterator[tuple[str, list[DraftConversation], list[DraftConversation]]]:
        """Per step what came to it, and what of that it has not done as its settings are now."""
        came = kept(self.outcomes(self.first.name))
        for step in self.steps:
            done = self.done(step, came)
            yield step.name, came, [each for each in came if each.key not in done]
            came = kept(self.outcomes(step.name))

    def standing(self) -> dict[str, tuple[int, bool]]:
        """Per step how many came that its file has nothing of, and whether something there is not of what comes now."""
        of_first = digest(self.first.identity)
        lines = read_jsonl(self.file(self.first.name))
        found = {self.first.name: (0, any(line.get("made_by") != of_first for line in lines))}
        for name, came, left in self.behind():
            there = {line.get("of") for line in read_jsonl(self.file(name))}
            waiting = sum(each.key not in there for each in left)
            found[name] = waiting, waiting < len(left) or bool(there - {each.key for each in came})
        return found

    @cached_property
    def loaded(self) -> list[Outcome]:
        """What the first step gives."""
        return list(self.first.load())

    def done(self, step: Step, came: Conversations, again: bool = False) -> dict[str, list[Outcome]]:
        """What the step has made of these conversations with its settings as they are, by key.

        ``again`` leaves out those with a question that got no answer.
        """
        lines = _holding(read_jsonl(self.file(step.name)), digest(step.identity), came, again)
        return {key: _outcomes(line) for key, line in lines.items()}

    def outcomes(self, name: str) -> list[Outcome]:
        """What is in a step's file, whether still up to date or not."""
        return [outcome for line in read_jsonl(self.file(name)) for outcome in _outcomes(line)]

    def _load(self) -> tuple[list[DraftConversation], Count]:
        outcomes, made_by = self.loaded, digest(self.first.identity)
        lines = [_line(outcome.conversation, made_by, [outcome]) for outcome in outcomes]
        count = self.count_loaded()
        write_whole(self.file(self.first.name), "".join(map(as_line, lines)))
        return kept(outcomes), count

    def count_loaded(self) -> Count:
        """What the first step gives, in numbers; a UserError where two conversations have one key."""
        came, left = len(self.loaded), len(_distinct(kept(self.loaded)))
        return Count(self.first.name, came, left, came - left, 0, came)

    def _run(self, step: Step, conversations: Conversations, again: bool) -> tuple[list[DraftConversation], Count]:
        journal, made_by = Journal(self.file(step.name)), digest(step.identity)
        done = _holding(journal.lines, made_by, conversations, again)
        left = [conversation for conversation in conversations if conversation.key not in done]
        if left and getattr(step, "whole", False):
            done, left = {}, list(conversations)
        journal.start(done.values())
        for part in chunked(left, getattr(step, "chunk", 0) or len(left) or 1):
            made = {
                conversation.key: _line(conversation, made_by, outcomes)
                for conversation, outcomes in zip(part, step.run(part), strict=True)
                if outcomes is not None
            }
            journal.append(*made.values())
            done |= made
        here = [done[conversation.key] for conversation in conversations if conversation.key in done]
        outcomes = [outcome for line in here for outcome in _outcomes(line)]
        passed, came, waiting = _distinct(kept(outcomes)), len(conversations), len(conversations) - len(here)
        rejected = len(outcomes) - len(passed)
        return passed, Count(step.name, came, len(passed), rejected, waiting, len(left) - waiting)


def kept(outcomes: Iterable[Outcome]) -> list[DraftConversation]:
    """The conversations that go on to the next step."""
    return [outcome.conversation for outcome in outcomes if outcome.reason is None]


def _holding(
    lines: Sequence[dict[str, Any]], made_by: str, conversations: Conversations, again: bool = False
) -> dict[str, dict[str, Any]]:
    """The lines that were made of these conversations by this step with these settings, by key.

    ``again`` leaves out those that have a question without an answer.
    """
    wanted = {conversation.key: digest(conversation.as_json()) for conversation in conversations}
    return {
        line["of"]: line
        for line in lines
        if line.get("made_by") == made_by
        and wanted.get(line.get("of", "")) == line.get("came")
        and not (again and any(NO_ANSWER in (each["reason"] or "") for each in line["outcomes"]))
    }


def _line(conversation: DraftConversation, made_by: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
    made = [{"reason": outcome.reason, "conversation": outcome.conversation.as_json()} for outcome in outcomes]
    return {"of": conversation.key, "came": digest(conversation.as_json()), "made_by": made_by, "outcomes": made}


def _outcomes(line: dict[str, Any]) -> list[Outcome]:
    try:
        return [Outcome(DraftConversation.from_json(each["conversation"]), each["reason"]) for each in line["outcomes"]]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"A line for {line.get('of')} is no line of a step ({error!r}).", "Delete it: the step makes it again."
        ) from error


def _distinct(conversations: list[DraftConversation]) -> list[DraftConversation]:
    """The same, refused where two have one key."""
    for key, times in Counter(conversation.key for conversation in conversations).items():
        if times > 1:
            raise UserError(f"The key {key} occurs twice.", "Give every conversation a key of its own.")
    return conversations


def counted(reasons: Iterable[str]) -> Counter[str]:
    """How often each kind of reason comes: the text up to its first colon or bracket, behind which are particulars."""
    return Counter(map(_kind, reasons))


def _kind(reason: str) -> str:
    return reason.split(":")[0].split("(")[0].strip()


def reasons_told(outcomes: Iterable[Outcome], most: int = 5) -> list[str]:
    """The most frequent kinds of reasons, how often each comes, and the particulars of its first, in a few words."""
    rejected = [(outcome.conversation.key, outcome.reason) for outcome in outcomes if outcome.reason is not None]
    told = []
    for kind, number in counted(reason for _, reason in rejected).most_common(most):
        key, reason = next((key, reason) for key, reason in rejected if _kind(reason) == kind)
        more = textwrap.shorten(reason[len(kind) :].lstrip(": "), _LONGEST, placeholder=" …")
        told.append(f"{kind} ({number})" + (f", first {key}: {more}" if more else ""))
    return told
