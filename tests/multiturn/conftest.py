"""What the tests of endpoints share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import make_row, write_csv
from turnswap.tasks.multiturn import pipelined


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two tries as long as the server asks, and no longer."""
    monkeypatch.setattr(pipelined, "pause", lambda tries: 0.0)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two conversations of two turns."""
    return write_csv(tmp_path / "data.csv", [make_row(f"{n}:1:en", turns=2) for n in range(2)])
