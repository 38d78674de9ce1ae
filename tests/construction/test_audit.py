"""The audit: what reviewers decide is applied, and what two of them do not agree on waits."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.pipeline import Pipeline
from turnswap.construction.records import DraftConversation
from turnswap.construction.steps import BuildSettings, make_step
from turnswap.core.errors import UserError

from .auditing import SW
from .reviewing import PROOF, audit, decide, fill, reasons, sheet, written
from .test_pipeline import Seeds


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
