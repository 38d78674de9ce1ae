"""Which models references name: one function tells, for merges, sweeps and lm-eval's model alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from turnswap.merge_methods.references import same_model


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with two models, two adapters, and a link to the first model."""
    for name in ("models/expert", "models/other", "adapter", "adapter2"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to("models/expert")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("models/expert", "./models/expert/"),
        ("models/expert", "{here}/models/../link"),
        ("models/expert+adapter", "./link+./adapter"),
        ("org/model", "org/model"),
        ("org/model@v1+adapter", "org/model@v1+{here}/adapter"),
    ],
)
def test_one_model_is_the_same_however_it_is_written(folders: Path, one: str, other: str) -> None:
    assert same_model(one, other.format(here=folders))
    assert same_model(other.format(here=folders), one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("models/expert", "models/other"),
        ("models/expert", "models/expert+adapter"),
        ("models/expert+adapter", "models/expert+adapter2"),
        ("org/model", "org/model@v1"),
        ("org/model", "org/model2"),
        ("models/nowhere", "./models/nowhere"),  # no folder here: an id of the Hub, and a mistake
    ],
)
def test_two_models_are_not(folders: Path, one: str, other: str) -> None:
    assert not same_model(one, other)
    assert not same_model(other, one)
