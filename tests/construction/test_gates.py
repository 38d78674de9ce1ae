"""The gates for translations: what is wrong is found, with figures, and what is fine is not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from turnswap.construction.gates import Thresholds, Translation, length_range, measure, problems, worst_first
from turnswap.construction.records import DraftConversation
from turnswap.construction.vocabulary import scripts_of, share_in

from .auditing import BACK, EN, KO, SW, source, translated


def judged(
    translation: Sequence[str], back: Sequence[str] = BACK, language: str = "sw", **thresholds: Any
) -> list[str]:
    texts = Translation("en", language, EN[: len(translation)], translation, back[: len(translation)])
    return problems(texts, measure(texts), Thresholds(**thresholds))


def test_good_translations_pass_by_the_thresholds_that_are_set_unasked() -> None:
    assert judged(SW) == []
    assert judged(KO, language="ko") == []


def test_the_scores_are_sacrebleus_over_the_turns() -> None:
    figures = measure(Translation("en", "sw", EN, SW, BACK))
    assert figures["chrf"] == round(CHRF().corpus_score(list(BACK), [list(EN)]).score, 2)
    assert figures["bleu"] == round(BLEU().corpus_score(list(BACK), [list(EN)]).score, 2)
    assert min(figures["turn_chrf"]) < figures["chrf"] < max(figures["turn_chrf"])


@pytest.mark.parametrize(
    ("source_language", "tokenizer"), [("en", "13a"), ("ko", "13a"), ("zh", "zh"), ("ja", "char"), ("th", "char")]
)
def test_bleu_cuts_the_sources_language_as_it_is_written(source_language: str, tokenizer: str) -> None:
    figures = measure(Translation(source_language, "sw", ["a"], ["b"], ["a"]))
    assert f"|tok:{tokenizer}|" in figures["signatures"]["bleu"]


@pytest.mark.parametrize(
    ("translation", "back", "words"),
    [
        (EN, BACK, "the text is not translated: turn 1 is the source's"),
        (EN, BACK, "langdetect finds en in all turns, not sw"),
        (SW, SW, "the text is not translated back: turn 2 is the translation's"),
        (SW, ["Something.", *BACK[1:]], "the back-translation is far from the source: chrf "),
        ([SW[0], SW[1], "Maliza."], BACK, "the length is odd: ratio 0.0"),
        ([SW[0] * 4, SW[1], SW[2]], BACK, "the length is odd: ratio 3."),
        ([SW[0], EN[1].replace("Highlight", "Please highlight"), SW[2]], BACK, "langdetect finds en in turn 2"),
        (
            [*SW[:2], "Завершите ответ этой фразой и ничего не пишите после неё, пожалуйста."],
            BACK,
            "the script is another",
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_figures(translation: list[str], back: list[str], words: str) -> None:
    assert any(words in problem for problem in judged(translation, back)), judged(translation, back)


def test_every_threshold_decides() -> None:
    figures = measure(Translation("en", "sw", EN, SW, BACK))
    for name in ("chrf", "chrf_plus_plus", "bleu"):
        assert judged(SW, **{name: figures[name]}) == []
        (problem,) = judged(SW, **{name: figures[name] + 0.01})
        assert f"{name} {figures[name]} < " in problem
    assert len(judged(SW, turn_chrf=99)) == 2
    assert len(judged(SW, length_ratio={"sw": (0.1, 0.2)})) == 3


def test_a_short_prompt_is_judged_with_the_others_unless_it_is_of_the_sources_language() -> None:
    prompts, back = (EN[0], "Add a P.S."), (BACK[0], "Add a P.S.")
    for text, expected in (("Ongeza P.S.", 0), ("Add one P.S. to the end", 1)):
        texts = Translation("en", "sw", prompts, [SW[0], text], back)
        found = [problem for problem in problems(texts, measure(texts), Thresholds()) if "another" in problem]
        assert len(found) == expected


def test_a_language_that_langdetect_does_not_know_is_judged_by_its_script_and_the_note_says_so() -> None:
    amharic = "ስለ ዝናብ አጭር ደብዳቤ ጻፍ"
    figures = measure(Translation("en", "am", [EN[0]], [amharic], [BACK[0]]))
    assert (figures["language_check"], figures["found"], figures["script_share"]) == ("the script alone", None, [1.0])
    yoruba = measure(Translation("en", "yo", [EN[0]], ["Kọ lẹ́tà kúkúrú nípa òjò"], [BACK[0]]))
    assert yoruba["language_check"].startswith("not at all")
    texts = Translation("en", "am", [EN[0]], [SW[0]], [BACK[0]])
    assert any("the script is another: 0.0" in problem for problem in problems(texts, measure(texts), Thresholds()))


def test_protected_spans_are_of_no_language_and_no_script() -> None:
    texts = Translation("en", "ko", ["Reply in `JSON` only."], ["`JSON`으로만 답하세요."], ["Reply in `JSON` only."])
    assert measure(texts)["script_share"] == [1.0]


def test_the_worst_come_first(tmp_path: Path) -> None:
    (good,) = translated(tmp_path, "good")
    figures = good.notes["translate"]["figures"]
    worse = DraftConversation(
        "worse", "sw", good.turns, {"translate": {"figures": {**figures, "turn_chrf": [90, 31, 80]}}}
    )
    assert [each.key for each in worst_first([good, worse, source("unjudged")])] == ["unjudged", "worse", "good:sw"]


def test_scripts_of_languages() -> None:
    assert scripts_of("sw") == scripts_of("sr-latn") == {"LATIN"}
    assert scripts_of("ja") == {"CJK", "HIRAGANA", "KATAKANA"}
    assert share_in("비 rain", scripts_of("ko")) == pytest.approx(1 / 5)
    assert share_in("雨が降る カメラ", scripts_of("ja")) == 1
    assert share_in("123", scripts_of("ko")) == 1
    assert length_range("ko", Thresholds()) != length_range("sw", Thresholds())
