"""Step 2, ``extend``: two further turns, each with an instruction that is drawn and a request that the LLM words.

A draw is random and yet the same every time: it depends only on the seed, the conversation's key, the number of the
turn and the conversation itself. Every instruction has random numbers of its own, so that another weight or generator
leaves the others' kwargs as they are. Numbers are in the ranges of Multi-IF's English data; words and closing phrases
are by the topic and new to the conversation, as there (:mod:`.suggestions`). A wording must tell a reader all that the
grader will look for.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from pydantic import PositiveInt

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.instructions import INSTRUCTIONS

from .asking import Asking, Question, checked
from .falsify import unsuitable
from .instructions import Draw, find_conflicts, making_of, must_contain
from .instructions.ids import LANGUAGE
from .instructions.making import is_of_any_language
from .llm import LLM, RECORDED, read_answer
from .records import Conversations, DraftConversation, Outcome, Turn
from .statements import sentence
from .suggestions import with_suggestions
from .wording_checks import find_problem as find_problem
from .wording_checks import said_beside

VERSION = 3
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
        words: where keywords, words to avoid and closing phrases come from: ``topic``, as in the benchmark (the LLM
            suggests some once per conversation, if they are needed), or ``conversation``, its own words and fixed
            phrases in English. What the LLM suggests may be of no use: then it is as with the latter, and the
            datasheet tells how often. Where not given: ``topic``, but ``conversation`` with a recording, which holds
            answers for what was drawn when it was made.
    """

    seed: int = 0
    weights: Mapping[str, float] = field(default_factory=dict)
    longest: PositiveInt = 500
    words: Literal["topic", "conversation"] | None = None


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
        self.settings, self.llm = settings, llm
        self.words = settings.words or ("conversation" if llm.settings.model == RECORDED else "topic")
        settled = {"weights": self.weights, "words": self.words}
        self.identity = [VERSION, {**dataclasses.asdict(settings), **settled}, llm.identity]

    def run(self, conversations: Conversations) -> list[list[Outcome]]:
        """Each with three turns, or rejected: nothing could be drawn, or the wording lacks something twice."""
        return self.llm.run([self.askings(conversation) for conversation in conversations])

    def askings(self, conversation: DraftConversation) -> list[Asking[Outcome]]:
        """A question per turn that lacks, one after the other: a turn's wording is part of the next one's question.

        Before the first draw that needs words by the topic, these are asked for.
        """
        return [self._made(conversation)]

    def _made(self, conversation: DraftConversation) -> Asking[Outcome]:
        while (number := len(conversation.turns) + 1) <= _TURNS:
            drawn, lacking = _drawn(self.settings.seed, conversation, self.weights)
            wanting = self.words == "topic" and not conversation.note(self.name)
            try:
                if wanting and lacking:
                    conversation = yield from with_suggestions(conversation, _TURNS - number + 1)
                    continue
                if drawn is None:
                    ids = ", ".join(conversation.last.instruction_ids)
                    return Outcome(
                        conversation, f"nothing can be drawn: every instruction with a weight conflicts with {ids}"
                    )
                # The next turn may be the first that needs words.
                more = (_TURNS - number) * (2 if wanting else 1)
                check = partial(_extended, conversation, *drawn, self.settings.longest)
                asked = word_request(self.settings.seed, conversation, *drawn, more)
                conversation = yield from checked(asked, check)
            except ValueError as problem:
                return Outcome(conversation, f"no request for turn {number}: {problem}")
        return Outcome(conversation)


def _extended(
    conversation: DraftConversation, id_: str, kwargs: Mapping[str, Any], longest: int, answer: str
) -> DraftConversation:
    """The conversation with the turn of an answer; a ValueError with what is wrong with its wording."""
    wording = read_answer(answer, request=str)["request"].strip()
    problem = find_problem(wording, id_, kwargs, conversation.language, conversation.prompts, longest)
    if problem := problem or said_beside(wording, id_, kwargs, conversation.language):
        raise ValueError(f"{problem} ({id_})")
    last = conversation.last
    turn = Turn(wording, (*last.instruction_ids, id_), (*last.kwargs, kwargs))
    return dataclasses.replace(conversation, turns=(*conversation.turns, turn))


def word_request(
    seed: int, conversation: DraftConversation, id_: str, kwargs: Mapping[str, Any], more: int = 0
) -> Question:
    """The question for the wording of a conversation's next turn, with a sentence where the language has templates."""
    payload = {
        "language": conversation.language,
        "turns": conversation.prompts,
        "instruction": id_,
        "kwargs": kwargs,
        "must_contain": must_contain(id_, kwargs),
    }
    number = len(conversation.turns) + 1
    draw = Draw(conversation, seed, conversation.key, number, id_, "sentence")
    if said := sentence(id_, kwargs, conversation.language, draw):
        payload["sentence"] = said
    return Question("word_request", payload, f"{conversation.key} (request of turn {number})", more=more)


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
    return _drawn(seed, conversation, weights)[0]


def _drawn(
    seed: int, conversation: DraftConversation, weights: Mapping[str, float]
) -> tuple[tuple[str, dict[str, Any]] | None, bool]:
    """The same, and whether words by the topic were looked for on the way and there were none."""
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
            if unsuitable(id_, kwargs, conversation.language):
                break
            position = len(last.instruction_ids)
            conflicts = find_conflicts([*last.instruction_ids, id_], [*last.kwargs, kwargs])
            if not any(position in conflict.positions for conflict in conflicts):
                return (id_, kwargs), any(draw.lacked for draw in draws.values())
    return None, any(draw.lacked for draw in draws.values())


def _same_language(id_: str, kwargs: Mapping[str, Any], conversation: DraftConversation) -> bool:
    """Whether the instruction's words would be of the language that the reply is asked to be in."""
    last = conversation.last
    if id_ == LANGUAGE:
        return all(map(is_of_any_language, last.instruction_ids, last.kwargs))
    asked = [each["language"] for each in last.kwargs if "language" in each]
    return is_of_any_language(id_, kwargs) or all(code == conversation.language for code in asked)
