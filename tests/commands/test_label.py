"""``turnswap label``: from a run's replies to labels, and what they say of the verdicts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import Command, Turnswap, make_row, write_csv
from tests.reports.evaluations import evaluate
from turnswap.construction.forms import as_csv, read_csv
from turnswap.construction.label_sheet import LABELS
from turnswap.core.journal import as_line

COMMA = "punctuation:no_comma"
LINE = {"language": "zh", "instruction_id": COMMA, "kwargs": {}, "reply": "雨，风"}


@pytest.fixture(scope="module")
def chinese_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four conversations; the first two get a reply with a Chinese comma."""
    folder = tmp_path_factory.mktemp("chinese")
    data = write_csv(folder / "zh.csv", [make_row(f"{n}:1:zh", "Chinese") for n in (1, 2, 3, 4)])

    def reply(prompt: str) -> str:
        number = next(n for n in (1, 2, 3, 4) if f"about {n}:" in prompt)
        comma = "，" if number < 3 else " "
        return f"<<标题{number}>>\n\n今天下雨{comma}rain {len(prompt)}"

    return evaluate(folder / "results", "org/zh", reply, data=data, tasks=("multiif_zh",))


def answer(folder: Path, reader: str, says: Mapping[str, str]) -> Path:
    """A reader who looks for a Chinese comma, and says yes to all else; ``says`` by key goes before."""
    rows = read_csv(LABELS, (folder / "labels.csv").read_bytes(), "labels.csv")
    for row in rows:
        comma = row["question"].startswith("No comma") and "，" in row["reply"]
        row |= {"decision": says.get(row["key"], "no" if comma else "yes"), "reviewer": reader}
    path = folder.parent / f"{reader}.csv"
    path.write_bytes(as_csv(rows, LABELS.columns).encode("utf-8-sig"))
    return path


def test_from_the_replies_of_a_run_to_labels_and_what_they_say(
    run_command: Command, chinese_run: Path, tmp_path: Path
) -> None:
    made = run_command("turnswap", "label", "make", chinese_run, "--language", "zh", "-o", "sheet", "-n", 12)
    assert made.returncode == 0, made.stderr
    assert "12 of 24 replies; on 3 the published and the corrected verdict differ." in made.stdout
    sheet = tmp_path / "sheet"
    first = json.loads((sheet / "sampling.json").read_text("utf-8"))["pairs"][0]
    assert first["source"].startswith("org/zh, ")
    assert first["prompts"][0].startswith("Write about")
    assert "Mention rain" in (sheet / "labels.html").read_text("utf-8")
    files = [answer(sheet, "asha", {}), answer(sheet, "ravi", {"1": "no", "2": "cannot tell"})]
    read = run_command("turnswap", "label", "read", "sheet", *files, "-o", "zh.jsonl", COLUMNS=150)
    assert read.returncode == 0, read.stderr
    assert "10 labels of 2 readers: zh.jsonl. Left out: 2 on which readers disagree" in read.stdout
    assert "Readers disagree" in read.stdout
    assert len((tmp_path / "zh.jsonl").read_text("utf-8").splitlines()) == 10
    shown = run_command("turnswap", "label", "agreement", "zh.jsonl", "-o", "zh.md")
    assert shown.returncode == 0, shown.stderr
    text = (tmp_path / "zh.md").read_text("utf-8").replace("\\", "")
    # What both readers say of three Chinese commas the corrected rules alone say too.
    assert "| zh | 10 | 7 · 70 % [40, 89] | 10 · 100 % [72, 100] |" in text
    assert "Weighed by how many replies each stands for" in text
    assert "| no_comma | zh |" in text


