"""What the tests of endpoints share, and a tiny model behind lm-eval's ``hf``."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import make_row, write_csv
from turnswap.tasks.multiturn import pipelined

if TYPE_CHECKING:
    from lm_eval.models.huggingface import HFLM


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries as long as the server asks, and no longer."""
    monkeypatch.setattr(pipelined, "pause", lambda tries: 0.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two conversations of two turns."""
    return write_csv(tmp_path / "data.csv", [make_row(f"{n}:1:en", turns=2) for n in range(2)])


@pytest.fixture(scope="module")
def shared_lm(tiny_model: Path) -> HFLM:
    """A tiny model that tests leave as it is."""
    from .continuous import load

    return load(tiny_model)


@pytest.fixture
def lm(shared_lm: HFLM) -> Iterator[HFLM]:
    """A tiny model; what a test changes in its settings is undone."""
    settings, batch_size = copy.deepcopy(shared_lm.model.generation_config), shared_lm.batch_size_per_gpu
    yield shared_lm
    shared_lm.model.generation_config, shared_lm.batch_size_per_gpu = settings, batch_size
    shared_lm.think_end_token = None
