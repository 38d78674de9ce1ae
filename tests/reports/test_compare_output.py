"""What ``turnswap compare`` writes, and where; and names of models that would act."""

from __future__ import annotations

import json
import re
from html import escape
from pathlib import Path

import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt

from tests.conftest import Turnswap, read_results
from turnswap.commands.main import main

from .compared import one_and_other, refused, replies
from .evaluations import evaluate

EVIL = "[red]x[/red]|`y`\n<b>\x1b[31m\u202e*z*"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    english = one_and_other(folder)
    evaluate(folder / "short", "org/short", replies(), **english, gen_kwargs="max_gen_toks=64")
    evaluate(folder / "evil", EVIL, replies(), **english)
    return folder


@pytest.mark.parametrize("name", ["c.md", "new/c.json"])
def test_the_files_name_says_the_format(name: str, runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    found = turnswap("compare", runs / "one", runs / "other", "-o", tmp_path / name)
    assert found.exit_code == 0, found.output
    text = (tmp_path / name).read_text("utf-8")
    if name.endswith("json"):
        assert json.loads(text)["a"]["model"] == "org/one"
    else:
        assert "| language | turn | A | B |" in text
        assert "`A org/one: multiif:1.0|langs:en|n:24/24|" in text


def test_a_file_name_without_a_format_is_refused(runs: Path, turnswap: Turnswap) -> None:
    assert ".md, .json" in refused(turnswap("compare", runs / "one", runs / "other", "-o", "c.txt"))


def test_text_for_a_terminal_can_be_written_into_a_new_folder(runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    found = turnswap("compare", runs / "one", runs / "other", "--format", "terminal", "-o", "new/c.txt")
    assert found.exit_code == 0, repr(found.exception)
    assert "org/other" in (tmp_path / "new/c.txt").read_text("utf-8")


def test_a_hostile_name_is_shown_inertly_in_the_terminal(runs: Path) -> None:
    assert read_results(runs / "evil")["model_name"] == EVIL
    for command in (["compare", runs / "one", runs / "evil"], ["report", runs / "evil"]):
        found = CliRunner().invoke(main, [*map(str, command), "--resamples", "300"], color=True)
        assert found.exit_code == 0, repr(found.exception)
        assert "[red]x[/red]|" in found.output
        assert not re.findall("\x1b\\[31m|\u202e", found.output), command


def test_a_hostile_name_is_shown_inertly_in_an_error(runs: Path) -> None:
    arguments = ["compare", str(runs / "short"), str(runs / "evil")]
    found = CliRunner().invoke(main, arguments, color=True)
    assert "not comparable" in found.stderr
    assert "\x1b" not in found.stderr


def test_a_hostile_name_is_shown_inertly_in_markdown(runs: Path, turnswap: Turnswap) -> None:
    shown = escape(EVIL.encode("unicode_escape").decode(), quote=False)
    for command in (("compare", runs / "one", runs / "evil"), ("report", runs / "evil")):
        rendered = as_github_does(turnswap(*command, "--format", "md").stdout)
        assert f"{shown}: instructions followed" in rendered or f"B {shown} against A" in rendered
        assert not re.search("<(b|em|del|s|a)>|\x1b|\u202e", rendered)
        cells = [line.count("<td") for line in re.sub("\n(?!<tr>)", "", rendered).splitlines() if "<td" in line]
        assert set(cells) <= {4, 5, 6, 8, 10}  # no row was split by a | or a line break


def test_tildes_in_a_name_strike_nothing_out(runs: Path, turnswap: Turnswap) -> None:
    rendered = as_github_does(turnswap("report", f"~~old~~={runs / 'one'}", "--format", "md").stdout)
    assert "<s>" not in rendered
    assert "~~old~~" in rendered


def as_github_does(markdown: str) -> str:
    return MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown)  # type: ignore[no-any-return]
