"""A second model that judges translations: per turn, a yes or no on each constraint and on the content.

One question per turn holds all of these: a turn brings one or two constraints, and a question of its own for each would
send wording and texts once more for every yes or no.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

from .asking import Asking, Question, answered
from .llm import LLMSettings, read_answer
from .plain_words import PlainWords, plain_words
from .records import Outcome, Turn


def doubt(translator: LLMSettings, judge: LLMSettings | None) -> str | None:
    """Why the judge's word is no evidence; None where it is, or where there is no judge."""
    if judge is None or judge.named != translator.named:
        return None
    return f"The judge is the translator itself ({judge.model}): what it says is no independent evidence."


def share_told(translations: Sequence[Outcome]) -> str:
    """How many of the translations that came to the judge it rejected, or gave no verdict on, in words."""
    judged = [outcome for outcome in translations if "judge" in outcome.conversation.note("translate")]
    rejected = sum(outcome.reason is not None for outcome in judged)
    return f"{rejected} of {len(judged)} translations rejected" + (f" ({rejected / len(judged):.0%})" if judged else "")


def judging(outcome: Outcome, judge: str) -> Asking[Outcome]:
    """The outcome of a translation after the judge's questions on it: one per turn, up to the first ``no``.

    Args:
        outcome: with the note of :class:`.Translate`. It gets ``judge`` in there, unless it is rejected already.
        judge: a name for the model.
    """
    conversation = outcome.conversation
    note = {**conversation.note("translate"), "judge": judge}
    if outcome.reason is None:
        outcome = replace(outcome, conversation=conversation.with_note("translate", note))
    turns = range(len(conversation.turns))
    stages = ((partial(_of_turn, turn=turn), partial(_read_of_turn, turn=turn)) for turn in turns)
    return (yield from answered(outcome, *stages))


def question(
    languages: tuple[str, str], texts: tuple[str, str], constraints: Sequence[str], name: str, more: int = 0
) -> Question:
    """Whether a translation says the same.

    Args:
        languages: codes of the source's and of the translation's.
        texts: the source and the translation.
        constraints: what the text asks of a reply, in plain English, with the translation's words.
        name: what messages to the user call the question.
        more: how many follow it, if the judge says yes.
    """
    payload = {"from": languages[0], "to": languages[1], "source": texts[0], "translation": texts[1]}
    return Question("judge_turn", {**payload, "constraints": list(constraints)}, name, more=more)


def verdict(answer: str, constraints: Sequence[str]) -> str | None:
    """Why a translation is rejected, by the answer to :func:`question`; None where the judge says yes to all.

    Raises:
        ValueError: the answer is not a yes or no on each.
    """
    content = read_answer(answer, constraints=list, content=bool)
    same, told = content["constraints"], content.get("reason") or "no reason given"
    if len(same) != len(constraints) or not all(isinstance(each, bool) for each in same):
        raise ValueError(f"the judge must say yes or no for each of {len(constraints)} constraints, not {same!r:.80}")
    if lost := [constraint for constraint, each in zip(constraints, same, strict=True) if not each]:
        return f"the judge finds a constraint changed: {'; '.join(lost)}: {told}"
    return None if content["content"] else f"the judge finds the content changed: {told}"


def _of_turn(outcome: Outcome, turn: int) -> Question:
    conversation = outcome.conversation
    source: Mapping[str, Any] = conversation.note("translate")["source"]
    return question(
        (source["language"], conversation.language),
        (source["turns"][turn]["prompt"], conversation.prompts[turn]),
        constraints_of(conversation.turns, turn),
        f"{conversation.key}, turn {turn + 1}",
        more=len(conversation.turns) - turn - 1,
    )


def _read_of_turn(outcome: Outcome, answer: str, turn: int) -> Outcome:
    reason = verdict(answer, constraints_of(outcome.conversation.turns, turn))
    return replace(outcome, reason=reason and f"{reason} (turn {turn + 1})")


def constraints_of(turns: Sequence[Turn], turn: int) -> list[str]:
    """What a turn (counted from 0) asks for beside the one before it, in plain English."""
    before = len(turns[turn - 1].instructions) if turn else 0
    return [_plain().question(id_, kwargs) for id_, kwargs in turns[turn].instructions[before:]]


@cache
def _plain() -> PlainWords:
    """Statements, where people are asked."""
    words = plain_words()
    return replace(words, sayings={**words.sayings, "question": "{instruction}"})
