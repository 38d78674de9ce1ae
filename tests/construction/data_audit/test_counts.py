"""Counts that a prompt states, in eight languages, held against what is graded."""

from __future__ import annotations

import pytest

from turnswap.construction.data_audit.contradictions import count_finding
from turnswap.construction.data_audit.numbers import numbers_in

from .slots import (
    Asked,
    bullets,
    capitals,
    exists,
    highlights,
    letters,
    paragraphs,
    placeholders,
    sections,
    sentences,
    slot,
    times,
    words,
)

SAME: list[tuple[str, str, Asked]] = [
    ("en", "Write about rivers in at least 120 words.", words("at least", 120)),
    ("en", "Tell me of rivers. Use more than 119 words.", words("at least", 120)),
    ("en", "A 120+ word letter, please.", words("at least", 120)),
    ("en", "The letter must have 1,200 or more words.", words("at least", 1200)),
    ("en", "The number of words in the letter should be 50 or less.", words("less than", 51)),
    ("en", "Keep it short (under 50 words).", words("less than", 50)),
    ("en", "Answer with no more than 50 words.", words("less than", 51)),
    ("en", "Stay below a total of ten sentences.", sentences("less than", 10)),
    ("en", "Write twenty-five sentences or more.", sentences("at least", 25)),
    ("en", "Say the word river twice or more.", times("river", "at least", 2)),
    ("en", "Use the word river at most once.", times("river", "less than", 2)),
    ("en", "Do not use the word river more than twice.", times("river", "less than", 3)),
    ("en", "Use river at least 4 times, and the word lake at least 9 times.", times("river", "at least", 4)),
    ("en", "The letter z should show up at least 3 times.", letters("z", "at least", 3)),
    ("en", "A list of 100 names, and more than 4 words in all capital letters.", capitals("at least", 5)),
    ("en", "Exactly three bullet points:\n* point 1\n* point 2", bullets(3)),
    ("en", "There should be 4 sections highlighted with markdown.", highlights(4)),
    ("en", "Include a couple of placeholders such as [name].", placeholders(2)),
    ("en", "Write a poem of three stanzas, parted by ***.", paragraphs(3)),
    ("en", "Give your report 4 sections marked Section X.", sections("Section", 4)),
    ("en", "A poem of 20 lines. Every line has exactly one sentence.", sentences("at least", 20)),
    ("zh", "请写一篇游记，至少２００个字。", words("at least", 200)),
    ("zh", "全文不得超过五十个字。", words("less than", 51)),
    ("zh", "请写二十句以上。", sentences("at least", 20)),
    ("zh", "“河”这个词至少出现三次。", times("河", "at least", 3)),
    ("zh", "回答要在150字以下。", words("less than", 150)),
    ("zh", "请写300多字的总结。", words("at least", 300)),
    ("zh", "文章里AI这个词至少出现两次。", times("AI", "at least", 2)),
    ("fr", "Le nombre de phrases doit être inférieur à 6.", sentences("less than", 6)),
    ("es", "Usa un número de palabras superior a 80.", words("at least", 81)),
    ("hi", "“नदी” शब्द 3 बार से कम लिखें।", times("नदी", "less than", 3)),
    ("en", "Keep it to 1 or 2 sentences.", sentences("less than", 3)),
    ("zh", "至少用markdown（例如*重点*）突出显示12个部分。", highlights(12)),
    ("fr", "Écris au moins trois phrases.", sentences("at least", 3)),
    ("fr", "Réponds en moins de 50 mots.", words("less than", 50)),
    ("es", "Escribe 80 palabras o más.", words("at least", 80)),
    ("it", "Usa non più di 50 parole.", words("less than", 51)),
    ("pt", "Use a palavra rio pelo menos duas vezes.", times("rio", "at least", 2)),
    ("ru", "Напиши не более десяти предложений.", sentences("less than", 11)),
    ("hi", "कम से कम ८ वाक्य लिखिए।", sentences("at least", 8)),
    ("hi", "५० से कम शब्दों में उत्तर दीजिए।", words("less than", 50)),
]


@pytest.mark.parametrize(("language", "prompt", "asked"), SAME)
def test_the_same_count_said_in_another_way_is_no_finding(language: str, prompt: str, asked: Asked) -> None:
    assert count_finding(slot(prompt, asked, language=language)) is None


