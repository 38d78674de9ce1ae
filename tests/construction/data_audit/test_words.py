"""Words that a prompt names, held against those that are graded."""

from __future__ import annotations

import json

import pytest

from tests.conftest import SHARED
from turnswap.construction.data_audit.findings import slot_finding
from turnswap.construction.data_audit.numbers import numbers_in
from turnswap.construction.data_audit.slots import Slot
from turnswap.construction.data_audit.words import words_finding

from .slots import (
    JSON,
    LOWER,
    QUOTATION,
    TITLE,
    Asked,
    answer_in,
    end,
    exists,
    forbids,
    letters,
    nth,
    sections,
    slot,
    times,
)

POSTSCRIPT: Asked = ("detectable_content:postscript", {"postscript_marker": "P.P.S"})
REPEAT: Asked = ("combination:repeat_prompt", {"prompt_to_repeat": "Name a river in Asia."})

SAME: list[tuple[str, str, Asked]] = [
    ("en", 'Include the words "Rain" and “snow”.', exists("rain", "snow")),
    ("en", "Don’t say don't.", forbids("don’t")),
    ("en", "The letter 'q' comes often: at least 3 times.", letters("q", "at least", 3)),
    ("en", 'End with "Good night."', end("Good night.")),
    ("en", "End with these words: Good night", end("good night")),
    ("en", "Write 3 paragraphs; the last one starts with sun.", nth(3, 3, "sun")),
    ("en", "Write 3 paragraphs, the second one starting with sun.", nth(3, 2, "sun")),
    ("en", "Begin each part with PART X.", sections("PART", 3)),
    ("en", "Close with a note that starts with P. P. S.", POSTSCRIPT),
    ("en", "Name a river  in Asia.\nRepeat this request first.", REPEAT),
    ("en", "Repeat the request before you answer.", REPEAT),
    ("en", "Name it in a title, i.e. <<title>>, and keep the whole answer short.", TITLE),
    ("en", "Write your entire poem, its name in angular brackets: <<name>>.", TITLE),
    ("en", "Answer in Hindi alone.", answer_in("hi")),
    ("en", "Use small letters alone.", LOWER),
    ("en", "Answer in Farsi.", answer_in("fa")),
    ("en", "Respond in Español.", answer_in("es")),
    ("en", "Réponds en français.", answer_in("fr")),
    ("en", "Translate this text into French.", answer_in("fr")),
    ("en", "Do not forget to use the word 'cat'.", exists("cat")),
    ("en", "Do not use the word 'cat' more than twice.", exists("cat")),
    ("en", "Do not use the word 'cat'.", forbids("cat")),
    ("zh", "请不要提到“雨”和“雪”。", forbids("雨", "雪")),
    ("zh", "字母o应该至少出现9次。", letters("o", "at least", 9)),
    ("zh", "最后加上以P.P.S开头的附言。", POSTSCRIPT),
    ("zh", "不要用“，”。", ("punctuation:no_comma", {})),
    ("zh", "文章要有一个标题，例如<<标题>>。", TITLE),
    ("fr", "Utilise les mots « pluie » et « neige ».", exists("pluie", "neige")),
    ("ru", "Первый абзац начни со слова «Дождь».", nth(2, 1, "дождь")),
]


@pytest.mark.parametrize(("language", "prompt", "asked"), SAME)
def test_the_same_words_written_in_another_way_are_no_finding(language: str, prompt: str, asked: Asked) -> None:
    assert words_finding(slot(prompt, asked, language=language)) is None


OTHER: list[tuple[str, str, Asked, str, str]] = [
    ("en", 'Include the word "rain".', exists("snow"), "words", "'rain'"),
    ("en", 'Do not say "rain" or "snow".', forbids("rain"), "words", "'snow' too"),
    ("en", "Talk of the weather.", times("snow", "at least", 2), "words", "no such word"),
    ("en", "Use the letter k often.", letters("q", "at least", 3), "words", "no letter 'q'"),
    ("en", 'End with "Good night".', end("Good night."), "words", "'Good night'"),
    ("en", 'End with "Good night."', end("Good day."), "words", "'Good night.'"),
    ("en", "Write 3 paragraphs, the second one starting with sun.", nth(3, 2, "rain"), "words", "'rain'"),
    ("en", "Write 3 paragraphs, the second one starting with sun.", nth(3, 1, "sun"), "quantity", "no paragraph 1"),
    ("en", "Begin each part with Part X.", sections("PART", 3), "words", "'PART'"),
    ("en", "Close with a P.S. to your friend.", POSTSCRIPT, "words", "PS"),
    ("en", "Name a big river in Africa.\nRepeat this request first.", REPEAT, "words", "another text"),
    ("en", "Put your entire answer in brackets, i.e. <<your answer>>.", TITLE, "object", "entire answer"),
    ("en", "Tell me of rivers.", QUOTATION, "object", "rivers"),
    ("en", "Tell me of rivers.", JSON, "object", "rivers"),
    ("en", "Answer in Hindi alone.", answer_in("fr"), "language", "Hindi"),
    ("en", "Translate this French text into German.", answer_in("fr"), "language", "German"),
    ("en", "Do not use the word 'cat'.", exists("cat"), "object", "Do not"),
    ("en", "Use the word 'cat'.", forbids("cat"), "object", "Use the"),
    ("zh", "结尾要写“晚安”。", end("晚安。"), "words", "'晚安'"),
    ("zh", "全部回答要用双角括号<<标题>>括起来。", TITLE, "object", "双角括号"),
    ("es", "Incluye la palabra «lluvia».", exists("nieve"), "words", "'lluvia'"),
    ("hi", "उत्तर में “वर्षा” शब्द लिखिए।", exists("बर्फ़"), "words", "'वर्षा'"),
]


@pytest.mark.parametrize(("language", "prompt", "asked", "kind", "says"), OTHER)
def test_other_words_are_a_finding_that_quotes_the_prompt(
    language: str, prompt: str, asked: Asked, kind: str, says: str
) -> None:
    found = words_finding(slot(prompt, asked, language=language))
    assert found is not None
    assert found[0] == kind
    assert says in found[1]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("at least two hundred and fifty words", [250]),
        ("a hundred and fifty-five", [155]),
        ("between one hundred and two hundred", [100, 200]),
        ("two thousand five hundred", [2500]),
        ("one hundred words and ten sentences", [100, 10]),
        ("five and six", [5, 6]),
    ],
)
def test_a_number_of_several_words_is_one(text: str, numbers: list[int]) -> None:
    assert [each.value for each in numbers_in(text, "en")] == numbers


CHINESE = SHARED / "chinese_instructions_dev.jsonl"


@pytest.mark.skipif(not CHINESE.is_file(), reason="the Chinese instructions are not here")
def test_of_real_chinese_instructions_those_are_found_that_readers_found() -> None:
    rows = [json.loads(line) for line in CHINESE.read_text("utf-8").splitlines()]
    found, told = set(), set()
    for number, row in enumerate(rows):
        same = [each for each in rows if each is not row and (each["key"], each["turn"]) == (row["key"], row["turn"])]
        beside = [(each["instruction_id"], each["kwargs"]) for each in same]
        asked = row["instruction_id"], row["kwargs"]
        here = Slot(row["key"], "zh", row["turn"], 1, *asked, row["sentence"], beside)
        found |= {number} if slot_finding(here) else set()
        told |= {number} if row.get("mismatch") else set()
    right = len(found & told)
    print(f"precision {right} of {len(found)}, recall {right} of {len(told)}")
    assert found == told