def test_of_one_reader_it_says_that_agreement_is_not_known(turnswap: Turnswap, tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").write_text(as_line(LINE) + as_line({**LINE, "reply": "雨"}), "utf-8")
    assert turnswap("label", "make", "replies.jsonl", "--language", "zh", "-o", "sheet").exit_code == 0
    read = turnswap("label", "read", "sheet", answer(tmp_path / "sheet", "asha", {}), "-o", "zh.jsonl")
    assert read.exit_code == 0, read.output
    assert "2 labels of 1 reader" in read.output
    assert "One reader alone" in read.output
    assert "Languages of Multi-IF without labels here: en, fr, ru, hi, es, it, pt." in read.output
    table = turnswap("label", "agreement", "zh.jsonl", "--format", "md").output.replace("\\", "")
    assert "| zh | 2 | 1 · 50 % [9, 91] | 2 · 100 % [34, 100] |" in table
    assert "Weighed" not in table


def test_replies_on_which_readers_and_corrected_verdicts_differ_are_shown(turnswap: Turnswap, tmp_path: Path) -> None:
    labels = [{**LINE, "reader": True, "why": ["a list comma is none"]}, {**LINE, "reply": "雨", "reader": True}]
    (tmp_path / "zh.jsonl").write_text("".join(map(as_line, labels)), "utf-8")
    shown = turnswap("label", "agreement", "zh.jsonl", "--format", "md").output.replace("\\", "")
    assert "| no_comma | zh | yes | a list comma is none | 雨，风 |" in shown
    assert "| no_comma | zh | 2 | 2 · 100 % [34, 100] | 1 · 50 % [9, 91] | worse |" in shown


def test_a_sheet_can_ask_in_other_words(turnswap: Turnswap, tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").write_text(as_line(LINE), "utf-8")
    (tmp_path / "zh.toml").write_text(f'[instructions]\n"{COMMA}" = "没有逗号"', "utf-8")
    made = turnswap("label", "make", "replies.jsonl", "--language", "zh", "-o", "sheet", "--words", "zh.toml")
    assert made.exit_code == 0, made.output
    assert "没有逗号: does this reply follow it?" in (tmp_path / "sheet" / "labels.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("make", "replies.jsonl", "--language", "hi", "-o", "s"), "There is no reply in hi. There are some in: zh"),
        (("make", "replies.jsonl", "--language", "Chinese", "-o", "s"), "'Chinese' is no code of a language"),
        (("make", "nowhere", "--language", "zh", "-o", "s"), "nowhere"),
        (("make", "blank.jsonl", "--language", "zh", "-o", "s"), "No reply in zh can be labelled"),
        (("read", "nowhere", "replies.jsonl", "-o", "x.jsonl"), "sampling.json cannot be read"),
        (("read", "nowhere", "replies.jsonl", "-o", "x.csv"), "x.csv is no .jsonl file"),
        (("agreement", "replies.jsonl"), "replies.jsonl, line 1, is no label: reader"),
        (("agreement", "empty.jsonl"), "There is no label"),
        (("agreement", "none.jsonl"), "none.jsonl cannot be read: No such file or directory."),
        (("agreement", "asha.csv"), "asha.csv is a reader's CSV. Run turnswap label read first"),
    ],
)
def test_mistakes_are_told_in_words(turnswap: Turnswap, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    (tmp_path / "replies.jsonl").write_text(as_line(LINE), "utf-8")
    (tmp_path / "blank.jsonl").write_text(as_line({**LINE, "reply": " "}), "utf-8")
    (tmp_path / "empty.jsonl").touch()
    refused = turnswap("label", *arguments)
    assert refused.exit_code == 1
    assert said in " ".join(refused.output.split())
    assert "Traceback" not in refused.output


def test_a_sheet_without_answers_gives_no_labels(turnswap: Turnswap, tmp_path: Path) -> None:
    (tmp_path / "replies.jsonl").write_text(as_line(LINE), "utf-8")
    turnswap("label", "make", "replies.jsonl", "--language", "zh", "-o", "sheet")
    refused = turnswap("label", "read", "sheet", "sheet/labels.csv", "-o", "zh.jsonl")
    assert refused.exit_code == 1
    assert "The readers agree on no reply." in refused.output
    assert not (tmp_path / "zh.jsonl").exists()


def test_results_without_samples_hold_no_replies(turnswap: Turnswap, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "zh.csv", [make_row("1:1:zh", "Chinese")])
    bare = evaluate(tmp_path / "bare", "org/bare", lambda _: "雨", data=data, tasks=("multiif_zh",), log_samples=False)
    refused = turnswap("label", "make", bare, "--language", "zh", "-o", "sheet")
    assert refused.exit_code == 1
    assert "--log_samples" in refused.output
