"""Step 4: every conversation in every language, translated, translated back, and judged.

Sentences of ours (:mod:`.statements`) are not translated: the target language's own take their place. Prompts without
them and the words in kwargs are translated together, in one question, so that they stay the same words. What comes is
checked by rule (:mod:`.equivalent`), translated back in a second question, and must pass the gates (:mod:`.gates`).
With a judge, it is the judge who translates back, and who then says whether each turn says the same (:mod:`.judge`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.languages import name_of

from .asking import Asking, Question, answered, from_cache
from .equivalent import distinct_spans, equivalent, foreign, localisable_spans, new_texts, questions_words, unsuitable
from .falsify import require_for, segmenters
from .gates import Thresholds, Translation, measure, problems
from .instructions import making_of
from .instructions.making import listed, with_texts
from .judge import judging
from .llm import LLM, read_answer
from .meaning.instructions import instructions_otherwise, turns_otherwise, unread
from .records import Conversations, DraftConversation, Outcome, Turn
from .statements import MARKER, Separated, put_back, sentences, separate
from .vocabulary import scripts_of

VERSION = 3


@dataclass(frozen=True)
class TranslateSettings(Thresholds):
    """The section ``translate``: the thresholds, and what is translated.

    Attributes:
        sources: codes of the languages to translate from; conversations in others stay in their own language alone,
            which then is among ``languages``. Where not given, all are translated into all the others.
    """

    sources: tuple[str, ...] | None = None


@dataclass(frozen=True)
class _Job:
    """One conversation on its way into one language; ``reason`` once it is rejected."""

    source: DraftConversation
    language: str
    turns: tuple[Turn, ...] = ()
    back: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def native(self) -> bool:
        return self.language == self.source.language

    @property
    def prompts(self) -> list[str]:
        return [turn.prompt for turn in self.turns]


class Translate:
    """The step ``translate``: as many outcomes per conversation as there are languages, with keys ``KEY:LANGUAGE``.

    Its note holds ``source`` (language and turns), ``back`` (prompts), ``figures`` (see :func:`.gates.measure`),
    ``warnings``: what the published rules make of an instruction in this language, what the source states otherwise
    than its kwargs, and that nothing of the language can be read, and ``judge``, if one was asked. A conversation that
    is in one of the languages already stays as it is; it is rejected where it states an instruction otherwise than its
    kwargs, and its note has no source.
    """

    name = "translate"

    def __init__(
        self,
        settings: TranslateSettings,
        languages: Sequence[str],
        llm: LLM,
        judge: LLM | None = None,
        falsifiable: bool = True,
    ) -> None:
        if not languages:
            raise UserError("languages is empty.", "Name one or more to translate into: languages: [sw, ko].")
        for language in (*languages, *settings.length_ratio):
            name_of(language)  # refuses what is no language
            if language not in languages:
                raise UserError(f"translate.length_ratio.{language}: {language} is not among languages.")
        if len(set(languages)) < len(languages):
            raise UserError(f"languages names one twice: {', '.join(languages)}.")
        self.settings, self.languages, self.llm, self.judge = settings, tuple(languages), llm, judge
        self.falsifiable = falsifiable  # of the step prove: instructions are tried on natural replies
        if falsifiable:
            require_for(languages)
        tried = segmenters(languages) if falsifiable else ["not tried"]
        asked = [llm.identity, *([judge.identity] if judge else [])]
        self.identity = [VERSION, asdict(settings), list(languages), *asked, *tried]

    def run(self, conversations: Conversations) -> list[list[Outcome]]:
        """Each conversation in each language, or why not."""
        jobs = self.llm.run([self.askings(conversation) for conversation in conversations])
        if self.judge is None:
            return [[self._judged(job) for job in of_one] for of_one in jobs]
        return self.judge.run([[self._by_judge(job) for job in of_one] for of_one in jobs])

    def askings(self, conversation: DraftConversation) -> list[Asking[_Job]]:
        """Two questions per language: there and back; there alone where a judge is asked for the way back.

        None for the conversation's own language.
        """
        forth = (partial(_question, more=0 if self.judge else 1), _read_forth)
        stages = [forth] if self.judge else [forth, (partial(_question, back=True), _read_back)]
        jobs = [self._begun(conversation, language) for language in self._into(conversation)]
        if not jobs:
            reason = f"its language is none to make or to translate from: {conversation.language}"
            jobs = [_Job(conversation, conversation.language, reason=reason)]
        return [answered(job, *(() if job.native else stages)) for job in jobs]

    def judge_askings(
        self, conversation: DraftConversation, cached: Callable[[Question], str | None]
    ) -> Iterator[Asking[Outcome]]:
        """What the judge will be asked; the source stands in for translations that are not ``cached``."""
        for asking in self.askings(conversation):
            forth = from_cache(asking, cached)
            language = str(forth.question.payload["to"]) if forth.question else ""
            known = _Job(conversation, language, conversation.turns) if forth.question else forth.result
            yield self._by_judge(known)

    def stand_ins(self, conversation: DraftConversation) -> list[DraftConversation]:
        """What comes of it, as far as that is known before it is translated: for an estimate of what is to be asked."""
        of = dataclasses.replace
        return [of(conversation, key=f"{conversation.key}:{code}", language=code) for code in self._into(conversation)]

    def _into(self, conversation: DraftConversation) -> list[str]:
        """The languages that it is released in."""
        own, sources = conversation.language, self.settings.sources
        return [code for code in self.languages if code == own or sources is None or own in sources]

    def _by_judge(self, job: _Job) -> Asking[Outcome]:
        """Back, and, where the gates let it pass, on to the questions of the judge."""
        if job.native or self.judge is None:
            return self._judged(job)
        way_back = (partial(_question, back=True, more=len(job.turns)), _read_back)
        job = yield from answered(job, way_back)
        return (yield from judging(self._judged(job), self.judge.settings.named))

    def _begun(self, conversation: DraftConversation, language: str) -> _Job:
        if conversation.language == language == "en" and len(self.languages) == 1:  # the benchmark's, by mistake
            raise UserError(
                f"languages names {language} alone, and {conversation.key} is in it already.",
                "Name the languages to make: those to translate into, and those that seeds were written in.",
            )
        return _Job(conversation, language, reason=unsuitable(conversation.turns, language, self.falsifiable))

    def _judged(self, job: _Job) -> Outcome:
        if job.native:
            return self._native(job)
        source, reason = job.source, job.reason
        made = DraftConversation(_key(job), job.language, job.turns or source.turns, source.notes)
        note: dict[str, Any] = {
            "source": {"language": source.language, "turns": [asdict(turn) for turn in source.turns]},
            "translated": bool(job.turns),
        }
        if job.back:
            translation = Translation(source.language, job.language, source.prompts, job.prompts, job.back)
            figures = measure(translation)
            warned = warnings(job.turns, job.language) + _of_source(source)
            if unchecked := unread(job.turns, job.language):
                warned.append(f"{unchecked}: only the back-translation was checked")
            note |= {"back": list(job.back), "figures": figures, "warnings": warned}
            found = problems(translation, figures, self.settings)
            found += instructions_otherwise(source.turns, job.turns, job.back, (source.language, job.language))
            reason = "; ".join(found) or None
        return Outcome(made.with_note(self.name, note), reason)

    def _native(self, job: _Job) -> Outcome:
        """What is not translated, held against its language and its instructions."""
        own = dataclasses.replace(job.source, key=_key(job))
        another, warned = foreign("\n".join(own.prompts), own.language), warnings(own.turns, own.language)
        found = [job.reason] if job.reason else [f"the language is another: {another}"] if another else []
        found = found or _otherwise(own)
        if unchecked := unread(own.turns, own.language):
            warned.append(f"{unchecked}: whether prompts and kwargs fit was not checked")
        return Outcome(own.with_note(self.name, {"source": None, "warnings": warned}), "; ".join(found) or None)


def _otherwise(conversation: DraftConversation) -> list[str]:
    """What its prompts state otherwise than their kwargs."""
    found = turns_otherwise(conversation.turns, conversation.language)
    return [f"turn {turn}: {each}" for (turn, _), told in found.items() for each in told]


def _of_source(source: DraftConversation) -> list[str]:
    """The same of a source, whose translation cannot be held against it."""
    return [each.replace(":", " of the source:", 1) for each in _otherwise(source)]


def _key(job: _Job) -> str:
    return f"{job.source.key}:{job.language}"


def _question(job: _Job, back: bool = False, more: int = 0) -> Question:
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
    return Question("translate", payload, _key(job), more=more)


def _apart(turns: Sequence[Turn], language: str, into: str) -> tuple[list[str], list[list[Separated]]]:
    """The prompts with markers in place of our sentences, and per turn what the markers stand for.

    Prompts that hold such marks themselves are left as they are.
    """
    if any(MARKER.search(turn.prompt) for turn in turns):
        return [turn.prompt for turn in turns], [[] for _ in turns]
    parted = [separate(turn.prompt, turn.instructions, language, into) for turn in turns]
    return [text for text, _ in parted], [separated for _, separated in parted]


def _wording(job: _Job, apart: Sequence[Sequence[Separated]]) -> list[str]:
    """How the target language states the instructions that the source says in words of its own."""
    known = {each.position for turn in apart for each in turn}
    instructions = job.source.last.instructions
    left = [each for position, each in enumerate(instructions) if position not in known]
    return [said for id_, kwargs in left for said in sentences(id_, kwargs, job.language, blanks=True)]


def _read_forth(job: _Job, answer: str) -> _Job:
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
    job: _Job, prompts: Sequence[str], words: Sequence[Sequence[str]], position: int
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


def _read_back(job: _Job, answer: str) -> _Job:
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


def warnings(turns: Sequence[Turn], language: str) -> list[str]:
    """What the published rules make of an instruction in this language, where that is not what a reader expects."""
    warned = ((id_, making_of(id_).warning(scripts_of(language))) for id_ in dict.fromkeys(turns[-1].instruction_ids))
    return [f"{id_}: {warning}" for id_, warning in warned if warning]
