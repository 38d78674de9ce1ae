"""Sentences of the templates through the step translate: a translator that renders the rest well loses none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.asking import Question
from turnswap.construction.data_audit.stated import every_count_in
from turnswap.construction.instructions import ids
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.meaning.instructions import stated_otherwise
from turnswap.construction.records import DraftConversation, Outcome, Turn
from turnswap.construction.statements import sentences
from turnswap.construction.translate import Translate, TranslateSettings

from .scripted import Scripted
from .test_statements import LANGUAGES, OPPOSITE, asked

# What is asked beside the instructions, by a person who knows the language no better than the rest of this repository.
CONTENT = {
    "en": "Write a letter to a friend about the rain.",
    "ar": "اكتب رسالة إلى صديق عن المطر.",
    "de": "Schreibe einem Freund einen Brief über den Regen.",
    "es": "Escribe una carta a un amigo sobre la lluvia.",
    "fr": "Écris une lettre à un ami sur la pluie.",
    "hi": "बारिश के बारे में एक मित्र को पत्र लिखिए।",
    "it": "Scrivi una lettera a un amico sulla pioggia.",
    "ja": "雨について友人に手紙を書いてください。",
    "ko": "비에 대해 친구에게 편지를 써 주세요.",
    "pt": "Escreva uma carta a um amigo sobre a chuva.",
    "ru": "Напиши другу письмо о дожде.",
    "sw": "Andika barua kwa rafiki kuhusu mvua.",
    "zh": "给一位朋友写一封关于雨的信。",
}


def well_translated(question: Question) -> dict[str, Any]:
    """The content in the other language; words of kwargs stay as they are."""
    given: Mapping[str, Any] = question.payload
    one, other = CONTENT[given["from"]], CONTENT[given["to"]]
    return {"turns": [turn.replace(one, other) for turn in given["turns"]], "kwargs": given["kwargs"]}


def reasons(outcomes: Sequence[Sequence[Outcome]]) -> dict[str, str]:
    """Why conversations were rejected that the language can have, by key."""
    return {
        outcome.conversation.key: outcome.reason
        for (outcome,) in outcomes
        if outcome.reason and not outcome.reason.startswith("an instruction does not suit the language")
    }


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
@pytest.mark.parametrize("number", [2, 3])
def test_a_translation_with_sentences_of_the_templates_passes_the_gates(language: str, number: int) -> None:
    conversations = [
        DraftConversation(f"{id_} {kwargs} {said}", "en", (Turn(f"{CONTENT['en']} {said}", (id_,), (kwargs,)),))
        for id_, kwargs in asked(number)
        for said in sentences(id_, kwargs, "en")
    ]
    step = Translate(TranslateSettings(), [language], Scripted(well_translated), falsifiable=False)
    assert reasons(step.run(conversations)) == {}


@pytest.mark.parametrize("language", [code for code in LANGUAGES if code != "en"])
def test_native_seeds_may_be_stated_by_the_templates(language: str) -> None:
    conversations = [
        DraftConversation(f"{id_} {kwargs} {said}", language, (Turn(f"{CONTENT[language]} {said}", (id_,), (kwargs,)),))
        for id_, kwargs in asked(2)
        for said in sentences(id_, kwargs, language)
    ]
    step = Translate(TranslateSettings(), [language], LLM(LLMSettings("none"), Path("none")), falsifiable=False)
    assert reasons(step.run(conversations)) == {}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("number", [3, 21])
def test_each_template_states_its_own_relation_and_is_read_to_state_no_other(language: str, number: int) -> None:
    for id_, kwargs in asked(number):
        relation = next((value for name, value in kwargs.items() if name.endswith("relation")), None)
        if relation is None:
            continue
        other = {name: OPPOSITE.get(str(value), value) for name, value in kwargs.items()}
        for each in sentences(id_, kwargs, language):
            sides = [count[:2] for count in every_count_in(each, language) if number in count.numbers]
            assert sides == [(number, None) if relation == "at least" else (None, number - 1)], each
            assert stated_otherwise(each, id_, kwargs, language) == []
            # Of words in capitals only the count itself is read.
            assert id_ == ids.CAPITALS or stated_otherwise(each, id_, other, language), each
