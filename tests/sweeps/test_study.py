"""The Optuna study: what is drawn, how long, and what becomes of trials that another process took up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from turnswap.core.errors import UserError
from turnswap.sweeps import study as study_module
from turnswap.sweeps.claims import Claims
from turnswap.sweeps.evaluations import Refused
from turnswap.sweeps.settings import Settings
from turnswap.sweeps.study import REFUSED, Study


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[Claims]:
    found = Claims(tmp_path / "claims")
    yield found
    found.close()


def drawing(folder: Path, claims: Claims, **more: Any) -> Study:
    """A study that draws at random."""
    settings = Settings(recipient="r", donor="d", sampler="random", **more)
    return opened(settings, folder, claims)


def opened(
    settings: Settings, folder: Path, claims: Claims, objectives: Sequence[str] = ("one",), bounds: Sequence[str] = ()
) -> Study:
    return Study(settings, folder, dict.fromkeys(objectives, True), bounds, 1, claims, draws=True)


def drawn(study: Study, after_each: Callable[[], object] = lambda: None) -> list[float]:
    """What a study draws, each trial's figure being its point."""

    def evaluate(trial: Any) -> list[float]:
        after_each()
        return [trial.suggest_float("x", 0, 1)]

    study.work(evaluate)
    return [trial.params["x"] for trial in study.finished()]


def test_hours_begin_when_drawing_does(tmp_path: Path, claims: Claims, monkeypatch: pytest.MonkeyPatch) -> None:
    hours = [0.0]  # a clock that the test moves
    monkeypatch.setattr(study_module, "time", SimpleNamespace(monotonic=lambda: 3600 * hours[-1], sleep=time.sleep))
    study = drawing(tmp_path, claims, hours=2.5)
    hours.append(7)  # references and listed swaps
    assert len(drawn(study, lambda: hours.append(hours[-1] + 1))) == 3


def test_another_seed_draws_other_points(tmp_path: Path, claims: Claims) -> None:
    one, other = (drawn(drawing(tmp_path / str(seed), claims, seed=seed, trials=5)) for seed in (0, 1))
    assert not set(one) & set(other)


def test_a_process_that_was_suspended_goes_on_where_another_took_its_trial_up(tmp_path: Path, claims: Claims) -> None:
    suspended, other = (drawing(tmp_path, claims, trials=3) for _ in range(2))
    seen: list[int] = []

    def evaluate(trial: Any) -> list[float]:
        if not seen:
            (path,) = (tmp_path / "claims").glob("claim-*")
            path.unlink()
            drawn(other)
        seen.append(trial.number)
        trial.set_constraint("bound", 0)
        return [trial.suggest_float("x", 0, 1)]

    suspended.work(evaluate)
    assert seen == [0]
    assert len(drawn(suspended)) == 3


def test_a_trial_is_claimed_before_another_process_may_look(tmp_path: Path, claims: Claims) -> None:
    one, other = (drawing(tmp_path, claims, trials=1) for _ in range(2))

    def evaluate(trial: Any) -> list[float]:
        assert other._next() == (None, True)
        return [trial.suggest_float("x", 0, 1)]

    one.work(evaluate)
    assert len(one.finished()) == 1


def test_a_trial_of_a_dead_process_is_taken_up_without_waiting(
    tmp_path: Path, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(study_module, "time", SimpleNamespace(monotonic=time.monotonic, sleep=waited.append))
    study = drawing(tmp_path, claims, trials=2)
    study.study.ask().suggest_float("x", 0.25, 0.25)
    assert drawn(study)[0] == 0.25
    assert waited == []


def test_a_point_that_cannot_be_composed_is_marked_and_others_are_drawn(tmp_path: Path, claims: Claims) -> None:
    study = drawing(tmp_path, claims, trials=3)

    def evaluate(trial: Any) -> list[float]:
        if trial.number == 1:
            raise Refused("trial 1: its blend is not finite.")
        return [trial.suggest_float("x", 0, 1)]

    study.work(evaluate)
    said = [trial.user_attrs.get(REFUSED) for trial in study.finished()]
    assert said == [None, "trial 1: its blend is not finite.", None]


def test_a_study_goes_on_with_the_same_objectives_and_constraints_alone(tmp_path: Path, claims: Claims) -> None:
    settings = Settings(recipient="r", donor="d", trials=3)
    opened(settings, tmp_path, claims, ("one", "two"), ["one >= 40"])
    opened(settings, tmp_path, claims, ("one", "two"), ["one >= 40"])
    with pytest.raises(UserError, match="other objectives: maximize one, maximize two; now maximize two, maximize one"):
        opened(settings, tmp_path, claims, ("two", "one"), ["one >= 40"])
    with pytest.raises(UserError, match="other constraints: one >= 40; now none"):
        opened(settings, tmp_path, claims, ("one", "two"))
