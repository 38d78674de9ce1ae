"""Step 7: every conversation must be satisfiable, and every instruction of it falsifiable, by natural replies.

A reply that the grader passes is given, constructed or found: a reviewer's is tried first, then one is constructed by
rule, then the LLM is asked. That proves that the last turn's instructions can be followed together as they are graded,
not that a good reply would read like the proof. What natural replies cannot fail, or cannot pass, is graded by the
corrected rule, or cannot be had in the language (:mod:`.falsify`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from typing import Any

from pydantic import PositiveInt

from turnswap.tasks.multiif.kept import CORRECTED

from .asking import Asking, Question, checked
from .constructors import Attempt, construct, graded
from .falsify import Fit, fits, graded_in_force, read_reason, segmenters
from .instructions import making_of
from .llm import LLM, read_answer
from .records import Conversations, DraftConversation, Outcome

VERSION = 2


@dataclass(frozen=True)
class ProveSettings:
    """The section ``prove``.

    Attributes:
        attempts: replies that are graded per conversation when one is constructed by rule.
        llm: ask the LLM, at most twice, where no reply could be constructed, or none natural that fails an instruction.
        falsifiable: try each instruction on natural replies, and grade it by the corrected rule, or reject the
            conversation, where the published rule does not tell right ones from wrong ones in the language.
    """

    attempts: PositiveInt = 150
    llm: bool = True
    falsifiable: bool = True


class Prove:
    """The step ``prove``. Its note has ``how`` (``reviewer``, ``rule``, ``llm``), the ``reply``, and its ``verdicts``.

    Beside them, where that is asked for: ``graded_by``, per turn the rule of each instruction; ``corrected``, which
    instructions the corrected rule grades and why; ``fails``, per instruction of the last turn a natural reply that
    fails it and where it is from, or why there is none; and ``passes``, one that follows it, where one is known.
    """

    name = "prove"

    def __init__(self, settings: ProveSettings, llm: LLM, languages: Sequence[str] = ()) -> None:
        self.settings, self.llm = settings, llm
        self.identity = [VERSION, asdict(settings), llm.identity if settings.llm else None, *segmenters(languages)]

    def run(self, conversations: Conversations) -> list[list[Outcome]]:
        """Each with its proof, or rejected with the instructions that the best reply fails."""
        return self.llm.run([[self._proved(conversation)] for conversation in conversations])

    def may_ask(self, conversation: DraftConversation) -> list[Question]:
        """Questions of which one is asked, or none: to find out which takes longer than an estimate may.

        For a reply where none can be constructed, else for a natural one where none is known that fails an instruction.
        """
        plain = [_question(conversation, plain=True)] if self.settings.falsifiable else []
        return [_question(conversation), *plain] if self.settings.llm else []

    def _proved(self, conversation: DraftConversation) -> Asking[Outcome]:
        found = fits(conversation.turns, conversation.language) if self.settings.falsifiable else []
        if unfit := [each for turn in found for each in turn if each.rule is None]:
            note = {"fails": [each.as_note() for each in unfit]}
            return Outcome(conversation.with_note(self.name, note), unfit[0].reason(conversation.language))
        proof = _Proof(conversation, self.settings.attempts, found)
        if self.settings.llm and proof.attempt.failed:
            try:
                yield from checked(_question(conversation), proof.take)
            except ValueError as problem:
                proof.problem = str(problem)
        elif self.settings.llm and proof.may_lack_failing:
            with suppress(ValueError):  # the note tells that none is known
                proof.take_plain((yield _question(conversation, plain=True)))
        return proof.outcome


class _Proof:
    """The best reply so far: a reviewer's if it passes, else one that is constructed, until the LLM finds a better one.

    Attributes:
        how: who it is from.
        attempt: the reply and its verdicts.
        problem: what was wrong with the LLM's last answer.
        fits: how the rules fit each instruction of each turn; empty where that is not asked for.
    """

    def __init__(self, conversation: DraftConversation, attempts: int, found: list[list[Fit]]) -> None:
        self.conversation, self.turn, self.fits = conversation, conversation.last, found
        self.how, self.problem = "reviewer", ""
        self.attempt = self._graded(str(conversation.note("audit").get("satisfying_reply") or ""))
        if not self.attempt.reply or self.attempt.failed:
            self.how = "rule"
            asked = (self.turn.instruction_ids, self.turn.kwargs, conversation.prompts, conversation.language)
            if found and any(
                fit.rule == CORRECTED for fit in found[-1]
            ):  # one that follows all by the published rules too is the better proof
                self.attempt = self._graded(construct(*asked, attempts=attempts, grade=self._graded_twice).reply)
            if self.attempt.failed or not self.attempt.reply:
                self.attempt = construct(*asked, attempts=attempts, grade=self._graded)

    def _graded(self, reply: str) -> Attempt:
        return graded_in_force(reply, self.conversation.turns, self.conversation.language, self.fits)

    def _graded_twice(self, reply: str) -> Attempt:
        attempt = self._graded(reply)
        pairs = zip(attempt.verdicts, graded(reply, self.turn.instruction_ids, self.turn.kwargs).verdicts, strict=True)
        both = [replace(ours, strict=ours.strict and theirs.strict) for ours, theirs in pairs]
        return Attempt(reply, attempt.instruction_ids, both)

    @property
    def random(self) -> list[str]:
        """The instructions that the published grader would grade at random."""
        verdicts = zip(self.turn.instruction_ids, self.attempt.verdicts, strict=True)
        return [id_ for id_, verdict in verdicts if verdict.ungradeable]

    @property
    def may_lack_failing(self) -> bool:
        """Whether a natural reply that fails an instruction is still to be found."""
        return bool(self.fits) and not self.random and any(each.fails is None for each in self.fits[-1])

    def take_plain(self, answer: str) -> None:
        """Take the LLM's natural reply for the instructions that it fails; a ValueError where the answer holds none."""
        attempt = self._graded(read_answer(answer, reply=str)["reply"])
        for position in attempt.failed if attempt.reply.strip() else ():
            if self.fits[-1][position].fails is None:
                self.fits[-1][position] = self.fits[-1][position].failed_by(attempt.reply, "the LLM")

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
        # What the corrected rules alone tell is no part of them.
        kinds = ("strict", "loose", "ungradeable")
        verdicts = [{kind: getattr(verdict, kind) for kind in kinds} for verdict in attempt.verdicts]
        note: dict[str, Any] = {"how": self.how, "reply": attempt.reply, "verdicts": verdicts}
        if self.fits:
            every = {each.id: each.why for turn in self.fits for each in turn if each.rule == CORRECTED}
            note["graded_by"] = [[each.rule for each in turn] for turn in self.fits]
            note["corrected"] = [{"id": id_, "why": why} for id_, why in every.items()]
            note["fails"] = [each.as_note() for each in self.fits[-1]]
            note["passes"] = [{"id": each.id, "reply": each.passes} for each in self.fits[-1] if each.passes]
        noted = self.conversation.with_note("prove", note)
        if attempt.failed:
            lacking = [ids[position] for position in attempt.failed if making_of(ids[position]).shape is None]
            gaps = [f"no reply can be constructed for {id_} yet" for id_ in lacking]
            more = "".join(f"; {each}" for each in (*gaps, self.problem) if each)
            return Outcome(noted, f"no reply was found that follows all: the best fails {attempt.failed_ids}{more}")
        if self.random:
            return Outcome(noted, f"the published grader would grade it at random: {', '.join(self.random)}")
        return Outcome(noted)


def _question(conversation: DraftConversation, plain: bool = False) -> Question:
    """For a better reply than the one that was constructed, or for a ``plain`` one, for which nothing is asked."""
    payload: dict[str, Any] = {"language": conversation.language, "turns": conversation.prompts}
    if not plain:
        payload["instructions"] = conversation.last.instructions_as_json()
    task, named = ("plain_reply", "natural reply") if plain else ("reply", "reply that follows all")
    return Question(task, payload, f"{conversation.key} ({named})", again=not plain)


def graded_by(conversation: DraftConversation, turn: int) -> list[str]:
    """The rule that grades each instruction of a turn, from 0; empty where the published one grades all."""
    rules = conversation.note("prove").get("graded_by") or []
    return list(rules[turn]) if turn < len(rules) and CORRECTED in rules[turn] else []


def returned(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The conversations that the lines of the step's file reject, by key, with the reason: they need another review.

    Not those with an instruction that the language cannot have: no review helps them.
    """
    return {
        outcome["conversation"]["key"]: outcome["reason"]
        for line in lines
        for outcome in line.get("outcomes", ())
        if outcome["reason"] is not None and not read_reason(outcome["reason"])
    }
