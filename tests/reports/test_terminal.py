"""``turnswap report`` in a terminal and as Markdown."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Turnswap, make_row, write_csv
from turnswap.reports.runs import Model
from turnswap.reports.sheets import title_of

from .evaluations import FOLLOWS, evaluate, follows_share
from .made import made


@pytest.fixture(scope="module")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluate(tmp_path_factory.mktemp("run"), "org/model", follows_share(0.6))


@pytest.fixture(scope="module")
def four_conversations(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversations 1 and 2 follow all, 3 follows the title alone (from turn 2 on), 4 nothing."""
    folder = tmp_path_factory.mktemp("four")
    data = write_csv(folder / "four.csv", [make_row(f"{n}:1:en") for n in (1, 2, 3, 4)])

    def reply(prompt: str) -> str:
        if "about 3:" in prompt:
            return "<<Title>>, and no more" if prompt.count("<user>") > 1 else "Nothing"
        return "Nothing, at all" if "about 4:" in prompt else FOLLOWS

    return evaluate(folder / "results", "org/four", reply, data=data, tasks=("multiif_en",))


def rows_of(markdown: str, title: str) -> dict[str, list[str]]:
    """The rows of one table by their first cell."""
    table = markdown.split(f"### {title}\n\n")[1].split("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    return {row[0]: row[1:] for row in cells}


def test_markdown_holds_hand_computed_figures(turnswap: Turnswap, four_conversations: Path) -> None:
    output = turnswap("report", four_conversations, "--format", "md").output
    # Overall in turn 1: 2 of 4 prompts and 2 of 4 instructions, strict and loose. Turn 2: 2 of 4 and 5 of 8.
    headline = rows_of(output, "Multi-IF, en")["org/four"]
    assert [cell.split()[0] for cell in headline[1:4]] == ["50.0", "56.2", "54.2"]
    assert headline[4] == "+4.2"
    moves = rows_of(output, "org/four: forgetting and correction")["en"]
    assert [cell.split()[0] for cell in moves] == ["0.0", "0.0", "50.0", "0.0"]
    followed = rows_of(output, "org/four: instructions followed (strict)")
    assert followed["detectable\\_format:title"] == ["50.0", "75.0", "75.0", "12"]
    assert followed["keywords:existence"] == ["–", "–", "50.0", "4"]


def test_every_language_and_both_means_are_rows(turnswap: Turnswap, sample_run: Path) -> None:
    output = turnswap("report", sample_run, "--format", "md").output
    rows = rows_of(output, "org/model: overall accuracy")
    assert list(rows) == ["en", "zh", "fr", "ru", "hi", "es", "it", "pt", "macro mean", "pooled"]
    (path,) = sample_run.rglob("results_*.json")
    group = json.loads(path.read_text("utf-8"))["groups"]["multiif"]
    assert rows["macro mean"][2].split()[0] == f"{100 * group['turn3_overall_acc,none']:.1f}"


def test_the_terminal_shows_the_same_with_the_signature_below(turnswap: Turnswap, sample_run: Path) -> None:
    output = turnswap("report", sample_run).output
    assert "Multi-IF, macro mean" in output
    assert "org/model: multiif:1.0|langs:en+zh+fr+ru+hi+es+it+pt|n:48/48|data:sample@" in output
    assert output.rstrip().splitlines()[-1].startswith("Warning: The backend does not tell")


def test_eighty_columns_are_enough(turnswap: Turnswap, sample_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    tables = [line for line in turnswap("report", sample_run).output.splitlines() if line.startswith("  ")]
    assert tables
    assert max(map(len, tables)) <= 80
    assert not any("…" in line for line in tables)


def test_a_file_takes_its_format_from_its_name(turnswap: Turnswap, sample_run: Path, tmp_path: Path) -> None:
    assert turnswap("report", sample_run, "-o", "new/folder/report.md").exit_code == 0
    assert (tmp_path / "new/folder/report.md").read_text("utf-8").startswith("### Multi-IF, macro mean\n")
    refused = turnswap("report", sample_run, "-o", "report.pdf")
    assert refused.exit_code == 1
    assert "report.pdf does not say which format" in refused.output


def test_a_partial_run_is_said_to_be_one(turnswap: Turnswap, tmp_path: Path) -> None:
    made = evaluate(tmp_path / "part", "org/part", follows_share(0.6), tasks=("multiif_en",), limit=2)
    output = turnswap("report", made).output
    assert "Warning: Not all conversations were run: 2 of 6 in en." in output
    assert "|n:2/6|" in output


def test_a_missing_extra_is_named_with_the_command_that_installs_it(
    turnswap: Turnswap, sample_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    refused = turnswap("report", sample_run, "-o", "report.html")
    assert refused.exit_code == 1
    assert "pip install 'turnswap[report]'" in refused.output


def test_a_title_tells_models_and_days() -> None:
    def model(name: str, when: float) -> Model:
        found = made(name, en=[(1, 1, 1)]).model
        return Model(name, {code: replace(run, when=when) for code, run in found.languages.items()})

    day = 86_400.0
    assert title_of("Multi-IF", [model("a", 0)]) == "Multi-IF: a"
    assert title_of("Multi-IF", [model("a", day), model("b", day + 60)]) == "Multi-IF: a, b, 1970-01-02"
    several = [model(name, day * number) for number, name in enumerate("abcdef", 1)]
    assert title_of("Board", several) == "Board: a, b, c, d, and 2 more, 1970-01-02 to 1970-01-07"
