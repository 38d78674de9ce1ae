"""Searches that are stopped and go on, and searches that may not go on."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from turnswap.commands.search import sweep as sweep_command
from turnswap.core.errors import UserError
from turnswap.sweeps import evaluations as evaluations_module
from turnswap.sweeps import outputs
from turnswap.sweeps import search as search_module
from turnswap.sweeps.hf_layerswap import HFLayerSwap
from turnswap.sweeps.rows import Search

from ..conftest import REPOSITORY
from .sweeping import copying, evaluations, own_tasks_alone, run, save_copying_expert, settings_of, write_tasks

pytestmark = pytest.mark.slow

__all__ = ["copying", "own_tasks_alone"]  # fixtures

KILLED = """
import os, signal, sys
from lm_eval.tasks import TaskManager
from turnswap.sweeps import search
from turnswap.sweeps.settings import Settings
from pathlib import Path
search.open_manager = lambda s: TaskManager(include_path=s.include_path, include_defaults=False)
said = []
def say(line):
    said.append(line)
    if len(said) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
search.run(Settings.model_validate_json(sys.argv[1]), Path(sys.argv[2]), say)
"""


def stopped(copying: Path, folder: Path, after: int, **more: Any) -> None:
    """A search in this process, interrupted after so many evaluations: its trial stays as it is."""
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        if len(said) == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        search_module.run(settings_of(copying, **more), folder, say)


def test_a_killed_search_goes_on_and_comes_to_the_same_results(copying: Path, tmp_path: Path) -> None:
    more = {"controls": 2, "report_on": "copying:30-59", "averages": [0.3], "select_on": "copying:0-9"}
    whole, _ = run(copying, tmp_path / "whole", **more)
    out = tmp_path / "out"
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, whole.settings.model_dump_json(), str(out), "5"],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert len(evaluations(out)) == 5
    (out / "evaluations" / ".half.parquet.1.part").write_bytes(b"PAR1")  # what a killed process was writing
    search, said = run(copying, out, **more)
    assert "5 evaluations are done" in said[0]
    assert len(said) - 1 == len(evaluations(tmp_path / "whole")) - 5
    assert outputs.as_json(search) == outputs.as_json(whole)
    before = {path.name: path.read_bytes() for path in (out / "evaluations").iterdir()}
    _, said = run(copying, out, **more)
    assert len(said) == 1
    assert {path.name: path.read_bytes() for path in (out / "evaluations").iterdir()} == before


def test_a_killed_search_of_a_space_takes_its_trial_up_again(copying: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"space": {"bottom": "0-3", "top": "0-2"}, "sampler": "random", "trials": 4}
    more["select_on"] = "copying:0-9"
    whole, _ = run(copying, tmp_path / "whole", **more)
    out = tmp_path / "out"
    stopped(copying, out, 5, **more)
    search, _ = run(copying, out, **more)
    assert points(search) == points(whole)
    assert {evaluation.plan for evaluation in evaluations(out)} == {
        evaluation.plan for evaluation in evaluations(tmp_path / "whole")
    }


def points(search: Search) -> list[Any]:
    """What was drawn, and how good it is."""
    swaps = [row for row in search.rows if row.configuration.kind == "swap" and row.select]
    return sorted((row.configuration.layers, row.select and row.select.results["copying"]["acc,none"]) for row in swaps)


def test_a_search_may_grow(copying: Path, tmp_path: Path) -> None:
    few = {"select_on": "copying:0-9"}
    run(copying, tmp_path, grid={"bottom": "1", "top": "0-1"}, **few)
    done = len(evaluations(tmp_path))
    search, said = run(copying, tmp_path, grid={"bottom": "1-2", "top": "0-1"}, **few)
    assert len(said) - 1 == len(evaluations(tmp_path)) - done == 2
    assert len(search.rows) == 3 + 4
    search, said = run(copying, tmp_path, grid={"bottom": "2", "top": "0-1"}, controls=1, averages=[0.3], **few)
    assert len(said) - 1 == 2
    assert [row.configuration.kind for row in search.rows].count("swap") == 2


def test_a_larger_budget_goes_on_and_a_smaller_one_draws_no_more(copying: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"space": {"bottom": "0-3", "top": "0-2"}, "select_on": "copying:0-4"}
    first, _ = run(copying, tmp_path / "a", **more, trials=3)
    grown, _ = run(copying, tmp_path / "a", **more, trials=5)
    at_once, _ = run(copying, tmp_path / "b", **more, trials=5)
    assert set(points(first)) <= set(points(grown))
    assert points(grown) == points(at_once)
    again, said = run(copying, tmp_path / "a", **more, trials=1)
    assert len(said) == 1
    assert points(again) == points(grown)


def test_a_folder_that_moved_is_the_same_search(copying: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"space": {"bottom": "1-3", "top": "0-2"}, "select_on": "copying:0-4", "trials": 2}
    run(copying, tmp_path / "here", **more)
    (tmp_path / "here").rename(tmp_path / "there")
    _, said = run(copying, tmp_path / "there", **more)
    assert len(said) == 1


def test_a_swap_that_was_not_listed_for_a_time_is_evaluated_when_it_is_again(copying: Path, tmp_path: Path) -> None:
    few: dict[str, Any] = {"select_on": "copying:0-4"}
    one, other = {"one": {"layers": "0"}}, {"other": {"layers": "1"}}
    stopped(copying, tmp_path, 4, swaps=one | other, **few)
    search, _ = run(copying, tmp_path, swaps=one, **few)
    assert [row.configuration.name for row in search.rows if row.configuration.kind == "swap"] == ["one"]
    search, _ = run(copying, tmp_path, swaps=one | other, **few)
    assert all(row.select for row in search.rows)


def test_ctrl_c_leaves_with_130_and_says_how_to_go_on(
    copying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    original = evaluations_module.evaluate

    def interrupted(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(evaluations_module, "evaluate", interrupted)
    arguments = [
        "--recipient", str(copying / "recipient"), "--donor", str(copying / "donor"), "--bottom", "2", "--top", "0-1",
        "--select-on", "copying:0-9", "--metric", "acc", "--held-out", "0", "--controls", "1",
        "--include-path", str(copying / "tasks"),
        "-o", str(tmp_path / "out"), "--device", "cpu",
    ]  # fmt: skip
    stopped = CliRunner().invoke(sweep_command, arguments)
    assert stopped.exit_code == 130
    assert "run the same command again to go on" in stopped.output
    assert len(evaluations(tmp_path / "out")) == 2
    done = CliRunner().invoke(sweep_command, arguments)
    assert done.exit_code == 0, done.output
    assert "2 evaluations are done" in done.output
    assert "bottom=2 top=1 *" in done.output
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"documents.parquet", "sweep.json", "sweep.csv", "sweep.html", "heat_map.png", "layerswap.yml"} <= names
    assert not any(name.endswith(".part") for name in names)


def test_another_search_in_the_folder_is_refused_naming_what_differs(copying: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    save_copying_expert(root / "recipient", (0,), 1)
    save_copying_expert(root / "donor", (1,), 2)
    tasks = write_tasks(tmp_path / "tasks").parent
    few = {"swaps": {"one": {"layers": "0"}}, "select_on": "copying:0-9"}
    run(tasks, tmp_path / "out", root, **few)
    before = len(evaluations(tmp_path / "out"))
    with pytest.raises(UserError, match="batch_size was 8 and is 4"):
        run(tasks, tmp_path / "out", root, **few, batch_size=4)
    with pytest.raises(UserError, match="held_out was 0.0 and is 0.5"):
        run(tasks, tmp_path / "out", root, **few, held_out=0.5)
    with pytest.raises(UserError, match="documents was 0-9 and is 0-8"):
        run(tasks, tmp_path / "out", root, **few | {"select_on": "copying:0-8"})
    save_copying_expert(root / "donor", (1,), 3)
    with pytest.raises(UserError, match="models: donor: model.safetensors was .* and is"):
        run(tasks, tmp_path / "out", root, **few)
    save_copying_expert(root / "donor", (1,), 2)
    questions = tasks / "tasks" / "questions.jsonl"
    lines = questions.read_text("utf-8").split("\n")
    questions.write_text("\n".join([*lines[1:11], *lines[11:]]), "utf-8")
    with pytest.raises(UserError, match="tasks: select: copying: questions.jsonl was .*copying: content was"):
        run(tasks, tmp_path / "out", root, **few)
    assert len(evaluations(tmp_path / "out")) == before


def test_a_moved_pair_of_models_is_the_same_pair(tmp_path: Path, copying: Path) -> None:
    root = tmp_path / "models"
    save_copying_expert(root / "recipient", (0,), 1)
    save_copying_expert(root / "donor", (1,), 2)
    few = {"swaps": {"one": {"layers": "0"}}, "select_on": "copying:0-9"}
    run(copying, tmp_path / "out", root, **few)
    root.rename(tmp_path / "moved")
    _, said = run(copying, tmp_path / "out", tmp_path / "moved", **few)
    assert len(said) == 1


def test_a_swap_that_cannot_be_composed_is_named_and_the_search_goes_on(
    copying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = HFLayerSwap.compose

    def compose(lm: HFLayerSwap, parameters: Any) -> Any:
        if parameters.get("layers") == "1":
            raise UserError("its blend is not finite.")
        return original(lm, parameters)

    monkeypatch.setattr(HFLayerSwap, "compose", compose)
    swaps = {"one": {"layers": "0"}, "bad": {"layers": "1"}}
    few: dict[str, Any] = {"select_on": "copying:0-4", "swaps": swaps, "controls": 5}
    for _ in range(2):
        search, _ = run(copying, tmp_path, **few)
        assert search.best.configuration.name == "one"
        assert any(note.startswith("not evaluated: bad: its blend is not finite") for note in search.notes)
        assert any(note.startswith("not evaluated: control ") for note in search.notes)
    monkeypatch.setattr(HFLayerSwap, "compose", original)
    search, _ = run(copying, tmp_path, **few)
    assert all(row.select for row in search.rows)
    assert not any("not evaluated" in note for note in search.notes)


def test_an_evaluation_that_was_deleted_is_made_again(copying: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"swaps": {"one": {"layers": "0"}}, "space": {"bottom": "1-3"}, "trials": 2}
    whole, _ = run(copying, tmp_path, select_on="copying:0-4", **more)
    for path in (tmp_path / "evaluations").iterdir():
        path.unlink()
    search, _ = run(copying, tmp_path, select_on="copying:0-4", **more)
    assert outputs.as_json(search) == outputs.as_json(whole)
