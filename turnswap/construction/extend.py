"""Step 2, ``extend``: two further turns, each with an instruction that is drawn and a request that the LLM words."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from turnswap.core.errors import UserError

from .asking import ask_checked
from .generators import GENERATORS, WEIGHTS, draw_instruction
from .llm import LLM, Question, read_answer
from .records import Conversation, Outcome, Turn
from .settings import BuildSettings, read_section
from .wording import find_problem, must_contain

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
            keep the weight in :data:`.generators.WEIGHTS`.
        longest: characters that a request may have beside what it must contain.
        chunk: conversations per batch of questions.
    """

    seed: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    longest: int = 500
    chunk: int = 32


def make(build: BuildSettings, llm: LLM) -> Extend:
    """The step of a data set.

    Raises:
        UserError: the section is not as expected.
    """
    return Extend(read_section(ExtendSettings, build.extend, "extend"), llm)


class Extend:
    """The step ``extend``: adds turns until there are three; seeds that bring three go through as they are."""

    name = "extend"

    def __init__(self, settings: ExtendSettings, llm: LLM) -> None:
        if unknown := sorted(set(settings.weights) - set(GENERATORS)):
            raise UserError(
                f"extend.weights: {unknown[0]!r} cannot be drawn.", f"There are: {', '.join(sorted(GENERATORS))}."
            )
        self.weights = {**WEIGHTS, **settings.weights}
        if any(weight < 0 for weight in self.weights.values()) or not any(self.weights.values()):
            raise UserError("extend.weights must not be negative, nor all of them 0.")
        if settings.chunk < 1 or settings.longest < 1:
            raise UserError("extend: chunk and longest must be at least 1.")
        self.settings, self.llm, self.chunk = settings, llm, settings.chunk

    @property
    def identity(self) -> Any:
        """What outcomes depend on. How many go in one batch changes nothing."""
        settings = dataclasses.asdict(dataclasses.replace(self.settings, weights=self.weights))
        settings.pop("chunk")
        return [VERSION, settings, self.llm.identity]

    def run(self, conversations: Sequence[Conversation]) -> list[list[Outcome]]:
        """Each with three turns, or rejected: nothing could be drawn, or the wording lacks something twice."""
        outcomes = [Outcome(conversation) for conversation in conversations]
        for number in range(2, _TURNS + 1):
            # A turn's wording is part of the next turn's question, so turns are asked one after the other.
            open_ = [
                place
                for place, outcome in enumerate(outcomes)
                if outcome.reason is None and len(outcome.conversation.turns) < number
            ]
            for place, outcome in zip(open_, self._add([outcomes[p].conversation for p in open_]), strict=True):
                outcomes[place] = outcome
        return [[outcome] for outcome in outcomes]

    def _add(self, conversations: Sequence[Conversation]) -> list[Outcome]:
        """One more turn for each."""
        outcomes = [Outcome(conversation) for conversation in conversations]
        questions: dict[int, Question] = {}
        checks: list[Callable[[str], Conversation]] = []
        for place, conversation in enumerate(conversations):
            drawn = draw_instruction(self.settings.seed, conversation, self.weights)
            if drawn is None:
                ids = ", ".join(conversation.turns[-1].instruction_ids)
                reason = f"nothing can be drawn: no instruction of those with a weight goes with {ids}"
                outcomes[place] = Outcome(conversation, reason)
            else:
                questions[place] = _question(conversation, *drawn)
                checks.append(partial(_extended, conversation, *drawn, self.settings.longest))
        for place, made in zip(questions, ask_checked(self.llm, list(questions.values()), checks), strict=True):
            if isinstance(made, ValueError):
                reason = f"no request for turn {len(conversations[place].turns) + 1}: {made}"
                outcomes[place] = Outcome(conversations[place], reason)
            else:
                outcomes[place] = Outcome(made)
        return outcomes


def _extended(
    conversation: Conversation, id_: str, kwargs: Mapping[str, Any], longest: int, answer: str
) -> Conversation:
    """The conversation with the turn of an answer; a ValueError with what is wrong with its wording."""
    wording = read_answer(answer, request=str)["request"].strip()
    prompts = [turn.prompt for turn in conversation.turns]
    problem = find_problem(wording, id_, kwargs, conversation.language, prompts, longest)
    if problem is not None:
        raise ValueError(f"{problem} ({id_})")
    last = conversation.turns[-1]
    turn = Turn(wording, (*last.instruction_ids, id_), (*last.kwargs, kwargs))
    return dataclasses.replace(conversation, turns=(*conversation.turns, turn))


def _question(conversation: Conversation, id_: str, kwargs: Mapping[str, Any]) -> Question:
    payload = {
        "language": conversation.language,
        "turns": [turn.prompt for turn in conversation.turns],
        "instruction": id_,
        "kwargs": kwargs,
        "must_contain": must_contain(id_, kwargs),
    }
    return Question("word_request", _WORDING, payload, name=f"{conversation.key}, turn {len(conversation.turns) + 1}")
