"""Step 7: every conversation must be satisfiable. A reply that the grader passes is given, constructed or found.

A reviewer's reply is tried first, then one is constructed by rule, then the LLM is asked. What is proved is that the
last turn's instructions can be followed together as they are graded, not that a good reply would read like the proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import PositiveInt

from .asking import Asking, Question, checked
from .constructors import Attempt, construct, graded
from .instructions import making_of
from .llm import LLM, read_answer
from .records import Conversations, DraftConversation, Outcome

VERSION = 1


@dataclass(frozen=True)
class ProveSettings:
    """The section ``prove``.

    Attributes:
        attempts: replies that are graded per conversation when one is constructed by rule.
        llm: ask the LLM, at most twice, where no reply could be constructed.
    """

    attempts: PositiveInt = 150
    llm: bool = True


class Prove:
    """The step ``prove``; its note has ``how`` (``reviewer``, ``rule``, ``llm``), the ``reply``, and ``verdicts``."""

    name = "prove"

    def __init__(self, settings: ProveSettings, llm: LLM) -> None:
        self.settings, self.llm = settings, llm
        self.identity = [VERSION, asdict(settings), llm.identity if settings.llm else None]

    def run(self, conversations: Conversations) -> list[list[Outcome]]:
        """Each with its proof, or rejected with the instructions that the best reply fails."""
        return self.llm.run([[self._proved(conversation)] for conversation in conversations])

    def may_ask(self, conversation: DraftConversation) -> list[Question]:
        """What is asked where no reply can be constructed: to find that out takes longer than an estimate may."""
        return [_question(conversation)] if self.settings.llm else []

    def _proved(self, conversation: DraftConversation) -> Asking[Outcome]:
        proof = _Proof(conversation, self.settings.attempts)
        if self.settings.llm and proof.attempt.failed:
            try:
                yield from checked(_question(conversation), proof.take)
            except ValueError as problem:
                proof.problem = str(problem)
        return proof.outcome


class _Proof:
    """The best reply so far: a reviewer's if it passes, else one that is constructed, until the LLM finds a better one.

    Attributes:
        how: who it is from.
        attempt: the reply and its verdicts.
        problem: what was wrong with the LLM's last answer.
    """

    def __init__(self, conversation: DraftConversation, attempts: int) -> None:
        self.conversation, self.turn = conversation, conversation.last
        self.how, self.problem = "reviewer", ""
        self.attempt = self._graded(str(conversation.note("audit").get("satisfying_reply") or ""))
        if not self.attempt.reply or self.attempt.failed:
            turn, prompts, language = self.turn, conversation.prompts, conversation.language
            self.how = "rule"
            self.attempt = construct(turn.instruction_ids, turn.kwargs, prompts, language, attempts=attempts)

    def _graded(self, reply: str) -> Attempt:
        return graded(reply, self.turn.instruction_ids, self.turn.kwargs)

    def take(self, answer: str) -> None:
        """Take the LLM's reply if it is better.

        Raises:
            ValueError: the answer holds no reply, or one that does not follow all; in words for the LLM.
        """
        try:
            attempt = self._graded(read_answer(answer, reply=str)["reply"])
            if len(attempt.failed) < len(self.attempt.failed):
                self.how, self.attempt = "llm", attempt
            self.problem = f"the reply does not follow {attempt.failed_ids}" if attempt.failed else ""
        except ValueError as error:
            self.problem = str(error)
        if self.problem:
            raise ValueError(self.problem)

    @property
    def outcome(self) -> Outcome:
        """What comes of the conversation."""
        attempt, ids = self.attempt, self.turn.instruction_ids
        # The published verdicts; what the corrected rules alone tell is no part of them.
        kinds = ("strict", "loose", "ungradeable")
        verdicts = [{kind: getattr(verdict, kind) for kind in kinds} for verdict in attempt.verdicts]
        noted = self.conversation.with_note("prove", {"how": self.how, "reply": attempt.reply, "verdicts": verdicts})
        if attempt.failed:
            lacking = [ids[position] for position in attempt.failed if making_of(ids[position]).shape is None]
            gaps = [f"no reply can be constructed for {id_} yet" for id_ in lacking]
            more = "".join(f"; {each}" for each in (*gaps, self.problem) if each)
            return Outcome(noted, f"no reply was found that follows all: the best fails {attempt.failed_ids}{more}")
        if random := [id_ for id_, verdict in zip(ids, attempt.verdicts, strict=True) if verdict.ungradeable]:
            return Outcome(noted, f"the published grader would grade it at random: {', '.join(random)}")
        return Outcome(noted)


def _question(conversation: DraftConversation) -> Question:
    """For a better reply than the one that was constructed."""
    payload = {
        "language": conversation.language,
        "turns": conversation.prompts,
        "instructions": conversation.last.instructions_as_json(),
    }
    return Question("reply", payload, f"reply to {conversation.key}")


def returned(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The conversations that the lines of the step's file reject, by key, with the reason: they need another review."""
    return {
        outcome["conversation"]["key"]: outcome["reason"]
        for line in lines
        for outcome in line.get("outcomes", ())
        if outcome["reason"] is not None
    }
