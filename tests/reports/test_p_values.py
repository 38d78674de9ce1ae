"""P-values of paired differences, and Holm's correction: by hand, against flipping the models, and by simulation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest

from turnswap.reports.figures import AVERAGE, FIGURES, Estimate, Resampling, difference, estimate, holm, p_values

from .test_figures import (  # the fixture: a warning of numpy's fails here, too
    FEW,
    Verdicts,
    _no_numpy_warnings,  # noqa: F401
    drawn,
    of,
    summed,
)


def gap_between(a: Sequence[Verdicts], b: Sequence[Verdicts], resampling: Resampling = FEW) -> Estimate:
    return difference(*(estimate({"en": summed(*each)}, resampling)["en"] for each in (a, b)))


def p_of(gap: Estimate, name: str) -> float:
    return float(p_values(gap)[FIGURES.index(name)])


def test_a_model_against_itself_differs_by_0_with_p_1() -> None:
    conversations = drawn(100, 0.5, seed=1)
    gap = gap_between(conversations, conversations)
    known = ~np.isnan(gap.values)
    assert (gap.values[known] == 0).all()
    assert (p_values(gap)[known & (gap.sources >= 20)] == 1).all()
    assert of(gap, AVERAGE) == (0, 0, 0)


def test_equal_figures_from_different_conversations_have_p_1() -> None:
    a = [[[True], [True, True]], [[False], [True, True]]] * 10
    b = [[[False], [True, True]], [[True], [True, True]]] * 10
    gap = gap_between(a, b)
    assert (of(gap, "turn1_overall_acc")[0], p_of(gap, "turn1_overall_acc")) == (0, 1)


def test_a_clearly_better_model_has_the_smallest_p_that_the_resamples_allow() -> None:
    gap = gap_between(drawn(150, 0.3, seed=1), drawn(150, 0.8, seed=2), Resampling(1999))
    assert p_of(gap, AVERAGE) == pytest.approx(2 / 2000, rel=0.5)  # a little more: it is one of 150 source prompts
    assert of(gap, AVERAGE)[1] > 0.2


def test_swapping_the_models_turns_the_sign_and_nothing_else() -> None:
    a, b = drawn(40, 0.5, seed=1), drawn(40, 0.6, seed=2)
    one, other = gap_between(a, b), gap_between(b, a)
    assert p_values(one) == pytest.approx(list(p_values(other)), nan_ok=True)
    value, low, high = of(one, AVERAGE)
    assert of(other, AVERAGE) == pytest.approx((-value, -high, -low))


def test_p_agrees_with_flipping_the_models_in_each_conversation() -> None:
    a, b = drawn(200, 0.5, seed=10), drawn(200, 0.57, seed=11)
    found = p_of(gap_between(a, b, Resampling(4000)), "turn1_prompt_strict_acc")
    gaps = np.array([int(y[0][0]) - int(x[0][0]) for x, y in zip(a, b, strict=True)])
    flipped = np.random.default_rng(1).choice([-1, 1], size=(4000, 200)) @ gaps
    expected = (1 + (np.abs(flipped) >= abs(gaps.sum())).sum()) / 4001
    assert 0.01 < expected < 0.6, "the case must tell something"
    assert found == pytest.approx(expected, abs=0.05)


def test_without_a_difference_one_in_twenty_comparisons_has_p_below_5_percent() -> None:
    names = ("turn1_prompt_strict_acc", "turn2_overall_acc", "turn3_forgetting", AVERAGE)
    p = [
        p_values(gap_between(drawn(60, 0.6, 2 * seed), drawn(60, 0.6, 2 * seed + 1), Resampling(200, seed)))
        for seed in range(300)
    ]
    below = (np.array(p)[:, [FIGURES.index(name) for name in names]] < 0.05).mean(axis=0)
    assert ((below > 0.015) & (below < 0.095)).all(), dict(zip(names, below, strict=True))


def test_intervals_cover_the_truth_nineteen_times_in_twenty() -> None:
    covered = []
    for seed in range(300):
        found = estimate({"en": summed(*drawn(80, 0.6, seed))}, Resampling(200, seed))["en"]
        _, low, high = of(found, "turn2_overall_acc")
        covered.append(low <= (0.36 + 0.6) / 2 <= high)
    assert 0.90 < np.mean(covered) < 0.985


def test_an_interval_leaves_out_0_just_where_p_is_below_5_percent() -> None:
    called = []
    for seed in range(60):
        gap = gap_between(drawn(40, 0.55, 2 * seed), drawn(40, 0.6, 2 * seed + 1), Resampling(999, seed))
        (low, high), p, known = gap.interval(0.95), p_values(gap), ~np.isnan(gap.values)
        outside = (low > 1e-9) | (high < -1e-9)
        # At the very edge a resample more or less decides.
        clear = known & (np.abs(p - 0.05) > 0.004)
        assert np.array_equal(outside[clear], p[clear] < 0.05)
        called.append((p[clear] < 0.05).mean())
    assert 0 < np.mean(called) < 0.5


# ------------------------------------------------------------------------------------------------ Holm


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.01, 0.02, 0.03, 0.04], [0.04, 0.06, 0.06, 0.06]),
        ([0.04, 0.001, 0.5], [0.08, 0.003, 0.5]),
        ([0.02, 0.02], [0.04, 0.04]),
        ([0.6, 0.9], [1, 1]),
        ([0.05], [0.05]),
        ([0.01, float("nan"), 0.03], [0.02, float("nan"), 0.03]),  # 2 comparisons, not 3
        ([float("nan")], [float("nan")]),
        ([], []),
    ],
)
def test_holms_correction_worked_out_by_hand(p: list[float], expected: list[float]) -> None:
    assert list(holm(np.array(p, dtype=float))) == pytest.approx(expected, nan_ok=True)


def test_holms_correction_does_not_depend_on_the_order() -> None:
    p = [0.001, 0.02, 0.02, 0.3]
    by_value = {tuple(sorted(zip(order, holm(np.array(order)), strict=True))) for order in itertools.permutations(p)}
    assert len(by_value) == 1
