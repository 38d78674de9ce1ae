from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from lm_eval.api.metrics import mean, mean_stderr, stderr_for_metric

from turnswap.tasks.multiif.grading import Verdict
from turnswap.tasks.multiif.metrics import (
    VERDICTS,
    accuracy_pairs,
    aggregations,
    combine_repeats,
    conversation_totals,
    conversation_values,
    count,
    higher_is_better,
    mean_of_four,
    ratio,
    ratios,
    spread,
    total,
    transition_pairs,
)
from turnswap.tasks.multiturn import Reply
from turnswap.tasks.multiturn.answers import Answer
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


def test_a_total_of_which_a_part_is_not_known_is_not_known() -> None:
    assert total([3, 4]) == 7
    assert total([0.1] * 10) == 1.0
    assert total([3, None]) == "N/A"


def test_tokens_seconds_and_cost_add_up_over_the_turns() -> None:
    answers = [Answer("x", prompt_tokens=5, completion_tokens=7, seconds=0.5) for _ in range(2)]
    replies = [Reply("x", answer=answer, cost=0.25) for answer in answers]
    known = {"prompt_tokens": 10, "completion_tokens": 14, "reasoning_tokens": None, "seconds": 1.0}
    assert conversation_totals(replies, priced=False) == known
    assert conversation_totals(replies, priced=True) == {**known, "cost": 0.5}
    assert conversation_totals([*replies, Reply("from an old cache")], priced=True)["prompt_tokens"] is None
    assert conversation_totals([], priced=False)["seconds"] == 0  # a request of the first turn failed


def repeat(first: Verdict, second: Verdict, **about: Any) -> dict[str, Any]:
    """A conversation of two turns with an instruction each."""
    reply = Reply("x", **about)
    return conversation_values([(reply, [first]), (reply, [second])])


def test_repeats_are_pooled_and_counts_added() -> None:
    values = combine_repeats([repeat(YES, NO, truncated=True), repeat(NO, NO, truncated=True)])
    assert values["turn1_prompt_strict_acc"] == (1, 2)
    assert values["turn1_overall_acc"] == ((1, 2),) * 4
    assert values["turn1_truncated"] == 2
    assert values["turn3_prompt_strict_acc"] == (0, 0)
    unknown = combine_repeats([repeat(YES, NO), repeat(YES, NO)])
    assert unknown["turn1_truncated"] is None


def test_one_repeat_says_nothing_of_repeats() -> None:
    once = repeat(YES, NO)
    assert combine_repeats([once]) == once
    assert combine_repeats([once, once]).keys() - once.keys() == aggregations(repeats=2).keys() - aggregations().keys()


def test_conversations_right_in_all_and_in_any_repeat() -> None:
    values = combine_repeats([repeat(YES, LOOSE), repeat(NO, YES), repeat(YES, NO)])
    assert values["repeats"] == 3
    assert (values["turn1_right_in_all"], values["turn1_right_in_any"]) == ((0, 1), (1, 1))
    assert (values["turn3_right_in_all"], values["turn3_right_in_any"]) == ((0, 0), (0, 0))
    always = combine_repeats([repeat(YES, LOOSE)] * 2)
    assert (always["turn1_right_in_all"], always["turn2_right_in_any"]) == ((1, 1), (0, 1))


def test_a_conversation_of_which_a_repeat_failed_is_neither_right_in_all_nor_wrong() -> None:
    values = combine_repeats([repeat(YES, YES), conversation_values([(Reply("x"), [YES])], 2)])
    assert (values["turn1_right_in_all"], values["turn2_right_in_all"]) == ((1, 1), (0, 0))
    assert values["turn2_prompt_strict_acc"] == (1, 1)


def test_the_spread_is_the_standard_deviation_between_the_repeats_figures() -> None:
    # Of two conversations the repeats follow both, one, and none in turn 1: 1, 0.5 and 0.
    conversations = [[YES, YES, NO], [YES, NO, NO]]
    items = [combine_repeats([repeat(verdict, NO) for verdict in each]) for each in conversations]
    for name in ("turn1_overall_acc_spread", "turn1_prompt_strict_acc_spread"):
        assert spread([values[name] for values in items]) == pytest.approx(0.5)
    assert math.isnan(spread([values["turn3_overall_acc_spread"] for values in items]))


