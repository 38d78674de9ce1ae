"""Step 4: every conversation in every language, translated, translated back, and judged.

Sentences of ours (:mod:`.statements`) are not translated: the target language's own take their place. Prompts without
them and the words in kwargs are translated together, in one question, so that they stay the same words. What comes is
checked by rule (:mod:`.equivalent`), translated back in a second question, and must pass the gates (:mod:`.gates`).
With a judge, it is the judge who translates back, and who then says whether each turn says the same (:mod:`.judge`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.languages import name_of

from .asking import Asking, Question, answered, from_cache
from .equivalent import foreign_turns, unsuitable
from .falsify import require_for, segmenters
from .gates import Thresholds, Translation, measure, problems
from .instructions import making_of
from .judge import judging
from .llm import LLM
from .meaning.instructions import instructions_otherwise, turns_otherwise, unread
from .records import Conversations, DraftConversation, Outcome, Turn
from .translating import Job, key_of, question, read_back, read_forth, without_sentences
from .vocabulary import scripts_of

VERSION = 4


@dataclass(frozen=True)
class TranslateSettings(Thresholds):
    """The section ``translate``: the thresholds, and what is translated.

    Attributes:
        sources: codes of the languages to translate from; conversations in others stay in their own language alone,
            which then is among ``languages``. Where not given, all are translated into all the others.
    """

    sources: tuple[str, ...] | None = None


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

    def askings(self, conversation: DraftConversation) -> list[Asking[Job]]:
        """Two questions per language: there and back; there alone where a judge is asked for the way back.

        None for the conversation's own language.
        """
        forth = (partial(question, more=0 if self.judge else 1), read_forth)
        stages = [forth] if self.judge else [forth, (partial(question, back=True), read_back)]
        jobs = [self._begun(conversation, language) for language in self._into(conversation)]
        if not jobs:
            reason = f"its language is neither in languages nor in translate.sources: {conversation.language}"
            jobs = [Job(conversation, conversation.language, reason=reason)]
        return [answered(job, *(() if job.native else stages)) for job in jobs]

    def judge_askings(
        self, conversation: DraftConversation, cached: Callable[[Question], str | None]
    ) -> Iterator[Asking[Outcome]]:
        """What the judge will be asked; the source stands in for translations that are not ``cached``."""
        for asking in self.askings(conversation):
            forth = from_cache(asking, cached)
            language = str(forth.question.payload["to"]) if forth.question else ""
            known = Job(conversation, language, conversation.turns) if forth.question else forth.result
            yield self._by_judge(known)

    def stand_ins(self, conversation: DraftConversation) -> list[DraftConversation]:
        """What comes of it, as far as that is known before it is translated: for an estimate of what is to be asked."""
        of = dataclasses.replace
        return [of(conversation, key=f"{conversation.key}:{code}", language=code) for code in self._into(conversation)]

    def _into(self, conversation: DraftConversation) -> list[str]:
        """The languages that it is released in."""
        own, sources = conversation.language, self.settings.sources
        return [code for code in self.languages if code == own or sources is None or own in sources]

    def _by_judge(self, job: Job) -> Asking[Outcome]:
        """Back, and, where the gates let it pass, on to the questions of the judge."""
        if job.native or self.judge is None:
            return self._judged(job)
        way_back = (partial(question, back=True, more=len(job.turns)), read_back)
        job = yield from answered(job, way_back)
        return (yield from judging(self._judged(job), self.judge.settings.named))

    def _begun(self, conversation: DraftConversation, language: str) -> Job:
        if conversation.language == language == "en" and len(self.languages) == 1:  # the benchmark's, by mistake
            raise UserError(
                f"languages names {language} alone, and {conversation.key} is in it already.",
                "Name the languages to make: those to translate into, and those that seeds were written in.",
            )
        return Job(conversation, language, reason=unsuitable(conversation.turns, language, self.falsifiable))

    def _judged(self, job: Job) -> Outcome:
        if job.native:
            return self._native(job)
        source, reason = job.source, job.reason
        made = DraftConversation(key_of(job), job.language, job.turns or source.turns, source.notes)
        note: dict[str, Any] = {
            "source": {"language": source.language, "turns": [asdict(turn) for turn in source.turns]},
            "translated": bool(job.turns),
        }
        if job.back:
            translation = Translation(source.language, job.language, *without_sentences(job))
            figures = measure(translation)
            warned = warnings(job.turns, job.language) + _of_source(source)
            if unchecked := unread(job.turns, job.language):
                warned.append(f"{unchecked}: only the back-translation was checked")
            note |= {"back": list(job.back), "figures": figures, "warnings": warned}
            found = problems(translation, figures, self.settings)
            found += instructions_otherwise(source.turns, job.turns, job.back, (source.language, job.language))
            reason = "; ".join(found) or None
        return Outcome(made.with_note(self.name, note), reason)

    def _native(self, job: Job) -> Outcome:
        """What is not translated, held against its language and its instructions."""
        own = dataclasses.replace(job.source, key=key_of(job))
        warned = warnings(own.turns, own.language)
        found = [job.reason] if job.reason else foreign_turns(own.turns, own.language) or _otherwise(own)
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


def warnings(turns: Sequence[Turn], language: str) -> list[str]:
    """What the published rules make of an instruction in this language, where that is not what a reader expects."""
    warned = ((id_, making_of(id_).warning(scripts_of(language))) for id_ in dict.fromkeys(turns[-1].instruction_ids))
    return [f"{id_}: {warning}" for id_, warning in warned if warning]
