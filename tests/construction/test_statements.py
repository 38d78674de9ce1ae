"""The sentences that state instructions: every one of every language, rendered, says what the grader checks."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from turnswap.construction.data_audit.findings import slot_finding
from turnswap.construction.data_audit.slots import Slot
from turnswap.construction.equivalent import protected_spans
from turnswap.construction.instructions import Draw, ids
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.statements import put_back, sentence, sentences, separate, stated
from turnswap.construction.wording import languages, read_wording
from turnswap.core.errors import UserError
from turnswap.tasks.multiif.instructions import INSTRUCTIONS

BENCHMARK = ("en", "es", "fr", "hi", "it", "pt", "ru", "zh")
LANGUAGES = sorted((*BENCHMARK, "ar", "de", "ja", "ko", "sw"))
IDS = sorted(value for name, value in vars(ids).items() if name.isupper())
OPPOSITE = {"at least": "less than", "less than": "at least"}
TEXTS = {
    "prompt_to_repeat": "Name 7 rivers.\nBe brief.",
    "postscript_marker": "P.P.S",
    "section_spliter": "Part",
    "keywords": ["rain", "snow", "hail"],
    "forbidden_words": ["quite"],
    "keyword": "art",
    "letter": "e",
    "language": "de",
    "first_word": "once",
    "end_phrase": "That is all.",
}
# What a reader must find beside the kwargs.
MARKERS = {
    ids.TWO: ["******"],
    ids.PARAGRAPHS: ["***"],
    ids.PLACEHOLDERS: ["[address]"],
    ids.ANSWER: ["My answer is yes.", "My answer is no.", "My answer is maybe."],
    ids.JSON: ["JSON"],
    ids.SECTIONS: ["Part 1"],
    ids.BULLETS: ["-", "*"],
    ids.TITLE: ["<<", ">>"],
}


def asked(number: int = 3) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every instruction, in each relation that it may have, with a number."""
    for id_ in IDS:
        names = INSTRUCTIONS[id_].kwargs
        relation = next((name for name in names if name.endswith("relation")), None)
        for each in OPPOSITE if relation else [""]:
            numbers = {name: 2 if name == "nth_paragraph" else number for name in names if name not in TEXTS}
            yield (
                id_,
                {**numbers, **{name: TEXTS[name] for name in names if name in TEXTS}}
                | ({relation: each} if relation else {}),
            )


def of(id_: str, **kwargs: Any) -> tuple[str, dict[str, Any]]:
    return id_, kwargs


def test_every_instruction_of_the_benchmark_has_sentences_in_thirteen_languages() -> None:
    assert languages() == LANGUAGES
    assert len(IDS) == 25
    for language in LANGUAGES:
        for id_, kwargs in asked():
            assert len(set(sentences(id_, kwargs, language))) == 2, (language, id_)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("number", [1, 2, 5, 11, 21, 101])
def test_a_sentence_holds_its_numbers_words_and_markers(language: str, number: int) -> None:
    for id_, kwargs in asked(number):
        words = [word for name, value in kwargs.items() if name in TEXTS and name != "language"
                 for word in (value if isinstance(value, list) else [value])]  # fmt: skip
        numbers = [value for value in kwargs.values() if isinstance(value, int)]
        for each in sentences(id_, kwargs, language):
            assert not re.search(r"[{}#|]|=", each), each
            assert not [text for text in (*words, *MARKERS.get(id_, ())) if text not in each], each
            assert not [n for n in numbers if not re.search(rf"(?<!\d){n}(?!\d)", each)], each


@pytest.mark.parametrize("language", LANGUAGES)
def test_at_least_and_less_than_are_never_the_same_sentence(language: str) -> None:
    seen = [each for id_, kwargs in asked() for each in sentences(id_, kwargs, language)]
    assert len(set(seen)) == len(seen) == 60


