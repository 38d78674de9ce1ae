"""What ``turnswap export`` refuses before anything is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.conftest import Turnswap
from tests.reports.export.shared import CARD, Edited


@pytest.mark.parametrize(
    ("metadata", "complaint"),
    [
        ("model-index: theirs", "model-index"),
        ("model-index: {name: a}", "model-index"),
        ("model-index:\n- results: []", "model-index"),
        ("model-index:\n- name: a\n  results:", "model-index"),
        ("model-index:\n- {name: a, results: [{task: {type: t}, dataset: {type: d}, metrics: []}]}", "model-index"),
        ("model-index:\n- {name: a, results: [{task: t, dataset: d, metrics: []}]}", "model-index"),
        ("tags: [a", "broken YAML"),
        ("- a\n- b", "list"),
        ("tags: 5", "cannot read"),
        ("model-index: []\nmodel-index: []", "without a key twice"),
        ("a: &x {b: 1}\nmodel-index: &y []\nc: *y", "anchors"),
    ],
)
def test_a_damaged_card_is_refused_and_stays(
    turnswap: Turnswap, edited: Edited, model_folder: Path, metadata: str, complaint: str
) -> None:
    card = model_folder / "README.md"
    card.write_text(before := f"---\n{metadata}\n---\nText\n", "utf-8")
    result = turnswap("export", edited(), "--format", "model-index", "-o", model_folder)
    assert result.exit_code == 1
    assert complaint in " ".join(result.output.split())
    assert card.name in result.output
    assert "Traceback" not in result.output
    assert card.read_text("utf-8") == before
    assert os.listdir(model_folder) == ["README.md"]


@pytest.mark.parametrize("content", [b"\xff\xfeA", b"---\nlicense: mit\nText\n"])
def test_a_card_that_is_no_text_or_never_closes_its_metadata_is_refused(
    turnswap: Turnswap, edited: Edited, model_folder: Path, content: bytes
) -> None:
    (model_folder / "README.md").write_bytes(content)
    result = turnswap("export", edited(), "--format", "model-index", "-o", model_folder)
    assert (result.exit_code, isinstance(result.exception, SystemExit)) == (1, True)
    assert (model_folder / "README.md").read_bytes() == content


def test_a_write_that_fails_leaves_the_card_whole(
    turnswap: Turnswap, edited: Edited, model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (model_folder / "README.md").write_text(CARD, "utf-8")
    results = edited()
    monkeypatch.setattr("os.replace", fail)
    result = turnswap("export", results, "--format", "model-index", "-o", model_folder)
    assert result.exit_code == 1
    assert "No space left" in " ".join(result.output.split())
    assert (model_folder / "README.md").read_text("utf-8") == CARD
    assert os.listdir(model_folder) == ["README.md"]


@pytest.mark.parametrize("output", ["nowhere", "nowhere/README.md", "file.txt"])
def test_a_folder_that_does_not_exist_is_no_models_folder(
    turnswap: Turnswap, edited: Edited, tmp_path: Path, output: str
) -> None:
    (tmp_path / "file.txt").write_text("theirs")
    result = turnswap("export", edited(), "--format", "model-index", "-o", tmp_path / output)
    assert result.exit_code == 1
    assert "Expected a folder that exists" in " ".join(result.output.split())
    assert not (tmp_path / "nowhere").exists()
    assert (tmp_path / "file.txt").read_text() == "theirs"


@pytest.mark.parametrize("format_", ["model-index", "eval-results", "open-llm-leaderboard", "every-eval-ever"])
def test_results_of_two_models_are_refused_by_name(
    turnswap: Turnswap, edited: Edited, model_folder: Path, format_: str
) -> None:
    result = turnswap("export", edited(), edited(name="org/other"), "--format", format_, "-o", model_folder)
    assert result.exit_code == 1
    assert "org/model, org/other" in " ".join(result.output.split())
    assert os.listdir(model_folder) == []


def test_without_a_place_nothing_is_read(turnswap: Turnswap) -> None:
    result = turnswap("export", "nowhere", "--format", "model-index")
    assert result.exit_code == 1
    assert "-o" in result.output
    assert "--push" in result.output
