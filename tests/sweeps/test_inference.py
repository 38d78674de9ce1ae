"""What figures of swaps can say: intervals, what selection does to them, the Pareto front, ties."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from lm_eval.api import metrics
from lm_eval.api.metrics import mean, perplexity, weighted_perplexity

from turnswap.core.errors import UserError
from turnswap.sweeps import inference
from turnswap.sweeps.inference import Part, best_of, differences, draw, figure, non_dominated, tie_broken

ACC = {"a": Part("acc,none", mean)}
RANDOM = np.random.default_rng(0)


def table(values: Any, task: str = "a", clusters: Any = None, metric: str = "acc,none") -> pd.DataFrame:
    """A document per value; what is no number is kept as JSON."""
    rows = [
        {
            "task": task,
            "document": number,
            "cluster": str(clusters[number]) if clusters is not None else f"{task}:{number}",
            "metric": metric,
            "value": math.nan if isinstance(value, tuple) else float(value),
            "raw": json.dumps(value) if isinstance(value, tuple) else None,
        }
        for number, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def answers(n: int, *shares: float) -> dict[str, pd.DataFrame]:
    """Right and wrong answers of configurations; ``recipient`` is the first."""
    names = ["recipient", *(f"swap {k}" for k in range(1, len(shares)))]
    return {name: table(RANDOM.random(n) < share) for name, share in zip(names, shares, strict=True)}


def test_a_figure_is_the_mean_over_the_tasks() -> None:
    both = pd.concat([table([1, 1, 0, 0]), table([-1.0, -2.0], "b", metric="perplexity,none")])
    parts = {"a": Part("acc,none", mean, 0.5), "b": Part("perplexity,none", perplexity, 0.5)}
    assert figure(both, parts) == (0.5 + math.exp(1.5)) / 2


def test_a_metric_that_no_document_has_is_named() -> None:
    with pytest.raises(UserError, match="No document of a has a value of f1,none"):
        figure(table([1]), {"a": Part("f1,none", mean)})


def test_an_interval_is_as_wide_as_students() -> None:
    one, other = RANDOM.normal(0, 1, 25), RANDOM.normal(1, 1, 25)
    found = differences(draw({"recipient": table(one), "swap": table(other)}, ACC), "recipient")["swap"]
    expected = scipy.stats.ttest_rel(other, one)
    assert found.value == pytest.approx(np.mean(other) - np.mean(one))
    low, high = expected.confidence_interval()
    assert high - low == pytest.approx(found.high - found.low, rel=0.12)
    assert found.p == pytest.approx(expected.pvalue, abs=0.02)


def slow(items: list[float]) -> float:
    return sum(items) / len(items)


def test_any_aggregation_is_drawn_as_the_mean_is() -> None:
    tables = answers(40, 0.5, 0.6)
    quick, other = (draw(tables, {"a": Part("acc,none", how)}, 200) for how in (mean, slow))
    assert np.allclose(quick.replicates, other.replicates)
    assert np.array_equal(quick.figures, other.figures)


@pytest.mark.parametrize(
    ("name", "one"),
    [
        ("perplexity", lambda: -float(RANDOM.gamma(4, 2))),
        ("weighted_perplexity", lambda: (-float(RANDOM.gamma(4, 2)), int(RANDOM.integers(1, 9)))),
        ("bits_per_byte", lambda: (-float(RANDOM.gamma(4, 2)), int(RANDOM.integers(1, 9)))),
        ("brier_score", lambda: (int(RANDOM.integers(3)), RANDOM.dirichlet([1, 1, 1]).tolist())),
    ],
)
def test_closed_forms_equal_lm_evals_aggregations(name: str, one: Callable[[], Any]) -> None:
    calls = 0
    aggregation = getattr(metrics, name)

    def counted(items: list[Any]) -> Any:
        nonlocal calls
        calls += 1
        return aggregation(items)

    tables = {"recipient": table([one() for _ in range(25)])}
    other = draw(tables, {"a": Part("acc,none", counted)}, 30)
    assert calls == 31
    counted.__module__, counted.__name__, calls = aggregation.__module__, aggregation.__name__, 0
    quick = draw(tables, {"a": Part("acc,none", counted)}, 30)
    assert calls <= 1 + 25  # not one per resample
    assert np.allclose(quick.replicates, other.replicates)
    assert np.array_equal(quick.figures, other.figures)
    assert len(draw(tables, {"a": Part("acc,none", counted)}).replicates) == inference.RESAMPLES


def test_what_has_no_closed_form_is_resampled_less_the_more_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "SLOW_ITEMS", 20_000)
    few, more, many = (
        draw({str(n): table([0, 1] * 20) for n in range(configurations)}, {"a": Part("acc,none", slow)})
        for configurations in (1, 2, 9)
    )
    assert [len(drawn.replicates) for drawn in (few, more, many)] == [500, 250, 199]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("odd", [math.nan, math.inf, 1e300])
def test_figures_that_are_no_numbers_warn_of_nothing(odd: float) -> None:
    drawn = draw(answers(30, 0.5, 0.5) | {"odd": table([odd] + [1.0] * 29)}, ACC, 200)
    for to in drawn.names:
        differences(drawn, to)
        best_of(drawn, "swap 1", drawn.names, to)


def test_a_difference_that_never_moves_has_no_p_value_and_of_few_sources_no_interval() -> None:
    for n in (2, 19, 20, 100):
        drawn = draw({"recipient": table([0] * n), "swap": table([1] * n)}, ACC, 200)
        for found in (differences(drawn, "recipient")["swap"], best_of(drawn, "swap", ["swap"], "recipient")):
            assert math.isnan(found.p)
            assert found.value == 1
            assert math.isnan(found.low) if n < 20 else (found.low, found.high) == (1, 1)
        assert differences(drawn, "swap")["swap"][:3] == (0, 0, 0)


def test_a_perplexity_has_an_interval() -> None:
    pairs = [(-float(x), 5) for x in RANDOM.gamma(4, 2, 200)]
    worse = [(log_likelihood - 1, words) for log_likelihood, words in pairs]
    tables = {
        "recipient": table(pairs, metric="word_perplexity,none"),
        "swap": table(worse, metric="word_perplexity,none"),
    }
    drawn = draw(tables, {"a": Part("word_perplexity,none", weighted_perplexity)}, 500)
    found = differences(drawn, "recipient")["swap"]
    assert found.value == pytest.approx(weighted_perplexity(worse) - weighted_perplexity(pairs))
    spread = weighted_perplexity(pairs) * (math.exp(0.2) - 1) * np.std([x / 5 for x, _ in pairs]) / math.sqrt(200)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * spread, rel=0.15)


def test_documents_of_one_source_count_once() -> None:
    tables = answers(60, 0.4, 0.6)
    twice = {
        name: table(np.repeat(each["value"], 2), clusters=np.repeat(each["cluster"], 2).tolist())
        for name, each in tables.items()
    }
    once, again = (differences(draw(each, ACC), "recipient")["swap 1"] for each in (tables, twice))
    assert again == pytest.approx(once)


def test_documents_of_one_source_are_drawn_together_in_all_tasks() -> None:
    values = RANDOM.random(50)
    opposite = pd.concat([table(values, clusters=range(50)), table(1 - values, "b", clusters=range(50))])
    parts = {task: Part("acc,none", mean, 0.5) for task in "ab"}
    assert np.allclose(draw({"swap": opposite}, parts).replicates, 0.5)


@pytest.mark.parametrize("seed", range(8))
def test_a_p_value_is_small_where_the_interval_leaves_0_out_and_only_there(seed: int) -> None:
    drawn = draw(answers(60, 0.4, 0.5, 0.6, 0.7), ACC, 999, seed)
    for found in differences(drawn, "recipient").values():
        assert (found.p <= 0.05) == (not found.low <= 0 <= found.high)


def test_nothing_differs_from_itself_and_nothing_is_said_of_what_has_no_figure() -> None:
    tables = answers(30, 0.5, 0.5) | {"broken": table([math.nan] * 30)}
    drawn = draw(tables | {"same": tables["recipient"]}, ACC, 200)
    found = differences(drawn, "recipient")
    assert found["same"] == found["recipient"] == (0, 0, 0, 1)
    assert all(map(math.isnan, found["broken"]))
    assert best_of(drawn, "swap 1", ["swap 1", "broken", "same"], "recipient") == found["swap 1"]


@pytest.mark.parametrize(("n", "known"), [(2, False), (19, False), (20, True)])
def test_equal_answers_to_few_documents_say_nothing_of_others(n: int, known: bool) -> None:
    found = differences(draw(answers(n, 0, 0), ACC, 200), "recipient")
    assert (found["swap 1"].value, found["swap 1"].low == 0) == (0, known)
    assert found["recipient"].low == found["recipient"].high == 0  # of itself, all is known


def test_few_sources_give_no_p_value_and_one_gives_no_interval() -> None:
    few = differences(draw(answers(19, 0.2, 0.8), ACC, 200), "recipient")["swap 1"]
    assert math.isnan(few.p)
    assert few.low < few.value < few.high
    alone = {name: table(values, clusters=[1, 1]) for name, values in (("recipient", [0, 1]), ("swap", [1, 1]))}
    one = differences(draw(alone, ACC, 200), "recipient")["swap"]
    assert one.value == 0.5
    assert all(map(math.isnan, one[1:]))


def test_the_best_of_twenty_has_the_interval_of_twenty_at_once() -> None:
    n, tried = 1000, [f"swap {k}" for k in range(20)]
    tables = {"recipient": table(np.zeros(n))} | {name: table(RANDOM.normal(0, 1, n)) for name in tried}
    drawn = draw(tables, ACC, 4000)
    singly, at_once = differences(drawn, "recipient"), best_of(drawn, "swap 3", tried, "recipient")
    sidak = scipy.stats.norm.isf((1 - 0.95 ** (1 / 20)) / 2)  # of independent ones
    assert at_once.value == singly["swap 3"].value
    ratio = (at_once.high - at_once.low) / (singly["swap 3"].high - singly["swap 3"].low)
    assert ratio == pytest.approx(sidak / 1.96, rel=0.05)
    assert at_once.p >= singly["swap 3"].p
    assert best_of(drawn, "swap 3", ["swap 3"], "recipient") == singly["swap 3"]


def test_the_same_seed_gives_the_same_interval_whatever_else_is_compared() -> None:
    tables = answers(40, 0.4, 0.5, 0.6)
    fewer = {name: tables[name] for name in ("recipient", "swap 2")}
    one, other, third = (differences(draw(t, ACC, 300, s), "recipient")["swap 2"] for t, s in
                         ((tables, 1), (fewer, 1), (fewer, 2)))  # fmt: skip
    assert one == other != third


def test_the_pareto_front_keeps_equal_points_and_leaves_out_nan_and_broken_constraints() -> None:
    figures = [(0.9, 5.0), (0.9, 5.0), (0.9, 6.0), (0.5, 1.0), (1.0, math.nan), (2.0, 0.0), (0.4, 1.0)]
    feasible = [True, True, True, True, True, False, True]
    expected = [True, True, False, True, False, False, False]
    assert non_dominated(figures, [True, False], feasible) == expected
    assert non_dominated([], [True], []) == []


@given(
    sizes=st.lists(st.integers(1, 300), min_size=1, max_size=3),
    right=st.tuples(st.integers(0, 900), st.integers(0, 900)),
    likely=st.tuples(*[st.floats(max_value=0) | st.just(math.nan)] * 2),
    higher=st.booleans(),
)
def test_breaking_ties_never_changes_an_order(
    sizes: list[int], right: tuple[int, int], likely: tuple[float, float], higher: bool
) -> None:
    steps = len(sizes) * math.lcm(*sizes)
    one, other = sorted(min(n, steps) / steps for n in right)
    broken = [tie_broken(figure, sizes, how, higher) for figure, how in zip((one, other), likely, strict=True)]
    assert (broken[0] < broken[1]) or one == other
    assert all(abs(after - before) <= 1.1e-6 / steps for after, before in zip(broken, (one, other), strict=True))


@pytest.mark.parametrize(("higher", "better"), [(True, max), (False, min)])
def test_ties_are_broken_by_what_is_likelier(higher: bool, better: Callable[..., float]) -> None:
    unlikely, likely = (tie_broken(0.3, [10], value, higher) for value in (-2.34, -2.33))
    assert better(unlikely, likely) == likely != unlikely
    assert tie_broken(0.1 + 0.2, [10], -2.33, higher) == likely  # rounding breaks no tie
    assert tie_broken(0.33, [10], -1, higher) == 0.33
    assert tie_broken(0.3, [10], math.nan, higher) == 0.3
    assert math.isnan(tie_broken(math.nan, [10], -1, higher))