def test_markers_and_numbers_are_the_same_in_every_language_and_variant() -> None:
    """One takes the place of another in a translation, and the spans of both are compared."""
    for id_, kwargs in asked():
        found = {language: [Counter(protected_spans(each)) for each in sentences(id_, kwargs, language)]
                 for language in LANGUAGES}  # fmt: skip
        assert all(each == found["en"][0] for spans in found.values() for each in spans), id_


@pytest.mark.parametrize("language", BENCHMARK)
@pytest.mark.parametrize("number", [2, 3, 21])
def test_the_audit_of_data_reads_in_them_what_the_kwargs_grade_and_finds_the_other_relation(
    language: str, number: int
) -> None:
    def finding(id_: str, kwargs: Mapping[str, Any], prompt: str) -> object:
        return slot_finding(Slot("k", language, 1, 1, id_, kwargs, prompt, ()))

    for id_, kwargs in asked(number):
        other = {name: OPPOSITE.get(str(value), value) for name, value in kwargs.items()}
        # It counts words in capitals in English and Chinese alone.
        may_differ = other != kwargs and (id_ != ids.CAPITALS or language in ("en", "zh"))
        for each in sentences(id_, kwargs, language):
            assert finding(id_, kwargs, each) is None, each
            assert not may_differ or finding(id_, other, each), each


AT_LEAST = {"relation": "at least"}
PLURALS = [
    ("en", 0, {1: "1 sentence.", 2: "2 sentences.", 21: "21 sentences.", 101: "101 sentences."}),
    ("fr", 0, {1: "1 phrase.", 2: "2 phrases.", 101: "101 phrases."}),
    ("de", 1, {1: "1 Satz bestehen.", 2: "2 Sätzen bestehen.", 21: "21 Sätzen bestehen."}),
    ("es", 0, {1: "1 oración.", 5: "5 oraciones.", 101: "101 oraciones."}),
    ("pt", 0, {1: "1 frase.", 5: "5 frases.", 11: "11 frases."}),
    ("it", 0, {1: "1 frase.", 11: "11 frasi."}),
    ("hi", 0, {1: "1 वाक्य होना चाहिए।", 2: "2 वाक्य होने चाहिए।", 21: "21 वाक्य होने चाहिए।"}),
    (
        "ru",
        1,
        {
            1: "1 предложение.",
            2: "2 предложения.",
            5: "5 предложений.",
            11: "11 предложений.",
            21: "21 предложение.",
            22: "22 предложения.",
            101: "101 предложение.",
        },
    ),
    ("ru", 0, {1: "1 предложения.", 2: "2 предложений.", 5: "5 предложений.", 21: "21 предложения."}),
    (
        "ar",
        0,
        {
            1: "جملة واحدة (1) على الأقل.",
            2: "جملتين (2) على الأقل.",
            5: "5 جمل على الأقل.",
            11: "11 جملة على الأقل.",
            21: "21 جملة على الأقل.",
            101: "101 جملة على الأقل.",
            103: "103 جمل على الأقل.",
        },
    ),
    ("ja", 0, {1: "1文以上", 21: "21文以上"}),
    ("ko", 0, {1: "1문장 이상", 21: "21문장 이상"}),
    ("zh", 0, {1: "至少有1句话", 21: "至少有21句话"}),
    ("sw", 0, {1: "sentensi 1.", 21: "sentensi 21."}),
]


@pytest.mark.parametrize(("language", "variant", "forms"), PLURALS)
def test_what_is_counted_agrees_with_its_number(language: str, variant: int, forms: dict[int, str]) -> None:
    for number, form in forms.items():
        each = sentences(ids.SENTENCES, {**AT_LEAST, "num_sentences": number}, language)[variant]
        assert form in each


