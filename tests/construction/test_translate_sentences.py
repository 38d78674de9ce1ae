"""Translation of turns that state instructions in the templates' sentences: they are each language's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.asking import Question, UnderWay
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.statements import sentences, stated

from .auditing import translate

SENTENCES: tuple[str, dict[str, Any]] = (
    "length_constraints:number_sentences",
    {"relation": "at least", "num_sentences": 3},
)
KEYWORD: tuple[str, dict[str, Any]] = (
    "keywords:frequency",
    {"keyword": "rain", "relation": "less than", "frequency": 5},
)
COMMA: tuple[str, dict[str, Any]] = ("punctuation:no_comma", {})
REPEAT: tuple[str, dict[str, Any]] = ("combination:repeat_prompt", {"prompt_to_repeat": "Describe the sea."})
GERMAN = {
    "Describe the sea.": "Beschreibe das Meer.",
    "Thank you.": "Danke.",
    "That is too wet.": "Das ist zu nass.",
    "Use no comma.": "Verwende kein Komma.",
    "rain": "Regen",
}


def conversation_of(*added: tuple[str, tuple[str, dict[str, Any]]], language: str = "en") -> DraftConversation:
    """Turns, each with one more instruction."""
    asked = [instruction for _, instruction in added]
    made = [
        Turn(prompt, tuple(id_ for id_, _ in asked[:number]), tuple(kwargs for _, kwargs in asked[:number]))
        for number, (prompt, _) in enumerate(added, 1)
    ]
    return DraftConversation("k", language, tuple(made))


def said(instruction: tuple[str, dict[str, Any]], language: str = "en", variant: int = 0) -> str:
    return sentences(*instruction, language)[variant]


class Translator(LLM):
    """Answers by a function of the question's input; keeps the inputs."""

    def __init__(self, answer: Callable[[Mapping[str, Any]], Any]) -> None:
        super().__init__(LLMSettings("none"), Path("none"))
        self.answer_to = answer
        self.asked: list[Mapping[str, Any]] = []

    def run(self, groups: Any) -> Any:
        return [[self._end(UnderWay(asking)) for asking in group] for group in groups]

    def _end(self, asking: UnderWay[Any]) -> Any:
        question: Question | None
        while question := asking.question:
            self.asked.append(question.payload)
            asking.give(json.dumps(self.answer_to(question.payload)))
        return asking.result


def by_phrases(asked: Mapping[str, Any]) -> dict[str, Any]:
    """English phrases in German or the other way round, all else as it is."""
    pairs = GERMAN.items() if asked["from"] == "en" else [(german, english) for english, german in GERMAN.items()]

    def put(text: str) -> str:
        for one, other in pairs:
            text = text.replace(one, other)
        return text

    return {"turns": list(map(put, asked["turns"])), "kwargs": [list(map(put, each)) for each in asked["kwargs"]]}


OURS = conversation_of(
    (f"Describe the sea. {said(SENTENCES)}", SENTENCES),
    (f"Thank you. {said(KEYWORD, variant=1)}", KEYWORD),
    (f"{said(COMMA)} That is too wet.", COMMA),
)


def test_our_sentences_are_not_translated_and_the_languages_own_take_their_place() -> None:
    llm = Translator(by_phrases)
    [outcome] = translate(llm, "de", conversation=OURS)
    first, second = llm.asked
    assert first["turns"] == ["Describe the sea. ⟦1⟧", "Thank you. ⟦2⟧", "⟦3⟧ That is too wet."]
    assert first["protected"] == second["protected"] == ["⟦1⟧", "⟦2⟧", "⟦3⟧"]
    assert first["kwargs"] == [[], ["rain"], []]
    assert "wording" not in first
    german = ("keywords:frequency", {**KEYWORD[1], "keyword": "Regen"})
    assert outcome.conversation.prompts == [
        f"Beschreibe das Meer. {said(SENTENCES, 'de')}",
        f"Danke. {said(german, 'de', 1)}",
        f"{said(COMMA, 'de')} Das ist zu nass.",
    ]
    assert outcome.conversation.last.instructions == [SENTENCES, german, COMMA]


def test_the_back_translation_gets_the_sentences_of_the_source() -> None:
    llm = Translator(by_phrases)
    [outcome] = translate(llm, "de", conversation=OURS)
    assert llm.asked[1]["turns"] == ["Beschreibe das Meer. ⟦1⟧", "Danke. ⟦2⟧", "⟦3⟧ Das ist zu nass."]
    assert outcome.conversation.note("translate")["back"] == OURS.prompts


def test_a_translator_that_swaps_relations_and_negations_cannot_touch_our_sentences() -> None:
    def swaps(asked: Mapping[str, Any]) -> dict[str, Any]:
        text = json.dumps(by_phrases(asked))
        for one, other in (("mindestens", "höchstens"), ("at least", "fewer than"), ("not", ""), ("nicht", "")):
            text = text.replace(one, other)
        made: dict[str, Any] = json.loads(text)
        return made

    [outcome] = translate(Translator(swaps), "de", conversation=OURS)
    for turn in outcome.conversation.turns:
        assert stated(turn.prompt, *turn.instructions[-1], "de")


