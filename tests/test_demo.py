"""The demo: that its commands are real, that its first screen is true, and that its folding hides no error."""

from __future__ import annotations

import csv
import json
import os
import re
import runpy
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from .conftest import REPOSITORY
from .docs.commands import Command, check

SCRIPT = REPOSITORY / ".ci" / "demo.py"
DEMO: dict[str, Any] = runpy.run_path(str(SCRIPT))
COMMANDS = {fast: [command for _, commands in DEMO["steps"](fast) for command in commands] for fast in (True, False)}
ALL = sorted({command for commands in COMMANDS.values() for command in commands})


def words_of(command: str) -> list[str]:
    return DEMO["typed"](command)[1]


@pytest.mark.parametrize("command", [command for command in ALL if not command.startswith("trl ")])
def test_the_real_parsers_take_every_command(command: str) -> None:
    check(Command(page=".ci/demo.py", line=1, text=command, whole=True))


def test_the_demos_own_conversations_are_asked_and_the_samples_kept() -> None:
    runs = [DEMO["typed"](command) for command in ALL if " lm_eval " in command]
    assert len(runs) == 4  # two models, in both sizes of the demo
    for settings, words in runs:
        assert settings == {"TURNSWAP_MULTIIF": "configs/experts/conversations.csv"}
        assert "--log_samples" in words


def test_as_many_conversations_are_asked_as_the_screen_says() -> None:
    with (REPOSITORY / "configs/experts/conversations.csv").open(encoding="utf-8", newline="") as file:
        languages = Counter(row["language"] for row in csv.DictReader(file))
    assert languages == {"English": DEMO["CONVERSATIONS"], "Spanish": DEMO["CONVERSATIONS"]}


@pytest.mark.parametrize("command", [command for command in ALL if command.startswith("trl ")])
def test_trl_knows_all_its_options(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl", reason="needs TRL, of the extra demo")
    from trl.scripts.sft import make_parser

    monkeypatch.chdir(REPOSITORY)
    *_, rest = make_parser().parse_args_and_config(words_of(command)[2:], return_remaining_strings=True)
    assert [word for word in rest if "max_steps" in word] == []  # what is left over is for the launcher


def test_files_that_commands_name_exist() -> None:
    named = {word for command in ALL for word in words_of(command) if word.startswith("configs/")}
    assert len(named) == 4
    assert [name for name in named if not (REPOSITORY / name).is_file()] == []


@pytest.mark.parametrize("fast", [True, False])
def test_the_first_screen_says_the_steps_and_what_they_take_before_anything_is_done(fast: bool, tmp_path: Path) -> None:
    arguments = [sys.executable, "-I", str(SCRIPT), "--plan", *(["--fast"] if fast else [])]
    shown = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  \d\. (.*)$", shown, re.M) == [title for title, _ in DEMO["steps"](fast)]
    assert f"about {DEMO['FAST_MINUTES' if fast else 'MINUTES']} minutes on 2 cores" in shown
    assert all(DEMO[what] in shown for what in ("DOWNLOAD", "DISK", "MEMORY"))
    assert list(tmp_path.iterdir()) == []


def test_log_lines_are_folded_by_kind_and_counted() -> None:
    shown = DEMO["Shown"].new()
    lines = [f"2026-11-27:04:30:0{n} WARNING [api.task:21{n}] {n} of 'x{n}' are long" for n in range(5)]
    lines += [f"2026-11-27:04:30:0{n} INFO [evaluator:{n}] at work" for n in range(7)]
    assert [shown.take(line) for line in lines] == [None] * 12
    assert shown.folded("6.log") == [f"5 × {lines[0]}", "7 INFO lines: 6.log"]


@pytest.mark.parametrize(
    "line",
    ["2026-11-27:04:30:01 ERROR [x:1] no such task", "ValueError: no", "torch.OutOfMemoryError: no", "|Tasks|Value|"],
)
def test_errors_and_tables_are_shown_every_time(line: str) -> None:
    shown = DEMO["Shown"].new()
    assert [shown.take(line), shown.take(line)] == [line, line]


def test_everything_of_a_traceback_is_shown() -> None:
    shown = DEMO["Shown"].new()
    trace = [
        "Traceback (most recent call last):",
        '  File "x.py", line 1, in <module>',
        "    INFO = 1",
        "KeyError: 'a'",
    ]
    assert [shown.take(line) for line in trace] == trace


@pytest.mark.parametrize(
    ("text", "progress"),
    [
        (" 57%|█████▋    | 156/272 [00:02<00:01, 75.8it/s]", "57 % (156/272)"),
        ("{'loss': '2.317', 'grad_norm': '4.1'}", "loss 2.317"),
        ("{'loss': 2.317, 'grad_norm': 4.1}", "loss 2.317"),
        ("anything else", None),
    ],
)
def test_progress_is_read_from_bars_and_from_training(text: str, progress: str | None) -> None:
    assert DEMO["progress_of"](text) == progress


def test_a_command_that_fails_names_its_full_log(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log, failing = tmp_path / "1.log", tmp_path / "failing.py"
    failing.write_text("print('INFO a\\nERROR b'); raise SystemExit(3)")
    with pytest.raises(SystemExit, match="exit status 3. Its full log: .*1.log"):
        DEMO["run"](f"{sys.executable} {failing}", log, 0.0)
    assert "ERROR b" in capsys.readouterr().out
    assert "INFO a\nERROR b" in log.read_text("utf-8")


def test_a_folder_that_the_demo_did_not_make_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "demo-output").mkdir()
    (tmp_path / "demo-output" / "mine.txt").write_text("kept")
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=os.environ)
    assert done.returncode != 0
    assert "was not made by this demo" in done.stderr
    assert (tmp_path / "demo-output" / "mine.txt").read_text() == "kept"


def test_the_last_screen_says_lm_evals_own_figures_in_five_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    found = {f"turn{turn}_overall_acc,none": turn / 10 for turn in (1, 2, 3)}
    found |= {f"turn{turn}_truncated,none": turn for turn in (1, 2, 3)} | {"turn1_overall_acc_completed,none": 9.0}
    for model in DEMO["NAMES"]:
        folder = tmp_path / "demo-output" / f"results-{model}" / "of"
        folder.mkdir(parents=True)
        content = {"results": {"multiif_en": found, "multiif_es": found}}
        (folder / "results_1.json").write_text(json.dumps(content))
    said = DEMO["ending"](False)
    assert len(said.splitlines()) == 5
    assert "turns: english-expert 20 % and 20 %; swap 20 % and 20 %" in said
    assert "cut at 96 tokens: english-expert 12, swap 12" in said
    assert "24 conversations of ours per language" in said


def test_of_lm_evals_table_the_main_rows_are_shown_and_the_others_counted() -> None:
    shown = DEMO["Shown"].new()
    row = "|          |       |none  |     0|{:25}|↑  |0.3333|±  |0.2108|".format
    main, others = [row("turn1_overall_acc"), row("turn2_forgetting")], [row("turn1_inst_loose_acc"), row("seconds")]
    assert [shown.take(line) for line in (*main, *others)] == [*main, None, None]
    assert shown.folded("6.log") == ["2 more rows of the table: 6.log"]
