"""Step 7: every conversation must be satisfiable. A reply that the grader passes is given, constructed or found.

A reviewer's reply is tried first, then one is constructed by rule, then the LLM is asked. What is proved is that the
last turn's instructions can be followed together as they are graded, not that a good reply would read like the proof.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from turnswap.tasks.multiif.grading import Verdict, grade_reply

from .constructors import Attempt, construct
from .instructions import making_of
from .llm import LLM
from .questions import Question, read_answer
from .records import DraftConversation, Outcome
from .settings import Positive

VERSION = 1
WORDING = (
    "Below is what a user said in a conversation, turn by turn, and the instructions that hold in the last turn, as "
    "code checks them. Write the assistant's reply to the last turn in the language of this code, so that it follows "
    'every instruction to the letter. If "problem" is there, an earlier reply failed for it. '
    'Answer {"reply": "..."}.'
)


@dataclass(frozen=True)
class ProveSettings:
    """The section ``prove``.

    Attributes:
        attempts: replies that are graded per conversation when one is constructed by rule.
        llm: ask the LLM, at most twice, where no reply could be constructed.
    """

    attempts: Positive = 150
    llm: bool = True


class Prove:
    """The step ``prove``; its note has ``how`` (``reviewer``, ``rule``, ``llm``), the ``reply``, and ``verdicts``."""

    name = "prove"
    chunk = 20

    def __init__(self, settings: ProveSettings, llm: LLM) -> None:
        self.settings, self.llm = settings, llm

    @property
    def identity(self) -> Any:
        """Version, settings, and the LLM where it is asked."""
        return [VERSION, asdict(self.settings), self.llm.identity if self.settings.llm else None]

    def run(self, conversations: Sequence[DraftConversation]) -> list[list[Outcome] | None]:
        """Each with its proof, or rejected with the instructions that the best reply fails."""
        proofs = [self._without_llm(conversation) for conversation in conversations]
        left = [number for number, proof in enumerate(proofs) if proof.attempt.failed]
        for _ in range(2 if self.settings.llm else 0):
            questions = [_question(conversations[number], proofs[number].problem) for number in left]
            for number, answer in zip(left, self.llm.ask(questions), strict=True):
                proofs[number] = _read(conversations[number], answer, proofs[number])
            left = [number for number in left if proofs[number].attempt.failed]
        return [[_outcome(*pair)] for pair in zip(conversations, proofs, strict=True)]

    def _without_llm(self, conversation: DraftConversation) -> _Proof:
        turn = conversation.turns[-1]
        given = _reviewers_reply(conversation)
        if given:
            attempt = Attempt(given, grade_reply(given, turn.instruction_ids, turn.kwargs))
            if not attempt.failed:
                return _Proof("reviewer", attempt)
        prompts = [each.prompt for each in conversation.turns]
        return _Proof(
            "rule",
            construct(
                turn.instruction_ids, turn.kwargs, prompts, conversation.language, attempts=self.settings.attempts
            ),
        )


@dataclass(frozen=True)
class _Proof:
    """The best reply so far, who it is from, and what was wrong with the LLM's last answer."""

    how: str
    attempt: Attempt
    problem: str = ""


def returned(lines: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """The conversations that the lines of the step's file reject, by key, with the reason: they need another review."""
    return {
        outcome["conversation"]["key"]: outcome["reason"]
        for line in lines
        for outcome in line.get("outcomes", ())
        if outcome["reason"] is not None
    }


def _reviewers_reply(conversation: DraftConversation) -> str:
    audit = conversation.notes.get("audit")
    reply = audit.get("satisfying_reply") if isinstance(audit, Mapping) else None
    return reply if isinstance(reply, str) else ""


def _question(conversation: DraftConversation, problem: str) -> Question:
    turn = conversation.turns[-1]
    payload: dict[str, Any] = {
        "language": conversation.language,
        "turns": [each.prompt for each in conversation.turns],
        "instructions": [
            {"id": id_, "kwargs": dict(kwargs)} for id_, kwargs in zip(turn.instruction_ids, turn.kwargs, strict=True)
        ],
    }
    if problem:
        payload["problem"] = problem
    return Question("reply", WORDING, payload, f"reply to {conversation.key}")


def _read(conversation: DraftConversation, answer: str, proof: _Proof) -> _Proof:
    turn = conversation.turns[-1]
    try:
        reply = read_answer(answer, reply=str)["reply"]
    except ValueError as error:
        return replace(proof, problem=str(error))
    attempt = Attempt(reply, grade_reply(reply, turn.instruction_ids, turn.kwargs))
    problem = f"the reply does not follow {_named(conversation, attempt)}" if attempt.failed else ""
    better = len(attempt.failed) < len(proof.attempt.failed)
    return _Proof("llm", attempt, problem) if better else replace(proof, problem=problem)


def _outcome(conversation: DraftConversation, proof: _Proof) -> Outcome:
    attempt, ids = proof.attempt, conversation.turns[-1].instruction_ids
    noted = conversation.with_note(
        "prove", {"how": proof.how, "reply": attempt.reply, "verdicts": list(map(_noted, attempt.verdicts))}
    )
    if attempt.failed:
        ids = [ids[position] for position in attempt.failed]
        gaps = [f"no reply can be constructed for {id_} yet" for id_ in ids if making_of(id_).shape is None]
        more = "".join(f"; {each}" for each in (*gaps, proof.problem) if each)
        return Outcome(noted, f"no reply was found that follows all: the best fails {', '.join(ids)}{more}")
    random = [id_ for id_, verdict in zip(ids, attempt.verdicts, strict=True) if verdict.ungradeable]
    if random:
        return Outcome(noted, f"the published grader would grade it at random: {', '.join(random)}")
    return Outcome(noted)


def _noted(verdict: Verdict) -> dict[str, bool]:
    """The published verdict; what the corrected rules alone tell is no part of it."""
    return {"strict": verdict.strict, "loose": verdict.loose, "ungradeable": verdict.ungradeable}


def _named(conversation: DraftConversation, attempt: Attempt) -> str:
    return ", ".join(conversation.turns[-1].instruction_ids[position] for position in attempt.failed)
