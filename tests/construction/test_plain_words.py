"""Instructions in plain words: all of them, with their kwargs, and in words of one's own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.multiif.test_hostile_replies import ALL_KWARGS, IDS
from tests.published_ids import PUBLISHED
from turnswap.construction.plain_words import plain_words
from turnswap.core.errors import UserError
from turnswap.tasks.multiif.instructions import INSTRUCTIONS, instruction
from turnswap.tasks.multiif.instructions.spec import COUNT, PHRASE

SENTENCES = "length_constraints:number_sentences"


@pytest.mark.parametrize(
    ("id_", "kwargs", "question"),
    [
        (SENTENCES, {"num_sentences": 3, "relation": "at least"}, "At least 3 sentences: does this reply follow it?"),
        (SENTENCES, {"num_sentences": 1, "relation": "at least"}, "At least 1 sentence: does this reply follow it?"),
        (
            SENTENCES,
            {"num_sentences": 9, "relation": "less than"},
            "Fewer than 9 sentences: does this reply follow it?",
        ),
        (
            "keywords:existence",
            {"keywords": ["rain", "{sun}"]},
            "All of these words occur: “rain”, “{sun}”: does this reply follow it?",
        ),
        ("language:response_language", {"language": "hi"}, "The whole reply is in Hindi: does this reply follow it?"),
        (
            "language:response_language",
            {"language": "zh-cn"},
            "The whole reply is in Chinese: does this reply follow it?",
        ),
    ],
)
def test_an_instruction_is_a_question_with_its_kwargs(id_: str, kwargs: dict[str, Any], question: str) -> None:
    assert plain_words().question(id_, kwargs) == question


def test_every_published_instruction_has_words_that_name_its_kwargs() -> None:
    words = plain_words()
    assert words.instructions.keys() >= PUBLISHED
    for id_, kwargs in zip(IDS, ALL_KWARGS, strict=True):
        question = words.question(id_, kwargs)
        values = [value for each in kwargs.values() for value in (each if isinstance(each, list) else [each])]
        named = [str(value) for value in values if value not in ("at least", "less than")]
        assert all(value in question for value in named if id_ != "language:response_language"), (question, named)
        assert id_ not in question


def test_one_that_nobody_described_goes_by_its_id() -> None:
    instruction("keywords:refrain", refrain=PHRASE, times=COUNT)(lambda reply, refrain, times: True)
    try:
        question = plain_words().question("keywords:refrain", {"refrain": "la", "times": 2})
    finally:
        del INSTRUCTIONS["keywords:refrain"]
    assert question == 'Keywords:refrain {"refrain": "la", "times": 2}: does this reply follow it?'


def test_words_of_ones_own_take_the_place_of_the_english_ones(tmp_path: Path) -> None:
    path = tmp_path / "fr.toml"
    path.write_text(
        'question = "{instruction} : est-ce que la réponse le respecte ?"\n"at least" = "au moins"\nquoted = "« {} »"\n'
        f'[instructions]\n"{SENTENCES}" = "{{relation}} {{num_sentences:phrase|phrases}}"\n',
        "utf-8",
    )
    words, kwargs = plain_words(path), {"num_sentences": 3, "relation": "at least"}
    assert words.question(SENTENCES, kwargs) == "Au moins 3 phrases : est-ce que la réponse le respecte ?"
    assert words.question("keywords:existence", {"keywords": ["a"]}).startswith("All of these words occur: « a » :")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = ", "cannot be read"),
        ('greeting = "Bonjour"', "has a text for greeting"),
        ('[instructions]\n"no:such" = "x"', "has a text for no:such"),
        (f'[instructions]\n"{SENTENCES}" = "{{sentences}}"', "cannot be filled in"),
        ('[instructions]\n"startend:end_checker" = "{end_phrase:word|words}"', "cannot be filled in"),
        ('question = "{what}"', "cannot be filled in"),
        ("question = 5", "5 is no text"),
        ("[question]", "{} is no text"),
        ('question = "Does it {0}?"', "there is no {0}"),
        ('question = "{}"', "there is no {}"),
        ('quoted = "{1}"', "there is no {1}"),
        ("instructions = 5", "instructions is 5; expected a table"),
        ('[instructions]\n"length_constraints:number_words" = ["a"]', "is no text"),
        ('[instructions]\n"keywords:existence" = "{keywords.x}"', "there is no {keywords.x}"),
        ('[instructions]\n"keywords:existence" = "{keywords[0]}"', "cannot be filled in"),
        ('[instructions]\n"keywords:existence" = "{}"', "there is no {}"),
        ('[instructions]\n"keywords:existence" = "{keywords"', "cannot be filled in"),
    ],
)
def test_words_that_cannot_be_used_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "x.toml").write_text(text, "utf-8")
    with pytest.raises(UserError, match=re.escape(said)) as refused:
        plain_words(tmp_path / "x.toml")
    assert "x.toml" in str(refused.value)
    assert "plain.toml" in refused.value.advice
