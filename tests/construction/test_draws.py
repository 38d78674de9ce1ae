"""How turns 2 and 3 compare with the benchmark's: words by the topic and new, phrases that differ."""

from __future__ import annotations

import pytest

from turnswap.construction.draws import BENCHMARK, Drawn, count_drawn
from turnswap.construction.records import DraftConversation, Turn
from turnswap.tasks.multiif.dataset import Source, load_conversations

from ..conftest import SHARED

DATA = SHARED / "multiif_english.csv"


@pytest.mark.skipif(not DATA.exists(), reason="the benchmark's data are not here")
def test_the_benchmarks_figures_are_those_of_its_english_data() -> None:
    rows = load_conversations(Source("csv", str(DATA)), "English")
    assert count_drawn([DraftConversation.from_json({**row, "language": "en"}) for row in rows]) == BENCHMARK


def test_words_that_an_earlier_turn_says_are_not_new_and_equal_phrases_count_once() -> None:
    ids = ("punctuation:no_comma", "keywords:existence", "startend:end_checker")
    kwargs = ({}, {"keywords": ["garden", "hedge"]}, {"end_phrase": "See you."})
    turns = tuple(Turn(prompt, ids[:n], kwargs[:n]) for n, prompt in enumerate(("My garden.", "Use both.", "End."), 1))
    one = DraftConversation("a", "en", turns, {"extend": {"no_words": "nothing came"}})
    other = DraftConversation("b", "en", turns)
    assert count_drawn([one, other]) == Drawn(4, 2, 2, 1, 1)
    assert Drawn(4, 2, 2, 1).cells()[:2] == [4, "50%"]


def test_where_no_spaces_part_words_any_place_counts() -> None:
    ids = ("punctuation:no_comma", "keywords:frequency")
    kwargs = ({}, {"keyword": "庭園", "relation": "at least", "frequency": 2})
    turns = tuple(Turn(prompt, ids[:n], kwargs[:n]) for n, prompt in enumerate(("春の庭園を描いて。", "庭園を。"), 1))
    assert count_drawn([DraftConversation("a", "ja", turns)]) == Drawn(1, 0, 0, 0)
