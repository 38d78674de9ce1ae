"""Folders in which other tools left their results too, compressed samples, and links."""

from __future__ import annotations

import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from turnswap.reports import folders

from .evaluations import evaluate, follows_share

OTHERS: dict[str, Any] = {
    "lm-eval 0.3": {"results": {"arc": {"acc": 0.5}}, "versions": {"arc": 0}, "config": {"model": "hf-causal"}},
    "lighteval": {"config_general": {}, "results": {"all": {"em": 1}}, "versions": {}, "config_tasks": {}},
    "evalplus": {"date": "2026-01-01", "hash": "0" * 32, "eval": {}},
    "another tool": {"score": 1},
    "no object": [1, 2],
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluate(tmp_path_factory.mktemp("run"), "org/m", follows_share(0.6), tasks=("multiif_en", "multiif_fr"))


@pytest.fixture
def mine(run: Path, tmp_path: Path) -> Path:
    """A copy of the run's folder, inside a folder of results of all sorts."""
    return shutil.copytree(run, tmp_path / "all" / "mine")


def results(folder: Path) -> Path:
    (path,) = folder.rglob("results_*.json")
    return path


def in_a_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def test_what_other_tools_left_in_a_folder_is_skipped_and_told_in_one_line(mine: Path, read: Any) -> None:
    alone = read(mine)
    for number, content in enumerate([*OTHERS.values(), OTHERS["lighteval"]]):
        place = mine.parent / f"tool-{number}"
        place.mkdir()
        (place / "results_2026-01-01T00-00-00.000001.json").write_text(json.dumps(content))
    (mine.parent / "results_x.json").write_text('{"results": {"arc')
    (mine.parent / "results_deep.json").write_text("[" * 100_000)
    found = read(mine.parent)
    assert found.exit_code == 0, found.stderr
    assert found.stdout == alone.stdout
    (line,) = [line for line in found.stderr.splitlines() if line.startswith("Warning: Skipped")]
    assert line.startswith("Warning: Skipped: 8 files that are no results files of lm-eval: ")
    assert f"1 written by lm-eval 0.3, which has no `configs` ({mine.parent}/tool-0/results_2026" in line
    assert f"2 written by lighteval ({mine.parent}/tool-1/" in line
    assert "1 written by evalplus" in line
    assert f"2 of broken JSON ({mine.parent}/results_" in line


@pytest.mark.parametrize(("kind", "content"), OTHERS.items())
def test_a_file_of_another_tool_is_refused_by_what_it_is(kind: str, content: Any, read: Any, tmp_path: Path) -> None:
    file = tmp_path / "results_theirs.json"
    file.write_text(json.dumps(content))
    for argument in (file, tmp_path):
        found = read(argument)
        assert (found.exit_code, found.stdout) == (1, "")
        assert kind in in_a_line(found.stderr)
        assert file.name in in_a_line(found.stderr)


def test_a_file_too_large_for_results_is_not_loaded(
    mine: Path, read: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (mine.parent / "results_huge.json").write_text(json.dumps({"results": {}, "configs": {}, "more": "x" * (5 << 20)}))
    monkeypatch.setattr(folders, "_LARGEST", 4 << 20)
    found = read(mine.parent)
    assert found.exit_code == 0
    assert "1 of 5 MB, too large for results" in found.stderr


def test_what_turnswap_exported_for_a_leaderboard_is_not_read_as_a_result(mine: Path, read: Any, turnswap: Any) -> None:
    assert turnswap("export", mine, "--format", "open-llm-leaderboard", "-o", mine.parent / "board").exit_code == 0
    found = read(mine.parent)
    assert found.exit_code == 0
    assert "1 written by turnswap export, for a leaderboard" in found.stderr


@pytest.mark.parametrize("left", [0, 3000])
def test_what_is_left_of_ones_own_results_file_does_not_vanish_among_good_ones(
    left: int, run: Path, mine: Path, read: Any
) -> None:
    cut = results(shutil.copytree(run, mine.parent / "killed"))
    cut.write_bytes(cut.read_bytes()[:left])
    found = read(mine.parent)
    assert found.exit_code == 1
    assert f"{cut} is a results file of lm-eval that was cut off or damaged" in in_a_line(found.stderr)
    assert "--allow-partial" in found.stderr
    found = read(mine.parent, "--allow-partial")
    assert found.exit_code == 0
    assert f"1 cut off or damaged ({cut})" in found.stderr
    assert read(cut, "--allow-partial").exit_code == 1


# -------------------------------------------------------------------------------------- compressed samples


def compress(folder: Path, keep: bool = False) -> list[Path]:
    made = []
    for samples in sorted(folder.rglob("samples_*.jsonl")):
        made.append(samples.with_name(f"{samples.name}.gz"))
        made[-1].write_bytes(gzip.compress(samples.read_bytes()))
        if not keep:
            samples.unlink()
    return made


@pytest.mark.parametrize("keep", [False, True])
def test_compressed_samples_give_the_same_figures(keep: bool, mine: Path, read: Any) -> None:
    assert read(mine).exit_code == 0
    plain = Path("t.csv").read_text()
    compress(mine, keep)
    assert read(mine).exit_code == 0
    assert Path("t.csv").read_text() == plain
    assert "bootstrap" in plain


def test_compressed_samples_that_were_cut_off_are_refused_and_their_whole_lines_usable(mine: Path, read: Any) -> None:
    lines = len(min(mine.rglob("samples_*.jsonl")).read_bytes().splitlines())
    broken = compress(mine)[0]
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size * 3 // 4])
    found = read(mine)
    assert found.exit_code == 1
    assert f"{broken.name}, line" in in_a_line(found.stderr)
    found = read(mine, "--allow-partial")
    assert found.exit_code == 0, found.stderr
    (whole,) = re.findall(r"(\d+) whole ones", in_a_line(found.stderr))
    assert 0 < int(whole) < lines


def test_compressed_samples_that_were_damaged_are_refused(mine: Path, read: Any) -> None:
    broken = compress(mine)[0]
    whole = broken.read_bytes()
    broken.write_bytes(whole[:40] + b"damaged" + whole[47:])
    found = read(mine)
    assert isinstance(found.exception, SystemExit)
    assert broken.name in in_a_line(found.stderr)


# ------------------------------------------------------------------------------------------------- links


def test_folders_and_files_that_are_links_are_read(run: Path, read: Any, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "folder").symlink_to(run)
    assert read(run).exit_code == 0
    plain = Path("t.csv").read_text()
    assert read("links").exit_code == 0
    assert Path("t.csv").read_text() == plain
    alone = tmp_path / "file" / results(run).name
    alone.parent.mkdir()
    alone.symlink_to(results(run))  # its samples lie beside the file that it leads to
    assert read("file").exit_code == 0
    assert Path("t.csv").read_text() == plain


def test_the_same_file_through_two_links_counts_once(run: Path, read: Any, tmp_path: Path) -> None:
    (tmp_path / "links").mkdir()
    for name in ("one", "two"):
        (tmp_path / "links" / name).symlink_to(run)
    (tmp_path / "links" / results(run).name).symlink_to(results(run))
    assert read(run).exit_code == 0
    plain = Path("t.csv").read_text()
    for arguments in (["links"], [run, "links"], [run, run]):
        found = read(*arguments)
        assert found.exit_code == 0, found.stderr
        assert Path("t.csv").read_text() == plain
    assert read(f"A={run}", f"B={tmp_path / 'links'}").exit_code == 0  # two names are two models


def test_links_in_a_circle_and_to_nowhere_end(mine: Path, read: Any) -> None:
    (mine / "up").symlink_to(mine.parent)
    (mine / "results_gone.json").symlink_to(mine / "no-such.json")
    found = read(mine.parent)
    assert found.exit_code == 0, found.stderr
    assert "1 that cannot be read (No such file or directory)" in found.stderr
