"""Instructions tried on natural replies: which rule measures them in a language, and what is told of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from turnswap.construction.equivalent import unsuitable
from turnswap.construction.falsify import Fit, fit, fits, read_reason, require_for, segmenters
from turnswap.construction.instructions import making_of
from turnswap.construction.instructions.ids import FORBIDDEN, NO_COMMA, QUOTATION, TITLE, WORDS
from turnswap.construction.llm import LLMSettings
from turnswap.construction.natural import prose_of
from turnswap.construction.prove import Prove, ProveSettings
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.steps import BuildSettings, make_step
from turnswap.construction.translate import Translate, TranslateSettings
from turnswap.construction.vocabulary import scripts_of
from turnswap.core.errors import UserError
from turnswap.tasks.multiif.corrected import grade_corrected
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.segmentation import segmenter

AT_LEAST, LESS = "at least", "less than"
# Of each language a word for the sea and one for a house, and a phrase to end with.
NAMED = {
    "en": ("sea", "house", "That is all."),
    "de": ("Meer", "Haus", "Das ist alles."),
    "fr": ("mer", "maison", "C'est tout."),
    "sw": ("bahari", "nyumba", "Hayo ndiyo yote."),
}


def ordinary(language: str) -> list[tuple[str, dict[str, Any]]]:
    sea, house, end = NAMED[language]
    return [
        ("keywords:existence", {"keywords": [sea, house]}),
        ("keywords:frequency", {"keyword": sea, "frequency": 3, "relation": AT_LEAST}),
        ("keywords:frequency", {"keyword": sea, "frequency": 2, "relation": LESS}),
        (FORBIDDEN, {"forbidden_words": [sea, house]}),
        ("keywords:letter_frequency", {"letter": "n", "let_frequency": 5, "let_relation": AT_LEAST}),
        ("keywords:letter_frequency", {"letter": "q", "let_frequency": 3, "let_relation": LESS}),
        ("language:response_language", {"language": "it"}),
        (WORDS, {"num_words": 120, "relation": AT_LEAST}),
        (WORDS, {"num_words": 50, "relation": LESS}),
        ("length_constraints:number_sentences", {"num_sentences": 5, "relation": AT_LEAST}),
        ("length_constraints:number_sentences", {"num_sentences": 4, "relation": LESS}),
        ("length_constraints:number_paragraphs", {"num_paragraphs": 3}),
        ("length_constraints:nth_paragraph_first_word", {"num_paragraphs": 3, "nth_paragraph": 2, "first_word": sea}),
        ("detectable_content:number_placeholders", {"num_placeholders": 3}),
        ("detectable_content:postscript", {"postscript_marker": "P.S."}),
        ("detectable_format:number_bullet_lists", {"num_bullets": 4}),
        ("detectable_format:number_highlighted_sections", {"num_highlights": 2}),
        ("detectable_format:multiple_sections", {"section_spliter": house, "num_sections": 2}),
        ("detectable_format:json_format", {}),
        (TITLE, {}),
        ("combination:two_responses", {}),
        ("combination:repeat_prompt", {"prompt_to_repeat": f"{sea}, {house}?"}),
        ("startend:end_checker", {"end_phrase": end}),
        ("change_case:capital_word_frequency", {"capital_frequency": 3, "capital_relation": AT_LEAST}),
        ("change_case:capital_word_frequency", {"capital_frequency": 4, "capital_relation": LESS}),
        (NO_COMMA, {}),
    ]


@pytest.mark.parametrize("language", NAMED)
def test_the_published_rules_measure_ordinary_instructions_and_natural_replies_show_it(language: str) -> None:
    for id_, kwargs in ordinary(language):
        found = fit(id_, kwargs, language)
        assert (found.rule, found.why) == ("published", ""), (id_, kwargs, found.why)
        assert found.fails is not None, (id_, kwargs)
        assert found.passes is not None, (id_, kwargs)
        assert [grade_reply(reply, [id_], [kwargs])[0].strict for reply in (found.fails, found.passes)] == [False, True]


@pytest.mark.parametrize("id_", ["change_case:english_capital", "change_case:english_lowercase", QUOTATION])
def test_in_english_the_published_rules_measure_the_case_and_quotations_too(id_: str) -> None:
    assert fit(id_, {}, "en").rule == "published"


@pytest.mark.parametrize(
    ("language", "id_", "kwargs", "why"),
    [
        (
            "ja",
            NO_COMMA,
            {},
            "do not follow it pass the published rule: the published rule knows the ASCII comma alone",
        ),
        ("zh", NO_COMMA, {}, "do not follow it pass"),
        ("ar", NO_COMMA, {}, "do not follow it pass"),
        ("ur", NO_COMMA, {}, "do not follow it pass"),
        ("hi", FORBIDDEN, {"forbidden_words": ["नदी"]}, "ends in a vowel sign"),
        ("hi", FORBIDDEN, {"forbidden_words": ["घर", "पानी"]}, "ends in a vowel sign"),
        ("te", FORBIDDEN, {"forbidden_words": ["ఇల్లు"]}, "ends in a vowel sign"),
        ("ja", FORBIDDEN, {"forbidden_words": ["雨"]}, "words between spaces"),
        ("ko", FORBIDDEN, {"forbidden_words": ["바다"]}, "particle"),
        ("te", WORDS, {"num_words": 100, "relation": AT_LEAST}, "cuts words at vowel signs"),
        ("te", WORDS, {"num_words": 60, "relation": LESS}, "follow it fail the published rule"),
        ("hi", WORDS, {"num_words": 100, "relation": AT_LEAST}, "cuts words at vowel signs"),
        ("bn", "length_constraints:number_sentences", {"num_sentences": 5, "relation": AT_LEAST}, "follow it fail"),
        ("de", QUOTATION, {}, "follow it fail the published rule"),
        ("ru", QUOTATION, {}, "follow it fail the published rule"),
        ("ja", TITLE, {}, "most natural replies that follow it fail"),
        ("he", "keywords:frequency", {"keyword": "ים", "frequency": 3, "relation": AT_LEAST}, "do not follow it pass"),
    ],
)
def test_what_natural_replies_cannot_fail_or_pass_is_graded_by_the_corrected_rule(
    language: str, id_: str, kwargs: dict[str, Any], why: str
) -> None:
    found = fit(id_, kwargs, language)
    assert found.rule == "corrected"
    assert why in found.why
    assert found.fails is not None
    assert found.passes is not None
    judged = [grade_corrected(reply, [id_], [kwargs], language)[0].strict for reply in (found.fails, found.passes)]
    assert judged == [False, True]


def test_a_hindi_word_without_a_vowel_sign_at_its_end_is_left_to_the_published_rule() -> None:
    assert fit(FORBIDDEN, {"forbidden_words": ["घर"]}, "hi").rule == "published"


@pytest.mark.parametrize(
    ("language", "id_", "kwargs", "why"),
    [
        ("th", NO_COMMA, {}, "no natural reply fails it"),
        ("hi", "change_case:capital_word_frequency", {"capital_frequency": 2, "capital_relation": AT_LEAST}, "capital"),
        ("ko", "keywords:letter_frequency", {"letter": "k", "let_frequency": 4, "let_relation": LESS}, "Latin"),
    ],
)
def test_what_neither_rule_measures_cannot_be_had_in_the_language(
    language: str, id_: str, kwargs: dict[str, Any], why: str
) -> None:
    assert fit(id_, kwargs, language).rule is None
    source = (Turn("Write about tea.", (id_,), (kwargs,)),)
    reason = str(unsuitable(source, language))
    assert why in reason
    assert read_reason(reason) == (id_, language, reason.partition(f" in {language}, ")[2])
    assert unsuitable(source, "sw") is None


def test_the_language_that_a_turn_asks_for_decides() -> None:
    english = ("language:response_language", {"language": "en"})
    ids, kwargs = zip(*[(NO_COMMA, {}), english], strict=True)
    turns = (Turn("読点なしで。", ids[:1], kwargs[:1]), Turn("英語で。", ids, kwargs))
    first, second = fits(turns, "ja")
    assert [each.rule for each in first] == ["corrected"]
    assert [each.rule for each in second] == ["published", "published"]


def test_sentences_of_the_conversation_stand_in_where_turnswap_has_none_of_the_language() -> None:
    prompts = ["Kọ ìtàn kúkúrú kan nípa òkun fún àwọn ọmọdé.", "Fi [orúkọ] síbẹ̀ fún mi. Má lo àmì ìdánudúró rárá."]
    prose = prose_of("yo", prompts)
    assert prose is not None
    assert prose.origin == "sentences of the conversation"
    assert not any("[" in each for each in prose.sentences)  # it shows a format
    found = fit(NO_COMMA, {}, "yo", prompts)
    assert found.rule == "published"
    assert "," in str(found.fails)
    assert fit(NO_COMMA, {}, "yo") == Fit(NO_COMMA, "published")  # nothing to try it on


def test_a_keyword_that_is_a_pattern_is_left_to_the_published_rule() -> None:
    assert fit("keywords:existence", {"keywords": [r"[0-9]th of [A-Z]"]}, "en").rule == "published"


@pytest.mark.parametrize("language", ["th", "my", "km"])
def test_a_script_without_commas_and_one_whose_comma_no_rule_knows_cannot_do_without_them(language: str) -> None:
    prompts = ["ပင်လယ်အကြောင်း ကလေးများအတွက် ဇာတ်လမ်းတို တစ်ပုဒ် ရေးပါ။"] if language == "my" else ["សូម សរសេរ រឿង ខ្លី មួយ។"]
    assert fit(NO_COMMA, {}, language, prompts).rule is None


@pytest.mark.skipif(segmenter() is None, reason="turnswap[cjk] is not installed: Thai words are not known")
def test_words_of_thai_are_counted_by_dictionary_as_the_published_package_is_not_there() -> None:
    assert fit(WORDS, {"num_words": 80, "relation": LESS}, "th").rule in ("corrected", "published")


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """As if these packages were not installed, and all others were."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name in packages else object())


