"""Published and corrected verdicts side by side: in a terminal's tables, on the page, and as a tidy table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import Turnswap, make_row, write_csv
from turnswap.reports import two_sets
from turnswap.tasks.multiif.corrected import rules_in_use
from turnswap.tasks.multiif.corrected.agreement import Agreement

from .evaluations import evaluate
from .test_terminal import rows_of

# Title, no comma, the word rain: the Chinese comma is one by the corrected rules alone.
WITH_COMMA = "<<标题>>\n\n今天下雨，rain"
WITHOUT = "<<标题>>\n\n今天下雨 rain"


@pytest.fixture(scope="module")
def chinese_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four conversations in Chinese; the first two get a reply with a Chinese comma. One slot none can follow."""
    folder = tmp_path_factory.mktemp("chinese")
    rows = [make_row(f"{n}:1:zh", "Chinese") for n in (1, 2, 3, 4)]
    ids = [*json.loads(rows[3]["turn_3_instruction_id_list"]), "length_constraints:number_words"]
    kwargs = [*json.loads(rows[3]["turn_3_kwargs"]), json.dumps({"num_words": 1, "relation": "less than"})]
    rows[3] |= {"turn_3_instruction_id_list": json.dumps(ids), "turn_3_kwargs": json.dumps(kwargs)}
    data = write_csv(folder / "zh.csv", rows)

    def reply(prompt: str) -> str:
        return WITH_COMMA if "about 1:" in prompt or "about 2:" in prompt else WITHOUT

    return evaluate(
        folder / "results", "org/zh", reply, data=data, tasks=("multiif_zh",), metadata={"verdicts": "both"}
    )


def test_markdown_tells_where_the_two_sets_differ(turnswap: Turnswap, chinese_run: Path) -> None:
    output = turnswap("report", chinese_run, "--format", "md").output
    differing = rows_of(output, "org/zh: verdicts that differ")
    # No comma is asked for in turns 2 and 3 of every conversation: half of the replies hold a Chinese one.
    assert differing == {
        "punctuation:no\\_comma": ["zh", "8", "0", "4", "0", "100.0", "50.0"],
        "length\\_constraints:number\\_words": ["zh", "1", "0", "0", "1", "0.0", "–"],
    }
    figures = rows_of(output, "org/zh: published and corrected verdicts")["zh"]
    assert figures[:6] == [
        "100.0",
        "100.0",
        "+0.0",
        "100.0",
        "81.2",
        "-18.8",
    ]  # strict 1/2 and 6/8; without the last line, loosely all
    assert "4 of 25 strict verdicts differ." in output
    assert f"|corrected:{rules_in_use()}|" in output
    assert "Without readers' labels: zh." in output.replace("\\", "")


def test_languages_whose_replies_readers_have_labelled_are_not_named(
    turnswap: Turnswap, chinese_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(two_sets, "measured", lambda: Agreement("", {"zh": {}}, {}))
    assert "Without readers' labels" not in turnswap("report", chinese_run, "--format", "md").output


def test_what_the_run_logged_is_what_the_report_grades_again(
    turnswap: Turnswap, chinese_run: Path, tmp_path: Path
) -> None:
    (path,) = chinese_run.rglob("results_*.json")
    content = json.loads(path.read_text("utf-8"))
    assert content["configs"]["multiif_zh"]["metadata"]["corrected_rules"] == rules_in_use()
    logged = content["results"]["multiif_zh"]
    assert logged["turn3_unsatisfiable_corrected,none"] == 1
    made = turnswap("table", chinese_run, "--corrected", "-o", "table.csv")
    assert made.exit_code == 0, made.output
    frame = pd.read_csv(tmp_path / "table.csv")
    corrected = frame[frame["metric"].str.endswith("_corrected")]
    assert set(corrected["corrected"]) == {rules_in_use()}
    checked = 0
    for row in corrected.dropna(subset="turn").itertuples():
        assert row.value == pytest.approx(logged[f"turn{int(row.turn)}_{row.metric},none"], nan_ok=True)
        checked += 1
    assert checked == 3 * 5 + 2 * 4
    published = frame[~frame["metric"].str.endswith("_corrected")]
    assert published["corrected"].isna().all()
    assert not published["signature"].str.contains("corrected").any()


def test_the_page_finds_the_replies_on_which_they_differ(open_report: Any, chinese_run: Path) -> None:
    opened = open_report(chinese_run)
    page = opened.page
    assert "4 of 25 strict verdicts differ." in page.inner_text("section[aria-labelledby=two-sets]")
    assert opened.choose(verdict="the two sets differ") == 3  # two with a comma, one with a slot none can follow
    assert opened.choose(instruction="punctuation:no_comma") == 2
    page.click("#list button")
    page.wait_for_selector(".said.reply")
    assert "corrected: ✗ strict ✓ loose" in page.locator(".verdicts").nth(1).inner_text()
    assert opened.choose(verdict="passed") == 4
    assert opened.choose(kind="strict, corrected") == 2
    assert opened.choose(verdict="failed") == 2
    assert opened.choose(kind="loose, corrected") == 0
    assert opened.choose(kind="strict, corrected", verdict="any", instruction="length_constraints:number_words") == 1
    assert opened.choose(verdict="failed") == 0  # a slot that no reply can follow is neither
    page.fill("[name=key]", "4:1:zh")
    assert opened.choose(verdict="any") == 1
    page.click("#list button")
    page.wait_for_selector('#list button[aria-current="true"]')
    assert "corrected: no reply can follow it" in page.locator(".verdicts").nth(2).inner_text()
    assert opened.complaints == []


def test_replies_that_were_changed_afterwards_give_no_corrected_figures(
    turnswap: Turnswap, chinese_run: Path, tmp_path: Path
) -> None:
    changed = shutil.copytree(chinese_run, tmp_path / "changed")
    (samples,) = changed.rglob("samples_multiif_zh_*.jsonl")
    text = samples.read_text("utf-8")
    assert "rain" in text
    samples.write_text(text.replace(json.dumps(WITHOUT, ensure_ascii=False), json.dumps("No.")), "utf-8")
    refused = turnswap("table", changed, "--corrected", "-o", "table.csv")
    assert refused.exit_code == 1
    assert "grades the replies, and" in refused.output
    assert not (tmp_path / "table.csv").exists()


def test_without_samples_corrected_figures_are_refused_with_words(turnswap: Turnswap, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "zh.csv", [make_row("1:1:zh", "Chinese")])
    bare = evaluate(
        tmp_path / "bare", "org/bare", lambda _: WITHOUT, data=data, tasks=("multiif_zh",), log_samples=False
    )
    refused = turnswap("table", bare, "--corrected", "-o", "table.csv")
    assert refused.exit_code == 1
    assert "--log_samples" in refused.output
    assert turnswap("table", bare, "-o", "table.csv").exit_code == 0
