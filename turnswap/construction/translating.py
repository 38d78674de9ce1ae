"""A conversation on its way into another language: the questions there and back, and what their answers make of it.

Sentences of ours (:mod:`.statements`) are left out of the questions: the target language's own take their place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .asking import Question
from .equivalent import distinct_spans, equivalent, localisable_spans, new_texts, questions_words
from .instructions.making import listed, with_texts
from .llm import read_answer
from .records import DraftConversation, Turn
from .statements import MARKER, Separated, put_back, sentences, separate


@dataclass(frozen=True)
class Job:
    """One conversation on its way into one language; ``reason`` once it is rejected."""

    source: DraftConversation
    language: str
    turns: tuple[Turn, ...] = ()
    back: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def native(self) -> bool:
        """Whether there is nothing to translate."""
        return self.language == self.source.language

    @property
    def prompts(self) -> list[str]:
        """In the new language; none before they came."""
        return [turn.prompt for turn in self.turns]


def key_of(job: Job) -> str:
    """Of the conversation that is made."""
    return f"{job.source.key}:{job.language}"


def question(job: Job, back: bool = False, more: int = 0) -> Question:
    """For the translation, or, ``back``, for that of what came into the source's language."""
    source = job.source
    forth, apart = _apart(source.turns, source.language, job.language)
    asked, separated = _apart(job.turns, job.language, source.language) if back else (forth, apart)
    markers = {each.marker: None for turn in separated for each in turn}
    plain = [MARKER.sub(" ", text) if turn else text for text, turn in zip(forth, apart, strict=True)]
    payload: dict[str, Any] = {
        "from": job.language if back else source.language,
        "to": source.language if back else job.language,
        "turns": asked,
        "kwargs": [] if back else questions_words(source.turns),
        "protected": [*distinct_spans(plain), *markers],
    }
    if not back and (localisable := localisable_spans(source.turns)):
        payload["may_translate"] = localisable
    if not back and (wording := _wording(job, apart)):
        payload["wording"] = wording
    return Question("translate", payload, key_of(job), more=more)


def without_sentences(job: Job) -> tuple[list[str], list[str], list[str]]:
    """The source's, the translated and the back-translated prompts, with marks in place of our sentences.

    These were put there, so they need no judgement: what an LLM has worded is the rest.
    """
    source = job.source
    forth, apart = _apart(source.turns, source.language, job.language)
    there, back = list(job.prompts), list(job.back)
    for number, separated in enumerate(apart):
        for each in separated:
            for prompts, turns, language in ((there, job.turns, job.language), (back, source.turns, source.language)):
                said = sentences(*turns[-1].instructions[each.position], language)
                prompts[number] = prompts[number].replace(said[each.variant % len(said)], each.marker, 1)
    return forth, there, back


def _apart(turns: Sequence[Turn], language: str, into: str) -> tuple[list[str], list[list[Separated]]]:
    """The prompts with markers in place of our sentences, and per turn what the markers stand for.

    Prompts that hold such marks themselves are left as they are.
    """
    if any(MARKER.search(turn.prompt) for turn in turns):
        return [turn.prompt for turn in turns], [[] for _ in turns]
    parted = [separate(turn.prompt, turn.instructions, language, into) for turn in turns]
    return [text for text, _ in parted], [separated for _, separated in parted]


def _wording(job: Job, apart: Sequence[Sequence[Separated]]) -> list[str]:
    """How the target language states the instructions that the source says in words of its own."""
    known = {each.position for turn in apart for each in turn}
    instructions = job.source.last.instructions
    left = [each for position, each in enumerate(instructions) if position not in known]
    return [said for id_, kwargs in left for said in sentences(id_, kwargs, job.language, blanks=True)]


def read_forth(job: Job, answer: str) -> Job:
    """The job with the turns of an answer; a ValueError where they do not fit, in words fit for a reason."""
    content = read_answer(answer, turns=list, kwargs=list)
    turns, prompts = job.source.turns, list(content["turns"])
    words = [[word.strip() if isinstance(word, str) else word for word in listed(each)] for each in content["kwargs"]]
    _, apart = _apart(turns, job.source.language, job.language)
    whole = len(prompts) == len(turns) and all(isinstance(prompt, str) for prompt in prompts)
    whole = whole and list(map(len, words)) == list(map(len, questions_words(turns)))
    # Turn by turn: a prompt to repeat is a turn before, with its own sentences. What is not whole is refused below.
    for number, separated in enumerate(apart if whole and any(apart) else []):
        made = {each.position: _with_new_texts(job, prompts, words, each.position) for each in separated}
        prompts[number] = _put_back(prompts[number], made, job.language, separated, number)
    return dataclasses.replace(job, turns=equivalent(turns, prompts, words))


def _with_new_texts(
    job: Job, prompts: Sequence[str], words: Sequence[Sequence[str]], position: int
) -> tuple[str, dict[str, Any]]:
    id_, kwargs = job.source.last.instructions[position]
    return id_, with_texts(id_, kwargs, new_texts(job.source.turns, prompts, words, position))


def _put_back(
    prompt: str,
    instructions: Mapping[int, tuple[str, Mapping[str, Any]]],
    language: str,
    separated: Sequence[Separated],
    number: int,
) -> str:
    try:
        return put_back(prompt, instructions, language, separated)
    except ValueError as error:
        raise ValueError(f"{error}, in turn {number + 1} of the translation") from None


def read_back(job: Job, answer: str) -> Job:
    """The job with the back-translation of an answer; a ValueError where it is not whole."""
    prompts = read_answer(answer, turns=list)["turns"]
    if len(prompts) != len(job.turns) or not all(isinstance(prompt, str) and prompt.strip() for prompt in prompts):
        raise ValueError(
            f"the back-translation is not whole: {len(job.turns)} turns were asked for, {prompts!r:.80} came"
        )
    source = job.source
    _, apart = _apart(job.turns, job.language, source.language)
    instructions = dict(enumerate(source.last.instructions))
    if any(apart):
        prompts = [
            _put_back(prompt, instructions, source.language, separated, number)
            for number, (prompt, separated) in enumerate(zip(prompts, apart, strict=True))
        ]
    return dataclasses.replace(job, back=tuple(prompts))
