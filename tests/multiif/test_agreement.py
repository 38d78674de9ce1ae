"""How far verdicts agree with readers' labels, and what each correction changes."""

from __future__ import annotations

import gzip
import json
import runpy
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import REPOSITORY, SHARED
from turnswap.core.errors import UserError
from turnswap.tasks.multiif.corrected import agreement, measured, rules_in_use
from turnswap.tasks.multiif.corrected.agreement import Agreement, Cell, Share, as_json, judge, measure
from turnswap.tasks.multiif.corrected.corrections import Correction, corrections
from turnswap.tasks.multiif.corrected.labels import Label, read_labels
from turnswap.tasks.multiif.dataset import LANGUAGES
from turnswap.tasks.multiif.instructions import INSTRUCTIONS
from turnswap.tasks.multiif.instructions.spec import Asked
from turnswap.tasks.multiif.task import MultiIF

READ = SHARED / "reader_labels_dev.jsonl.gz"
COMMA = "punctuation:no_comma"


def label(reply: str, reader: bool, language: str = "zh", id_: str = COMMA) -> Label:
    return Label(language, id_, {}, reply, reader)


def test_wilsons_interval_is_the_published_one() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    for right, n, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611)):
        assert Share(right, n).interval == pytest.approx((low, high), abs=5e-5)
    assert Share(12, 12).interval == pytest.approx((0.7575, 1), abs=5e-5)
    assert str(Share(12, 12)) == "100 % [76, 100]"
    assert (str(Share(0, 0)), Share(0, 0).interval) == ("–", (0, 1))


def test_cells_count_the_verdicts_that_say_what_readers_say() -> None:
    # The published rule takes no Chinese comma for one.
    found = measure([judge(each) for each in (label("雨，风", False), label("雨", True), label("a, b", False, "en"))])
    assert found.cells == {"en": {COMMA: Cell(1, 1, 1)}, "zh": {COMMA: Cell(2, 1, 2)}}
    assert (found.of(), found.of("zh"), found.of(None, COMMA)) == (Cell(3, 2, 3), Cell(2, 1, 2), Cell(3, 2, 3))
    assert found.of("hi") == Cell()
    assert found.rules == rules_in_use()
    assert found.unlabelled(["en", "hi", "zh", "it"]) == ["hi", "it"]
    assert found.worse() == []
    worse = measure([judge(label("雨，风", True)), judge(label("雨", True))])
    assert worse.worse() == [("zh", COMMA, Cell(2, 2, 1))]


