"""Bootstrap and p-values against references written here, by hand, and by simulation."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from turnswap.reports.figures import (
    AVERAGE,
    FIGURES,
    Estimate,
    Resampling,
    Sums,
    add_up,
    compute,
    difference,
    estimate,
    holm,
    p_values,
    resampled,
)
from turnswap.reports.runs import LoggedConversation

Verdicts = Sequence[Sequence[bool]]  # of one conversation: per turn, per instruction
ACCURACIES = ("prompt_strict_acc", "inst_strict_acc", "prompt_loose_acc", "inst_loose_acc")
TRANSITIONS = ("forgetting", "correction", "forgetting_loose", "correction_loose")
REPEATED = ("all", "any")
FEW = Resampling(resamples=200)


@pytest.fixture(autouse=True)
def _no_numpy_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def pairs_of(verdicts: Verdicts) -> dict[str, list[int]]:
    """One conversation's values as lm-eval's samples hold them; loose verdicts are the strict ones."""
    values = {f"turn{t}_{name}": [0, 0] for t in (1, 2, 3) for name in ACCURACIES}
    values |= {f"turn{t}_{name}": [0, 0] for t in (2, 3) for name in TRANSITIONS}
    for t, held in enumerate(verdicts, 1):
        for kind in ("strict", "loose"):
            values[f"turn{t}_prompt_{kind}_acc"] = [int(all(held)), 1]
            values[f"turn{t}_inst_{kind}_acc"] = [sum(held), len(held)]
        if t > 1:
            moves = list(zip(verdicts[t - 2], held, strict=False))
            forgotten = [sum(b and not a for b, a in moves), sum(b for b, _ in moves)]
            corrected = [sum(a and not b for b, a in moves), sum(not b for b, _ in moves)]
            for ending in ("", "_loose"):
                values[f"turn{t}_forgetting{ending}"] = forgotten
                values[f"turn{t}_correction{ending}"] = corrected
    # By what the last turn ends with, the replies of some conversations are completed, and those of others are not.
    completed = verdicts[-1][-1] or not verdicts[-1][0]
    values |= {f"{name}_completed": pair if completed else [0, 0] for name, pair in values.items()}
    return values | {f"turn{t}_right_in_{k}": values[f"turn{t}_prompt_strict_acc"] for t in (1, 2, 3) for k in REPEATED}


def weights(sources: tuple[str, ...], resamples: int, seed: int) -> NDArray[Any]:
    """How often each source prompt is in each resample: each counted alone."""
    return resampled(np.eye(len(sources)), sources, Resampling(resamples, seed))


def summed(*conversations: Verdicts, size: int = 1) -> Sums:
    """Conversations of which every ``size`` in a row are of one source prompt."""
    return add_up(
        [LoggedConversation(str(n), [], pairs_of(v), source=f"s{n // size:04}") for n, v in enumerate(conversations)]
    )


def drawn(n: int, share: float, seed: int, turns: tuple[int, ...] = (3,)) -> list[Verdicts]:
    """Conversations whose turn t has t instructions, each followed with this probability."""
    generator = np.random.default_rng(seed)
    return [
        [[bool(x) for x in generator.random(t) < share] for t in range(1, turns[i % len(turns)] + 1)] for i in range(n)
    ]


def brute_force(conversations: Sequence[Verdicts]) -> dict[str, float]:
    """Every figure by its definition, with loops."""
    values = [pairs_of(verdicts) for verdicts in conversations]
    figures = {}
    for name in values[0]:
        above, below = (sum(value[name][i] for value in values) for i in (0, 1))
        figures[name] = above / below if below else float("nan")
    for over in ("", "_completed"):
        for t in (1, 2, 3):
            figures[f"turn{t}_overall_acc{over}"] = sum(figures[f"turn{t}_{name}{over}"] for name in ACCURACIES) / 4
        figures[AVERAGE + over] = sum(figures[f"turn{t}_overall_acc{over}"] for t in (1, 2, 3)) / 3
    return figures


def of(found: Estimate, name: str) -> tuple[float, float, float]:
    low, high = found.interval(0.95)
    column = FIGURES.index(name)
    return float(found.values[column]), float(low[column]), float(high[column])


# -------------------------------------------------------------------------------------------- values


def test_figures_of_two_conversations_worked_out_by_hand() -> None:
    yes, no = True, False
    figures = compute(summed([[yes], [yes, no], [no, no, yes]], [[no], [yes, yes]]))
    assert figures["turn1_prompt_strict_acc"] == figures["turn1_inst_strict_acc"] == 1 / 2
    assert figures["turn2_prompt_strict_acc"] == 1 / 2
    assert figures["turn2_inst_strict_acc"] == 3 / 4
    assert figures["turn2_overall_acc"] == (1 / 2 + 3 / 4) / 2
    assert figures["turn3_inst_strict_acc"] == 1 / 3  # the second conversation has no third turn
    assert (figures["turn2_forgetting"], figures["turn2_correction"]) == (0, 1)
    assert (figures["turn3_forgetting"], figures["turn3_correction"]) == (1, 0)


def test_every_resample_is_recomputed_from_the_conversations_of_the_drawn_source_prompts() -> None:
    conversations = drawn(34, 0.6, seed=1, turns=(3, 3, 2))
    sums = summed(*conversations, size=2)
    found = estimate({"fr": sums}, Resampling(resamples=100, seed=4))["fr"]
    times = weights(sums.sources, 100, 4)
    assert times.shape == (100, 17)
    for row, replicate in zip(times.astype(int), found.replicates, strict=True):
        expected = brute_force([c for i, often in enumerate(row) for c in conversations[2 * i : 2 * i + 2] * often])
        assert dict(zip(FIGURES, replicate, strict=True)) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_source_prompt_is_drawn_alike_whatever_stands_beside_it() -> None:
    whole, part = weights(("a", "b", "c"), 500, 7), weights(("b",), 500, 7)
    assert np.array_equal(whole[:, 1], part[:, 0])
    assert not np.array_equal(whole[:, 0], whole[:, 1])
    assert not np.array_equal(part, weights(("b",), 500, 8))
    assert weights(tuple(map(str, range(400))), 500, 1).mean() == pytest.approx(1, abs=0.01)


def test_conversations_of_one_source_prompt_are_no_more_than_one() -> None:
    once = drawn(200, 0.6, seed=2)
    twice = [c for c in once for _ in range(2)]  # each conversation and its twin
    alone, by_source = (estimate({"en": sums}, FEW)["en"] for sums in (summed(*once), summed(*twice, size=2)))
    assert of(by_source, AVERAGE) == pytest.approx(of(alone, AVERAGE))
    naive = estimate({"en": summed(*twice)}, FEW)["en"]
    assert np.ptp(of(naive, AVERAGE)[1:]) < 0.8 * np.ptp(of(by_source, AVERAGE)[1:])


def test_the_spread_of_every_figure_is_the_delta_methods() -> None:
    conversations = drawn(400, 0.7, seed=3, turns=(3, 3, 3, 2))
    pairs = summed(*conversations).pairs.astype(float)
    found = estimate({"en": summed(*conversations)}, Resampling(resamples=4000))["en"]
    rows = {}
    for name, column in zip(FIGURES, range(pairs.shape[1]), strict=False):  # the plain ratios come first
        above, below = pairs[:, column, 0], pairs[:, column, 1]
        rows[name] = (above - above.sum() / below.sum() * below) / below.mean()
    for over in ("", "_completed"):
        for t in (1, 2, 3):
            rows[f"turn{t}_overall_acc{over}"] = np.mean([rows[f"turn{t}_{n}{over}"] for n in ACCURACIES], axis=0)
        rows[AVERAGE + over] = np.mean([rows[f"turn{t}_overall_acc{over}"] for t in (1, 2, 3)], axis=0)
    assert set(rows) == set(FIGURES)
    for name, contributions in rows.items():
        error = float(np.std(contributions)) / 20
        replicates = found.replicates[:, FIGURES.index(name)]
        assert replicates.std() == pytest.approx(error, rel=0.08), name
        value, low, high = of(found, name)
        assert abs(replicates.mean() - value) < error / 4, name
        assert low == pytest.approx(value - 1.96 * error, abs=0.4 * error), name
        assert high == pytest.approx(value + 1.96 * error, abs=0.4 * error), name


def test_macro_is_the_mean_of_languages_and_pooled_takes_all_conversations() -> None:
    small, large = drawn(5, 0.9, seed=4), drawn(40, 0.3, seed=5)
    found = estimate({"en": summed(*small), "hi": summed(*large)}, FEW)
    for name in FIGURES:
        expected = (brute_force(small)[name] + brute_force(large)[name]) / 2
        assert of(found["macro"], name)[0] == pytest.approx(expected, abs=1e-12)
        assert of(found["pooled"], name)[0] == pytest.approx(brute_force([*small, *large])[name], abs=1e-12)


def test_languages_share_their_source_prompts_draws() -> None:
    conversations = summed(*drawn(300, 0.6, seed=6))
    found = estimate({"en": conversations, "zh": conversations}, Resampling(resamples=500))
    column = FIGURES.index("turn1_prompt_strict_acc")
    one, other, macro = (found[code].replicates[:, column] for code in ("en", "zh", "macro"))
    assert np.array_equal(one, other)
    assert macro == pytest.approx(one)  # not narrower by the square root of two: nothing new was asked


def test_a_single_language_has_nothing_over_it() -> None:
    assert set(estimate({"en": summed(*drawn(3, 0.5, seed=1))}, FEW)) == {"en"}


# ---------------------------------------------------------------------------------------------- seeds


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others() -> None:
    pairs = {"en": summed(*drawn(50, 0.5, seed=7))}
    first, again = (estimate(pairs, Resampling(500, seed=3))["en"] for _ in range(2))
    other = estimate(pairs, Resampling(500, seed=4))["en"]
    assert np.array_equal(first.replicates, again.replicates)
    assert of(first, AVERAGE)[0] == of(other, AVERAGE)[0]
    assert of(first, AVERAGE)[1:] != of(other, AVERAGE)[1:]


def test_two_models_are_drawn_alike() -> None:
    a, b = drawn(30, 0.5, seed=1), drawn(30, 0.9, seed=2)
    gap = difference(*(estimate({"it": summed(*each)}, FEW)["it"] for each in (a, b)))
    row = weights(summed(*a).sources, 200, 0)[50].astype(int)
    one, other = (brute_force([c for c, often in zip(each, row, strict=True) for _ in range(often)]) for each in (a, b))
    assert gap.replicates[50, FIGURES.index(AVERAGE)] == pytest.approx(other[AVERAGE] - one[AVERAGE], abs=1e-12)


# ---------------------------------------------------------------------------------------------- edges


def test_with_nothing_to_forget_there_is_no_figure_no_interval_and_no_p_value() -> None:
    nobody_followed = [[[False], [False, True], [True] * 3]] * 20
    found = estimate({"en": summed(*nobody_followed)}, FEW)["en"]
    assert np.isnan(of(found, "turn2_forgetting")).all()
    assert of(found, "turn2_correction") == (0, 0, 0)
    p = dict(zip(FIGURES, p_values(difference(found, found)), strict=True))
    assert np.isnan(p["turn2_forgetting"])
    assert p["turn2_correction"] == 1


def test_one_source_prompt_has_figures_and_no_interval() -> None:
    found = estimate({"en": summed([[True], [True, False], [False, False, True]])}, FEW)["en"]
    value, low, high = of(found, "turn2_inst_strict_acc")
    assert value == 0.5
    assert np.isnan([low, high]).all()


def test_few_source_prompts_have_wider_intervals_than_percentiles_give() -> None:
    found = estimate({"en": summed(*drawn(9, 0.5, seed=3))}, Resampling(4000))["en"]
    _, low, high = of(found, AVERAGE)
    plain = np.nanpercentile(found.replicates[:, FIGURES.index(AVERAGE)], [2.5, 97.5])
    assert low < plain[0] < plain[1] < high
    assert 0 <= low < high <= 1


def test_a_language_without_third_turns_has_no_third_turn_figures_and_keeps_the_others() -> None:
    short, full = summed(*drawn(6, 0.5, seed=1, turns=(2,))), summed(*drawn(6, 0.5, seed=2))
    found = estimate({"en": short, "fr": full}, FEW)
    for name in ("turn3_overall_acc", "turn3_inst_strict_acc", "turn3_forgetting", AVERAGE):
        assert np.isnan(of(found["en"], name)).all(), name
        assert np.isnan(of(found["macro"], name)).all(), name
    assert not np.isnan(of(found["en"], "turn2_overall_acc")).any()
    assert of(found["pooled"], "turn3_overall_acc")[0] == pytest.approx(of(found["fr"], "turn3_overall_acc")[0])


def test_resamples_in_which_a_figure_does_not_exist_are_left_out_of_its_interval() -> None:
    twice = [[[True], [False, True]]] * 2 + [[[False], [False, True]]] * 9  # two alone have something to forget
    found = estimate({"en": summed(*twice)}, FEW)["en"]
    assert of(found, "turn2_forgetting") == (1, 1, 1)
    assert np.isnan(found.replicates[:, FIGURES.index("turn2_forgetting")]).any()


# --------------------------------------------------------------------------------------------- p-values


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
