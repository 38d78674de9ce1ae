"""Sweeps that are stopped and go on, and sweeps that may not go on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from turnswap.commands.sweep import sweep as sweep_command
from turnswap.core.errors import UserError
from turnswap.sweeps import evaluations as evaluations_module
from turnswap.sweeps import outputs
from turnswap.sweeps.ledger import open_ledger

from ..conftest import REPOSITORY
from .sweeping import copying, evaluations, own_tasks_alone, run, save_copying_expert, write_tasks

pytestmark = pytest.mark.slow

__all__ = ["copying", "own_tasks_alone"]  # fixtures

KILLED = """
import json, os, signal, sys
from lm_eval.tasks import TaskManager
from turnswap.sweeps import sweep
from turnswap.sweeps.settings import Settings
from pathlib import Path
sweep.open_manager = lambda s: TaskManager(include_path=s.include_path, include_defaults=False)
said = []
def say(line):
    said.append(line)
    if len(said) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
sweep.run(Settings.model_validate(json.loads(sys.argv[1])), Path(sys.argv[2]), say)
"""


def test_a_killed_sweep_goes_on_and_comes_to_the_same_results(copying: Path, tmp_path: Path) -> None:
    more = {"controls": 2, "report_on": "copying:30-59"}
    whole, _ = run(copying, tmp_path / "whole", **more)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, whole.settings.model_dump_json(), str(tmp_path / "out")],
        cwd=REPOSITORY, capture_output=True, text=True,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    ledger = tmp_path / "out" / "sweep.jsonl"
    assert len(evaluations(tmp_path / "out")) == 4
    with ledger.open("a", encoding="utf-8") as file:
        file.write('{"plan": "half a li')
    sweep, said = run(copying, tmp_path / "out", **more)
    assert "4 evaluations are done" in said[0]
    assert len(said) - 1 == len(evaluations(tmp_path / "whole")) - 4
    assert outputs.as_json(sweep) == outputs.as_json(whole)
    before = ledger.read_bytes()
    _, said = run(copying, tmp_path / "out", **more)
    assert len(said) == 1
    assert ledger.read_bytes() == before


def test_a_sweep_may_grow(copying: Path, tmp_path: Path) -> None:
    run(copying, tmp_path, grid={"bottom": "1", "top": "0-1"})
    done = len(evaluations(tmp_path))
    sweep, said = run(copying, tmp_path, grid={"bottom": "1-2", "top": "0-1"})
    assert len(said) - 1 == len(evaluations(tmp_path)) - done == 2
    assert len(sweep.rows) == 3 + 4


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
        "--select-on", "copying:0-9", "--metric", "acc", "--include-path", str(copying / "tasks"),
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
    assert {"sweep.jsonl", "sweep.json", "sweep.csv", "sweep.html", "heat_map.png", "layerswap.yml"} <= names
    assert not any(name.endswith(".part") for name in names)


def test_another_sweep_in_the_folder_is_refused_naming_what_differs(copying: Path, tmp_path: Path) -> None:
    root = tmp_path / "models"
    save_copying_expert(root / "recipient", (0,), 1)
    save_copying_expert(root / "donor", (1,), 2)
    tasks = write_tasks(tmp_path / "tasks").parent
    few = {"swaps": {"one": {"layers": "0"}}, "select_on": "copying:0-9"}
    run(tasks, tmp_path / "out", root, **few)
    before = (tmp_path / "out" / "sweep.jsonl").read_bytes()
    with pytest.raises(UserError, match="batch_size was 8 and is 4"):
        run(tasks, tmp_path / "out", root, **few, batch_size=4)
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
    assert (tmp_path / "out" / "sweep.jsonl").read_bytes() == before


def test_a_moved_pair_of_models_is_the_same_pair(tmp_path: Path, copying: Path) -> None:
    root = tmp_path / "models"
    save_copying_expert(root / "recipient", (0,), 1)
    save_copying_expert(root / "donor", (1,), 2)
    few = {"swaps": {"one": {"layers": "0"}}, "select_on": "copying:0-9"}
    run(copying, tmp_path / "out", root, **few)
    root.rename(tmp_path / "moved")
    _, said = run(copying, tmp_path / "out", tmp_path / "moved", **few)
    assert len(said) == 1


def test_two_sweeps_in_one_folder_at_once_are_refused(tmp_path: Path) -> None:
    with open_ledger(tmp_path, {"models": {}}):
        program = (
            "import sys; from pathlib import Path; from turnswap.sweeps.ledger import open_ledger\n"
            "with open_ledger(Path(sys.argv[1]), {'models': {}}): pass"
        )
        second = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True)
        assert second.returncode == 1
        assert "Another sweep is at work" in second.stderr
    with open_ledger(tmp_path, {"models": {}}) as ledger:
        assert ledger.resumed == 0


def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    path.write_text(json.dumps({"something": "else"}) + "\n", "utf-8")
    with pytest.raises(UserError, match="no sweep that this version can go on with"), open_ledger(tmp_path, {}):
        pass
    assert json.loads(path.read_text("utf-8")) == {"something": "else"}
