"""Step 2, ``extend``: two further turns, each with an instruction that is drawn and a request that the LLM words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.instructions import INSTRUCTIONS

from .generators import draw_instruction, weights
from .instructions import must_contain
from .llm import LLM
from .questions import Question, read_answer
from .records import DraftConversation, Outcome, Turn
from .settings import Positive
from .wording import find_problem

VERSION = 1
_TURNS = 3

_WORDING = """A user has a conversation with an assistant. Word what the user says next: one request, in the language \
of the conversation, that the assistant do what it was asked before once more and follow one further instruction, \
which is given by its id and kwargs. Say all that the kwargs say and nothing that they do not: no other number, no \
other demand. The request must contain each of the strings in must_contain, keywords and markers just as they are. \
If there is a problem, it is what was wrong with an earlier try.
The answer's key is request: what the user says, one to three sentences."""


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
    longest: Positive = 500
    chunk: Positive = 32


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

    @property
    def identity(self) -> Any:
        """What outcomes depend on. How many go in one batch changes nothing."""
        settings = dataclasses.asdict(dataclasses.replace(self.settings, weights=self.weights))
        settings.pop("chunk")
        return [VERSION, settings, self.llm.identity]

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
    return Question("word_request", _WORDING, payload, name=f"{conversation.key}, turn {len(conversation.turns) + 1}")
