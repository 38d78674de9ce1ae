"""Reading lm-eval's result folders: what is put together, and which runs are not one model's."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import Turnswap
from turnswap.tasks import tasks_path

from . import evaluations
from .damaged import Damaged, by_turn, refused, value, whole_and_in_parts
from .evaluations import FOLLOWS, evaluate, follows_share

HOSTILE = ["<<a\ud800b>> rain", "rain\x00 <<T>>", "<<T>>\u2028rain\u2029\x85", "é" * 100_000, "\ufeff<<T>>\r\n rain\t"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    english = whole_and_in_parts(folder)
    french = english | {"tasks": ("multiif_fr",)}
    evaluate(folder / "again", "org/m", follows_share(0.5), **english)
    evaluate(folder / "fr", "org/m", by_turn, **french)
    evaluate(folder / "other-fr", "org/other", by_turn, **french)
    evaluate(folder / "hostile", "org/m", lambda prompt: HOSTILE[len(prompt) % 5], **english)
    evaluate(folder / "local", "/models/my=model", by_turn, **english)
    evaluate(folder / "file.json", "org/m", by_turn, **english)
    filters = (
        "filter_list: [{name: none, filter: []}, {name: word, filter: [{function: regex, regex_pattern: (rain|no)}]}]"
    )
    for name, setting in (("filters", filters), ("thrice", "repeats: 3")):
        text = f"include: {tasks_path()}/multiif/_multiif.yaml\ntask: {name}\ndataset_name: English\n{setting}\n"
        (folder / f"{name}.yaml").write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluations, "tasks_path", lambda: folder)
        evaluate(folder / "filters", "org/m", by_turn, data=english["data"], tasks=("filters",))
        counter = iter(range(10_000))
        changing = {"reply": lambda prompt: FOLLOWS if next(counter) % 5 else "No, no"}
        evaluate(folder / "thrice", "org/m", **changing, data=english["data"], tasks=("thrice",))
    return folder


# ------------------------------------------------------------------------------------------- several runs


def test_two_runs_of_one_model_are_refused_unless_one_is_chosen(runs: Path, read: Any, tmp_path: Path) -> None:
    shutil.copytree(runs / "m", tmp_path / "both")
    shutil.copytree(runs / "again", tmp_path / "both", dirs_exist_ok=True)
    old, new = sorted((tmp_path / "both").rglob("results_*.json"))
    refused(read("both"), "org/m has 2 runs in en", old.name, new.name, "Conversation 1:1:en", "--latest", "NAME=PATH")
    assert read("both", "--latest").exit_code == 0
    latest = value()
    assert read(old).exit_code == 0
    assert value() == 1.0
    assert latest != 1.0
    assert read(f"A={old}", f"B={new}").exit_code == 0


def test_the_latest_of_the_same_conversations_is_taken_and_other_parts_stay(runs: Path, read: Any) -> None:
    assert read(runs / "part-a", runs / "part-b").exit_code == 0
    found = read(runs / "part-a", runs / "part-b", "--latest")
    assert "|n:8/8|" in found.stdout


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("turnswap", lambda content: content["configs"]["multiif_fr"]["metadata"].update(turnswap="0.0.9")),
        ("lm-eval", lambda content: content.update(lm_eval_version="0.4.9")),
        ("gen", lambda content: content["configs"]["multiif_fr"]["generation_kwargs"].update(max_gen_toks=9)),
    ],
)
def test_parts_that_were_not_run_alike_are_not_one_model(
    name: str, change: Callable[[dict[str, Any]], object], runs: Path, read: Any, tmp_path: Path
) -> None:
    french = Damaged(tmp_path / "french", runs / "fr").edit_results(change)
    refused(read(runs / "m", "french"), "org/m were not made alike", f"{name} is", french.results.name)


def test_one_name_for_two_models_does_not_make_them_one(runs: Path, read: Any, tmp_path: Path) -> None:
    shutil.copytree(runs / "m", tmp_path / "both")
    shutil.copytree(runs / "other-fr", tmp_path / "both", dirs_exist_ok=True)
    refused(read("X=both"), "org/m", "org/other")


# --------------------------------------------------------------------------------------------------- names


def test_a_label_names_the_model_and_a_path_may_hold_an_equals_sign(runs: Path, read: Any, tmp_path: Path) -> None:
    shutil.copytree(runs / "m", tmp_path / "lr=3" / "x")
    for argument, name in (("lr=3/x", "org/m"), ("A=lr=3/x", "A"), (f"A={tmp_path}/lr=3/x", "A")):
        assert read(argument).exit_code == 0
        assert set(pd.read_csv("t.csv").model) == {name}


def test_a_model_from_a_local_path_goes_by_that_path(runs: Path, read: Any) -> None:
    assert read(runs / "local").exit_code == 0
    assert set(pd.read_csv("t.csv").model) == {"/models/my=model"}


def test_results_beside_a_file_name_of_ones_own_come_with_their_samples(runs: Path, read: Any) -> None:
    (results,) = runs.glob("file_*.json")  # lm_eval --output_path file.json
    assert read(results).exit_code == 0
    assert "95% bootstrap" in Path("t.csv").read_text()


# ------------------------------------------------------------------------------------------ kinds of runs


def test_of_several_filters_one_must_be_chosen(runs: Path, read: Any) -> None:
    refused(read(runs / "filters"), "filters was graded with the filters none, word.", "--filter")
    refused(read(runs / "filters", "--filter", "lower"), "none, word, not lower")
    for name, titles in (("none", 1.0), ("word", 0.0)):
        found = read(runs / "filters", "--filter", name)
        assert f"|filter:{name}|" in found.stdout
        assert value() == titles


def test_repeats_are_pooled_and_their_verdicts_found_again(runs: Path, read: Any, turnswap: Turnswap) -> None:
    found = read(runs / "thrice")
    assert "|repeats:3|" in found.stdout
    assert 0 < value(turn=2) < 1
    shown = turnswap("report", runs / "thrice")
    assert shown.exit_code == 0, shown.stderr
    assert re.search(rf"keywords:existence .* {7 * 3} ", shown.stdout)


def test_replies_with_anything_in_them_are_read_and_graded_as_they_were(runs: Path, turnswap: Turnswap) -> None:
    shown = turnswap("report", runs / "hostile")
    assert shown.exit_code == 0, (shown.stderr, shown.exception)
    assert "|n:8/8|" in shown.stdout
