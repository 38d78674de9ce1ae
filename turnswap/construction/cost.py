"""What a run will ask of the LLM and the judge, told before it asks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from .asking import Asking, Question, from_cache
from .llm import LLM
from .pipeline import FAILED, Pipeline, kept
from .records import DraftConversation

_BYTES = 4  # of UTF-8 per token, roughly, in most languages and tokenizers


@dataclass(frozen=True)
class Cost:
    """What a step will ask.

    Attributes:
        step: its name; ``judge`` for what the judge is asked in ``translate``.
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
        if getattr(step, "judge", None):
            found.append(_of_judge(step, left, step.name == redo))
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
    answer = _lookup(step.llm, left, anew)
    questions: list[Question] = []
    for conversation in left:
        if hasattr(step, "may_ask"):
            questions += [question for question in step.may_ask(conversation) if answer(question) is None]
        else:
            questions += _open(step.askings(conversation), answer)
    exact = known and not (questions and hasattr(step, "may_ask")) and not any(each.more for each in questions)
    return _summed(step.name, step.llm, left, questions, exact)


def _of_judge(step: Any, left: Sequence[DraftConversation], anew: bool) -> Cost:
    """Of the second model; what of its questions the gates spare is not known before."""
    translated, answer = _lookup(step.llm, left, anew), _lookup(step.judge, left, anew)
    questions = [
        question for conversation in left for question in _open(step.judge_askings(conversation, translated), answer)
    ]
    return _summed("judge", step.judge, left, questions, exact=False)


def _lookup(llm: LLM, left: Sequence[DraftConversation], anew: bool) -> Callable[[Question], str | None]:
    return (lambda _: None) if anew or not left else llm.lookup()


def _open(askings: Iterable[Asking[Any]], answer: Callable[[Question], str | None]) -> Iterator[Question]:
    """The first question of each that has no answer yet."""
    return filter(None, (from_cache(asking, answer).question for asking in askings))


def _summed(name: str, llm: LLM, left: Sequence[DraftConversation], questions: Sequence[Question], exact: bool) -> Cost:
    number = sum(1 + question.more for question in questions)
    tokens = sum((1 + each.more) * (len(each.prompt().encode()) // _BYTES + 1) for each in questions)
    return Cost(name, len(left), number, exact, tokens, number * llm.gen_kwargs["max_gen_toks"])
