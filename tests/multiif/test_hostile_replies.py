"""No reply raises, and none takes long: 20,000 random and hostile ones, and some that aim at a pattern each."""

from __future__ import annotations

import json
import random
import signal
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from turnswap.tasks.multiif.corrected import grade_corrected
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.instructions import INSTRUCTIONS

KWARGS: dict[str, dict[str, Any]] = {
    "change_case:capital_word_frequency": {"capital_frequency": 3, "capital_relation": "at least"},
    "combination:repeat_prompt": {"prompt_to_repeat": "Say it again."},
    "detectable_content:number_placeholders": {"num_placeholders": 2},
    "detectable_content:postscript": {"postscript_marker": "P.S."},
    "detectable_format:multiple_sections": {"section_spliter": "SECTION", "num_sections": 2},
    "detectable_format:number_bullet_lists": {"num_bullets": 3},
    "detectable_format:number_highlighted_sections": {"num_highlights": 2},
    "keywords:existence": {"keywords": ["C++", "(a+)+$"]},
    "keywords:forbidden_words": {"forbidden_words": ["rain", "a|b", "x*"]},
    "keywords:frequency": {"keyword": "¿qué?", "frequency": 2, "relation": "less than"},
    "keywords:letter_frequency": {"letter": "k", "let_frequency": 5, "let_relation": "less than"},
    "language:response_language": {"language": "fr"},
    "length_constraints:nth_paragraph_first_word": {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "but"},
    "length_constraints:number_paragraphs": {"num_paragraphs": 2},
    "length_constraints:number_sentences": {"num_sentences": 4, "relation": "at least"},
    "length_constraints:number_words": {"num_words": 9, "relation": "less than"},
    "startend:end_checker": {"end_phrase": "The end."},
}
IDS = list(INSTRUCTIONS)
CASES = map(json.loads, (Path(__file__).parent / "cases.jsonl").read_text("utf-8").splitlines())
OF_A_CASE = {case["instruction_id"]: case["kwargs"] for case in CASES}
ALL_KWARGS = [KWARGS.get(id_) or OF_A_CASE.get(id_, {}) for id_ in IDS]

FIXED = ["***", "******", "\n\n", "<<", ">>", "[", "]", "```json", "{", '"', "「", "。", "।", "P.S.", "\0", "The end."]
FIXED += ["สวัสดีครับ วันนี้", "今天很好", "नमस्ते दुनिया", "👩‍👩‍👧‍👦", "SECTION 1", "- a\n* b\n", "http://a.b@c"]
PIECES = st.one_of(
    st.text(max_size=30),
    st.text(st.characters(categories=["Cs", "Cc", "Cf", "Mn", "Zl", "Zs"]), max_size=10),  # lone surrogates, controls
    st.sampled_from(FIXED),
)
REPLIES = st.lists(PIECES, max_size=8).map("".join)


def grade_three(reply: str, start: int) -> None:
    chosen = [start, (start + 7) % len(IDS), (start + 13) % len(IDS)]
    verdicts = grade_reply(reply, [IDS[i] for i in chosen], [ALL_KWARGS[i] for i in chosen])
    assert len(verdicts) == 3
    assert all(verdict.loose or not verdict.strict for verdict in verdicts)


@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(REPLIES, st.integers(0, len(IDS) - 1))
def test_no_reply_raises(reply: str, start: int) -> None:
    grade_three(reply, start)


@pytest.mark.slow
def test_nor_do_18000_more() -> None:
    """Drawn without Hypothesis, whose own work takes ten times as long as grading does."""
    drawing = random.Random(0)
    odd = [
        chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) in ("Cs", "Cc", "Cf", "Mn", "Zl", "Zs")
    ]
    for number in range(18_000):
        pieces = []
        for _ in range(drawing.randrange(9)):
            kind, size = drawing.randrange(4), drawing.randrange(30)
            if kind == 0:
                pieces.append("".join(chr(drawing.randrange(0x110000)) for _ in range(size)))
            else:
                pieces += drawing.choices(odd, k=size) if kind == 1 else [drawing.choice(FIXED)]
        grade_three("".join(pieces), number % len(IDS))


SIZE = 100_000
BOMBS = {
    "one long word": "a" * SIZE,
    "one long line of words": "word " * (SIZE // 5),
    "blanks inside": "a" + " " * SIZE + "b",
    "line ends inside": "a" + "\n" * SIZE + "b",
    "stars": "*" * SIZE,
    "star words": "*a" * (SIZE // 2),
    "star lines": "*\n" * (SIZE // 2),
    "opening brackets": "[" * SIZE,
    "opening angles": "<" * SIZE,
    "full stops": "." * SIZE,
    "stops and spaces": ". " * (SIZE // 2),
    "exclamation marks": "!" * SIZE,
    "quotes": "\"'" * (SIZE // 2),
    "nested JSON": "[" * (SIZE // 2) + "]" * (SIZE // 2),
    "digits": "9" * SIZE,
    "dandas": "।" * SIZE,
    "Chinese": "天" * SIZE,
    "Thai": "ก" * SIZE,
    "emoji": "👩‍👩‍👧‍👦" * (SIZE // 7),
    "surrogates": "\ud800" * SIZE,
    "NULs": "\0" * SIZE,
    "P.S.": "p. " * (SIZE // 3),
    "section splitters": "SECTION" * (SIZE // 7),
    "at signs": "a@" * (SIZE // 2),
    "regex bait": "a" * SIZE + "!",
    "abbreviations": "e.g. " * (SIZE // 5),
    "capitals": "AB " * (SIZE // 3),
    "random lines": "".join(random.Random(0).choices("ab *-\n.,[]<>\"'", k=SIZE)),
}


@pytest.fixture
def end_of_patience() -> Iterator[None]:
    """Fails the test where it hangs: a pattern that goes quadratic needs minutes for 100 kB, a linear one moments."""

    def give_up(*_: object) -> None:
        pytest.fail("grading hangs")

    signal.signal(signal.SIGALRM, give_up)
    signal.alarm(120)
    yield
    signal.alarm(0)


@pytest.mark.usefixtures("end_of_patience")
@pytest.mark.parametrize("name", BOMBS)
def test_a_hostile_reply_of_100_kb_does_not_hang_the_run(name: str) -> None:
    assert len(grade_reply(BOMBS[name], IDS, ALL_KWARGS)) == len(IDS)


@pytest.mark.slow
@pytest.mark.usefixtures("end_of_patience")
@pytest.mark.parametrize("name", BOMBS)
def test_nor_do_the_corrected_rules(name: str) -> None:
    for language in ("en", "hi", "zh", "th"):
        verdicts = grade_corrected(BOMBS[name], IDS, ALL_KWARGS, language, [BOMBS[name]])
        assert len(verdicts) == len(IDS) >= 25