def test_completed_replies_are_those_that_are_neither_truncated_nor_unclosed() -> None:
    done, cut, open_ = Reply("x", truncated=False), Reply("x", truncated=True), Reply("", unclosed=True)
    values = conversation_values([(done, [YES]), (done, [NO, YES]), (cut, [NO, NO, YES])])
    assert values["turn1_prompt_strict_acc_completed"] == values["turn1_prompt_strict_acc"] == (1, 1)
    assert values["turn1_overall_acc_completed"] == ((1, 1),) * 4
    assert values["turn2_forgetting_completed"] == (1, 1)
    assert values["turn3_inst_strict_acc_completed"] == (0, 0)
    assert values["turn3_overall_acc_completed"] == ((0, 0),) * 4
    assert [values[f"turn{turn}_completed"] for turn in (1, 2, 3)] == [1, 1, 0]
    after = conversation_values([(open_, [NO]), (done, [YES, YES])])
    assert after["turn2_prompt_strict_acc_completed"] == (1, 1)
    assert after["turn2_correction"] == (1, 1)
    assert after["turn2_correction_completed"] == (0, 0)  # the reply before it was not completed


def test_where_the_backend_does_not_tell_of_truncation_there_are_no_figures_over_completed_replies() -> None:
    values = conversation_values([(Reply("x"), [YES])])
    assert values["turn1_completed"] is None
    assert values["turn1_prompt_strict_acc_completed"] == (0, 0)
    assert math.isnan(ratio([values["turn1_prompt_strict_acc_completed"]])[0])
    unclosed, failed = conversation_values([(Reply("", unclosed=True), [NO])]), conversation_values([], 2)
    completed = [each["turn1_completed"] for each in (values, unclosed, failed)]
    assert completed == [None, 0, 0]
    assert aggregations()["turn1_completed"](completed) == "N/A"  # not 0: of the first reply it is not known


def test_what_the_endpoint_says_of_a_reply_is_counted() -> None:
    held_back = Reply("", answer=Answer("", finish_reason="content_filter"), truncated=False)
    refusal = Reply("I cannot.", answer=Answer("I cannot.", refused=True), truncated=False)
    values = conversation_values([(refusal, [NO]), (held_back, [NO, NO])])
    for name, turns in (("filtered", [0, 1, 0]), ("refused", [1, 0, 0]), ("empty", [0, 1, 0])):
        assert [values[f"turn{turn}_{name}"] for turn in (1, 2, 3)] == turns, name


def test_an_empty_reply_is_told_of_by_itself_and_not_by_the_first_one() -> None:
    values = conversation_values([(Reply("x", truncated=False), [YES]), (Reply("", truncated=True), [NO, NO])])
    assert (values["turn2_truncated"], values["turn2_empty"]) == (1, 1)


def test_every_conversation_has_every_metric_that_is_aggregated() -> None:
    reply = Reply("x", unclosed=True, truncated=True, overflowing=None)
    whole = conversation_values([(reply, [YES]), (reply, [YES, NO]), (reply, [NO, Verdict(True, True, True), NO])])
    short = conversation_values([(reply, [YES]), (reply, [NO, NO])])
    totals = conversation_totals([reply], priced=False)
    assert (
        whole.keys()
        == short.keys()
        == aggregations().keys() - totals.keys() - {VERDICTS}
        == higher_is_better(whole).keys()
    )
    assert whole["turn3_forgetting"] == (1, 1)
    assert whole["turn3_correction"] == (1, 1)
    assert (whole["turn3_unclosed"], whole["turn3_truncated"], whole["turn3_overflowing"]) == (1, 1, None)
    assert whole["turn3_ungradeable"] == 1
    assert short["turn3_overall_acc"] == ((0, 0),) * 4
    assert (short["turn3_forgetting"], short["turn3_truncated"]) == ((0, 0), 0)
    assert short["turn2_forgetting"] == (1, 1)


def test_more_forgetting_is_worse_and_tokens_are_neither() -> None:
    better = higher_is_better(aggregations(repeats=2))
    right = ("turn1_overall_acc", "turn2_correction_loose", "turn2_correction_completed", "turn1_completed")
    assert all(better[name] for name in (*right, "turn3_right_in_any"))
    wrong = ("turn2_forgetting", "turn2_forgetting_completed", "turn1_truncated", "turn1_overall_acc_spread")
    assert not any(better[name] for name in wrong)
    assert not {"seconds", "prompt_tokens", "repeats"} & better.keys()
