"""The simulation behind docs/explanation/statistics.md: that it makes what it says it makes."""

from __future__ import annotations

import numpy as np

from benchmarks.coverage import SHOWN, SIZES, SOURCES, TWICE, design, run_models, sums, trials
from turnswap.reports.figures import RATIOS

OF = design(SOURCES, TWICE, SIZES)


def test_the_design_is_the_published_one() -> None:
    assert len(OF.source) == 909
    assert np.bincount(np.bincount(OF.source)).tolist() == [0, 59, 425]
    assert {code: len(chosen) for code, chosen in OF.chosen.items()} == SIZES


def test_both_conversations_of_a_source_prompt_have_the_same_first_turn_and_later_turns_of_their_own() -> None:
    one, other = run_models(OF, np.random.default_rng(1), 2)
    pairs = one["en"]
    first = [RATIOS.index(f"turn1_{name}") for name in ("prompt_strict_acc", "inst_strict_acc", "inst_loose_acc")]
    assert np.array_equal(pairs[: 2 * TWICE : 2, first], pairs[1 : 2 * TWICE : 2, first])
    third = RATIOS.index("turn3_inst_strict_acc")
    assert not np.array_equal(pairs[: 2 * TWICE : 2, third], pairs[1 : 2 * TWICE : 2, third])
    assert not np.array_equal(pairs, other["en"])
    slots = pairs[:, [RATIOS.index(f"turn{turn}_inst_strict_acc") for turn in (1, 2, 3)], 1].sum(axis=0)
    assert np.allclose(slots, [1380, 2289, 3152], rtol=0.06)  # as counted in the English data


def test_whatever_the_unit_the_sums_are_the_same() -> None:
    (pairs,) = run_models(OF, np.random.default_rng(1), 1)
    by_source, by_conversation = sums(OF, pairs), sums(OF, pairs, by_conversation=True)
    assert len(by_source["en"].sources) == 484
    assert len(by_conversation["en"].sources) == 909
    for code in SIZES:
        assert np.array_equal(by_source[code].pairs.sum(axis=0), by_conversation[code].pairs.sum(axis=0))
    assert set(by_source["zh"].sources) < set(by_source["en"].sources)
    assert not set(by_conversation["zh"].sources) & set(by_conversation["en"].sources)


def test_a_trial_judges_every_figure_that_is_shown_and_is_the_same_again() -> None:
    ((held, called),) = trials(1, 200, by_conversation=False)
    assert len(held) == len(called) == len(SHOWN)
    ((again, _),) = trials(1, 200, by_conversation=False)
    assert np.array_equal(held, again)
    assert held.mean() > 0.5