def test_a_build_in_thai_is_refused_without_what_parts_its_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without(monkeypatch, "pythainlp")
    llm: Any = SimpleNamespace(identity=None)
    settings = TranslateSettings()
    with pytest.raises(UserError, match=r"Building in Thai needs pythainlp\. .*pip install 'turnswap\[thai,cjk\]'"):
        Translate(settings, ("sw", "th"), llm)
    # Where nothing is tried on natural replies, nothing is decided by what is installed.
    assert Translate(settings, ("sw", "th"), llm, falsifiable=False).languages == ("sw", "th")
    without(monkeypatch)
    assert Translate(settings, ("sw", "th"), llm).languages == ("sw", "th")
    without(monkeypatch, "icu4py")
    with pytest.raises(UserError, match=r"Building in Lao needs icu4py\. .*pip install 'turnswap\[cjk\]'"):
        require_for(["lo"])


def test_what_parts_words_is_part_of_the_identity_of_steps_in_languages_that_need_it() -> None:
    assert segmenters(["sw", "ko"]) == []
    assert segmenters(["ja"]) == [str(segmenter())]
    assert "pythainlp" in segmenters(["th"])[1]
    llm: Any = SimpleNamespace(identity=None)
    swahili, thai = (Prove(ProveSettings(), llm, (code,)).identity for code in ("sw", "th"))
    assert swahili != thai