OTHER: list[tuple[str, str, Asked, str]] = [
    ("en", "Write at least 120 words.", words("at least", 100), "quantity"),
    ("en", "Write at least 120 words.", words("less than", 120), "relation"),
    ("en", "Write no more than 120 words.", words("less than", 120), "relation"),
    ("en", "Write more than 120 words.", words("at least", 120), "relation"),
    ("en", "Write a 120-word letter.", words("at least", 120), "relation"),
    ("en", "Write between 20 and 25 sentences.", sentences("at least", 20), "relation"),
    ("en", "Use at least two bullet points.", bullets(2), "relation"),
    ("en", "Use up to four placeholders like [name].", placeholders(4), "relation"),
    ("en", "Use exactly 3 placeholders like [name].", placeholders(3), "relation"),
    ("en", "Include one placeholder such as [name].", placeholders(3), "quantity"),
    ("en", "Say river twice.", times("river", "at least", 5), "quantity"),
    (
        "en",
        "Include the word river, but it must appear fewer than 3 times.",
        times("river", "less than", 3),
        "relation",
    ),
    ("en", "Give me a poem of six parts, parted by ***.", paragraphs(5), "quantity"),
    ("en", "Write a list about rivers.", bullets(7), "quantity"),
    ("zh", "全文不超过８０字。", words("less than", 80), "relation"),
    ("zh", "请写三百字以上的文章。", words("at least", 200), "quantity"),
    ("zh", "至少要有四个要点。", bullets(4), "relation"),
    ("zh", "回答中要提到“河”，并且出现次数少于3次。", times("河", "less than", 3), "relation"),
    ("zh", "回答要少于30个子。", words("less than", 30), "quantity"),
    ("fr", "Écris plus de trois phrases.", sentences("at least", 3), "relation"),
    ("es", "Usa al menos cien palabras.", words("at least", 80), "quantity"),
    ("it", "Scrivi almeno cinque frasi.", sentences("less than", 5), "relation"),
    ("pt", "Escreva no máximo 50 palavras.", words("less than", 50), "relation"),
    ("ru", "Напиши не менее 90 слов.", words("at least", 60), "quantity"),
    ("hi", "कम से कम दस वाक्य लिखिए।", sentences("at least", 6), "quantity"),
    ("ko", "350단어 이상 써 주세요.", words("at least", 250), "quantity"),
]


@pytest.mark.parametrize(("language", "prompt", "asked", "kind"), OTHER)
def test_another_count_is_a_finding_of_its_kind_with_the_prompts_words(
    language: str, prompt: str, asked: Asked, kind: str
) -> None:
    found = count_finding(slot(prompt, asked, language=language))
    assert found is not None
    assert found[0] == kind
    assert found[1] in prompt or found[1].startswith("names no")


def test_a_range_is_graded_by_two_slots_together() -> None:
    both = sentences("at least", 20), sentences("less than", 26)
    for one, other in (both, both[::-1]):
        assert count_finding(slot("Write 20 to 25 sentences.", one, other)) is None
    short = sentences("less than", 25)
    assert count_finding(slot("Write 20 to 25 sentences.", short, both[0])) == ("relation", "Write 20 to 25 sentences")


def test_once_alone_is_graded_by_a_least_and_a_most() -> None:
    prompt = "Mention the word river exactly once."
    assert count_finding(slot(prompt, times("river", "less than", 2), exists("river"))) is None
    assert count_finding(slot(prompt, times("river", "less than", 2))) is not None


def test_a_count_that_another_slot_grades_is_not_held_against_this_one() -> None:
    prompt = "Write a few words in capitals. But fewer than 6 words in capitals."
    assert count_finding(slot(prompt, capitals("at least", 1), capitals("less than", 6))) is None


def test_about_so_many_says_nothing_exact() -> None:
    assert count_finding(slot("Write about 300 words.", words("at least", 300))) is None


def test_numbers_are_read_in_digits_words_and_han_numerals() -> None:
    def values(text: str, language: str) -> list[int]:
        return [number.value for number in numbers_in(text, language)]

    assert values("1,200 words, 3.5 km, the 2nd of forty-two", "en") == [1200, 42]
    assert values("第2段，三百五十字，两次，十二句，二〇二五", "zh") == [350, 2, 12, 2025]
    assert values("२५ शब्द, पाँच वाक्य", "hi") == [25, 5]
    assert values("1.500 mots, onze phrases", "fr") == [1500, 11]