@pytest.mark.parametrize(
    ("language", "instruction", "variant", "form"),
    [
        ("ru", of(ids.WORDS, relation="less than", num_words=101), 0, "менее 101 слова."),
        ("ru", of(ids.FREQUENCY, keyword="дом", relation="at least", frequency=3), 1, "«дом» как минимум 3 раза."),
        ("ru", of(ids.BULLETS, num_bullets=21), 0, "должен быть ровно 21 пункт маркированного"),
        ("ru", of(ids.LANGUAGE, language="hi"), 0, "на хинди;"),
        ("ar", of(ids.PLACEHOLDERS, num_placeholders=2), 0, "عنصرين نائبين (2) على الأقل"),
        ("ar", of(ids.SECTIONS, section_spliter="جزء", num_sections=11), 0, "على 11 قسمًا على الأقل"),
        ("ar", of(ids.EXISTENCE, keywords=["مطر", "بحر"]), 0, "هاتين الكلمتين كلتيهما: «مطر»، «بحر»."),
        ("sw", of(ids.WORDS, relation="at least", num_words=1), 0, "angalau neno 1."),
        ("sw", of(ids.BULLETS, num_bullets=3), 0, "vipengele 3 kamili vya orodha"),
        ("en", of(ids.EXISTENCE, keywords=["rain"]), 0, "contain the word “rain”."),
        ("en", of(ids.EXISTENCE, keywords=["rain", "sun"]), 0, "all of these words: “rain”, “sun”."),
        ("fr", of(ids.FORBIDDEN, forbidden_words=["thé"]), 0, "nulle part le mot «\u00a0thé\u00a0»."),
        ("ja", of(ids.EXISTENCE, keywords=["雨", "海"]), 0, "：「雨」、「海」。"),
        ("ja", of(ids.WORDS, relation="less than", num_words=50), 0, "50文字未満"),  # graded in characters
        ("zh", of(ids.WORDS, relation="at least", num_words=50), 0, "50个字"),
    ],
)
def test_gender_number_quotation_marks_and_counters_are_the_languages(
    language: str, instruction: tuple[str, dict[str, Any]], variant: int, form: str
) -> None:
    assert form in sentences(*instruction, language)[variant]


@pytest.mark.parametrize(
    ("language", "places"),
    [
        ("en", {1: "the 1st paragraph", 2: "the 2nd paragraph", 3: "the 3rd paragraph", 11: "the 11th paragraph"}),
        ("fr", {1: "le 1er paragraphe", 2: "le 2e paragraphe"}),
        ("es", {1: "el 1.er párrafo", 2: "el 2.º párrafo", 3: "el 3.er párrafo"}),
        ("it", {1: "il 1º paragrafo", 8: "l’8º paragrafo"}),
        ("de", {2: "der 2. Absatz"}),
        ("ru", {2: "2-й абзац"}),
        ("ja", {2: "第2段落"}),
        ("zh", {2: "第2段"}),
        ("ko", {2: "2번째 단락"}),
        ("ar", {2: "الفقرة رقم 2"}),
    ],
)
def test_the_place_of_a_paragraph_is_told_as_the_language_tells_it(language: str, places: dict[int, str]) -> None:
    for place, said in places.items():
        kwargs = {"num_paragraphs": 12, "nth_paragraph": place, "first_word": "x"}
        assert said in sentences(ids.NTH, kwargs, language)[0]


def test_unknown_instructions_and_languages_have_no_sentences_and_a_region_those_of_its_language() -> None:
    words = of(ids.WORDS, relation="at least", num_words=5)
    assert sentences("my:own", {"n": 1}, "en") == sentences(*words, "fi") == sentences(*words, "zh-tw") == []
    assert sentences(*words, "pt-br") == sentences(*words, "pt")
    assert sentences(ids.LANGUAGE, {"language": "sv"}, "en") == []  # a name that the templates lack
    assert not stated("Write at least 5 words.", "my:own", {"n": 1}, "en")
    assert separate("Be brief.", [("my:own", {}), words], "fi", "en") == ("Be brief.", [])


def test_a_sentence_is_drawn_the_same_every_time() -> None:
    conversation = DraftConversation("k", "en", (Turn("Hello.", (), ()),))
    words = of(ids.WORDS, relation="at least", num_words=5)
    drawn = [sentence(*words, "en", Draw(conversation, seed)) for seed in range(20)]
    assert drawn == [sentence(*words, "en", Draw(conversation, seed)) for seed in range(20)]
    assert set(drawn) == set(sentences(*words, "en"))


