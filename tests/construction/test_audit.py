"""The audit: sheets for people, read back whole or not at all."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.audit import Audit, AuditSettings
from turnswap.construction.forms import as_csv, neutral, original, read_csv
from turnswap.construction.pipeline import Pipeline
from turnswap.construction.records import DraftConversation, Outcome
from turnswap.construction.sheet import AUDIT, COLUMNS, FILLED_IN
from turnswap.construction.steps import BuildSettings, make_step
from turnswap.core.errors import UserError

from .auditing import SW, source, translated
from .test_pipeline import Seeds

PROOF = "Jirani mpendwa, *mvua* imenyesha *sana*.\nTutaonana kesho"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[DraftConversation]:
    return translated(tmp_path_factory.mktemp("translated"), "a", "b", "c")


def audit(folder: Path, *reviews: Path, returned: Mapping[str, str] | None = None, **settings: Any) -> Audit:
    return Audit(AuditSettings(reviews=reviews, **settings), folder / "audit", returned or {})


def sheet(folder: Path) -> list[dict[str, str]]:
    return read_csv(AUDIT, (folder / "audit" / "audit.csv").read_bytes(), "audit.csv")


def written(folder: Path, conversations: Sequence[DraftConversation], **more: Any) -> list[dict[str, str]]:
    """The sheet of these conversations, none of them reviewed."""
    assert audit(folder, **more).run(conversations) == [None] * len(conversations)
    return sheet(folder)


def fill(folder: Path, name: str, rows: Sequence[Mapping[str, str]], filled: Mapping[str, Mapping[str, str]]) -> Path:
    """A copy of the sheet, filled in per key; the file's name is the reviewer's."""
    path = folder / f"{name}.csv"
    made = [{**row, **({"reviewer": name, **filled[row["key"]]} if row["key"] in filled else {})} for row in rows]
    path.write_bytes(as_csv(made, COLUMNS).encode("utf-8-sig"))
    return path


def decide(folder: Path, name: str, rows: Sequence[Mapping[str, str]], **decisions: str) -> Path:
    return fill(folder, name, rows, {f"{key}:sw": {"decision": decision} for key, decision in decisions.items()})


def reasons(outcomes: Sequence[Sequence[Outcome] | None]) -> list[Any]:
    """Per conversation: ``wait``, None for kept, or the reason."""
    return ["wait" if each is None else each[0].reason for each in outcomes]


# ------------------------------------------------------------------------------------------------ sheets


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


# --------------------------------------------------------------------------------------------- decisions


def test_accept_keeps_reject_rejects_with_the_comment_and_the_rest_waits(
    tmp_path: Path, three: list[DraftConversation]
) -> None:
    rows = written(tmp_path, three)
    reviews = fill(
        tmp_path, "A", rows, {"a:sw": {"decision": "accept"}, "b:sw": {"decision": "reject", "comment": "stiff: very"}}
    )
    outcomes = audit(tmp_path, reviews).run(three)
    assert reasons(outcomes) == [None, "reviewers reject it: A: stiff: very", "wait"]
    assert outcomes[0] is not None
    kept = outcomes[0][0].conversation
    assert kept.turns == three[0].turns
    assert kept.notes["audit"] == {"decision": "accept", "reviewers": ["A"], "adjudicated": False, "comments": {}}


def test_an_edit_is_applied_to_prompts_and_kwargs(tmp_path: Path, three: list[DraftConversation]) -> None:
    rows = written(tmp_path, three)
    kwargs = [{"keywords": ["manyunyu"]}, {"num_highlights": 2}, {"end_phrase": "Tutaonana kesho"}]
    edits = {"decision": "edit", "edited_1": SW[0].replace("mvua", "manyunyu"), "edited_kwargs": json.dumps(kwargs)}
    outcomes = audit(tmp_path, fill(tmp_path, "A", rows, {"a:sw": edits})).run(three)
    assert outcomes[0] is not None
    made = outcomes[0][0].conversation
    assert made.turns[0].prompt == edits["edited_1"]
    assert [dict(turn.kwargs[0]) for turn in made.turns] == [{"keywords": ["manyunyu"]}] * 3
    assert made.turns[1].prompt == SW[1]
    assert made.notes["audit"]["scores"] == "of the translation before the edit"


def test_two_reviewers_must_agree_and_an_adjudicator_decides(tmp_path: Path, three: list[DraftConversation]) -> None:
    rows = written(tmp_path, three)
    edited = {"decision": "edit", "edited_1": SW[0].replace("fupi", "ndefu kidogo")}
    first = fill(tmp_path, "A", rows, {"a:sw": {"decision": "accept"}, "b:sw": {"decision": "accept"}, "c:sw": edited})
    assert reasons(audit(tmp_path, first, required=2).run(three)) == ["wait"] * 3
    other = {"decision": "edit", "edited_1": SW[0].replace("fupi", "nzuri")}
    second = fill(
        tmp_path,
        "B",
        rows,
        {"a:sw": {"decision": "accept"}, "b:sw": {"decision": "reject", "comment": "=no"}, "c:sw": other},
    )
    assert reasons(audit(tmp_path, first, second, required=2).run(three)) == [None, "wait", "wait"]
    conflicts = (tmp_path / "audit" / "conflicts.csv").read_text("utf-8-sig")
    assert [line[:3] for line in list(csv.reader(conflicts.splitlines(keepends=True)))[1:]] == [
        ["b:sw", "sw", "A"],
        ["b:sw", "sw", "B"],
        ["c:sw", "sw", "A"],
        ["c:sw", "sw", "B"],
    ]
    assert "'=no" in conflicts
    assert sheet(tmp_path)[0]["problems"] == "reviewers disagree: A accept, B reject"
    third = fill(tmp_path, "C", rows, {"b:sw": {"decision": "accept"}, "c:sw": edited})
    outcomes = audit(tmp_path, first, second, third, required=2, adjudicator="C").run(three)
    assert reasons(outcomes) == [None, None, None]
    assert outcomes[2] is not None
    assert outcomes[2][0].conversation.turns[0].prompt == edited["edited_1"]
    assert outcomes[2][0].conversation.notes["audit"]["adjudicated"]
    assert not (tmp_path / "audit" / "conflicts.csv").exists()


def test_agreement_is_of_first_decisions_without_the_adjudicator(
    tmp_path: Path, three: list[DraftConversation]
) -> None:
    rows = written(tmp_path, three)
    first = decide(tmp_path, "A", rows, a="accept", b="accept", c="reject")
    second = decide(tmp_path, "B", rows, a="accept", b="reject", c="reject")
    again = decide(tmp_path, "C", rows, b="accept")
    changed = tmp_path / "later.csv"
    changed.write_bytes(decide(tmp_path, "B", rows, b="accept").read_bytes())
    second = decide(tmp_path, "B", rows, a="accept", b="reject", c="reject")
    outcomes = audit(tmp_path, first, second, changed, again, required=2, adjudicator="C").run(three)
    assert reasons(outcomes) == [None, None, "reviewers reject it: without a comment"]
    (pair,) = json.loads((tmp_path / "audit" / "agreement.json").read_text())["pairs"]
    assert (pair["reviewers"], pair["n"]) == (["A", "B"], 3)
    assert pair["agreed"] == pytest.approx(2 / 3)
    assert pair["kappa"] == pytest.approx(0.4)  # p_o = 6/9, p_e = (2*1 + 1*2) / 9


def test_what_came_back_from_the_proof_needs_a_new_decision_and_a_reply_to_be_accepted(
    tmp_path: Path, three: list[DraftConversation]
) -> None:
    rows = written(tmp_path, three)
    old = decide(tmp_path, "A", rows, a="accept", b="accept", c="accept")
    returned = {"a:sw": "no reply follows startend:end_checker"}
    assert reasons(audit(tmp_path, old, returned=returned).run(three)) == ["wait", None, None]
    new_rows = sheet(tmp_path)
    assert new_rows[0]["returned"] == returned["a:sw"]
    bare = fill(tmp_path, "B", new_rows, {"a:sw": {"decision": "accept"}})
    with pytest.raises(UserError, match="to accept it, give a satisfying_reply"):
        audit(tmp_path, old, bare, returned=returned).run(three)
    failing = fill(tmp_path, "B", new_rows, {"a:sw": {"decision": "accept", "satisfying_reply": "Mvua."}})
    with pytest.raises(UserError, match=r"does not follow detectable_format:number_highlighted_sections, startend:end"):
        audit(tmp_path, old, failing, returned=returned).run(three)
    proved = fill(tmp_path, "B", new_rows, {"a:sw": {"decision": "accept", "satisfying_reply": PROOF}})
    for still_returned in (returned, {}):  # the proof's file does not name it any more afterwards
        outcomes = audit(tmp_path, old, proved, returned=still_returned).run(three)
        assert reasons(outcomes) == [None] * 3
        assert outcomes[0] is not None
        assert outcomes[0][0].conversation.notes["audit"]["satisfying_reply"] == PROOF
    rejected = fill(tmp_path, "B", new_rows, {"a:sw": {"decision": "reject", "comment": "unnatural"}})
    for still_returned in (returned, {}):  # an earlier accept must not come back to life, run after run
        outcomes = audit(tmp_path, old, rejected, returned=still_returned).run(three)
        assert reasons(outcomes) == ["reviewers reject it: B: unnatural", None, None]


def test_switched_off_everything_passes_and_the_note_says_that_nobody_read_it(
    tmp_path: Path, three: list[DraftConversation]
) -> None:
    outcomes = audit(tmp_path, enabled=False).run(three)
    assert reasons(outcomes) == [None] * 3
    assert outcomes[0] is not None
    assert outcomes[0][0].conversation.notes["audit"] == {"decision": None, "reviewers": []}
    assert not (tmp_path / "audit").exists()


# ------------------------------------------------------------------------------------------------ faults

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


def test_what_is_awaited_is_told_by_kind(tmp_path: Path, three: list[DraftConversation]) -> None:
    rows = written(tmp_path, three)
    one = decide(tmp_path, "A", rows, a="accept", b="accept")
    other = decide(tmp_path, "B", rows, a="reject")
    asked = audit(tmp_path, one, other, required=2)
    asked.run(three)
    first, second, at_odds = asked.awaited
    assert first == "1 for a first review"
    assert second == "1 for a second review (audit.required is 2)"
    assert at_odds.startswith("1 because reviewers disagree (")
    assert at_odds.endswith("conflicts.csv): name one who decides under audit.adjudicator")
    named = audit(tmp_path, one, other, required=2, adjudicator="Ada", returned={"b:sw": "no reply"})
    named.run(three)
    assert named.awaited[1].endswith("conflicts.csv): Ada, who is the adjudicator, decides on the new sheet")
    assert named.awaited[2] == "1 back from the proof: for another review, on the new sheet"


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


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"reviews": ["nowhere.csv"]}, "nowhere.csv cannot be read"),
        ({"required": 3}, "audit: required cannot be 3"),
        ({"reviewers": []}, "reviewers is no setting of audit"),
    ],
)
def test_a_mistake_in_the_yaml_is_refused(tmp_path: Path, section: dict[str, Any], words: str) -> None:
    build = BuildSettings("n", tmp_path, None, ("sw",), audit=section)  # type: ignore[arg-type]
    with pytest.raises(UserError) as raised:
        make_step("audit", build, None)  # type: ignore[arg-type]
    assert words in str(raised.value)


def test_in_a_pipeline_new_reviews_are_taken_up_and_old_ones_stay_known(
    tmp_path: Path, three: list[DraftConversation]
) -> None:
    def run(*reviews: Path) -> tuple[int, int]:
        *_, count = Pipeline(tmp_path, Seeds(three), [audit(tmp_path, *reviews)]).run()
        return count.kept, count.waiting

    assert run() == (0, 3)
    rows = sheet(tmp_path)
    first = decide(tmp_path, "A", rows, a="accept", b="accept")
    assert run(first) == (2, 1)
    assert run(first) == (2, 1)  # rows of what is decided already are no unknown keys
    assert [row["key"] for row in sheet(tmp_path)] == ["a:sw", "b:sw", "c:sw"]
    second = decide(tmp_path, "B", rows, c="reject")
    assert run(first, second) == (2, 0)
