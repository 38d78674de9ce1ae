"""Verdicts of readers of each language, and what the corrected rules share with the published ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnswap.tasks.multiif import grading
from turnswap.tasks.multiif.corrected import grade_corrected
from turnswap.tasks.multiif.instructions import INSTRUCTIONS

from .test_hostile_replies import ALL_KWARGS, IDS, REPLIES

CHECKED = {id_ for id_, instruction in INSTRUCTIONS.items() if instruction.corrected}

WORDS, SENTENCES = "length_constraints:number_words", "length_constraints:number_sentences"
EXISTENCE, FORBIDDEN, FREQUENCY = "keywords:existence", "keywords:forbidden_words", "keywords:frequency"
COMMA, QUOTATION, END = "punctuation:no_comma", "startend:quotation", "startend:end_checker"
FIRST = "length_constraints:nth_paragraph_first_word"
LANGUAGE, CAPITAL = "language:response_language", "change_case:english_capital"
LOWERCASE, POSTSCRIPT = "change_case:english_lowercase", "detectable_content:postscript"
HINDI = "मुझे हिन्दी में कविता पढ़ना पसंद है"

READ: list[tuple[str, str, dict[str, Any], str, bool]] = [
    # Numbers are those that a reader counts: the reply has exactly so many, so one more must fail.
    ("en", WORDS, {"num_words": 7, "relation": "at least"}, "It's a well-known fact: 3.5 isn't 4.", True),
    ("en", WORDS, {"num_words": 9, "relation": "at least"}, "It's a well-known fact: 3.5 isn't 4.", False),
    ("hi", WORDS, {"num_words": 7, "relation": "at least"}, HINDI, True),
    ("hi", WORDS, {"num_words": 8, "relation": "at least"}, HINDI, False),
    ("ru", WORDS, {"num_words": 4, "relation": "at least"}, "Мама мыла раму. Да!", True),
    ("ru", WORDS, {"num_words": 5, "relation": "at least"}, "Мама мыла раму. Да!", False),
    ("zh", WORDS, {"num_words": 13, "relation": "at least"}, "今天天气很好，我们去公园散步。", True),
    ("zh", WORDS, {"num_words": 14, "relation": "at least"}, "今天天气很好，我们去公园散步。", False),
    ("ja", WORDS, {"num_words": 13, "relation": "at least"}, "今日はとても良い天気ですね。", True),
    ("ja", WORDS, {"num_words": 14, "relation": "at least"}, "今日はとても良い天気ですね。", False),
    ("th", WORDS, {"num_words": 5, "relation": "at least"}, "วันนี้อากาศดีมาก", True),
    ("th", WORDS, {"num_words": 6, "relation": "at least"}, "วันนี้อากาศดีมาก", False),
    ("te", WORDS, {"num_words": 3, "relation": "at least"}, "నేను తెలుగు మాట్లాడతాను.", True),
    ("te", WORDS, {"num_words": 4, "relation": "at least"}, "నేను తెలుగు మాట్లాడతాను.", False),
    ("ko", WORDS, {"num_words": 4, "relation": "at least"}, "오늘은 날씨가 아주 좋습니다.", True),
    ("ko", WORDS, {"num_words": 5, "relation": "at least"}, "오늘은 날씨가 아주 좋습니다.", False),
    ("en", SENTENCES, {"num_sentences": 2, "relation": "at least"}, "Dr. Lee paid $3.50. Then she left.", True),
    ("en", SENTENCES, {"num_sentences": 3, "relation": "at least"}, "Dr. Lee paid $3.50. Then she left.", False),
    ("en", SENTENCES, {"num_sentences": 2, "relation": "less than"}, "## Rain\n\nIt falls.", True),
    ("hi", SENTENCES, {"num_sentences": 2, "relation": "at least"}, "डॉ. शर्मा आए। वे चले गए।", True),
    ("hi", SENTENCES, {"num_sentences": 3, "relation": "at least"}, "डॉ. शर्मा आए। वे चले गए।", False),
    ("hi", SENTENCES, {"num_sentences": 2, "relation": "at least"}, "वह 9.30 बजे आया. वह गया.", True),
    ("zh", SENTENCES, {"num_sentences": 3, "relation": "at least"}, "你好！今天是晴天。出去吗？", True),
    ("zh", SENTENCES, {"num_sentences": 4, "relation": "at least"}, "你好！今天是晴天。出去吗？", False),
    ("ar", SENTENCES, {"num_sentences": 2, "relation": "at least"}, "كيف حالك؟ أنا بخير.", True),
    ("ar", SENTENCES, {"num_sentences": 3, "relation": "at least"}, "كيف حالك؟ أنا بخير.", False),
    ("fr", SENTENCES, {"num_sentences": 2, "relation": "at least"}, "Il vient à 9 h 30. Il dort bien !", True),
    ("fr", SENTENCES, {"num_sentences": 3, "relation": "at least"}, "Il vient à 9 h 30. Il dort bien !", False),
    (
        "it",
        SENTENCES,
        {"num_sentences": 2, "relation": "at least"},
        "Il Sig. Neri arriva alle 9.30. Poi riparte.",
        True,
    ),
    (
        "it",
        SENTENCES,
        {"num_sentences": 3, "relation": "at least"},
        "Il Sig. Neri arriva alle 9.30. Poi riparte.",
        False,
    ),
    ("pt", SENTENCES, {"num_sentences": 2, "relation": "at least"}, "O Sr. Lima saiu às 9h30. Já voltou.", True),
    ("pt", SENTENCES, {"num_sentences": 3, "relation": "at least"}, "O Sr. Lima saiu às 9h30. Já voltou.", False),
    ("pt", WORDS, {"num_words": 4, "relation": "at least"}, "O guarda-chuva já secou.", True),
    ("it", WORDS, {"num_words": 4, "relation": "at least"}, "C'era 1,5 kg.", False),
    # Keywords
    ("en", EXISTENCE, {"keywords": ["art"]}, "Three artists came.", False),
    ("en", EXISTENCE, {"keywords": ["art"]}, "The party started.", False),
    ("en", FORBIDDEN, {"forbidden_words": ["art"]}, "The party and the artists.", True),
    ("en", FORBIDDEN, {"forbidden_words": ["art"]}, "It is ART!", False),
    ("ru", EXISTENCE, {"keywords": ["книга"]}, "Это моя Книга.", True),
    ("ru", FREQUENCY, {"keyword": "дом", "frequency": 2, "relation": "at least"}, "Дом стоит у дома.", True),
    ("ru", FREQUENCY, {"keyword": "дом", "frequency": 3, "relation": "at least"}, "Дом, дома и ведомость.", False),
    ("hi", FORBIDDEN, {"forbidden_words": ["कम"]}, "कमल खिला है।", True),
    ("hi", FORBIDDEN, {"forbidden_words": ["कम"]}, "पानी कम है।", False),
    ("hi", FORBIDDEN, {"forbidden_words": ["पढ़ना"]}, HINDI.replace("ढ़", "ढ़"), False),
    ("zh", FORBIDDEN, {"forbidden_words": ["月亮"]}, "今晚星星很亮。", True),
    ("zh", FORBIDDEN, {"forbidden_words": ["AI"]}, "我喜欢AI技术。", False),
    ("zh", FORBIDDEN, {"forbidden_words": ["AI"]}, "他住在MAIN街。", True),
    ("zh", FREQUENCY, {"keyword": "茶", "frequency": 2, "relation": "at least"}, "喝茶，买茶叶。", True),
    ("ko", EXISTENCE, {"keywords": ["날씨"]}, "오늘은 날씨가 좋다.", True),
    ("ko", FORBIDDEN, {"forbidden_words": ["날씨"]}, "오늘은 날씨가 좋다.", False),
    ("ar", FORBIDDEN, {"forbidden_words": ["كتاب"]}, "قرأت الكتاب", False),
    ("sw", EXISTENCE, {"keywords": ["soma"]}, "Ninasoma kitabu.", True),
    ("fr", EXISTENCE, {"keywords": ["L’eau"]}, "Bois de l'eau.", True),
    ("es", POSTSCRIPT, {"postscript_marker": "P.D."}, "Adiós. P.D. Llama.", True),
    ("es", POSTSCRIPT, {"postscript_marker": "P.D."}, "Adiós. PyDx", False),
    (
        "en",
        "detectable_format:multiple_sections",
        {"section_spliter": "PART", "num_sections": 2},
        "PART 1 a PART 2 b",
        True,
    ),
    (
        "en",
        "detectable_format:multiple_sections",
        {"section_spliter": "PART", "num_sections": 3},
        "PART 1 a PART 2 b",
        False,
    ),
    ("fr", POSTSCRIPT, {"postscript_marker": "P.P.S"}, "Au revoir.\n\nPost-scriptum (P.P.S.) : Écris-moi.", True),
    ("en", POSTSCRIPT, {"postscript_marker": "P.S."}, "Bye.\nP.P.S. Write.", False),
    (
        "en",
        "detectable_format:multiple_sections",
        {"section_spliter": "Part", "num_sections": 1},
        "Part I wrote",
        False,
    ),
    ("en", "detectable_content:number_placeholders", {"num_placeholders": 2}, "Dear [name][address]", True),
    ("en", "combination:repeat_prompt", {"prompt_to_repeat": "Write a poem."}, "Write a poem about cats", False),
    ("en", "combination:repeat_prompt", {"prompt_to_repeat": "Write a poem"}, "Write a poems", False),
    ("ru", "combination:repeat_prompt", {"prompt_to_repeat": "Сделай «ёлку»"}, 'Сделай "елку"\n\nВот', True),
    ("en", END, {"end_phrase": "end"}, "It will bend", False),
    ("fr", END, {"end_phrase": "l'œuvre !"}, "Voici l’oeuvre!", True),
    # Punctuation
    ("zh", COMMA, {}, "苹果、梨和桃。", True),
    ("hi", COMMA, {}, "सेब, आम", False),
    ("ur", COMMA, {}, "سیب، آم", False),
    ("ru", COMMA, {}, "Яблоки и груши.", True),
    ("de", QUOTATION, {}, "„Guten Tag“", True),
    ("fr", QUOTATION, {}, "«\u00a0Bonjour\u00a0»", True),
    ("en", QUOTATION, {}, '"Hello”', False),
    ("en", QUOTATION, {}, '"It is 5" tall."', True),
    ("en", QUOTATION, {}, '"A" and "B"', False),
    ("es", QUOTATION, {}, "«Hola", False),
    ("it", QUOTATION, {}, "«Buongiorno a tutti»", True),
    ("pt", QUOTATION, {}, "“Bom dia”", True),
    ("ja", QUOTATION, {}, "『こんにちは』", True),
    ("fr", END, {"end_phrase": "Voilà tout."}, "«\u00a0C’est fini. Voilà tout.\u00a0»", True),
    ("fr", END, {"end_phrase": "Voilà tout."}, "« Voilà tout. Enfin. »", False),
    ("zh", END, {"end_phrase": "完了。"}, "「都说完了。」", True),
    # First words
    (
        "zh",
        FIRST,
        {"num_paragraphs": 2, "nth_paragraph": 1, "first_word": "首先"},
        "首先，谢谢。\n\n其次，再见。",
        True,
    ),
    (
        "zh",
        FIRST,
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "首先"},
        "首先，谢谢。\n\n其次，再见。",
        False,
    ),
    ("en", FIRST, {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "so"}, "One.\n\nSomething else.", False),
    ("en", FIRST, {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "so"}, "One.\n \nSo, two.", True),
    ("en", FIRST, {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": "so"}, "One.\n\nSo two.", False),
    # Language and case
    ("en", CAPITAL, {}, "THE OWL HAD BEEN AWAKE FOR HOURS, AND NOBODY KNEW WHY IT DID NOT WANT TO SLEEP.", True),
    ("en", CAPITAL, {}, "THE OWL HAD BEEN AWAKE for HOURS", False),
    ("en", LOWERCASE, {}, "the owl had been awake for hours, and nobody knew why.", True),
    ("fr", LOWERCASE, {}, "la chouette dormait déjà depuis des heures, et personne ne savait pourquoi.", False),
    ("ru", CAPITAL, {}, "СОВА СПАЛА", False),
    ("zh", LANGUAGE, {"language": "zh"}, "你好！", True),
    ("zh", LANGUAGE, {"language": "zh-cn"}, "歡迎光臨", True),
    ("zh", LANGUAGE, {"language": "zh-cn"}, "これは日本語です", False),
    ("ja", LANGUAGE, {"language": "ja"}, "日本語の文です", True),
    ("hi", LANGUAGE, {"language": "hi"}, "Namaste, all is well here today my friend.", False),
    ("te", LANGUAGE, {"language": "te"}, "నమస్కారం", True),
    ("en", LANGUAGE, {"language": "en"}, "Добрый день", False),
]


@pytest.mark.parametrize(("language", "instruction_id", "kwargs", "reply", "expected"), READ)
def test_verdicts_are_a_readers(
    language: str, instruction_id: str, kwargs: dict[str, Any], reply: str, expected: bool
) -> None:
    verdict = grade_corrected(reply, [instruction_id], [kwargs], language)[0]
    assert (verdict.strict, verdict.unsatisfiable) == (expected, False)


@pytest.mark.parametrize(
    ("language", "prompt", "words"),
    [
        ("zh", "请写至少12个词。", True),
        ("zh", "请用至少 12 个单词回答。", True),
        ("ja", "12単語以上で書いてください。", True),
        ("zh", "请用至少十二个不同的词回答。", True),
        ("zh", "请写12-20词。", True),
        ("zh", "词语数量不少于12。", True),
        ("zh", "不超过11个词。", True),  # graded as less than 12
        ("zh", "请写至少12个字。", False),
        ("ja", "12文字以上で書いてください。", False),
        ("zh", "请写至少112个词。", False),  # another number
        ("zh", "写一首诗。", False),
    ],
)
def test_a_prompt_tells_words_from_characters(language: str, prompt: str, words: bool) -> None:
    reply = {"zh": "今天天气很好，我们去公园散步。", "ja": "今日はとても良い天気ですね。"}[
        language
    ]  # 13 characters each, 7 words
    kwargs = {"num_words": 12, "relation": "at least"}
    assert grade_corrected(reply, [WORDS], [kwargs], language, ["你好", prompt])[0].strict is not words


def test_the_language_that_the_turn_asks_for_decides() -> None:
    reply = "今天天气很好，我们去公园散步。"
    kwargs: list[dict[str, Any]] = [{"num_words": 13, "relation": "at least"}, {"language": "zh-cn"}]
    verdicts = grade_corrected(reply, [WORDS, LANGUAGE], kwargs, "en")
    assert [verdict.strict for verdict in verdicts] == [True, True]


def test_loose_variants_are_corrected_too() -> None:
    verdict = grade_corrected("Sure! Here it is:\n«Bonjour»", [QUOTATION], [{}], "fr")[0]
    assert (verdict.strict, verdict.loose) == (False, True)


def test_instructions_without_a_correction_are_graded_as_published() -> None:
    reply = '<<Title>>\n\n* a\n* b\n*** [x] My answer is yes. {"a": 1} ******\nkk'
    for id_, kwargs in zip(IDS, ALL_KWARGS, strict=True):
        if id_ not in CHECKED:
            ours, theirs = grade_corrected(reply, [id_], [kwargs], "en"), grading.grade_reply(reply, [id_], [kwargs])
            assert [(v.strict, v.loose) for v in ours] == [(v.strict, v.loose) for v in theirs]


@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(REPLIES, st.integers(0, len(IDS) - 1), st.sampled_from(["en", "zh", "hi", "th", "ja", "ar", "ko", "km", "quc"]))
def test_no_reply_raises(reply: str, start: int, language: str) -> None:
    chosen = [start, (start + 7) % len(IDS), (start + 13) % len(IDS)]
    verdicts = grade_corrected(reply, [IDS[i] for i in chosen], [ALL_KWARGS[i] for i in chosen], language, [reply])
    assert len(verdicts) == 3
    assert all(verdict.loose or not verdict.strict for verdict in verdicts)
    assert reply.strip() or not any(verdict.loose for verdict in verdicts)
