from __future__ import annotations

import gzip
import json
import re
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langdetect import DetectorFactory
from langdetect.utils.ngram import NGram
from nltk.tokenize.punkt import PunktSentenceTokenizer

from turnswap.tasks.multiif import text
from turnswap.tasks.multiif.instructions import content, format, patterns

from ..conftest import SHARED


@pytest.mark.slow
def test_only_text_with_certain_characters_can_be_found_to_be_thai() -> None:
    """What decide_by_method rests on: English is as probable as Thai for every other n-gram of the profiles."""
    identifier = text._language_identifier()
    thai, english = identifier.languages.index("th"), identifier.languages.index("en")
    more_thai = {w for w, p in identifier.probabilities.items() if p[thai] > p[english]}
    assert more_thai
    assert [word for word in more_thai if not text._MAY_BE_THAI.search(word)] == []
    # langdetect looks up stand-ins for some characters: kana and Han ones must be told from their originals.
    for character in map(chr, range(0x80, sys.maxunicode + 1)):
        stand_in = NGram.normalize(character)
        if stand_in != character and any(stand_in in word for word in more_thai):
            assert stand_in == " " or text._MAY_BE_THAI.search(character), hex(ord(character))


@pytest.mark.parametrize(
    ("string", "language"),
    [
        ("The quick brown fox jumps over the lazy dog and runs away.", "en"),
        ("Сегодня хорошая погода, и мы идём гулять в парк.", "ru"),
        ("今天天气很好，我们去公园散步吧。", "zh-cn"),
        ("आज मौसम बहुत अच्छा है और हम बाग़ में घूमने जा रहे हैं।", "hi"),
        ("12345 !!!", None),
        ("", None),
    ],
)
def test_language_is_langdetects_code(string: str, language: str | None) -> None:
    assert text.detect_language(string) == language


def test_detection_leaves_langdetects_own_seed_alone() -> None:
    text.detect_language("Some English text.")
    assert DetectorFactory.seed is None


@pytest.mark.parametrize(
    ("string", "words"), [("It's a well-known café.", 6), ("snake_case 3.5", 3), ("नमस्ते", 2), ("", 0)]
)
def test_words_are_matches_of_re(string: str, words: int) -> None:
    assert text.count_words(string) == words  # Devanagari is split at vowel signs, as published


@pytest.mark.parametrize(
    ("string", "words"),
    [
        ("今天很好。", 4),
        ("我用 Python 写code", 5),
        ("これはペンです", 7),
        ("你好👋🏽！", 3),
        ("abc😀def", 2),
        ("㐀㐁", 2),
        ("한국어", 3),
        ("！？", 0),
    ],
)
def test_cjk_words_are_characters_other_words_and_emoji(string: str, words: int) -> None:
    assert text.count_words_cjk(string) == words


def test_sentences_are_those_of_the_english_punkt_model() -> None:
    assert text.split_sentences("Dr. Smith paid $3.50 to Mr. Lee. He left. \n\nWhy? “No.” he said") == [
        "Dr. Smith paid $3.50 to Mr. Lee.",
        "He left.",
        "Why?",
        "“No.”",
        "he said",
    ]


def test_hindi_and_chinese_sentences_end_at_their_own_marks() -> None:
    assert text.count_sentences_hindi("यह एक है। यह दो है! क्या तीन?") == 3
    assert text.count_sentences_cjk("一。二！三？四\n五") == 5
    assert text.count_sentences_cjk("一。  \n \n二。") == 2  # blanks at a line's end are no sentence


def test_a_language_is_detected_only_where_the_verdict_depends_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(text, "detect_language", lambda string: asked.append(string) or "zh-cn")
    same = {text.GENERAL: lambda: True, text.CJK: lambda: True, text.THAI: lambda: False}
    assert text.decide_by_method("plain", same)
    assert asked == []
    assert text.decide_by_method("plain", {text.GENERAL: lambda: False, text.CJK: lambda: True})
    assert text.decide_by_method("ไทย", same)  # may be Thai
    assert asked == ["plain", "ไทย"]


def test_without_pythainlp_a_thai_reply_is_counted_and_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from turnswap.tasks.multiif.grading import grade_reply

    monkeypatch.setattr(text, "thai_available", lambda: False)
    thai = "วันนี้อากาศดีมาก เราไปเดินเล่นที่สวนสาธารณะกันเถอะ"
    kwargs = {"num_words": 5, "relation": "at least"}
    assert grade_reply(thai, ["length_constraints:number_words"], [kwargs])[0].ungradeable
    assert not grade_reply("Five words of plain English.", ["length_constraints:number_words"], [kwargs])[0].ungradeable


WORDS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                "NASA",
                "NASA,",
                "“NASA”",
                "(NASA)",
                "*NASA*",
                "«NASA»",
                "NASA...",
                "NASA—",
                "CANNOT!",
                "Hello,",
                "CANnot",
                "DON'T",
                "'Tis",
                "I",
                "U.S.",
                "(Ab)",
                "A-B",
                "«ÉTÉ»",
                "x",
                "GONNA",
                "wannA",
            ]
        )
        | st.sampled_from(
            ["Gimme.", "中A", "Ⓐ", "ǅ", "İ", "*Bold*", "“Я”", "e.g.", "End.Next", "a?B", "''", "D'ye", "MORE'N", "!"]
        ),
        st.text(max_size=6),
    ),
    max_size=12,
).map(" ".join)


