"""Ranks come from pairs: each compared as the comparison does, corrected for all, on what failed in neither."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from turnswap.core.errors import UserError
from turnswap.reports.compare import paired_differences
from turnswap.reports.figures import RATIOS, Resampling, holm
from turnswap.reports.leaderboard import build_board
from turnswap.reports.leaderboard_formats import as_json, as_sheets
from turnswap.reports.table import Summary

from .made import made, noisy
from .test_leaderboard import TWICE, shown


def test_ties_are_pairs_without_a_significant_difference_though_each_interval_is_wide() -> None:
    # The intervals overlap widely; conversation by conversation one is never worse and often better.
    one, other = made("one", en=noisy(0.5)), made("other", en=noisy(0.62))
    board = build_board([one, other])
    best, last = (row.overall.average for row in board.rows)
    assert last.high > best.low
    assert shown(board.rows) == [("1", "other"), ("2", "one")]
    (pair,) = board.pairs
    assert (pair.a, pair.b, pair.better) == ("one", "other", "other")
    assert 0 < pair.gap.low < pair.gap.value < pair.gap.high


def test_models_whose_paired_difference_could_be_chance_share_a_rank() -> None:
    board = build_board([made("a", en=noisy(0.5, seed=1)), made("b", en=noisy(0.5, seed=2)), made("c", en=noisy(0.05))])
    assert {row.model: row.shown_rank for row in board.rows} == {"a": "1=", "b": "1=", "c": "3"}


def test_p_values_are_corrected_for_all_pairs() -> None:
    board = build_board([made(str(seed), en=noisy(0.4 + seed / 40, seed=seed)) for seed in range(5)])
    p = np.array([pair.p for pair in board.pairs])
    assert [pair.corrected for pair in board.pairs] == pytest.approx(list(holm(p)))
    assert len(board.pairs) == 10


def test_the_board_and_the_comparison_never_contradict_each_other() -> None:
    models = [made(f"m{seed}", en=noisy(0.4 + seed / 10, 80, seed % 2), zh=noisy(0.45, 50, seed)) for seed in range(4)]
    board = build_board(models)
    by_name = {model.model.name: model for model in models}
    for pair in board.pairs:
        found = paired_differences(by_name[pair.a], by_name[pair.b], models[0].resampling)
        (row,) = found[found["primary"]].to_dict("records")
        gap = pair.gap
        assert (row["gap"], row["low"], row["high"], row["p"]) == (gap.value, gap.low, gap.high, pair.p)
        assert row["corrected"] == row["p"] <= pair.corrected
        assert pair.better is None or row["p"] < 0.05
    assert any(pair.better for pair in board.pairs)
    # Two models are one comparison, which needs no correction: the board says just what the comparison says.
    (only,) = build_board(models[:2]).pairs
    assert only.corrected == only.p


def test_from_few_source_prompts_nothing_is_better_and_a_note_says_so() -> None:
    board = build_board([made("good", en=[(1, 1, 1)] * 19), made("bad", en=[(0, 0, 0)] * 19)])
    assert shown(board.rows) == [("1=", "good"), ("1=", "bad")]
    assert any("fewer than 20 source prompts" in note for note in board.notes)


def test_so_few_resamples_that_no_pair_could_differ_are_refused() -> None:
    models = [replace(made(str(n), en=TWICE), resampling=Resampling(500)) for n in range(4)]
    with pytest.raises(
        UserError, match="500 resamples are too few for 6 pairs of models over 20 source prompts.*--resamples 793"
    ):
        build_board(models)
    assert build_board(models[:3]).rows


def test_as_many_models_as_the_resamples_allow_can_differ() -> None:
    models = [replace(made(str(n), en=noisy(n / 12, 40)), resampling=Resampling(10_000)) for n in range(12)]
    board = build_board(models)
    assert board.rows[0].rank == 1
    assert sum(pair.better is not None for pair in board.pairs) > 40


# ------- failed conversations


def failing(model: Summary, language: str, numbers: range) -> Summary:
    """The same model, in which these conversations failed for good in turn 1."""
    conversations = model.model.languages[language].conversations
    assert conversations is not None
    for number in numbers:
        values = dict(conversations[number].values)
        values |= {name: [0, 0] for name in RATIOS} | {"turn1_failed": 1}
        object.__setattr__(conversations[number], "values", values)
    return model


def test_pairs_are_compared_on_what_failed_in_neither_and_the_better_one_is_named() -> None:
    # A's failures are its hard conversations: its own average is higher, on common ground B is better.
    hard, easy = [(0, 0, 0)] * 30, [(1, 1, 1)] * 30
    a = failing(made("a", en=[*hard, *easy[:22], *[(0, 0, 0)] * 8]), "en", range(30))
    b = made("b", en=[*hard, *easy])
    board = build_board([a, b])
    average = {row.model: row.overall.average.value for row in board.rows}
    assert average["a"] > average["b"]
    (pair,) = board.pairs
    assert (pair.b, pair.better, pair.gap.value > 0) == ("b", "b", True)
    assert {row.model: row.rank for row in board.rows} == {"a": 2, "b": 1}
    (sheet,) = [sheet for sheet in as_sheets(board, wide=True) if sheet.title == "Model against model"]
    assert (sheet.rows[0][:2], sheet.rows[0][-1]) == (["b", "a"], "B is better")
    assert pair.choices == [(pair.gap.value, pair.p)]
    assert any("a rank may then differ from the order of averages" in note for note in board.notes)


def test_a_pair_without_common_conversations_is_a_tie_and_no_end_of_the_board() -> None:
    a = failing(made("a", en=TWICE, zh=TWICE), "zh", range(10))
    b = failing(made("b", en=TWICE, zh=TWICE), "zh", range(10, 20))
    board = build_board([a, b, made("c", en=TWICE, zh=TWICE)])
    (pair,) = [pair for pair in board.pairs if {pair.a, pair.b} == {"a", "b"}]
    assert pair.better is None
    assert pair.p != pair.p
    assert as_json(board)["pairs"][0].keys() == {"a", "b", "difference", "p", "corrected", "better"}
