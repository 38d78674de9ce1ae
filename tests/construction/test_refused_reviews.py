"""Reviews that cannot be used: each problem is told with its row, and nothing of them is applied."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.forms import as_csv
from turnswap.construction.records import DraftConversation
from turnswap.construction.sheet import COLUMNS
from turnswap.core.errors import UserError

from .auditing import SW
from .reviewing import audit, decide, fill, written

KWARGS = [{"keywords": ["mvua"]}, {"num_highlights": 2}, {"end_phrase": "Tutaonana kesho"}]


def kwargs(position: int, **changed: Any) -> dict[str, str]:
    edited = [{**each, **changed} if number == position else each for number, each in enumerate(KWARGS)]
    return {"decision": "edit", "edited_kwargs": json.dumps(edited)}


FAULTS: list[tuple[Mapping[str, str], str]] = [
    ({"key": "z:sw"}, "z:sw: no conversation of this key is in the audit"),
    ({"digest": "0" * 16}, "its texts changed since the sheet was written"),
    ({"decision": "maybe"}, "'maybe' is no decision; expected accept, edit, reject"),
    ({"decision": "", "comment": "good"}, "something is filled in, but no decision"),
    ({"reviewer": " "}, "the column reviewer is empty"),
    ({"translation_1": "Andika."}, "translation_1 was changed; write edits into edited_1"),
    ({"kwargs": "[]"}, "kwargs was changed; write edits into edited_kwargs"),
    ({"edited_1": "Andika."}, "edited_1 is filled in, and the decision is accept"),
    ({"decision": "edit"}, "nothing is edited"),
    ({"decision": "edit", "edited_1": SW[0]}, "nothing is edited"),
    (
        {"decision": "edit", "edited_1": SW[0].replace("mvua", "manyunyu")},
        "'mvua', for 'rain', does not occur in turn 1",
    ),
    ({"decision": "edit", "edited_2": SW[1].replace("2", "mbili")}, "a protected span is lost: '2'"),
    ({"decision": "edit", "edited_kwargs": "{"}, "edited_kwargs are no JSON"),
    ({"decision": "edit", "edited_kwargs": "{}"}, "edited_kwargs are no list of 3 objects"),
    ({"decision": "edit", "edited_kwargs": "[{}]"}, "edited_kwargs are no list of 3 objects"),
    (kwargs(0, keywords=["manyunyu"]), "'manyunyu', for 'rain', does not occur in turn 1"),
    (kwargs(0, keywords="mvua"), "edited_kwargs do not fit: keywords:existence"),
    (kwargs(0, keywords=["mvua", "kijiji"]), "kwargs do not match"),
    (kwargs(0, n=1), "unknown kwarg 'n'"),
    (kwargs(1, num_highlights=3), "edited_kwargs change what must stay: only words may be edited"),
    ({"satisfying_reply": "Mvua."}, "the satisfying_reply does not follow"),
]


@pytest.mark.parametrize(("change", "words"), FAULTS, ids=[words[:40] for _, words in FAULTS])
def test_a_row_that_cannot_be_used_is_refused_and_no_other_row_is_applied(
    tmp_path: Path, three: list[DraftConversation], change: Mapping[str, str], words: str
) -> None:
    rows = written(tmp_path, three)
    good = {"decision": "accept", "reviewer": "A"}
    path = tmp_path / "A.csv"
    path.write_bytes(as_csv([{**rows[0], **good, **change}, {**rows[1], **good}, rows[2]], COLUMNS).encode("utf-8-sig"))
    before = (tmp_path / "audit" / "audit.csv").read_bytes()
    with pytest.raises(UserError) as raised:
        audit(tmp_path, path).run(three)
    assert f"{path}, row 1, " in str(raised.value)
    assert words in str(raised.value)
    assert (tmp_path / "audit" / "audit.csv").read_bytes() == before


def test_every_problem_is_listed_and_the_list_goes_when_they_are_mended(
    tmp_path: Path, three: list[DraftConversation]
) -> None:
    rows = written(tmp_path, three)
    bad = fill(tmp_path, "A", rows, {"a:sw": {"decision": "x"}, "b:sw": {"decision": "y"}})
    with pytest.raises(UserError, match="2 rows cannot be used"):
        audit(tmp_path, bad).run(three)
    problems = tmp_path / "audit" / "problems.txt"
    assert [line.removeprefix(f"{bad}, ")[:11] for line in problems.read_text().splitlines()] == [
        "row 1, a:sw",
        "row 2, b:sw",
    ]
    audit(tmp_path, decide(tmp_path, "A", rows, a="accept")).run(three)
    assert not problems.exists()


def test_a_conversation_decided_twice_by_one_reviewer_in_one_file_is_refused(
    tmp_path: Path, three: list[DraftConversation]
) -> None:
    rows = written(tmp_path, three)
    twice = decide(tmp_path, "A", [*rows, rows[0]], a="accept")
    with pytest.raises(UserError, match="row 4, a:sw: A decided it in row 1 already"):
        audit(tmp_path, twice).run(three)


def test_a_row_is_told_by_its_line_in_a_spreadsheet_too(tmp_path: Path, three: list[DraftConversation]) -> None:
    bad = fill(tmp_path, "A", written(tmp_path, three), {"b:sw": {"decision": "y"}})
    with pytest.raises(UserError, match=r"row 2, b:sw: .* \(line 3 in a spreadsheet\)"):
        audit(tmp_path, bad).run(three)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "lacks the columns key"),
        (b"key,decision\r\na,accept\r\n", "lacks the columns digest"),
        (as_csv([], (*COLUMNS, "mood")).encode(), "columns that no sheet has: 'mood'"),
        (as_csv([], (*COLUMNS, "comment")).encode(), "has a column twice"),
        (as_csv([], COLUMNS).encode() + b"a,b\r\n", "row 1, has 2 cells"),
        ("key,décision".encode("latin-1"), "is not in UTF-8"),
        (as_csv([], COLUMNS).encode() + b'"never closed', "is no CSV"),
    ],
)
def test_a_file_that_is_no_sheet_is_refused(
    tmp_path: Path, three: list[DraftConversation], content: bytes, words: str
) -> None:
    path = tmp_path / "A.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as raised:
        audit(tmp_path, path).run(three)
    assert str(path) in str(raised.value)
    assert words in str(raised.value)