@pytest.mark.parametrize(("wrong", "count"), [("", 0), ("⟦2⟧ ⟦2⟧", 2), ("[2]", 0)])
def test_a_translation_that_loses_or_repeats_a_marker_is_rejected_with_the_reason(wrong: str, count: int) -> None:
    def loses(asked: Mapping[str, Any]) -> dict[str, Any]:
        made = by_phrases(asked)
        return {**made, "turns": [text.replace("⟦2⟧", wrong) for text in made["turns"]]}

    llm = Translator(loses)
    [outcome] = translate(llm, "de", conversation=OURS)
    assert outcome.reason == (f"a mark is lost or added: ⟦2⟧ occurs {count} times, not 1, in turn 2 of the translation")
    assert llm.asked[1]["problem"] == outcome.reason


def test_a_marker_that_turns_up_in_another_turn_is_rejected_and_half_answers_are_as_ever() -> None:
    def strays(asked: Mapping[str, Any]) -> dict[str, Any]:
        made = by_phrases(asked)
        return {**made, "turns": [made["turns"][0] + " ⟦3⟧", *made["turns"][1:]]}

    [outcome] = translate(Translator(strays), "de", conversation=OURS)
    assert "⟦3⟧ occurs 1 times, not 0, in turn 1" in str(outcome.reason)
    [outcome] = translate(
        Translator(lambda asked: {"turns": ["⟦1⟧"], "kwargs": [[], ["Regen"], []]}), "de", conversation=OURS
    )
    assert outcome.reason == "turns are missing: 3 in the source, 1 in the translation"
    [outcome] = translate(Translator(lambda asked: {**by_phrases(asked), "turns": [1, 2, 3]}), "de", conversation=OURS)
    assert outcome.reason == "a text is missing: turn 1 is 1"


def test_prompts_that_hold_such_marks_themselves_are_translated_as_a_whole() -> None:
    marked = conversation_of((f"Describe the sea. {said(SENTENCES)}", SENTENCES), ("Use no comma. ⟦1⟧", COMMA))
    llm = Translator(by_phrases)
    [outcome] = translate(llm, "de", conversation=marked)
    assert llm.asked[0]["turns"] == marked.prompts
    assert outcome.conversation.prompts[1] == "Verwende kein Komma. ⟦1⟧"


def test_a_back_translation_that_loses_a_marker_is_rejected_too() -> None:
    def loses(asked: Mapping[str, Any]) -> dict[str, Any]:
        made = by_phrases(asked)
        return made if asked["to"] == "de" else {**made, "turns": [text.replace("⟦3⟧", "") for text in made["turns"]]}

    [outcome] = translate(Translator(loses), "de", conversation=OURS)
    assert "a mark is lost or added: ⟦3⟧" in str(outcome.reason)


def test_a_prompt_to_repeat_holds_the_translated_prompt_with_its_own_sentences() -> None:
    first = f"Describe the sea. {said(COMMA)}"
    repeat = (REPEAT[0], {"prompt_to_repeat": first})
    [outcome] = translate(
        Translator(by_phrases), "de", conversation=conversation_of((first, COMMA), (said(repeat), repeat))
    )
    german = f"Beschreibe das Meer. {said(COMMA, 'de')}"
    assert outcome.reason is None
    assert outcome.conversation.last.kwargs[1] == {"prompt_to_repeat": german}
    assert outcome.conversation.prompts == [german, said((REPEAT[0], {"prompt_to_repeat": german}), "de")]


def test_turns_without_our_sentences_are_asked_as_they_are_with_the_languages_sentences_as_a_help() -> None:
    llm = Translator(by_phrases)
    mixed = conversation_of((f"Describe the sea. {said(SENTENCES)}", SENTENCES), ("Use no comma. Say rain.", KEYWORD))
    [outcome] = translate(llm, "de", conversation=mixed)
    assert llm.asked[0]["turns"] == ["Describe the sea. ⟦1⟧", "Use no comma. Say rain."]
    blank = (KEYWORD[0], {**KEYWORD[1], "keyword": "{keyword}"})
    assert llm.asked[0]["wording"] == sentences(*blank, "de")
    assert outcome.conversation.prompts[1] == "Verwende kein Komma. Say Regen."


def test_a_language_without_templates_is_asked_for_whole_turns() -> None:
    llm = Translator(by_phrases)
    translate(llm, "fi", conversation=OURS)
    assert llm.asked[0]["turns"] == OURS.prompts
    assert "wording" not in llm.asked[0]


def test_native_seeds_are_translated_from_their_own_templates() -> None:
    source = conversation_of((f"Beschreibe das Meer. {said(SENTENCES, 'de')}", SENTENCES), language="de")
    [outcome] = translate(Translator(by_phrases), "en", conversation=source)
    assert outcome.conversation.prompts == [f"Describe the sea. {said(SENTENCES)}"]
