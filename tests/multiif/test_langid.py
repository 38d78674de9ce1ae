"""Our detection against langdetect's own, seeded with 0 before each."""

from __future__ import annotations

import gzip
import json
from functools import cache
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langdetect.detector_factory import DetectorFactory
from langdetect.lang_detect_exception import LangDetectException

from turnswap.tasks.multiif import langid
from turnswap.tasks.multiif import text as text_module
from turnswap.tasks.multiif.grading import loose_variants
from turnswap.tasks.multiif.langid import profiles
from turnswap.tasks.multiif.text import detect_language

from ..conftest import SHARED

CASES = [json.loads(line) for line in (Path(__file__).parent / "cases.jsonl").read_text("utf-8").splitlines()]


@cache
def factory() -> DetectorFactory:
    made = DetectorFactory()
    made.set_seed(0)
    made.load_json_profile([path.read_text("utf-8") for path in profiles()])
    return made


def langdetect(text: str) -> str | None:
    detector = factory().create()
    detector.append(text)
    try:
        return str(detector.detect())
    except LangDetectException:
        return None


def differing(texts: set[str]) -> list[tuple[str, str | None, str | None]]:
    return [(text, theirs, ours) for text in texts if (theirs := langdetect(text)) != (ours := detect_language(text))]


def test_the_cases_and_their_variants_are_in_the_languages_langdetect_finds() -> None:
    texts = {variant for case in CASES[::2] for variant in loose_variants(case["reply"].strip())}
    assert differing(texts) == []


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published verdicts are not beside this checkout")
def test_the_published_replies_are_in_the_languages_langdetect_finds() -> None:
    with gzip.open(SHARED / "verdicts_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        texts = {json.loads(line)["response"] for line in file}
    assert differing(set(sorted(texts)[::4])) == []


@pytest.mark.slow
@settings(max_examples=4000, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.text(max_size=12),
            st.sampled_from(
                [
                    "The ",
                    "día ",
                    "été ",
                    "ЁЖ ",
                    "ABC",
                    "Ab",
                    "的",
                    "か",
                    "カ",
                    "ไทย",
                    "हिन्दी ",
                    "ệ",
                    "Ḁ",
                    "\u0300",
                    "a\u0301",
                    "*",
                    "  ",
                ]
                + ["http://x.yz/a?b", "me@x.org", "“", "×", "\u2028", "İ", "ß", "ș", "ی", "한"]
            ),
        ),
        max_size=12,
    ).map("".join)
)
def test_random_text_is_in_the_language_langdetect_finds(text: str) -> None:
    assert detect_language(text) == langdetect(text)


MIXED = (
    "The the THE DIE Die und de la EL el é É ñ NASA A I 東京 です ひらがな カタカナ 的 是 了 мир МИР Мир їжа हिन्दी ไทย "
    "है عربي یک ưở ș ț ß İ ı ﬁ 한국 한국어 a1b x_y don't «Oui» “Yes” 😀 \ud83d \u200d \u0301 http://a.b/c?d=e "
    "me@x.org @ ... * # 12"
)
WORDS = st.sampled_from(MIXED.split())


@pytest.mark.slow
@settings(max_examples=800, deadline=None)
@given(st.lists(WORDS, max_size=8), st.lists(WORDS, max_size=8), st.integers(0, 12))
def test_long_mixed_text_is_in_the_language_langdetect_finds(start: list[str], again: list[str], times: int) -> None:
    text = " ".join(start) + "\n" + " ".join(again * times)
    assert detect_language(text) == langdetect(text)


def test_no_profile_knows_an_ngram_across_words_or_of_blanks_alone() -> None:
    """What looking up all n-grams of a text rests on: langdetect starts anew behind each blank."""
    ngrams = text_module._language_identifier().probabilities
    assert [ngram for ngram in ngrams if ngram == " " or (len(ngram) == 3 and ngram[1] == " ")] == []


def test_random_numbers_are_those_of_python() -> None:
    """What the trials draw: two numbers of ``gauss`` with ``choice`` between them, from the same outputs."""
    random, taken = Random(0), 4
    gauss, second = langid._gauss(*langid._OUTPUTS[:4].tolist())
    assert gauss == random.gauss(0.0, 1.0)
    for _ in range(9):
        index = random.choice(range(1000))
        while (ours := int(langid._OUTPUTS[taken]) >> (32 - (1000).bit_length())) >= 1000:
            taken += 1
        taken += 1
        assert ours == index
    assert second == random.gauss(0.0, 1.0)
    assert langid._gauss(*langid._OUTPUTS[taken : taken + 4].tolist())[0] == random.gauss(0.0, 1.0)


@pytest.mark.parametrize(
    "text", ["word " * 5000, "слово " * 3000, "a" * 20_000, "*b* " * 4000, "é" * 9999 + "и" * 9, "Ḁ" * 9 + "AБ" * 9]
)
def test_long_text_is_cut_where_langdetect_cuts_it(text: str) -> None:
    assert detect_language(text) == langdetect(text)
