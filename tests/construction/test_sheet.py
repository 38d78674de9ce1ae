"""The audit's sheets: what stands in them, one per language, and never written over what people filled in."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from turnswap.construction.forms import as_csv, neutral, original, read_csv
from turnswap.construction.records import DraftConversation
from turnswap.construction.sheet import AUDIT, COLUMNS, FILLED_IN, row_of
from turnswap.core.errors import UserError

from .auditing import SW, source, translated
from .reviewing import audit, decide, fill, reasons, sheet, written


def test_the_sheet_has_source_translation_back_translation_scores_and_empty_columns_to_fill_in(
    tmp_path: Path, three: list[DraftConversation]
) -> None:
    rows = written(tmp_path, three)
    assert (tmp_path / "audit" / "audit.csv").read_bytes().startswith(b"\xef\xbb\xbf")  # Excel asks for it
    assert list(rows[0]) == list(COLUMNS)
    assert rows[0]["source_1"] == source().turns[0].prompt
    assert rows[0]["translation_2"] == SW[1]
    assert rows[0]["back_translation_3"].startswith("End your reply")
    assert json.loads(rows[0]["kwargs"])[0] == {"keywords": ["mvua"]}
    assert "chrf: " in rows[0]["scores"]
    assert all(row[column] == "" for row in rows for column in FILLED_IN)


def test_the_worst_come_first_and_what_came_back_from_the_proof_before_them(
    tmp_path: Path, three: list[DraftConversation]
) -> None:
    note = three[1].notes["translate"]
    worse = {**note, "figures": {**note["figures"], "turn_chrf": [31.0, 90, 90]}}
    rows = written(
        tmp_path, [three[0], three[1].with_note("translate", worse), three[2]], returned={"c:sw": "no reply"}
    )
    assert [row["key"] for row in rows] == ["c:sw", "b:sw", "a:sw"]
    assert [row["returned"] for row in rows] == ["no reply", "", ""]


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1",
        "-1",
        "@SUM(A1)",
        "\tx",
        "'=1",
        "''-x",
        "'quoted'",
        "''",
        "",
        "＝1",
        "plain",
        "a\nb",
        '"x", y',
        "\n=1",
    ],
)
def test_no_cell_is_a_formula_and_every_cell_reads_back_as_it_was(cell: str) -> None:
    assert neutral(cell)[:1] not in ("=", "+", "-", "@", "\t", "\n", "＝")
    assert original(neutral(cell)) == cell
    row = dict.fromkeys(COLUMNS, "") | {"key": "k", "comment": cell}
    assert read_csv(AUDIT, as_csv([row], COLUMNS).encode(), "x")[0]["comment"] == cell


def test_what_is_checked_stands_in_the_sheet_in_plain_words_in_the_turn_that_brings_it(
    tmp_path: Path, three: list[DraftConversation]
) -> None:
    (row, *_) = written(tmp_path, three)
    assert [row[f"checks_{number}"] for number in (1, 2, 3)] == [
        "All of these words occur: “mvua”",
        "At least 2 highlighted parts, such as *this* or **this**",
        "The reply ends with “Tutaonana kesho”, and nothing stands after it",
    ]


def test_each_language_has_a_sheet_of_its_own_and_reviews_of_any_sheet_are_read(tmp_path: Path) -> None:
    both = translated(tmp_path, "a", "b", languages=("sw", "ko"))
    every = written(tmp_path, both)
    assert {row["key"] for row in every} == {"a:sw", "b:sw", "a:ko", "b:ko"}
    folder = tmp_path / "audit"
    sheets = {code: read_csv(AUDIT, (folder / f"audit_{code}.csv").read_bytes(), code) for code in ("sw", "ko")}
    assert {code: {row["key"] for row in rows} for code, rows in sheets.items()} == {
        "sw": {"a:sw", "b:sw"},
        "ko": {"a:ko", "b:ko"},
    }
    assert SW[0] not in (folder / "audit_ko.html").read_text("utf-8")
    pages = (folder / "audit.html").read_text("utf-8")
    assert 'href="audit_ko.html"' in pages
    assert "Korean: 2" in pages
    korean = fill(tmp_path, "Jun", sheets["ko"], {f"{key}:ko": {"decision": "accept"} for key in "ab"})
    swahili = decide(tmp_path, "Asha", every, a="accept", b="reject")  # on the sheet of all
    outcomes = audit(tmp_path, korean, swahili).run(both)
    assert sorted(reasons(outcomes), key=str) == [None, None, None, "reviewers reject it: without a comment"]


def test_no_sheet_is_written_where_one_of_another_language_is_filled_in_and_would_change(tmp_path: Path) -> None:
    both = translated(tmp_path, "a", "b", languages=("sw", "ko"))
    written(tmp_path, both[:3])
    path = tmp_path / "audit" / "audit_sw.csv"
    rows = read_csv(AUDIT, path.read_bytes(), "sw")
    path.write_bytes(as_csv([{**row, "comment": "hm"} for row in rows], COLUMNS).encode("utf-8-sig"))
    written(tmp_path, both)
    assert "hm" in path.read_text("utf-8")  # its rows are the same
    before = (tmp_path / "audit" / "audit_ko.csv").read_bytes()
    with pytest.raises(UserError, match=r"audit_sw\.csv has decisions filled in"):
        audit(tmp_path).run([both[1], both[2], both[3]])
    assert (tmp_path / "audit" / "audit_ko.csv").read_bytes() == before


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_spreadsheets_delimiter_and_line_breaks_are_understood(
    tmp_path: Path, three: list[DraftConversation], delimiter: str
) -> None:
    rows = written(tmp_path, three)
    path = tmp_path / "A.csv"
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, delimiter=delimiter)
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "decision": "Accept ", "reviewer": "A", "comment": "one\r\ntwo"})
    outcomes = audit(tmp_path, path).run(three)
    assert reasons(outcomes) == [None] * 3
    assert outcomes[0] is not None
    assert outcomes[0][0].conversation.notes["audit"]["comments"] == {"A": "one\ntwo"}


def test_a_sheet_is_written_anew_for_other_texts_but_never_over_what_was_filled_in(
    tmp_path: Path, three: list[DraftConversation]
) -> None:
    rows = written(tmp_path, three[:1])
    assert [row["key"] for row in written(tmp_path, three)] == ["a:sw", "b:sw", "c:sw"]
    path = tmp_path / "audit" / "audit.csv"
    path.write_bytes(as_csv([{**rows[0], "comment": "hm"}, *sheet(tmp_path)[1:]], COLUMNS).encode("utf-8-sig"))
    before = path.read_bytes()
    audit(tmp_path).run(three)  # the same conversations: it stays
    with pytest.raises(UserError, match="has decisions filled in"):
        audit(tmp_path).run(three[:2])
    assert path.read_bytes() == before


def test_the_pages_columns_are_the_csvs(three: list[DraftConversation]) -> None:
    row = row_of(three[0])
    assert tuple(row) == COLUMNS
    assert read_csv(AUDIT, as_csv([row], COLUMNS).encode(), "x") == [row]
