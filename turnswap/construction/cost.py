"""What a run will ask of the LLM and the judge, told before it asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .asking import Question, UnderWay, from_cache
from .llm import LLM
from .pipeline import FAILED, Pipeline, kept
from .records import DraftConversation, Outcome

Cached = Callable[[Question], str | None]
_BYTES = 4  # of UTF-8 per token, roughly, in most languages and tokenizers


@dataclass(frozen=True)
class Cost:
    """What a step will ask.

    Attributes:
        step: its name; ``judge`` for what the judge is asked in ``translate``.
        conversations: that come to it and are not done.
        questions: without an answer in the cache.
        exact: whether ``questions`` is their number if all answers are good; else it is the most that they may be.
        prompt_tokens: estimated, of all prompts.
        answer_tokens: the most that the answers may have.
        repeated_questions: how many more at most, since a question whose answer is no good is asked once more.
        repeated_prompt_tokens, repeated_answer_tokens: of these.
    """

    step: str
    conversations: int
    questions: int
    exact: bool
    prompt_tokens: int
    answer_tokens: int
    repeated_questions: int
    repeated_prompt_tokens: int
    repeated_answer_tokens: int


@dataclass(frozen=True)
class _Asked:
    """Questions of about the same length, and how many of them may be asked once more."""

    questions: int
    repeated: int
    tokens: int  # of a prompt

    @classmethod
    def of(cls, question: Question, answered: bool = False) -> _Asked:
        """A question and those after it; an answer that there is may be no good."""
        number = 0 if answered else 1 + question.more
        return cls(number, int(question.again) + question.more, len(question.prompt().encode()) // _BYTES + 1)


def costs(pipeline: Pipeline, last: str | None = None, redo: str | None = None) -> list[Cost]:
    """What every step with an LLM will ask; ``last`` and ``redo`` as in :meth:`.Pipeline.run`.

    What will come to a step is made of the answers in the cache; where they do not tell, the conversations so far stand
    for it.
    """
    found: list[Cost] = []
    came, known = kept(pipeline.loaded), True
    for step in pipeline.steps if last != pipeline.first.name else ():
        done = {} if step.name == redo else pipeline.done(step, came, redo == FAILED)
        left = [conversation for conversation in came if conversation.key not in done]
        if hasattr(step, "llm"):
            asked = _asking if hasattr(step, "askings") else _maybe_asking
            made, of_step = asked(step, left, known, step.name == redo)
            found += of_step
            done |= made
        if step.name == last:
            break
        come = getattr(step, "stand_ins", lambda conversation: [conversation])
        known = known and not left
        came = [
            *kept(outcome for conversation in came for outcome in done.get(conversation.key, ())),
            *(each for conversation in left if conversation.key not in done for each in come(conversation)),
        ]
    return found


def _asking(
    step: Any, left: Sequence[DraftConversation], known: bool, anew: bool
) -> tuple[dict[str, list[Outcome]], list[Cost]]:
    """What it makes of conversations by the answers that there are, by key, and what it and its judge will ask."""
    answer, judge = _lookup(step.llm, left, anew), getattr(step, "judge", None)
    by_judge = _lookup(judge, left, anew) if judge else answer
    made: dict[str, list[Outcome]] = {}
    asked: list[UnderWay[Any]] = []
    judged: list[UnderWay[Any]] = []
    for conversation in left:
        ends = [from_cache(asking, answer) for asking in step.askings(conversation)]
        asked += ends
        open_ = any(end.question for end in ends)
        if judge or (hasattr(step, "judge_askings") and not open_):
            ends = [from_cache(asking, by_judge) for asking in step.judge_askings(conversation, answer)]
            judged += ends
        if not open_ and not any(end.question for end in ends):
            made[conversation.key] = [end.result for end in ends]
    questions = [end.question for end in asked if end.question]
    exact = known and not any(question.more for question in questions)
    found = [_summed(step.name, step.llm, len(left), list(map(_Asked.of, questions)), exact)]
    if judge:  # what of its questions the gates spare is not known before
        questions = [end.question for end in judged if end.question]
        found.append(_summed("judge", judge, len(left), list(map(_Asked.of, questions)), exact=False))
    return made, found


def _maybe_asking(
    step: Any, left: Sequence[DraftConversation], known: bool, anew: bool
) -> tuple[dict[str, list[Outcome]], list[Cost]]:
    """The same of a step that asks one of some questions about a conversation, or none; what it makes is not known."""
    answer = _lookup(step.llm, left, anew)
    found = []
    for conversation in left:
        ways = [_Asked.of(each, answer(each) is not None) for each in step.may_ask(conversation)]
        if ways:
            most = (max(getattr(way, name) for way in ways) for name in ("questions", "repeated", "tokens"))
            found.append(_Asked(*most))
    exact = known and not any(each.questions for each in found)
    return {}, [_summed(step.name, step.llm, len(left), found, exact)]


def _lookup(llm: LLM, left: Sequence[DraftConversation], anew: bool) -> Cached:
    return (lambda _: None) if anew or not left else llm.lookup()


def _summed(name: str, llm: LLM, conversations: int, asked: Sequence[_Asked], exact: bool) -> Cost:
    number, again = sum(each.questions for each in asked), sum(each.repeated for each in asked)
    tokens = sum(each.questions * each.tokens for each in asked)
    tokens_again = sum(each.repeated * each.tokens for each in asked)
    longest = llm.gen_kwargs["max_gen_toks"]
    return Cost(name, conversations, number, exact, tokens, number * longest, again, tokens_again, again * longest)
