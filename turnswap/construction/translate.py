"""Step 4: every conversation in every language, translated, translated back, and judged.

Prompts and the words in kwargs are translated together, in one question, so that they stay the same words. What comes
is checked by rule (:mod:`.equivalent`), translated back in a second question, and must pass the gates (:mod:`.gates`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.languages import name_of

from .asking import Asking, Question, answered
from .equivalent import distinct_spans, equivalent, questions_words, unsuitable
from .gates import Thresholds, Translation, measure, problems
from .instructions import making_of
from .instructions.making import listed
from .llm import LLM, read_answer
from .meaning.instructions import instructions_otherwise
from .records import Conversations, DraftConversation, Outcome, Turn
from .vocabulary import scripts_of

VERSION = 1


@dataclass(frozen=True)
class TranslateSettings(Thresholds):
    """The section ``translate``: the thresholds."""


@dataclass(frozen=True)
class _Job:
    """One conversation on its way into one language; ``reason`` once it is rejected."""

    source: DraftConversation
    language: str
    turns: tuple[Turn, ...] = ()
    back: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def prompts(self) -> list[str]:
        return [turn.prompt for turn in self.turns]


class Translate:
    """The step ``translate``: as many outcomes per conversation as there are languages, with keys ``KEY:LANGUAGE``.

    Its note holds ``source`` (language and turns), ``back`` (prompts), ``figures`` (see :func:`.gates.measure`) and
    ``warnings``: what the published rules make of an instruction in this language.
    """

    name = "translate"

    def __init__(self, settings: TranslateSettings, languages: Sequence[str], llm: LLM) -> None:
        if not languages:
            raise UserError("languages is empty.", "Name one or more to translate into: languages: [sw, ko].")
        for language in (*languages, *settings.length_ratio):
            name_of(language)  # refuses what is no language
            if language not in languages:
                raise UserError(f"translate.length_ratio.{language}: {language} is not among languages.")
        if len(set(languages)) < len(languages):
            raise UserError(f"languages names one twice: {', '.join(languages)}.")
        self.settings, self.languages, self.llm = settings, tuple(languages), llm
        self.identity = [VERSION, asdict(settings), list(languages), llm.identity]

    def run(self, conversations: Conversations) -> list[list[Outcome]]:
        """Each conversation in each language, or why not."""
        return self.llm.run([self.askings(conversation) for conversation in conversations])

    def askings(self, conversation: DraftConversation) -> list[Asking[Outcome]]:
        """Two questions per language: there and back."""
        return [self._translated(self._begun(conversation, language)) for language in self.languages]

    def stand_ins(self, conversation: DraftConversation) -> list[DraftConversation]:
        """What comes of it, as far as that is known before it is translated: for an estimate of what is to be asked."""
        of = dataclasses.replace
        return [of(conversation, key=f"{conversation.key}:{code}", language=code) for code in self.languages]

    def _translated(self, job: _Job) -> Asking[Outcome]:
        done = yield from answered(job, (_question, _read_forth), (partial(_question, back=True), _read_back))
        return self._judged(done)

    def _begun(self, conversation: DraftConversation, language: str) -> _Job:
        if conversation.language == language:
            raise UserError(
                f"languages names {language}, and {conversation.key} is in it already.",
                "Name only languages to translate into.",
            )
        return _Job(conversation, language, reason=unsuitable(conversation.turns, language))

    def _judged(self, job: _Job) -> Outcome:
        source, reason = job.source, job.reason
        made = DraftConversation(_key(job), job.language, job.turns or source.turns, source.notes)
        note: dict[str, Any] = {
            "source": {"language": source.language, "turns": [asdict(turn) for turn in source.turns]},
            "translated": bool(job.turns),
        }
        if job.back:
            translation = Translation(source.language, job.language, source.prompts, job.prompts, job.back)
            figures = measure(translation)
            note |= {"back": list(job.back), "figures": figures, "warnings": warnings(job.turns, job.language)}
            found = problems(translation, figures, self.settings)
            found += instructions_otherwise(source.turns, job.turns, job.back, (source.language, job.language))
            reason = "; ".join(found) or None
        return Outcome(made.with_note(self.name, note), reason)


def _key(job: _Job) -> str:
    return f"{job.source.key}:{job.language}"


def _question(job: _Job, back: bool = False) -> Question:
    """For the translation, or, ``back``, for that of what came into the source's language."""
    source = job.source
    payload = {
        "from": job.language if back else source.language,
        "to": source.language if back else job.language,
        "turns": job.prompts if back else source.prompts,
        "kwargs": [] if back else questions_words(source.turns),
        "protected": distinct_spans(source.prompts),
    }
    return Question("translate", payload, _key(job), more=0 if back else 1)


def _read_forth(job: _Job, answer: str) -> _Job:
    content = read_answer(answer, turns=list, kwargs=list)
    words = list(map(listed, content["kwargs"]))
    return dataclasses.replace(job, turns=equivalent(job.source.turns, content["turns"], words))


def _read_back(job: _Job, answer: str) -> _Job:
    prompts = read_answer(answer, turns=list)["turns"]
    if len(prompts) != len(job.turns) or not all(isinstance(prompt, str) and prompt.strip() for prompt in prompts):
        raise ValueError(
            f"the back-translation is not whole: {len(job.turns)} turns were asked for, {prompts!r:.80} came"
        )
    return dataclasses.replace(job, back=tuple(prompts))


def warnings(turns: Sequence[Turn], language: str) -> list[str]:
    """What the published rules make of an instruction in this language, where that is not what a reader expects."""
    warned = ((id_, making_of(id_).warning(scripts_of(language))) for id_ in dict.fromkeys(turns[-1].instruction_ids))
    return [f"{id_}: {warning}" for id_, warning in warned if warning]
