"""The Optuna study: what is drawn, how long, and what becomes of trials that another process took up."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from turnswap.sweeps.claims import Claims
from turnswap.sweeps.settings import Settings
from turnswap.sweeps.study import Study


@pytest.fixture
def claims(tmp_path: Path) -> Iterator[Claims]:
    found = Claims(tmp_path / "claims")
    yield found
    found.close()


def drawing(folder: Path, claims: Claims, **more: Any) -> Study:
    """A study that draws at random."""
    settings = Settings(recipient="r", donor="d", sampler="random", **more)
    return Study(settings, folder, [True], 1, claims, draws=True)


def drawn(study: Study) -> list[float]:
    """What a study draws, each trial's figure being its point."""

    def evaluate(trial: Any) -> list[float]:
        time.sleep(0.2 if study.settings.hours else 0)
        return [trial.suggest_float("x", 0, 1)]

    study.work(evaluate)
    return [trial.params["x"] for trial in study.finished()]


def test_hours_begin_when_drawing_does(tmp_path: Path, claims: Claims) -> None:
    study = drawing(tmp_path, claims, hours=0.3 / 3600)
    time.sleep(0.5)  # references and listed swaps
    assert 1 <= len(drawn(study)) <= 3


def test_another_seed_draws_other_points(tmp_path: Path, claims: Claims) -> None:
    one, other = (drawn(drawing(tmp_path / str(seed), claims, seed=seed, trials=5)) for seed in (0, 1))
    assert not set(one) & set(other)
