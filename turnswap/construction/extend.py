"""Step 2, ``extend``: two further turns, each with an instruction that is drawn and a request that the LLM words.

A draw is random and yet the same every time: it depends only on the seed, the conversation's key, the number of the
turn and the conversation itself. Every instruction has random numbers of its own, so that another weight or generator
leaves the others' kwargs as they are. Numbers are in the ranges of Multi-IF's English data; keywords are words of the
conversation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import PositiveInt

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.instructions import INSTRUCTIONS

from .instructions import Draw, find_conflicts, making_of, must_contain
from .instructions.ids import LANGUAGE
from .instructions.making import is_of_any_language
from .llm import LLM
from .questions import Question, question_of, read_answer
from .records import DraftConversation, Outcome, Turn, decisive
from .wording import find_problem

VERSION = 1
_TURNS = 3
_TRIES = 8  # kwargs drawn per instruction before another one is taken


@dataclass(frozen=True)
class ExtendSettings:
    """The section ``extend``.

    Attributes:
        seed: of the draws.
        weights: how often to draw an instruction, by id, relative to the others; 0 never. Those that are not named
            keep the weight that their record has.
        longest: characters that a request may have beside what it must contain.
        chunk: conversations per batch of questions.
    """

    seed: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    longest: PositiveInt = 500
    chunk: PositiveInt = 32


class Extend:
    """The step ``extend``: adds turns until there are three; seeds that bring three go through as they are."""

    name = "extend"

    def __init__(self, settings: ExtendSettings, llm: LLM) -> None:
        drawn = weights()
        if unknown := sorted(set(settings.weights) - set(drawn)):
            known = "nothing says how" if unknown[0] in INSTRUCTIONS else "there is no such instruction"
            raise UserError(
                f"extend.weights: {unknown[0]!r} cannot be drawn: {known}.", f"There are: {', '.join(sorted(drawn))}."
            )
        self.weights = {**drawn, **settings.weights}
        if any(weight < 0 for weight in self.weights.values()) or not any(self.weights.values()):
            raise UserError("extend.weights must not be negative, nor all of them 0.")
        self.settings, self.llm, self.chunk = settings, llm, settings.chunk
        self.identity = [VERSION, {**decisive(settings), "weights": self.weights}, llm.identity]

    def run(self, conversations: Sequence[DraftConversation]) -> list[list[Outcome]]:
        """Each with three turns, or rejected: nothing could be drawn, or the wording lacks something twice."""
        outcomes = [Outcome(conversation) for conversation in conversations]
        for number in range(2, _TURNS + 1):
            # A turn's wording is part of the next turn's question, so turns are asked one after the other.
            questions: dict[int, Question] = {}
            checks: list[Callable[[str], DraftConversation]] = []
            for place, outcome in enumerate(outcomes):
                conversation = outcome.conversation
                if outcome.reason is not None or len(conversation.turns) >= number:
                    continue
                if drawn := draw_instruction(self.settings.seed, conversation, self.weights):
                    questions[place] = _question(conversation, *drawn)
                    checks.append(partial(_extended, conversation, *drawn, self.settings.longest))
                else:
                    ids = ", ".join(conversation.last.instruction_ids)
                    reason = f"nothing can be drawn: no instruction of those with a weight goes with {ids}"
                    outcomes[place] = Outcome(conversation, reason)
            for place, made in zip(questions, self.llm.ask_checked(list(questions.values()), checks), strict=True):
                if isinstance(made, ValueError):
                    outcomes[place] = Outcome(outcomes[place].conversation, f"no request for turn {number}: {made}")
                else:
                    outcomes[place] = Outcome(made)
        return [[outcome] for outcome in outcomes]


def _extended(
    conversation: DraftConversation, id_: str, kwargs: Mapping[str, Any], longest: int, answer: str
) -> DraftConversation:
    """The conversation with the turn of an answer; a ValueError with what is wrong with its wording."""
    wording = read_answer(answer, request=str)["request"].strip()
    prompts = conversation.prompts
    problem = find_problem(wording, id_, kwargs, conversation.language, prompts, longest)
    if problem is not None:
        raise ValueError(f"{problem} ({id_})")
    last = conversation.last
    turn = Turn(wording, (*last.instruction_ids, id_), (*last.kwargs, kwargs))
    return dataclasses.replace(conversation, turns=(*conversation.turns, turn))


def _question(conversation: DraftConversation, id_: str, kwargs: Mapping[str, Any]) -> Question:
    payload = {
        "language": conversation.language,
        "turns": conversation.prompts,
        "instruction": id_,
        "kwargs": kwargs,
        "must_contain": must_contain(id_, kwargs),
    }
    return question_of("word_request", payload, f"{conversation.key}, turn {len(conversation.turns) + 1}")


def weights() -> dict[str, float]:
    """How often each instruction that can be drawn is, relative to the others.

    In Multi-IF's English data title and ends are drawn ten times as often as small letters.
    """
    return {id_: making_of(id_).weight for id_ in INSTRUCTIONS if making_of(id_).draw}


def draw_instruction(
    seed: int, conversation: DraftConversation, weights: Mapping[str, float]
) -> tuple[str, dict[str, Any]] | None:
    """An instruction for the conversation's next turn: its id and kwargs, or None where none goes with those before.

    One that the conversation has already is not drawn, nor one in conflict or tension with those that it has, nor one
    without a weight or that nobody said how to draw. ``weights`` are relative to each other.
    """
    last, turn = conversation.last, len(conversation.turns) + 1
    draws = {id_: Draw(conversation, seed, conversation.key, turn, id_) for id_ in sorted(weights) if weights[id_] > 0}
    # In random order, heavier ones more often in front (Efraimidis and Spirakis, 2006).
    rank = {id_: draw.number() ** (1 / weights[id_]) for id_, draw in draws.items()}
    for id_ in sorted(draws, key=lambda each: (-rank[each], each)):
        drawn_by = making_of(id_).draw
        if drawn_by is None or id_ in last.instruction_ids:
            continue
        for _ in range(_TRIES):
            kwargs = drawn_by(draws[id_])
            if kwargs is None or not _same_language(id_, kwargs, conversation):
                break
            position = len(last.instruction_ids)
            conflicts = find_conflicts([*last.instruction_ids, id_], [*last.kwargs, kwargs])
            if not any(position in conflict.positions for conflict in conflicts):
                return id_, kwargs
    return None


def _same_language(id_: str, kwargs: Mapping[str, Any], conversation: DraftConversation) -> bool:
    """Whether the instruction's words would be of the language that the reply is asked to be in."""
    last = conversation.last
    if id_ == LANGUAGE:
        return all(map(is_of_any_language, last.instruction_ids, last.kwargs))
    asked = [each["language"] for each in last.kwargs if "language" in each]
    return is_of_any_language(id_, kwargs) or all(code == conversation.language for code in asked)
