"""The one sentence on top of a report, a comparison and a ranking: who is better, by how much, and how sure that is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from turnswap.reports.compare import Comparison, paired_differences
from turnswap.reports.figures import Resampling
from turnswap.reports.leaderboard import build_board
from turnswap.reports.table import Summary
from turnswap.reports.words import say_board, say_comparison, say_report

from .made import made, made_without_samples, noisy


def compared(a: Summary, b: Summary) -> str:
    found = paired_differences(a, b, a.resampling)
    return say_comparison(Comparison(a, b, {}, found, found, found, ()))


def test_a_report_says_the_average_its_interval_what_it_rests_on_and_the_change() -> None:
    said = say_report([made("org/m", en=[(1, 1, 0)] * 30 + [(1, 0, 0)] * 10, zh=[(1, 1, 0)] * 40)])
    assert said.startswith(
        "org/m reaches 62.5 % overall accuracy over 2 languages, averaged over the turns (95% interval "
    )
    assert "from 40 source prompts); accuracy falls by 100.0 points from turn 1 to turn 3." in said


def test_of_several_models_a_report_does_not_call_one_better() -> None:
    said = say_report([made("worse", en=noisy(0.4)), made("best", en=noisy(0.6))])
    assert said.startswith("Of 2 models best reaches ")
    assert said.endswith("Run turnswap compare to see whether it is better than the others.")


def test_without_an_interval_a_report_says_so() -> None:
    said = say_report([made_without_samples("bare", (0.8, 0.7, 0.9), en=(20, 20))])
    assert "80.0 % overall accuracy in English" in said
    assert "how sure that is cannot be said" in said
    assert "rises by 10.0 points" in said


def test_a_clear_win_and_its_sign_are_said() -> None:
    a, b = made("a", en=noisy(0.4)), made("b", en=noisy(0.6))
    assert compared(a, b).startswith("b is better than a by ")
    assert "(B - A: 95% interval +" in compared(a, b)
    assert compared(b, a).startswith("b is better than a by ")
    assert "(B - A: 95% interval -" in compared(b, a)


def test_no_shown_difference_is_not_called_equality() -> None:
    said = compared(made("a", en=noisy(0.5, seed=1)), made("b", en=noisy(0.5, seed=2)))
    assert said.startswith("No difference between a and b is shown")
    assert "no proof that they are equal" in said


def test_few_source_prompts_say_nothing() -> None:
    said = compared(made("a", en=[(1, 1, 1)] * 6), made("b", en=[(0, 0, 0)] * 6))
    assert said == "Too few source prompts to say which of a and b is better: it takes 20 in each language."


@pytest.mark.parametrize(
    ("shares", "said"),
    [
        ((0.9, 0.4, 0.2), "m0 is first: significantly better than each of the other 2 ranked models."),
        ((0.5,), "Only m0 is ranked; there is no other model to compare it with."),
    ],
)
def test_a_ranking_says_who_leads(shares: tuple[float, ...], said: str) -> None:
    assert say_board(build_board([made(f"m{n}", en=noisy(share)) for n, share in enumerate(shares)])) == said


def test_models_that_share_the_first_rank_are_named() -> None:
    models = [made("a", en=noisy(0.5, seed=1)), made("b", en=noisy(0.5, seed=2)), made("c", en=noisy(0.05))]
    said = say_board(build_board([replace(model, resampling=Resampling(2000)) for model in models]))
    assert "share the first rank: none is significantly better than another of them; 1 other is" in said
