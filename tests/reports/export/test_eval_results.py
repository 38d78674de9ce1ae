"""``turnswap export --format eval-results``."""

from __future__ import annotations

import os
from pathlib import Path
from statistics import mean

import pytest
import yaml
from huggingface_hub import parse_eval_result_entries

from tests.conftest import REPOSITORY, Turnswap
from tests.reports.export.shared import SHA, TURNS, Edited, reported
from turnswap.tasks.multiif.dataset import BENCHMARK_SHA256, HUB_REVISION, LANGUAGES


def test_eval_results_hold_the_mean_then_every_language_per_turn(
    turnswap: Turnswap, edited: Edited, tmp_path: Path
) -> None:
    results = edited()
    result = turnswap("export", results, "--format", "eval-results", "-o", tmp_path / "new")
    assert result.exit_code == 0, result.output
    path = tmp_path / "new" / ".eval_results" / "multiif.yaml"
    entries = parse_eval_result_entries(yaml.safe_load(path.read_text("utf-8")))
    expected = {f"turn{t}_overall": mean(reported(results, code, t) for code in LANGUAGES) for t in TURNS}
    expected |= {f"{code}_turn{t}_overall": reported(results, code, t) for code in LANGUAGES for t in TURNS}
    assert {entry.task_id: entry.value for entry in entries} == pytest.approx(expected)
    assert [entry.task_id for entry in entries] == list(expected)
    assert {(e.dataset_id, e.dataset_revision, e.date) for e in entries} == {
        ("facebook/Multi-IF", HUB_REVISION, "2026-01-02T03:04:05Z")
    }
    assert {entry.notes for entry in entries} <= set(result.output.splitlines())
    assert str(path) in result.output
    assert "facebook/Multi-IF had none when last seen" in " ".join(result.output.split())


def test_some_languages_have_no_mean_among_the_eval_results(turnswap: Turnswap, edited: Edited, tmp_path: Path) -> None:
    result = turnswap("export", edited(("en", "fr")), "--format", "eval-results", "-o", tmp_path)
    content = yaml.safe_load((tmp_path / ".eval_results" / "multiif.yaml").read_text("utf-8"))
    assert [e["dataset"]["task_id"] for e in content] == [f"{c}_turn{t}_overall" for c in ("en", "fr") for t in TURNS]
    assert "no results in zh, ru, hi, es, it, pt" in " ".join(result.output.split())


def test_eval_results_of_a_local_copy_name_no_revision(turnswap: Turnswap, edited: Edited, tmp_path: Path) -> None:
    results = edited(("en",), data="CSV file m.csv", sha256=SHA, content=BENCHMARK_SHA256["en"])
    assert turnswap("export", results, "--format", "eval-results", "-o", tmp_path).exit_code == 0
    content = yaml.safe_load((tmp_path / ".eval_results" / "multiif.yaml").read_text("utf-8"))
    assert content[0]["dataset"] == {"id": "facebook/Multi-IF", "task_id": "en_turn1_overall"}


def test_data_with_as_many_rows_and_other_content_is_not_the_benchmark(
    turnswap: Turnswap, edited: Edited, tmp_path: Path
) -> None:
    results = edited(("en",), data="CSV file m.csv", sha256=SHA, content="ab" * 32)
    refused = turnswap("export", results, "--format", "eval-results", "-o", tmp_path)
    assert refused.exit_code == 1
    assert "the data of these was csv@01234567" in " ".join(refused.output.split())


def test_eval_results_are_of_the_whole_benchmark_only(
    turnswap: Turnswap, edited: Edited, sample_run: Path, model_folder: Path
) -> None:
    refused = {"sample@": sample_run, "csv@01234567": edited(data="CSV file m.csv", sha256=SHA, of=5)}
    for complaint, results in {**refused, "10 of 909 in en": edited(run=10)}.items():
        result = turnswap("export", results, "--format", "eval-results", "-o", model_folder)
        assert result.exit_code == 1
        assert complaint in " ".join(result.output.split())
    assert os.listdir(model_folder) == []


def test_anothers_file_of_eval_results_is_kept_and_ours_replaced(
    turnswap: Turnswap, edited: Edited, model_folder: Path
) -> None:
    path = model_folder / ".eval_results" / "multiif.yaml"
    assert turnswap("export", edited(), "--format", "eval-results", "-o", model_folder).exit_code == 0
    assert turnswap("export", edited(("fr",)), "--format", "eval-results", "-o", model_folder).exit_code == 0
    assert len(yaml.safe_load(path.read_text("utf-8"))) == 3
    path.write_text(theirs := "- {dataset: {id: a/b, task_id: c}, value: 1}\n", "utf-8")
    result = turnswap("export", edited(), "--format", "eval-results", "-o", model_folder)
    assert result.exit_code == 1
    assert path.read_text("utf-8") == theirs


def test_the_proposed_eval_yaml_declares_just_the_tasks_that_entries_are_of(
    turnswap: Turnswap, edited: Edited, tmp_path: Path
) -> None:
    proposal = yaml.safe_load((REPOSITORY / "docs" / "upstream" / "hub" / "eval.yaml").read_text("utf-8"))
    assert turnswap("export", edited(), "--format", "eval-results", "-o", tmp_path).exit_code == 0
    entries = yaml.safe_load((tmp_path / ".eval_results" / "multiif.yaml").read_text("utf-8"))
    assert [task["id"] for task in proposal["tasks"]] == [entry["dataset"]["task_id"] for entry in entries]
    assert proposal.keys() == {"name", "description", "evaluation_framework", "tasks"}
    assert {(task["config"], task["split"]) for task in proposal["tasks"]} == {("default", "train")}


def test_entries_carry_the_link_that_was_given(turnswap: Turnswap, edited: Edited, tmp_path: Path) -> None:
    url = "https://huggingface.co/datasets/org/results"
    result = turnswap("export", edited(), "--format", "eval-results", "-o", tmp_path, "--source", url)
    assert result.exit_code == 0, result.output
    content = yaml.safe_load((tmp_path / ".eval_results" / "multiif.yaml").read_text("utf-8"))
    assert {entry.source_url for entry in parse_eval_result_entries(content)} == {url}


@pytest.mark.parametrize(
    "source",
    ["", "results", "org/results", "ftp://example.org", "https://", "https://a b.org", "https://[x.org", "http:x.org"],
)
def test_what_is_no_link_is_refused_before_anything_is_written(
    turnswap: Turnswap, edited: Edited, model_folder: Path, source: str
) -> None:
    result = turnswap("export", edited(), "--format", "eval-results", "-o", model_folder, "--source", source)
    assert (result.exit_code, isinstance(result.exception, SystemExit)) == (1, True)
    assert "is no link" in result.output
    assert os.listdir(model_folder) == []


@pytest.mark.parametrize("format_", ["model-index", "open-llm-leaderboard"])
def test_a_format_without_a_place_for_a_link_says_so(
    turnswap: Turnswap, edited: Edited, model_folder: Path, format_: str
) -> None:
    given = ("--source", "https://example.org")
    result = turnswap("export", edited(), "--format", format_, "-o", model_folder, *given)
    assert result.exit_code == 1
    assert f"{format_} has no place for --source" in " ".join(result.output.split())
    assert os.listdir(model_folder) == []
