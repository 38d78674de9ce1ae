"""Results in languages that the benchmark lacks: read, reported and ranked as those of the eight are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.construction import unmeasured
from tests.construction.test_release import conversation, released
from turnswap.tasks.multiif.corrected import rules_in_use

from ..conftest import Turnswap
from .evaluations import evaluate, follows_share


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on a released data set in Swahili and Korean."""
    folder = tmp_path_factory.mktemp("other")
    conversations = [conversation(f"seed-{n}:{code}", code) for n in range(12) for code in ("sw", "ko")]
    tasks = released(folder, conversations)
    for name, share in (("good", 0.9), ("poor", 0.3)):
        evaluate(folder / name, name, follows_share(share, name), tasks=("rain",), include=tasks)
    return folder


def test_a_table_has_the_languages_of_ones_own(runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    done = turnswap("table", str(runs / "good"), "-o", str(tmp_path / "figures.json"))
    assert done.exit_code == 0, done.output
    rows = json.loads((tmp_path / "figures.json").read_text())
    assert {row["language"] for row in rows} >= {"ko", "sw"}
    assert "zh" not in {row["language"] for row in rows}


def test_a_report_names_them_and_leaves_the_papers_models_out(runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    done = turnswap("report", str(runs / "good"), str(runs / "poor"), "-o", str(tmp_path / "report.html"))
    assert done.exit_code == 0, done.output
    page = (tmp_path / "report.html").read_text()
    assert "Swahili" in page
    assert "Korean" in page
    assert "Qwen-2.5" not in page


def test_a_leaderboard_ranks_over_them(runs: Path, turnswap: Turnswap) -> None:
    done = turnswap("leaderboard", str(runs / "good"), str(runs / "poor"))
    assert done.exit_code == 0, done.output
    assert done.stdout.index("good") < done.stdout.index("poor")
    assert "the benchmark has no Korean" in " ".join(done.output.split())


def test_a_comparison_resamples_both_models_alike(runs: Path, turnswap: Turnswap) -> None:
    done = turnswap("compare", str(runs / "poor"), str(runs / "good"))
    assert done.exit_code == 0, done.output
    assert "sw" in done.stdout
    assert turnswap("compare", str(runs / "poor"), str(runs / "good")).stdout == done.stdout


def test_eval_results_of_the_benchmark_are_not_claimed(runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    done = turnswap("export", str(runs / "good"), "--format", "eval-results", "-o", str(tmp_path))
    assert done.exit_code == 1
    assert "facebook/Multi-IF" in done.output


def test_slots_that_the_data_have_graded_by_the_corrected_rules_are_reported_as_such(
    turnswap: Turnswap, tmp_path: Path
) -> None:
    tasks, _ = unmeasured.released(tmp_path, [unmeasured.JAPANESE, unmeasured.HINDI, unmeasured.GERMAN])
    evaluate(tmp_path / "run", "run", lambda prompt: "海は広く、深いです。", tasks=("sea",), include=tasks)
    done = turnswap("report", str(tmp_path / "run"), "-o", str(tmp_path / "report.html"))  # grades again, and agrees
    assert done.exit_code == 0, done.output
    assert f"graded_by:published,corrected:{rules_in_use()}" in (tmp_path / "report.html").read_text("utf-8")
