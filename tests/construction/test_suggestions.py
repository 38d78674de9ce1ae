"""Words by the topic: asked for once, only where a draw needs them, checked, and fallen back from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from turnswap.construction.asking import Question
from turnswap.construction.extend import Extend, ExtendSettings, weights
from turnswap.construction.instructions import must_contain
from turnswap.construction.instructions.draw import strings
from turnswap.construction.records import DraftConversation, Outcome, Turn
from turnswap.construction.suggestions import usable

from .scripted import Scripted

PROMPT = "Describe the garden of our school in spring."
GOOD = {
    "words": ["blossom", "soil", "hedge", "watering", "sunshine", "pupils", "bench", "gravel"],
    "avoid": ["flower", "green", "season", "weather", "plant", "tree"],
    "closings": ["So much for our little paradise.", "Come and see it in May!", "Every seed counts."],
}
KINDS = {"keywords:existence": 1.0, "keywords:forbidden_words": 1.0, "startend:end_checker": 1.0}
JAPANESE = {
    "words": ["花壇", "つぼみ", "水やり", "ベンチ", "木陰", "新芽"],
    "avoid": ["天気", "緑色", "季節", "虫"],
    "closings": ["春の庭をぜひ見に来てください。"],
}


def seed(key: str = "k", language: str = "en", prompt: str = PROMPT) -> DraftConversation:
    return DraftConversation(key, language, (Turn(prompt, ("punctuation:no_comma",), ({},)),))


def answering(suggestions: Mapping[str, Any] | str | None, said: str = "") -> Scripted:
    def answer(question: Question) -> Mapping[str, Any] | str | None:
        asked = question.payload
        if question.task == "suggest_words":
            return suggestions
        named, japanese = must_contain(asked["instruction"], asked["kwargs"]), asked["language"] == "ja"
        if japanese:  # notions are given in English
            named = [each for each in named if not each.isascii()]
        frame = ("", "、", "を使わない。もう一度お願いします。") if japanese else ("Please ", ", ", ", not")
        return {"request": f"{frame[0]}{said} {frame[1].join(named)}{frame[2]}"}

    return Scripted(answer)


def extend(llm: Scripted, *seeds: DraftConversation, **settings: Any) -> list[Outcome]:
    only = {**dict.fromkeys(weights(), 0.0), **KINDS}
    step = Extend(ExtendSettings(**{"weights": only, **settings}), llm)
    return [outcome for outcomes in step.run(seeds) for outcome in outcomes]


def drawn(outcome: Outcome) -> list[str]:
    return [text for kwargs in outcome.conversation.last.kwargs for text in strings(kwargs)]


def tasks(llm: Scripted) -> list[str]:
    return [question.task for question in llm.asked]


def test_words_and_ends_come_from_one_question_per_conversation() -> None:
    llm = answering(GOOD)
    outcomes = extend(llm, *(seed(f"k{number}") for number in range(20)))
    assert [outcome.reason for outcome in outcomes] == [None] * 20
    for outcome in outcomes:
        assert {*drawn(outcome)} <= {each for listed in GOOD.values() for each in listed}
    assert tasks(llm) == ["suggest_words", "word_request", "word_request"] * 20
    assert {question.more for question in llm.asked} == {0, 1, 2}
    assert list(extend(answering(GOOD), *(seed(f"k{n}") for n in range(20)))) == outcomes


def test_three_keywords_are_drawn_and_three_words_to_avoid_as_in_the_benchmark() -> None:
    for id_ in ("keywords:existence", "keywords:forbidden_words"):
        only = {**dict.fromkeys(weights(), 0.0), id_: 1.0, "detectable_format:title": 1e-9}
        (outcome,) = extend(answering(GOOD), seed(), weights=only)
        assert len(drawn(outcome)) == 3


def test_nothing_is_asked_where_no_draw_needs_words() -> None:
    llm = answering(GOOD)
    only = {**dict.fromkeys(weights(), 0.0), "detectable_format:title": 1.0, "startend:quotation": 1.0}
    extend(llm, seed(), weights=only)
    assert tasks(llm) == ["word_request"] * 2
    llm = answering(GOOD)
    extend(llm, seed(), words="conversation")
    assert tasks(llm) == ["word_request"] * 2


def test_the_first_question_says_how_many_may_follow() -> None:
    llm = answering(GOOD)
    only = {**dict.fromkeys(weights(), 0.0), "detectable_format:title": 1e9, "keywords:existence": 1e-3}
    extend(llm, seed(), weights=only)
    assert tasks(llm) == ["word_request", "suggest_words", "word_request"]
    assert [question.more for question in llm.asked] == [2, 1, 0]


@pytest.mark.parametrize("answer", ["I cannot.", "{}", {**GOOD, "words": ["garden", "spring", "school"]}])
def test_without_anything_of_use_words_are_drawn_from_the_conversation_and_that_is_noted(answer: Any) -> None:
    llm = answering(answer)
    (outcome,) = extend(llm, seed())
    assert outcome.reason is None
    assert tasks(llm).count("suggest_words") == 2
    assert "no_words" in outcome.conversation.note("extend")
    (without,) = extend(answering(answer), seed(), words="conversation")
    assert without.conversation.turns == outcome.conversation.turns


def test_a_request_that_failed_rejects_the_conversation_so_that_it_can_be_asked_again() -> None:
    (outcome,) = extend(answering(None), seed())
    assert outcome.reason == "no request for turn 2: the LLM gave no answer"


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"words": ["Garden"]}, "'Garden' is in the conversation already"),
        ({"words": ["spring"]}, "'spring' is in the conversation already"),
        ({"words": ["pond", "ponds"]}, "'ponds' is part of another one, or holds another one"),
        ({"words": ["hedge"], "avoid": ["Hedge"]}, "'Hedge' is part of another one"),
        ({"words": ["paragraph"]}, "'paragraph' is a word that stands in requests"),
        ({"words": ["Oslo"]}, "'Oslo' has a capital letter"),
        ({"words": ["сад"]}, "'сад' is not in the script"),
        ({"words": ["a b c"]}, "'a b c' is not one word"),
        ({"words": ["well-kept"]}, "'well-kept' is not one word"),
        ({"words": ["2nd"]}, "'2nd' is not one word"),
        ({"words": ["ox"]}, "'ox' is too short"),
        ({"words": [7]}, "'' is no text"),
        ({"closings": ['He said "no".']}, "has '\"'"),
        ({"closings": ["Bye"]}, "'Bye' is no phrase"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_told(changed: dict[str, list[Any]], problem: str) -> None:
    answer = {**{key: [] for key in GOOD}, **changed}
    with pytest.raises(ValueError, match="too few words can be used") as raised:
        usable(seed(), json.dumps(answer))
    assert problem in str(raised.value)


def test_nouns_of_german_keep_their_capitals() -> None:
    words = ["Blumen", "Hecke", "Wiese", "blühen", "Beet"]
    answer = {"words": words, "avoid": ["Wetter", "grün", "Baum"], "closings": ["Das war unser Garten."]}
    german = seed(language="de", prompt="Beschreibe unseren Schulgarten im Frühling.")
    assert usable(german, json.dumps(answer))["words"] == words


def test_a_language_without_spaces_has_words_and_ends_by_suggestion_alone() -> None:
    japanese = seed(language="ja", prompt="春の庭について手紙を書いてください。")
    (outcome,) = extend(answering(JAPANESE), japanese)
    assert outcome.reason is None
    assert {*drawn(outcome)} <= {each for listed in JAPANESE.values() for each in listed}
    (outcome,) = extend(answering("nothing"), japanese)
    assert str(outcome.reason).startswith("nothing can be drawn")


def test_a_keyword_that_the_request_says_in_its_own_words_is_refused() -> None:
    only = {**dict.fromkeys(weights(), 0.0), "keywords:existence": 1.0}
    (outcome,) = extend(answering(GOOD, said=" ".join(GOOD["words"])), seed(), weights=only)
    assert "once more than it names it" in str(outcome.reason)
    japanese = seed(language="ja", prompt="春の庭について手紙を書いてください。")
    (outcome,) = extend(answering(JAPANESE, said="".join(JAPANESE["words"])), japanese, weights=only)
    assert "once more than it names it" in str(outcome.reason)


def test_a_request_in_another_language_is_refused() -> None:
    only = {**dict.fromkeys(weights(), 0.0), "keywords:existence": 1.0}
    japanese = seed(language="ja", prompt="春の庭について手紙を書いてください。")
    (outcome,) = extend(answering(JAPANESE, said="use each of the following words"), japanese, weights=only)
    assert "the wording: it is not in the script of ja" in str(outcome.reason)
    french = seed(language="fr", prompt="Écris une lettre sur le jardin de notre école.")
    told = "write it once more, and this time use every one of these words in the text"
    (outcome,) = extend(answering("nothing", said=told), french, weights=only)
    assert "the wording: it is in English, not in fr" in str(outcome.reason)
