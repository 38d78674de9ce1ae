"""Instructions drawn for further turns: always the same, gradeable, and never against those before."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from turnswap.construction.extend import draw_instruction, weights
from turnswap.construction.instructions import Draw, find_conflicts, making_of
from turnswap.construction.instructions.draw import content_words
from turnswap.construction.records import DraftConversation, Turn
from turnswap.tasks.multiif.instructions import INSTRUCTIONS, get_instruction

from ..published_ids import PUBLISHED

WEIGHTS = weights()
PROMPT = "Write a short letter to our new neighbours in Oslo about the garden fence, the well-known dog and the noise."


def conversation(key: str = "k", *instructions: tuple[str, dict[str, Any]], language: str = "en") -> DraftConversation:
    chosen = instructions or (("punctuation:no_comma", {}),)
    ids, kwargs = tuple(id_ for id_, _ in chosen), tuple(kwargs for _, kwargs in chosen)
    return DraftConversation(key, language, (Turn(PROMPT, ids, kwargs),))


def drawn_by(id_: str) -> Callable[[Draw], dict[str, Any] | None]:
    found = making_of(id_).draw
    assert found is not None
    return found


def test_every_instruction_of_the_benchmark_can_be_drawn() -> None:
    assert set(WEIGHTS) >= PUBLISHED - {"detectable_format:constrained_response"}
    assert "detectable_format:constrained_response" not in WEIGHTS


@pytest.mark.parametrize("id_", sorted(WEIGHTS))
def test_kwargs_are_such_as_the_published_grader_takes_as_they_are(id_: str) -> None:
    drawn = [drawn_by(id_)(Draw(conversation(), number)) for number in range(40)]
    for kwargs in drawn:
        assert kwargs is not None
        instruction = get_instruction(id_)
        assert instruction.parse(kwargs) == kwargs
        assert instruction.as_published(kwargs)
        assert find_conflicts([id_], [kwargs]) == []
    if INSTRUCTIONS[id_].kwargs and id_ != "combination:repeat_prompt":
        assert len({str(kwargs) for kwargs in drawn}) > 1


def test_a_draw_depends_on_the_seed_the_key_and_the_turn_alone() -> None:
    drawn = {key: draw_instruction(1, conversation(key), WEIGHTS) for key in "abcdefgh"}
    again = {key: draw_instruction(1, conversation(key), WEIGHTS) for key in "hgfedcba"}
    assert drawn == again
    assert drawn != {key: draw_instruction(2, conversation(key), WEIGHTS) for key in "abcdefgh"}
    # Frozen: recordings hold what was drawn.
    kwargs = {"num_paragraphs": 4, "nth_paragraph": 1, "first_word": "noise"}
    assert drawn["b"] == ("length_constraints:nth_paragraph_first_word", kwargs)


def test_what_is_drawn_is_new_and_goes_with_what_there_is() -> None:
    few = ("length_constraints:number_words", {"relation": "less than", "num_words": 60})
    held = (("detectable_format:json_format", {}), few)
    for number in range(150):
        before = conversation(f"k{number}", *held)
        drawn = draw_instruction(0, before, WEIGHTS)
        assert drawn is not None
        last = before.turns[-1]
        assert drawn[0] not in last.instruction_ids
        assert find_conflicts([*last.instruction_ids, drawn[0]], [*last.kwargs, drawn[1]]) == []


def test_weights_decide_how_often_and_zero_is_never() -> None:
    weights = {"detectable_format:title": 9.0, "startend:quotation": 1.0, "punctuation:no_comma": 0.0}
    held = ("detectable_content:number_placeholders", {"num_placeholders": 1})
    drawn = Counter(
        found[0] for number in range(400) if (found := draw_instruction(0, conversation(f"k{number}", held), weights))
    )
    assert set(drawn) == {"detectable_format:title", "startend:quotation"}
    assert 330 < drawn["detectable_format:title"] < 390


def test_nothing_is_drawn_where_nothing_goes_with_what_there_is() -> None:
    upper = ("change_case:english_capital", {})
    assert draw_instruction(0, conversation("k", upper), {"change_case:english_lowercase": 1.0}) is None


def test_another_instructions_weight_leaves_kwargs_as_they_are() -> None:
    few = {"keywords:existence": 1.0}
    many = {**dict.fromkeys(WEIGHTS, 1e-9), "keywords:existence": 1e9}
    for number in range(20):
        assert draw_instruction(0, conversation(f"k{number}"), few) == draw_instruction(
            0, conversation(f"k{number}"), many
        )


def test_keywords_are_content_words_of_the_prompt_and_not_of_the_kwargs() -> None:
    assert content_words(conversation()) == ["short", "neighbours", "garden", "fence", "noise"]
    held = ("keywords:existence", {"keywords": ["garden", "fence"]})
    assert content_words(conversation("k", held)) == ["short", "neighbours", "noise"]


def test_in_other_languages_no_english_words_are_drawn() -> None:
    swahili = dataclasses.replace(
        conversation(language="sw"),
        turns=(Turn("Andika barua fupi kuhusu bustani ya jirani.", ("punctuation:no_comma",), ({},)),),
    )
    for id_ in ("startend:end_checker", "keywords:forbidden_words", "detectable_format:multiple_sections"):
        assert drawn_by(id_)(Draw(swahili, 0)) is None
    drawn = drawn_by("keywords:frequency")(Draw(swahili, 0))
    assert drawn is not None
    assert drawn["keyword"] in ("barua", "fupi", "kuhusu", "bustani", "jirani")


def test_a_reply_in_another_language_is_not_asked_for_english_words() -> None:
    french = ("language:response_language", {"language": "fr"})
    for number in range(100):
        drawn = draw_instruction(0, conversation(f"k{number}", french), WEIGHTS)
        assert drawn is not None
        assert not {"keywords", "keyword", "end_phrase", "first_word", "prompt_to_repeat"} & set(drawn[1])
    keyword = ("keywords:existence", {"keywords": ["garden"]})
    assert draw_instruction(0, conversation("k", keyword), {"language:response_language": 1.0}) is None