@pytest.mark.slow
@settings(max_examples=5000, deadline=None)
@given(WORDS)
def test_the_bounds_of_capital_words_and_sentences_hold(string: str) -> None:
    least, most = text.capital_word_bounds(string)
    assert least <= sum(map(str.isupper, text.word_tokens(string))) <= most
    assert len(text.split_sentences(string)) <= text.most_sentences(string)


PIECES = st.sampled_from(
    [
        "Mr",
        "Dr",
        "U.S",
        "e.g",
        "a",
        "J",
        "word",
        "Great",
        "мир",
        "Мир",
        "ª",
        "²",
        "İ",
        "的",
        "No",
        "Inc",
        "etc",
        "3",
        "3.5",
    ]
    + [
        ". ",
        ".",
        "..",
        "...",
        ". . .",
        "! ",
        "?",
        "!",
        "?!",
        "。",
        "\n",
        "\n\n",
        " ",
        "\x1c",
        "\x85",
        "\u2028",
        "\u00a0",
    ]
    + [
        "“",
        "”",
        '"',
        "'",
        "»",
        ")",
        "(",
        "]",
        "*",
        "**",
        "-",
        "--",
        ",",
        ":",
        "_",
        "\u0301",
        "\ud83d",
        "https://a.b/c.d",
    ]
)


@pytest.mark.slow
@pytest.mark.parametrize("language", ["english", "german"])
@settings(max_examples=4000, deadline=None)
@given(pieces=st.lists(PIECES | st.text(max_size=3), max_size=14))
def test_sentences_are_those_of_nltk(language: str, pieces: list[str]) -> None:
    ours, string = text.punkt(language), "".join(pieces)
    assert ours.tokenize(string) == PunktSentenceTokenizer(ours._params).tokenize(string)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published verdicts are not beside this checkout")
def test_sentences_of_real_replies_are_those_of_nltk() -> None:
    with gzip.open(SHARED / "real_verdicts_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        replies = [json.loads(line)["response"] for line in file][::3]
    ours = text.punkt("english")
    nltk = PunktSentenceTokenizer(ours._params)
    assert [reply for reply in replies if ours.tokenize(reply) != nltk.tokenize(reply)] == []


# ------------------------------------------------- linear-time patterns against the published ones

MARKUP = st.text(alphabet="*-<>[]ab \n\t\r\u2028", max_size=40)


@settings(max_examples=3000, deadline=None)
@given(MARKUP)
def test_bullets_are_those_of_the_published_patterns(reply: str) -> None:
    published = len(re.findall(r"^\s*\*[^\*].*$", reply, re.MULTILINE)) + len(
        re.findall(r"^\s*-.*$", reply, re.MULTILINE)
    )
    assert format.number_bullet_lists(reply, published)
    assert not format.number_bullet_lists(reply, published + 1)


@settings(max_examples=3000, deadline=None)
@given(MARKUP)
def test_placeholders_are_those_of_the_published_pattern(reply: str) -> None:
    published = len(re.findall(r"\[.*?\]", reply))
    assert content.number_placeholders(reply, published)
    assert not content.number_placeholders(reply, published + 1)


@settings(max_examples=3000, deadline=None)
@given(MARKUP)
def test_titles_are_those_of_the_published_pattern(reply: str) -> None:
    published = any(found.lstrip("<").rstrip(">").strip() for found in re.findall(r"<<[^\n]+>>", reply))
    assert format.title(reply) == published


@settings(max_examples=3000, deadline=None)
@given(st.text(alphabet="pPsS. \nax", max_size=25), st.sampled_from(["P.S.", "P.P.S", "P.S", "a|x", "PS"]))
def test_postscripts_are_those_of_the_published_patterns(reply: str, marker: str) -> None:
    pattern = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}.get(marker, rf"\s*{marker.lower()}.*$")
    published = bool(re.findall(pattern, reply.lower(), re.MULTILINE))
    assert content.postscript(reply, marker) == published


@pytest.mark.parametrize(
    ("word", "usable"),
    [
        ("C++", True),
        ("¿qué?", True),
        ("a.b", True),
        ("(opcional)", True),
        ("soup|stew", True),
        ("[abc]", True),
        ("colou?rs?", True),
        ("^Start", True),
        ("x{2}", True),
        ("(a+)+$", False),
        ("(a|a)*", False),
        (".*x", False),
        ("a*a*b", False),
        (r"(.)\1", False),
        ("(?=a)b", False),
        ("a?" * 20, False),
        ("x{100}y", False),
        ("(", False),
        ("*", False),
        ("+49", False),
    ],
)
def test_a_word_is_a_regex_where_it_compiles_and_cannot_hang(word: str, usable: bool) -> None:
    assert patterns.is_regex(word) is usable
