"""Languages against each other: on the source prompts that all of them share, drawn alike."""

from __future__ import annotations

import pytest

from turnswap.reports.language_gaps import gap_sheets, language_gaps

from .made import made

EASY, HARD = (1, 1, 1), (0, 0, 0)


def test_a_language_is_held_against_the_mean_on_shared_source_prompts_alone() -> None:
    # English has 30 more conversations, all of them followed: they say nothing about Chinese.
    alternating = [EASY, HARD] * 15
    frame, shared = language_gaps(made("m", en=alternating + [EASY] * 30, zh=alternating))
    assert shared == 30
    assert frame.set_index("language")["average"].to_dict() == {"en": 0.5, "zh": 0.5}
    assert frame[["gap", "low", "high"]].abs().max(axis=None) == pytest.approx(0, abs=1e-12)


def test_a_gap_has_an_interval_of_its_own_that_what_is_shared_does_not_widen() -> None:
    english = [EASY, HARD, HARD] * 20
    chinese = [EASY if n % 10 == 0 else each for n, each in enumerate(english)]
    frame = language_gaps(made("m", en=english, zh=chinese))[0].set_index("language")
    zh = frame.loc["zh"]
    assert 0 < zh.low < zh.gap < zh.high
    assert zh.gap == pytest.approx(4 / 60 / 2)
    assert (frame.loc["en"].gap, frame.loc["en"].low) == pytest.approx((-zh.gap, -zh.high))
    assert zh.high - zh.low < 0.08  # each average alone is known to about ±0.12


def test_one_language_has_no_gap_and_a_table_names_what_it_rests_on() -> None:
    assert gap_sheets(made("m", en=[EASY] * 4)) == []
    (sheet,) = gap_sheets(made("m", en=[EASY, HARD] * 10, zh=[EASY] * 20))
    assert [row[0] for row in sheet.rows] == ["zh", "en"]
    assert "on the 20 source prompts that all languages share" in sheet.notes[0]
