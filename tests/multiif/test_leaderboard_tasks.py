"""The group leaderboard_multiif: found by the stock command, run, and unchanged when a default changes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval.tasks import TaskManager
from lm_eval.tasks._yaml_loader import load_yaml

from tests.conftest import Command, make_row, read_results, write_csv
from turnswap.tasks import tasks_path
from turnswap.tasks.multiif import dataset
from turnswap.tasks.multiif.task import MultiIF

FOLDER = tasks_path() / "multiif" / "leaderboard"
CODES = {"en", "zh", "fr", "ru", "hi", "es", "it", "pt"}
REVISION = "0ab97ce0b45c7f57772e8ba2ac1616f4b00bd3aa"

# Version 1.1. Whoever changes one of these makes results incomparable with earlier ones, and must raise the version.
MARKERS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("[THINK]", "[/THINK]"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
)
SETTINGS = {
    "class": MultiIF,
    "dataset_path": "facebook/Multi-IF",
    "dataset_kwargs": {"revision": REVISION},
    "output_type": "generate_until",
    "num_fewshot": 0,
    "repeats": 1,
    "description": "",
    "generation_kwargs": {"do_sample": False, "temperature": 0.0, "max_gen_toks": 2048, "until": []},
    "filter_list": [{"name": "none", "filter": []}],
    "metadata": {
        "version": 1.1,
        "leaderboard": 1.1,
        "prompts": "chat_template",
        "reasoning_markers": [list(pair) for pair in MARKERS],
        "reasoning_in_history": False,
        "on_overflow": "warn",
    },
}


def manager(path: Path | None = None) -> TaskManager:
    return TaskManager(include_path=str(path or tasks_path()), include_defaults=False)


def test_every_setting_stands_in_the_leaderboards_own_files() -> None:
    for code, language in dataset.LANGUAGES.items():
        name = f"leaderboard_multiif_{code}"
        assert load_yaml(FOLDER / f"{name}.yaml") == {**SETTINGS, "task": name, "dataset_name": language}


def test_patterns_tell_leaderboard_and_ordinary_tasks_apart() -> None:
    tasks = manager()
    assert set(tasks.match_tasks(["multiif_*"])) == {f"multiif_{code}" for code in CODES}
    assert set(tasks.match_tasks(["leaderboard_multiif_*"])) == {f"leaderboard_multiif_{code}" for code in CODES}
    assert set(tasks.all_groups) == {"multiif", "leaderboard_multiif"}


def test_the_group_averages_what_the_ordinary_group_does() -> None:
    ours, ordinary = load_yaml(FOLDER / "leaderboard_multiif.yaml"), load_yaml(FOLDER.parent / "multiif.yaml")
    assert ours["task"] == [f"leaderboard_{task}" for task in ordinary["task"]]
    assert ours["aggregate_metric_list"] == ordinary["aggregate_metric_list"]
    assert ours["metadata"] == {"version": 1.1, "leaderboard": 1.1}


@pytest.fixture
def changed_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[TaskManager, list[str]]:
    """Our tasks as they would be after all defaults were changed, and the revisions that the Hub is asked for."""
    shutil.copytree(tasks_path(), tmp_path / "tasks")
    shared = tmp_path / "tasks" / "multiif" / "_multiif.yaml"
    defaults = shared.read_text().replace("2048", "7").replace("do_sample: false", "do_sample: true")
    shared.write_text(defaults + "  prompts: plain\nrepeats: 3\ndescription: Be brief.\n")
    asked = []

    def load_dataset(path: str, revision: str, **_: object) -> list[dict[str, Any]]:
        asked.append(revision)
        return [make_row()]

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setattr(dataset, "HUB_REVISION", "moved")
    monkeypatch.setattr(dataset, "_load_all", dataset._load_all.__wrapped__)  # what other tests loaded is not ours
    return manager(tmp_path / "tasks"), asked


def test_a_change_of_the_defaults_changes_ordinary_tasks_alone(changed_defaults: tuple[TaskManager, list[str]]) -> None:
    tasks, asked = changed_defaults
    ordinary = tasks.load(["multiif_en"])["tasks"]["multiif_en"]
    assert ordinary.config.generation_kwargs["max_gen_toks"] == 7
    assert (ordinary.settings.prompts, ordinary.config.repeats, asked.pop()) == ("plain", 3, "moved")

    pinned = tasks.load(["leaderboard_multiif_en"])["tasks"]["leaderboard_multiif_en"]
    assert pinned.config.generation_kwargs == SETTINGS["generation_kwargs"]
    assert (pinned.config.repeats, pinned.config.description) == (1, "")
    assert pinned.settings.prompts == "chat_template"
    assert pinned.settings.reasoning_markers == MARKERS
    assert pinned.config.metadata["data"] == f"facebook/Multi-IF at revision {REVISION}"
    assert asked == [REVISION]


def test_a_local_file_is_recorded_and_no_revision_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNSWAP_MULTIIF", str(write_csv(tmp_path / "mine.csv", [make_row()])))
    task = manager().load(["leaderboard_multiif_en"])["tasks"]["leaderboard_multiif_en"]
    assert task.config.metadata["data"] == "CSV file mine.csv"
    assert len(task.config.metadata["data_sha256"]) == 64
    assert task.config.dataset_kwargs is None


def test_a_misspelt_pin_is_an_error(tmp_path: Path) -> None:
    own = {"task": "mine", "dataset_name": "English", "dataset_kwargs": {"revison": "main"}}
    text = yaml.safe_dump(own) + "class: !function turnswap.tasks.multiif.task.MultiIF\n"
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(TypeError, match="revison"):
        manager(tmp_path).load(["mine"])


def test_the_stock_command_runs_the_group_on_the_sample_by_a_pattern_that_matches_its_tasks_too(
    run_command: Command, tmp_path: Path
) -> None:
    done = run_command(
        "lm_eval", "run", "--model", "dummy", "--tasks", "leaderboard_multiif*", "--include_path", tasks_path(),
        "--metadata", '{"prompts": "plain"}', "--limit", "2", "--output_path", "out", "--log_samples",
        TURNSWAP_MULTIIF="sample",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Multi-IF leaderboard (macro mean of languages)" in done.stdout
    content = read_results(tmp_path / "out")
    tasks = {f"leaderboard_multiif_{code}" for code in CODES}
    assert set(content["configs"]) == tasks
    assert content["versions"] == dict.fromkeys(tasks, 1.1) | {"leaderboard_multiif": "1.1"}
    values = [content["results"][task]["turn1_overall_acc,none"] for task in tasks]
    assert content["groups"]["leaderboard_multiif"]["turn1_overall_acc,none"] == pytest.approx(sum(values) / 8)
    for task in tasks:
        metadata = content["configs"][task]["metadata"]
        assert metadata["leaderboard"] == 1.1
        assert metadata["data"] == "the conversations packaged with turnswap (not the benchmark)"
        assert len(list((tmp_path / "out").rglob(f"samples_{task}_*.jsonl"))) == 1
