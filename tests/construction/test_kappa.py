"""Cohen's kappa, and where it is none."""

from __future__ import annotations

import itertools

import pytest

from turnswap.construction.kappa import agreements, cohen_kappa


def pairs(**counts: int) -> list[tuple[str, str]]:
    """``ae=3``: three that the first accepts and the second edits."""
    return [(kind[0], kind[1]) for kind, count in counts.items() for _ in range(count)]


def decided(found: list[tuple[str, str]]) -> dict[str, dict[str, str]]:
    return {name: {str(number): pair[at] for number, pair in enumerate(found)} for at, name in enumerate(("A", "B"))}


def test_the_value_is_the_formulas() -> None:
    # p_o = (20 + 15) / 50 = 0.7; p_e = 0.5 * 0.6 + 0.5 * 0.4 = 0.5
    assert cohen_kappa(pairs(aa=20, ar=5, ra=10, rr=15)) == pytest.approx(0.4)
    # Three categories: p_o = 0.6, p_e = (5*4 + 3*3 + 2*3) / 100 = 0.35
    assert cohen_kappa(pairs(aa=3, ae=1, ar=1, ee=2, ea=1, rr=1, re=0, er=0) + [("r", "r")]) == pytest.approx(
        (0.7 - (5 * 4 + 3 * 3 + 2 * 3) / 100) / (1 - (5 * 4 + 3 * 3 + 2 * 3) / 100)
    )


def test_full_agreement_is_one_chance_is_nought_and_less_is_negative() -> None:
    assert cohen_kappa(pairs(aa=3, rr=2)) == 1
    assert cohen_kappa(pairs(aa=1, ar=1, ra=1, rr=1)) == 0
    assert cohen_kappa(pairs(ar=2, ra=2)) == -1


def test_it_is_undefined_for_one_category_and_for_nothing() -> None:
    assert cohen_kappa([]) is None
    assert cohen_kappa(pairs(aa=4)) is None
    (one,) = agreements(decided(pairs(aa=4)))
    assert (one.n, one.agreed, one.kappa, one.interval) == (4, 1, None, None)
    assert one.reason == "both gave the same decision everywhere"
    (none,) = agreements({"A": {"1": "accept"}, "B": {"2": "accept"}})
    assert (none.n, none.agreed, none.kappa) == (0, None, None)
    assert none.reason == "nothing was decided by both"


def test_the_interval_holds_the_value_is_seeded_and_narrows_with_n() -> None:
    (small,), (large,) = (agreements(decided(pairs(aa=20, ar=5, ra=10, rr=15) * times)) for times in (1, 20))
    assert small.interval is not None
    assert large.interval is not None
    assert small.interval[0] < 0.4 < small.interval[1]
    assert large.interval[1] - large.interval[0] < 0.4 * (small.interval[1] - small.interval[0])
    assert agreements(decided(pairs(aa=20, ar=5, ra=10, rr=15))) == [small]


def test_the_interval_is_that_of_resampled_pairs() -> None:
    """All resamples of three pairs, written out: 27 of equal weight, of which some have no kappa."""
    three = pairs(aa=1, rr=1, ar=1)
    kappas = [cohen_kappa(list(draw)) for draw in itertools.product(three, repeat=3)]
    assert sum(kappa is None for kappa in kappas) / 27 > 0.05
    (found,) = agreements(decided(three))
    assert found.kappa == pytest.approx(cohen_kappa(three))
    assert found.interval is None
    assert "undefined in more than 5 %" in str(found.reason)


def test_three_reviewers_are_compared_pair_by_pair() -> None:
    found = agreements({"C": {"1": "accept"}, "A": {"1": "accept", "2": "edit"}, "B": {"1": "edit", "2": "edit"}})
    assert [(each.reviewers, each.n, each.agreed) for each in found] == [
        (("A", "B"), 2, 0.5),
        (("A", "C"), 1, 1),
        (("B", "C"), 1, 0),
    ]
