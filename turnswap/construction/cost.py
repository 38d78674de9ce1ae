"""What a run will ask of the LLM, told before it asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .asking import Question, cached_first
from .pipeline import FAILED, Pipeline, kept
from .records import DraftConversation

_BYTES = 4  # of UTF-8 per token, roughly, in most languages and tokenizers


@dataclass(frozen=True)
class Cost:
    """What a step will ask.

    Attributes:
        step: its name.
        conversations: that come to it and are not done.
        questions: without an answer in the cache. One whose answer fails its check is asked once more, beside these.
        exact: whether ``questions`` is their number; else it is the most that they may be.
        prompt_tokens: estimated, of all prompts.
        answer_tokens: the most that the answers may have.
    """

    step: str
    conversations: int
    questions: int
    exact: bool
    prompt_tokens: int
    answer_tokens: int


def costs(pipeline: Pipeline, last: str | None = None, redo: str | None = None) -> list[Cost]:
    """What every step with an LLM will ask; ``last`` and ``redo`` as in :meth:`.Pipeline.run`.

    Where it is not known yet what will come to a step, the conversations so far stand for it.
    """
    found: list[Cost] = []
    came, known = kept(pipeline.loaded), True
    for step in pipeline.steps if last != pipeline.first.name else ():
        done = {} if step.name == redo else pipeline.done(step, came, redo == FAILED)
        left = [conversation for conversation in came if conversation.key not in done]
        if hasattr(step, "llm"):
            found.append(_cost(step, left, known, step.name == redo))
        if step.name == last:
            break
        known = known and not left
        come = getattr(step, "stand_ins", lambda conversation: [conversation])
        came = [
            *kept(outcome for conversation in came for outcome in done.get(conversation.key, ())),
            *(each for conversation in left for each in come(conversation)),
        ]
    return found


def _cost(step: Any, left: Sequence[DraftConversation], known: bool, anew: bool) -> Cost:
    answer = (lambda _: None) if anew or not left else step.llm.lookup()
    questions: list[Question] = []
    for conversation in left:
        if hasattr(step, "may_ask"):
            questions += [question for question in step.may_ask(conversation) if answer(question) is None]
        else:
            questions += filter(None, (cached_first(asking, answer) for asking in step.askings(conversation)))
    number = sum(1 + question.more for question in questions)
    exact = known and not (questions and hasattr(step, "may_ask")) and number == len(questions)
    tokens = sum((1 + each.more) * (len(each.prompt().encode()) // _BYTES + 1) for each in questions)
    return Cost(step.name, len(left), number, exact, tokens, number * step.llm.gen_kwargs["max_gen_toks"])
