"""``turnswap export --push``: a pull request or nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError

from tests.conftest import Turnswap
from tests.reports.export.shared import CARD, Edited, Hub, results_in


@pytest.mark.parametrize("format_", ["model-index", "eval-results", "open-llm-leaderboard", "every-eval-ever"])
def test_without_push_the_hub_is_not_even_thought_of(
    turnswap: Turnswap, edited: Edited, model_folder: Path, hub: type[Hub], format_: str
) -> None:
    assert turnswap("export", edited(), "--format", format_, "-o", model_folder).exit_code == 0
    assert hub.made == []


def test_a_push_merges_into_the_repositorys_own_card_as_a_pull_request(
    turnswap: Turnswap, edited: Edited, model_folder: Path, hub: type[Hub], tmp_path: Path
) -> None:
    result = turnswap("export", edited(), "--format", "model-index", "-o", model_folder, "--push", "org/model")
    assert result.exit_code == 0, result.output
    assert "https://huggingface.co/org/model/discussions/7" in result.output
    (upload,) = hub.made[0].uploads
    assert (upload["create_pr"], upload["repo_id"], upload["path_in_repo"]) == (True, "org/model", "README.md")
    assert upload.get("revision") is None
    proposed = tmp_path / "proposed.md"
    proposed.write_bytes(upload["path_or_fileobj"])
    assert [r.dataset_type for r in results_in(proposed)] == ["norwegian"] + ["facebook/Multi-IF"] * 27
    assert proposed.read_text("utf-8").endswith(CARD[CARD.index("# Between") :])
    assert len(results_in(model_folder / "README.md")) == 27


def test_a_repository_without_a_card_gets_one(turnswap: Turnswap, edited: Edited, hub: type[Hub]) -> None:
    hub.card = RemoteEntryNotFoundError("404", response=SimpleNamespace(headers={}, request=None))  # type: ignore[arg-type]
    assert turnswap("export", edited(), "--format", "model-index", "--push", "org/model").exit_code == 0
    (upload,) = hub.made[0].uploads
    assert ModelCard(upload["path_or_fileobj"].decode()).text == "\n# model\n"


def test_a_card_that_could_not_be_fetched_is_not_taken_for_none(
    turnswap: Turnswap, edited: Edited, hub: type[Hub]
) -> None:
    hub.card = LocalEntryNotFoundError("no connection, nothing in the cache")
    result = turnswap("export", edited(), "--format", "model-index", "--push", "org/model")
    assert result.exit_code == 1
    assert "no connection" in result.output
    assert hub.made[0].uploads == []


def test_figures_that_are_there_already_need_no_pull_request(
    turnswap: Turnswap, edited: Edited, model_folder: Path, hub: type[Hub]
) -> None:
    results = edited()
    shutil.copy(hub.card, model_folder / "README.md")  # type: ignore[arg-type]
    assert turnswap("export", results, "--format", "model-index", "-o", model_folder).exit_code == 0
    hub.card = model_folder / "README.md"
    result = turnswap("export", results, "--format", "model-index", "--push", "org/model")
    assert "no pull request" in result.output
    assert hub.made[0].uploads == []


def test_eval_results_are_pushed_as_a_pull_request(
    turnswap: Turnswap, edited: Edited, model_folder: Path, hub: type[Hub]
) -> None:
    result = turnswap("export", edited(), "--format", "eval-results", "-o", model_folder, "--push", "org/model")
    assert result.exit_code == 0, result.output
    (upload,) = hub.made[0].uploads
    assert (upload["create_pr"], upload["path_in_repo"]) == (True, ".eval_results/multiif.yaml")
    assert upload["path_or_fileobj"] == (model_folder / ".eval_results" / "multiif.yaml").read_bytes()


def without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.is_offline_mode", lambda: True)


def without_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)


def without_a_route(monkeypatch: pytest.MonkeyPatch) -> None:
    failed = ValueError("Force download failed due to the above error.")  # as the client wraps it
    failed.__cause__ = ConnectionError("Name or service not known")
    monkeypatch.setattr(Hub, "card", failed)


def refused_by_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = PermissionError("403 Forbidden")
    refusal.__cause__ = OSError("status")
    monkeypatch.setattr(Hub, "refusal", refusal)


@pytest.mark.parametrize(
    ("trouble", "complaint"),
    [
        (without_network, "HF_HUB_OFFLINE"),
        (without_token, "hf auth login"),
        (without_a_route, "Name or service not known"),
        (refused_by_the_hub, "403 Forbidden"),
    ],
)
def test_a_push_that_fails_says_why_and_leaves_the_local_file(
    turnswap: Turnswap,
    edited: Edited,
    model_folder: Path,
    hub: type[Hub],
    monkeypatch: pytest.MonkeyPatch,
    trouble: Callable[[pytest.MonkeyPatch], None],
    complaint: str,
) -> None:
    trouble(monkeypatch)
    result = turnswap("export", edited(), "--format", "model-index", "-o", model_folder, "--push", "org/model")
    assert (result.exit_code, isinstance(result.exception, SystemExit)) == (1, True)
    assert complaint in result.output
    assert len(results_in(model_folder / "README.md")) == 27


def test_a_push_to_what_is_no_repository_is_refused_before_anything_is_written(
    turnswap: Turnswap, edited: Edited, model_folder: Path, hub: type[Hub]
) -> None:
    result = turnswap("export", edited(), "--format", "model-index", "-o", model_folder, "--push", "https://hub/a/b")
    assert result.exit_code == 1
    assert "ORG/MODEL" in result.output
    assert os.listdir(model_folder) == []
    assert hub.made == []


@pytest.mark.parametrize(
    ("format_", "words"), [("open-llm-leaderboard", "FOLDER/requests"), ("every-eval-ever", "FOLDER/data")]
)
def test_files_for_all_models_are_not_pushed_and_nothing_is_written(
    turnswap: Turnswap, edited: Edited, tmp_path: Path, hub: type[Hub], format_: str, words: str
) -> None:
    result = turnswap("export", edited(), "--format", format_, "-o", tmp_path / "board", "--push", "org/model")
    assert result.exit_code == 1
    assert words in result.output
    assert not (tmp_path / "board").exists()
    assert hub.made == []