def test_a_correction_counts_where_switching_it_off_changes_the_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rules of our own: one decides by itself, the other changes nothing."""
    rules = tuple(Correction(name, (COMMA,), ("all",), "", "", ()) for name in ("chinese", "idle"))
    monkeypatch.setattr(agreement, "corrections", lambda: rules)

    def check(reply: str, asked: Asked) -> bool:
        return "," not in reply and not (asked.by("chinese") and "，" in reply)

    monkeypatch.setitem(INSTRUCTIONS, COMMA, replace(INSTRUCTIONS[COMMA], corrected=check))
    judged = [
        judge(each) for each in (label("雨，风", False), label("雪，风", True), label("雨", True), label(",，", False))
    ]
    assert [each.changed_by for each in judged] == [("chinese",), ("chinese",), (), ()]
    assert measure(judged).changes == {"chinese": Share(1, 2), "idle": Share(0, 0)}


def test_the_counts_survive_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Agreement("1,icu:1", {"zh": {COMMA: Cell(2, 1, 2)}, "pt-br": {COMMA: Cell(1, 0, 0)}}, {"a": Share(1, 2)})
    (tmp_path / agreement.FILE).write_text(as_json(found), "utf-8")
    monkeypatch.setattr(agreement, "files", lambda _: tmp_path)
    assert measured.__wrapped__() == found


def test_prompts_of_a_label_reach_the_check() -> None:
    prompt = "介绍一下你的周末，至少10个词。"
    words = {"num_words": 10, "relation": "at least"}
    one = Label("zh", "length_constraints:number_words", words, "今天天气很好，我们去公园散步。", False)
    assert judge(one).corrected is True
    assert judge(replace(one, prompts=(prompt,))).corrected is False


GOOD: dict[str, Any] = {"language": "zh", "instruction_id": COMMA, "kwargs": {}, "reply": "雨", "reader": True, "n": 3}


def written(path: Path, *lines: Mapping[str, Any] | str) -> Path:
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


@pytest.mark.parametrize("name", ["labels.jsonl", "labels.jsonl.gz"])
def test_a_file_of_labels_is_read_plain_and_compressed(tmp_path: Path, name: str) -> None:
    path = written(tmp_path / name, GOOD, {**GOOD, "why": ["one", "two"], "weight": 2.5, "source": "x"})
    assert read_labels(path) == [label("雨", True), replace(label("雨", True), why=("one", "two"), weight=2.5)]


def test_a_byte_order_mark_before_the_labels_is_none_of_them(tmp_path: Path) -> None:
    (tmp_path / "labels.jsonl").write_text(json.dumps(GOOD), "utf-8-sig")
    assert read_labels(tmp_path / "labels.jsonl") == [label("雨", True)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ({**GOOD, "reader": "yes"}, "line 2, is no label: reader"),
        ({**GOOD, "instruction_id": "no:such"}, "line 2, is no label: "),
        ({**GOOD, "kwargs": {"n": 1}}, "unknown kwarg 'n'"),
        ({**GOOD, "weight": 0}, "weight"),
        ({"n": 1}, "language"),
        ("{", "line 2, is broken JSON"),
    ],
)
def test_what_is_no_label_is_refused_with_its_line(tmp_path: Path, line: Mapping[str, Any] | str, words: str) -> None:
    with pytest.raises(UserError, match=r"labels\.jsonl") as refused:
        read_labels(written(tmp_path / "labels.jsonl", GOOD, line))
    assert words in str(refused.value)


def test_a_file_that_is_not_there_or_damaged_is_refused(tmp_path: Path) -> None:
    (tmp_path / "damaged.jsonl.gz").write_bytes(b"no gzip")
    for name in ("none.jsonl", "damaged.jsonl.gz"):
        with pytest.raises(UserError, match=f"{name} cannot be read"):
            read_labels(tmp_path / name)


# ------------------------------------------------------------------------------- what is committed, and shown


def test_the_committed_counts_are_those_of_the_labels() -> None:
    if not READ.exists():
        pytest.skip(f"compares with readers' labels, which are not here: {READ}")
    found = measure([judge(each) for each in read_labels(READ)])
    # With other versions of the libraries the counts may stand as they are.
    found = replace(found, rules=measured().rules)
    assert as_json(found) == as_json(measured()), (
        f"python docs/scripts/corrected.py --labels {READ} > docs/reference/corrected.md"
    )


def test_the_page_opens_with_every_language_and_shows_what_each_correction_did(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (correction.name for correction in corrections()[:2])
    found = Agreement("9,icu:1", {"zh": {COMMA: Cell(4, 4, 3)}}, {first: Share(12, 12), second: Share(0, 1)})
    monkeypatch.setattr(agreement, "measured", lambda: found)
    page = runpy.run_path(str(REPOSITORY / "docs" / "scripts" / "corrected.py"))["page"]()
    assert "| zh | 4 | 4 · 100 % [51, 100] | 3 · 75 % [30, 95] |" in page
    assert f"without labels: {', '.join(code for code in LANGUAGES if code != 'zh')}." in page
    assert f"- zh, `{COMMA}`: published 4 of 4, corrected 3." in page
    assert f"\n| [{first}](#{first}) | 12 of 12: 100 % [76, 100] |" in page
    assert f"\n| [{second}](#{second}) | 0 of 1: 0 % [0, 79] |" in page


def test_the_counts_are_taken_anew_from_files_of_labels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path / "a.jsonl", {**GOOD, "language": "hi"})
    written(tmp_path / "b.jsonl", GOOD)
    monkeypatch.setattr(agreement, "__file__", str(tmp_path / "agreement.py"))
    monkeypatch.setattr(sys, "argv", ["corrected.py", "--labels", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")])
    runpy.run_path(str(REPOSITORY / "docs" / "scripts" / "corrected.py"), run_name="__main__")
    assert capsys.readouterr().out.startswith("# Corrected verdicts")
    counts = json.loads((tmp_path / agreement.FILE).read_text("utf-8"))
    assert counts["cells"] == {f"hi {COMMA}": [1, 1, 1], f"zh {COMMA}": [1, 1, 1]}


@pytest.mark.parametrize(("language", "named"), [("Hindi", ["hi"]), ("French", [])])
def test_results_name_the_languages_without_labels(language: str, named: list[str]) -> None:
    task = MultiIF(config={"task": "multiif_x", "dataset_name": language, "metadata": {"multiif_data": "sample"}})
    assert task.config.metadata["corrected_unlabelled"] == named
