"""Results to export, a folder to export them to, and a stand-in for the Hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import read_results
from tests.reports.evaluations import evaluate, follows_share
from tests.reports.export.shared import CARD, SHA, STARTED, Edited, Hub
from tests.reports.made import CONVERSATIONS
from turnswap.tasks.multiif.dataset import HUB_REVISION, LANGUAGES


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packaged conversations in all languages, with samples."""
    return evaluate(tmp_path_factory.mktemp("sample"), "org/sampled", follows_share(0.6))


@pytest.fixture
def edited(sample_run: Path, tmp_path: Path) -> Edited:
    """The run's results file alone, as if of other data, languages or models; by default of the benchmark."""

    def edit(
        languages: tuple[str, ...] = tuple(LANGUAGES),
        *,
        data: str = f"facebook/Multi-IF at revision {HUB_REVISION}",
        sha256: str | None = None,
        content: str | None = None,
        run: int | None = None,
        of: int | None = None,
        name: str = "org/model",
        **config: object,
    ) -> Path:
        found = read_results(sample_run)
        for task in [task for task in found["configs"] if task.removeprefix("multiif_") not in languages]:
            for part in ("configs", "results", "n-samples"):
                del found[part][task]
        for task, task_config in found["configs"].items():
            metadata = task_config["metadata"]
            metadata["data"] = data
            metadata.pop("data_sha256")
            if sha256:
                metadata["data_sha256"] = sha256
            if content:
                metadata["content_sha256"] = content
            original = of or CONVERSATIONS[task.removeprefix("multiif_")]
            found["n-samples"][task] = {"original": original, "effective": run or original}
        found["date"], found["model_name"] = STARTED, name
        found["config"] |= {"model_dtype": "torch.bfloat16", "model_sha": SHA, "model_num_parameters": 1_540_000_000}
        found["config"] |= config
        folder = tmp_path / f"results-{len(list(tmp_path.glob('results-*')))}"
        folder.mkdir()
        (folder / "results_2026-01-02T03-04-05.250000.json").write_text(json.dumps(found), "utf-8")
        return folder

    return edit


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "merged"
    folder.mkdir()
    return folder


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[Hub]:
    """A Hub that can be reached, with a token and with a card in the repository."""
    Hub.made, Hub.refusal, Hub.card = [], None, tmp_path / "hub-card.md"
    Hub.card.write_text(CARD, "utf-8")
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr("huggingface_hub.is_offline_mode", lambda: False)
    monkeypatch.setenv("HF_TOKEN", "hf_stand_in")
    return Hub
