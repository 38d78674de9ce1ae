"""Slots that a file names are left out of the corrected figures alone, and the figures' rules say so."""

from __future__ import annotations

import csv
import hashlib
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_row, write_csv
from turnswap.core.errors import UserError
from turnswap.tasks.multiif.corrected import rules_in_use
from turnswap.tasks.multiif.left_out import read_left_out
from turnswap.tasks.multiif.metrics import ratios
from turnswap.tasks.multiif.task import MultiIF
from turnswap.tasks.multiturn import Reply

REPLIES = [Reply("No title here, alas."), Reply("<<Rain>> falls, as they say."), Reply("<<Rain>> and rain.")]


def task(data: Path, **metadata: Any) -> MultiIF:
    more = {"multiif_data": str(data), "verdicts": "both", **metadata}
    return MultiIF(config={"task": "multiif_en", "dataset_name": "English", "metadata": more})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_csv(tmp_path / "data.csv", [make_row("1:1:en"), make_row("2:1:en"), make_row("1:1:fr", "French")])


def audit(tmp_path: Path, *rows: str, head: str = "key,turn,position") -> Path:
    path = tmp_path / "audit.csv"
    path.write_text("\n".join([head, *rows]) + "\n", "utf-8")
    return path


def test_a_slot_is_left_out_from_its_turn_on_in_its_conversation_alone(data: Path, tmp_path: Path) -> None:
    plain, without = task(data), task(data, leave_out=str(audit(tmp_path, "1:1:en,2,2")))
    first, second = without.docs
    before, after = plain.grade(first, REPLIES), without.grade(first, REPLIES)
    assert {name: after[name] for name in before if "corrected" not in name and name != "verdicts"} == {
        name: before[name] for name in before if "corrected" not in name and name != "verdicts"
    }
    for turn, left, size in ((1, 0, 1), (2, 1, 2), (3, 1, 3)):
        assert before[f"turn{turn}_inst_strict_acc_corrected"][1] == size
        assert after[f"turn{turn}_inst_strict_acc_corrected"][1] == size - left
        assert after[f"turn{turn}_unsatisfiable_corrected"] == left
    marks = [[turn[rules] for turn in after["verdicts"][0]] for rules in ("published", "corrected")]
    assert [[mark.isupper() for mark in turn] for turn in marks[0]] == [[True], [True] * 2, [True] * 3]
    assert [[mark.isupper() for mark in turn] for turn in marks[1]] == [[True], [True, False], [True, False, True]]
    assert without.grade(second, REPLIES) == plain.grade(second, REPLIES)
    assert {f"{name}_corrected" for name in ratios()} <= after.keys()


def test_the_rules_of_the_figures_name_how_many_slots_and_which_file(data: Path, tmp_path: Path) -> None:
    path = audit(tmp_path, "1:1:en,2,2", "1:1:en,3,1 2", "1:1:fr,1,1")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    rules = task(data, leave_out=str(path)).config.metadata["corrected_rules"]
    assert rules == f"{rules_in_use()},without 3 audited slots (sha256:{digest})"
    assert task(data).config.metadata["corrected_rules"] == rules_in_use()


def test_the_earliest_of_several_rows_of_a_slot_counts(data: Path, tmp_path: Path) -> None:
    left = read_left_out(audit(tmp_path, "1:1:en,3,1", "1:1:en,2,1"), task(data).docs)
    assert [left.of("1:1:en", turn) for turn in (1, 2, 3)] == [frozenset(), frozenset({0}), frozenset({0})]


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_a_file_saved_by_a_spreadsheet_is_read(data: Path, tmp_path: Path, between: str) -> None:
    path = tmp_path / "audit.csv"
    path.write_text("key,turn,position\n1:1:en,2,2\n".replace(",", between), "utf-8-sig")
    before = csv.field_size_limit()
    assert read_left_out(path, task(data).docs).turns == {"1:1:en": {1: 2}}
    assert csv.field_size_limit() == before


@pytest.mark.parametrize(
    ("head", "row", "said"),
    [
        ("key,turn,position", "9:9:en,1,1", "row 1: the data hold no conversation '9:9:en'"),
        ("key,turn,position", "1:1:en,4,1", "has no turn '4', but 3"),
        ("key,turn,position", "1:1:en,x,1", "has no turn 'x', but 3"),
        ("key,turn,position", "1:1:en,1,2", "has no position '2', but 1 to 1"),
        ("key,turn,position", "1:1:en,1,0", "has no position '0', but 1 to 1"),
        ("key,turn,position", "1:1:en,1,", "has no position '', but 1 to 1"),
        ("key,turn,position,instruction_id", "1:1:en,1,1,startend:quotation", "not startend:quotation"),
        ("key,turn", "1:1:en,1", "has no column 'position'"),
    ],
)
def test_a_file_that_does_not_fit_the_data_is_refused_before_work(
    data: Path, tmp_path: Path, head: str, row: str, said: str
) -> None:
    with pytest.raises(UserError) as refused:
        task(data, leave_out=str(audit(tmp_path, row, head=head)))
    assert said in str(refused.value)
    assert "turnswap audit" in str(refused.value.advice)


def test_slots_left_out_of_figures_that_nobody_asked_for_are_refused_before_work(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        task(data, leave_out=str(audit(tmp_path, "1:1:en,2,2")), verdicts="published")
    assert """--metadata '{"verdicts": "both", "leave_out": """ in refused.value.advice


def test_a_file_that_is_missing_empty_or_no_text_is_refused_before_work(data: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        task(data, leave_out=str(tmp_path / "none.csv"))
    with pytest.raises(UserError, match="names no slot"):
        task(data, leave_out=str(audit(tmp_path)))
    (tmp_path / "bytes.csv").write_bytes(b"\xff\xfe\x00key")
    with pytest.raises(UserError, match="cannot be read"):
        task(data, leave_out=str(tmp_path / "bytes.csv"))