def test_a_prompt_states_an_instruction_only_with_its_own_kwargs() -> None:
    prompt = "Thanks. Your reply must have at  least 3 sentences. Be kind."
    assert stated(prompt, ids.SENTENCES, {"relation": "at least", "num_sentences": 3}, "en")
    assert not stated(prompt, ids.SENTENCES, {"relation": "at least", "num_sentences": 4}, "en")
    assert not stated(prompt, ids.SENTENCES, {"relation": "less than", "num_sentences": 3}, "en")


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_taken_out_of_a_prompt_and_another_languages_put_in_their_place(language: str) -> None:
    for id_, kwargs in asked():
        for variant, each in enumerate(sentences(id_, kwargs, "en")):
            text, separated = separate(f"Go on.\n{each} Thanks!", [(id_, kwargs)], "en", language)
            assert text == "Go on.\n⟦1⟧ Thanks!"
            made = put_back(text, {0: (id_, kwargs)}, language, separated)
            assert made == f"Go on.\n{sentences(id_, kwargs, language)[variant]} Thanks!"
            assert separate(made, [(id_, kwargs)], language, "en") == (text, separated)


def test_a_marker_that_is_lost_or_added_is_refused() -> None:
    comma: tuple[str, dict[str, Any]] = (ids.NO_COMMA, {})
    _, separated = separate("Do not use any commas in your reply.", [comma], "en", "de")
    for text in ("Danke.", "⟦1⟧ ⟦1⟧", "⟦1⟧ ⟦2⟧"):
        with pytest.raises(ValueError, match=r"a mark is lost or added: ⟦\d⟧ occurs"):
            put_back(text, {0: comma}, "de", separated)


def test_a_prompt_that_has_such_markers_itself_is_left_alone() -> None:
    prompt = "⟦1⟧ Do not use any commas in your reply."
    assert separate(prompt, [(ids.NO_COMMA, {})], "en", "de") == (prompt, [])


def wording(key: str, template: str) -> str:
    return f'quoted = "“#”"\ncomma = ", "\n[languages]\n[sentences]\n"{key}" = ["{template}"]\n'


@pytest.mark.parametrize(
    ("key", "template", "reason"),
    [
        ("keywords:frequency at least", "Say {word} {frequency:one=# time|# times}.", "names {word}; keywords:frequ"),
        ("keywords:frequency at least", "Say it {frequency} times.", "lacks {keyword}"),
        ("keywords:frequency", "Say {keyword} {frequency} times.", "lacks its relation"),
        ("punctuation:no_comma at least", "No comma.", "is no instruction, or lacks its relation"),
        ("keywords:frequency at most", "Say {keyword} {frequency} times.", "lacks its relation"),
        ("length_constraints:number_paragraphs", "Write {num_paragraphs:one=# part|few=# parts}.", "are no forms"),
        ("punctuation:no_full_stop", "No stop.", "is no instruction"),
        ("keywords:existence", "Say {keywords:1=the word|the words}.", "lacks {keywords}"),
        ("startend:end_checker", "End with {end_phrase:one=#|#}.", "counts nothing"),
        ("length_constraints:number_paragraphs", "Write {num_paragraphs:one=# part|other=# parts}.", "are no forms"),
        ("length_constraints:number_paragraphs", "Write {num_paragraphs.real}.", "names {num_paragraphs.real}"),
    ],
)
def test_a_template_that_does_not_fit_its_instruction_is_refused_at_load(key: str, template: str, reason: str) -> None:
    with pytest.raises(UserError, match=re.escape(reason)):
        read_wording(wording(key, template), "en")


def test_a_file_that_lacks_a_part_is_refused_at_load() -> None:
    for text in ('quoted = "#"', 'quoted = "#"\ncomma = ","\nlanguages = {}\nsentences = 3'):
        with pytest.raises(UserError, match="The wording of xx cannot be used"):
            read_wording(text, "xx")
