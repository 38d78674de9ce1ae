"""The paper's scores beside measured ones: only a score is known of each."""

from __future__ import annotations

import json
from statistics import NormalDist

import numpy as np
import pytest

from tests.conftest import SHARED
from turnswap.reports.published import CAN_SAY, PROVENANCE, against_published, published_models
from turnswap.reports.table import Figure, Scores

from .made import made, noisy


def scores(value: float) -> Scores:
    return Scores(Figure(value), (Figure(value),) * 3)


def test_a_score_far_away_is_different_and_the_own_one_is_not() -> None:
    summary = made("m", en=noisy(0.6, 200, 1))
    own = summary.figure("en", "overall_acc").value
    found = against_published(summary, {"far": scores(0.9), "same": scores(own)}).set_index("model")
    assert found.loc["far", "gap"] == pytest.approx(own - 0.9)
    assert found.loc["far", "corrected"] < 0.001
    assert found.loc["same", "p"] == 1
    assert found.loc["same", "low"] < 0 < found.loc["same", "high"]


def test_the_published_model_is_taken_to_vary_as_much_and_by_itself() -> None:
    summary = made("m", en=noisy(0.5, 400, 1))
    own = summary.figure("en", "overall_acc")
    row = against_published(summary, {"other": scores(own.value)}).iloc[0]
    assert row.high - row.low == pytest.approx(2**0.5 * (own.high - own.low), rel=0.05)


def test_p_values_against_several_scores_are_corrected_and_from_few_source_prompts_there_are_none() -> None:
    several = {f"m{n}": scores(0.5 + n / 100) for n in range(5)}
    found = against_published(made("m", en=noisy(0.5, 300, 2)), several)
    assert (found["corrected"] >= found["p"]).all()
    assert (found["corrected"] > found["p"]).any()
    assert against_published(made("m", en=noisy(0.5, 19, 2)), several).empty


def test_a_test_of_equal_models_calls_few_different() -> None:
    called = []
    for seed in range(80):
        other = made("other", en=noisy(0.6, 60, seed + 1000)).figure("en", "overall_acc").value
        row = against_published(made("m", en=noisy(0.6, 60, seed)), {"other": scores(other)}).iloc[0]
        called.append(row.p < 0.05)
    assert np.mean(called) < 0.05 + 2 * NormalDist().stdev * (0.05 * 0.95 / 80) ** 0.5


def test_it_is_said_where_the_scores_come_from_and_what_a_test_against_them_can_say() -> None:
    assert "reading note" in PROVENANCE
    assert "settings of those runs are not known" in PROVENANCE
    assert "finds less than a paired comparison" in CAN_SAY


def test_the_scores_are_those_that_were_read_and_averages_are_means_of_their_languages() -> None:
    path = SHARED / "published_scores.json"
    if not path.exists():
        pytest.skip("what was read is not at hand: ../shared/data/published_scores.json")
    content = json.loads(path.read_text("utf-8"))
    ours = {model.name: model for model in published_models()}
    for name, turns in content["models"].items():
        assert list(ours[name].averages) == [turns[f"turn{turn}"]["average"] for turn in (1, 2, 3)]
        for turn in (1, 3):
            if by_language := turns[f"turn{turn}"].get("by_language"):
                assert np.mean(by_language) == pytest.approx(turns[f"turn{turn}"]["average"], abs=0.0006)