def test_words_that_this_machine_cannot_part_are_no_fault_of_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turnswap.tasks.multiif.text.thai_available", lambda: False)
    why = fit(WORDS, {"num_words": 80, "relation": LESS}, "th").why
    assert why == "this machine lacks the package that the published rule needs to split words and sentences"
    assert making_of(WORDS).warning(scripts_of("th")) is None
    assert making_of(WORDS).warning(scripts_of("hi")) == "the published rule cuts words at vowel signs"


def test_without_the_setting_a_translation_is_not_held_against_natural_replies() -> None:
    tried = (Turn("Write about tea.", (NO_COMMA,), ({},)),)
    assert unsuitable(tried, "th", tried=False) is None
    listed = (Turn("Write about tea.", ("change_case:english_capital",), ({},)),)
    assert unsuitable(listed, "th", tried=False) is not None
    build = BuildSettings("n", Path("x"), LLMSettings("hf"), ("th",), prove={"falsifiable": False})
    llm: Any = SimpleNamespace(identity=None, of=lambda name: SimpleNamespace(identity=None))
    step = make_step("translate", build, llm)
    assert isinstance(step, Translate)
    assert step.stand_ins(DraftConversation("a", "en", tried))
    ((asking,),) = [step.askings(DraftConversation("a", "en", tried))]
    assert next(asking).payload["to"] == "th"  # and is not rejected before it is asked for
