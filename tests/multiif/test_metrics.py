from __future__ import annotations

import math

import numpy as np
import pytest
from lm_eval.api.metrics import mean, mean_stderr, stderr_for_metric

from turnswap.tasks.multiif.grading import Verdict
from turnswap.tasks.multiif.metrics import (
    accuracy_pairs,
    aggregations,
    combine_repeats,
    conversation_values,
    count,
    higher_is_better,
    mean_of_four,
    ratio,
    ratios,
    transition_pairs,
)
from turnswap.tasks.multiturn import Reply
from turnswap.tasks.multiturn.lm_eval_contract import WithStandardError

YES, NO, LOOSE = Verdict(True, True), Verdict(False, False), Verdict(False, True)


def test_prompt_level_needs_all_instructions_and_instruction_level_counts_them() -> None:
    assert accuracy_pairs([YES, LOOSE, NO]) == {
        "prompt_strict_acc": (0, 1),
        "inst_strict_acc": (1, 3),
        "prompt_loose_acc": (0, 1),
        "inst_loose_acc": (2, 3),
    }
    assert accuracy_pairs([YES, LOOSE])["prompt_loose_acc"] == (1, 1)


def test_forgetting_and_correction_match_instructions_by_position() -> None:
    before, after = [YES, YES, NO, NO], [YES, NO, NO, YES, YES]  # the fifth is new and does not count
    assert transition_pairs(before, after, "strict") == ((1, 2), (1, 2))


def test_forgetting_can_be_strict_or_loose() -> None:
    assert transition_pairs([YES], [LOOSE], "strict") == ((1, 1), (0, 0))
    assert transition_pairs([YES], [LOOSE], "loose") == ((0, 1), (0, 0))


def test_instruction_level_is_pooled_over_conversations() -> None:
    assert ratio([(1, 1), (0, 3)])[0] == 0.25  # not (1 + 0) / 2


def test_overall_is_the_plain_mean_of_the_four() -> None:
    items = [((1, 1), (2, 2), (1, 1), (2, 2)), ((0, 1), (1, 6), (1, 1), (5, 6))]
    assert mean_of_four(items)[0] == pytest.approx((1 / 2 + 3 / 8 + 2 / 2 + 7 / 8) / 4)


def test_conversations_without_the_turn_do_not_count() -> None:
    assert ratio([(1, 1), (0, 0), (0, 1)])[0] == 0.5


def test_a_figure_about_nothing_is_not_a_number() -> None:
    assert math.isnan(ratio([(0, 0), (0, 0)])[0])


def test_lm_eval_finds_a_standard_error_for_every_ratio() -> None:
    for figure in ratios().values():
        assert stderr_for_metric(figure, bootstrap_iters=10) is mean_stderr
    assert stderr_for_metric(count, bootstrap_iters=10) is None


def test_the_standard_error_of_prompt_level_is_lm_evals_own() -> None:
    items = [(1, 1), (0, 1), (0, 1), (1, 1), (1, 1)]
    plain = [a for a, _ in items]
    assert WithStandardError(ratio)(items) == mean(plain)
    assert mean_stderr(items) == pytest.approx(mean_stderr(plain))  # type: ignore[arg-type]


def test_the_standard_error_of_overall_agrees_with_a_bootstrap_over_conversations() -> None:
    generator = np.random.default_rng(1)
    items = []
    for _ in range(400):
        sizes, skill = generator.integers(1, 5), generator.random()
        strict = generator.binomial(sizes, skill)
        loose = max(strict, generator.binomial(sizes, skill))
        items.append(((int(strict == sizes), 1), (strict, sizes), (int(loose == sizes), 1), (loose, sizes)))
    draws = [mean_of_four([items[i] for i in generator.integers(0, 400, 400)])[0] for _ in range(2000)]
    WithStandardError(mean_of_four)(items)
    assert mean_stderr(items) == pytest.approx(np.std(draws), rel=0.06)


def test_counts_add_up_and_stay_unknown_where_they_are() -> None:
    assert count([1, 0, 1]) == 2
    assert count([None, None]) == "N/A"


def test_repeats_are_pooled() -> None:
    assert combine_repeats([(1, 2), (0, 2)]) == (1, 4)
    assert combine_repeats([((1, 1), (2, 2)), ((0, 1), (1, 2))]) == ((1, 2), (3, 4))
    assert combine_repeats([1, 0, 1]) == 2
    assert combine_repeats([None, None]) is None


def test_every_conversation_has_every_metric_that_is_aggregated() -> None:
    reply = Reply("x", unclosed=True, truncated=True, overflowing=None)
    whole = conversation_values([(reply, [YES]), (reply, [YES, NO]), (reply, [NO, Verdict(True, True, True), NO])])
    short = conversation_values([(reply, [YES]), (reply, [NO, NO])])
    assert whole.keys() == short.keys() == aggregations().keys() == higher_is_better().keys()
    assert whole["turn3_forgetting"] == (1, 1)
    assert whole["turn3_correction"] == (1, 1)
    assert (whole["turn3_unclosed"], whole["turn3_truncated"], whole["turn3_overflowing"]) == (1, 1, None)
    assert whole["turn3_ungradeable"] == 1
    assert short["turn3_overall_acc"] == ((0, 0),) * 4
    assert (short["turn3_forgetting"], short["turn3_truncated"]) == ((0, 0), 0)
    assert short["turn2_forgetting"] == (1, 1)


def test_more_forgetting_is_worse() -> None:
    better = higher_is_better()
    assert better["turn1_overall_acc"]
    assert better["turn2_correction_loose"]
    assert not better["turn2_forgetting"]
    assert not better["turn1_truncated"]
