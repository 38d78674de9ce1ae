"""Bootstrap and p-values against references written here, by hand, and by simulation."""

from __future__ import annotations

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
