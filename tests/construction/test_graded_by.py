"""Slots that the published rules do not measure: their proofs, and the data set that has them graded by others."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from turnswap.construction.edits import EditChecks
from turnswap.construction.forms import as_csv
from turnswap.construction.instructions.ids import FORBIDDEN, NO_COMMA, TITLE, WORDS
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.prove import Prove, ProveSettings, returned
from turnswap.construction.release import csv_text
from turnswap.construction.sheet import COLUMNS, read_reviews, row_of
from turnswap.core.journal import as_line, read_jsonl
from turnswap.reports.signature import facts_of
from turnswap.tasks.multiif.corrected import grade_corrected, rules_in_use
from turnswap.tasks.multiif.dataset import DatasetError, Source, load_conversations, parse_row
from turnswap.tasks.multiif.grading import grade_reply

from ..multiturn.stub_models import ScriptedLM
from .unmeasured import GERMAN, HINDI, JAPANESE, THAI, conversation, released


def test_the_note_has_a_natural_reply_that_fails_each_instruction(tmp_path: Path) -> None:
    _, pipeline = released(tmp_path, [JAPANESE, HINDI])
    for outcome in pipeline.outcomes("prove"):
        last, note = outcome.conversation.last, outcome.conversation.note("prove")
        assert [each["id"] for each in note["fails"]] == list(last.instruction_ids)
        for position, each in enumerate(note["fails"]):
            grade = grade_corrected if note["graded_by"][-1][position] == "corrected" else grade_reply
            further = [outcome.conversation.language] if grade is grade_corrected else []
            asked = ([last.instruction_ids[position]], [last.kwargs[position]])
            assert not grade(each["reply"], *asked, *further)[0].strict
            assert each["from"] == "everyday sentences of the language"
        # The proof follows all by both sets of rules where that can be.
        assert all(verdict.strict for verdict in grade_reply(note["reply"], last.instruction_ids, last.kwargs))


@pytest.mark.parametrize(
    ("instruction", "right", "wrong"),
    [
        ((NO_COMMA, {}), "海は広いです。", "海は広く、深いです。"),
        ((TITLE, {}), "『海』\n\n海は広いです。", "海は広いです。"),
    ],
)
def test_a_reviewers_proof_is_judged_by_the_rule_that_grades_the_slot(
    instruction: tuple[str, dict[str, Any]], right: str, wrong: str
) -> None:
    japanese = conversation("sea:ja", "ja", ["短い話を書いてください。"], [instruction])

    def problems(reply: str, **checks: Any) -> list[str]:
        row = row_of(japanese) | {"decision": "accept", "reviewer": "A", "satisfying_reply": reply}
        return read_reviews({"A.csv": as_csv([row], COLUMNS).encode("utf-8-sig")}, [japanese], EditChecks(**checks))[1]

    assert problems(right) == []
    (said,) = problems(wrong)
    assert f"the satisfying_reply does not follow {instruction[0]}" in said
    if instruction[0] == NO_COMMA:  # by the published rule, where nothing else grades
        assert problems(wrong, falsifiable=False) == []


def test_without_the_setting_nothing_is_tried(tmp_path: Path) -> None:
    folder, pipeline = released(tmp_path, [JAPANESE, THAI], falsifiable=False)
    assert [set(each.conversation.note("prove")) for each in pipeline.outcomes("prove")] == [
        {"how", "reply", "verdicts"}
    ] * 2
    assert "graded_by" not in (folder / "sea.csv").read_text("utf-8")
    assert "natural reply that fails it" not in (folder / "DATASHEET.md").read_text("utf-8")


def test_what_cannot_be_had_is_rejected_and_no_reviewer_is_asked_again(tmp_path: Path) -> None:
    _, pipeline = released(tmp_path, [THAI, GERMAN])
    thai, german = pipeline.outcomes("prove")
    assert thai.reason == f"an instruction does not suit the language: {NO_COMMA} in th, no natural reply fails it"
    assert german.reason is None
    assert returned(read_jsonl(pipeline.file("prove"))) == {}


def test_data_sheet_and_card_list_what_the_published_rules_do_not_measure(tmp_path: Path) -> None:
    folder, _ = released(tmp_path, [JAPANESE, HINDI, THAI, GERMAN])
    for name in ("DATASHEET.md", "README.md"):
        lines = (folder / name).read_text("utf-8").splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if "published rule" in line]
        told = {(row[0], row[1]): row[3:] for row in rows if len(row) == 5}
        assert told[NO_COMMA, "ja"] == ["graded by the corrected rule", "1"]
        assert told[FORBIDDEN, "hi"] == ["graded by the corrected rule", "1"]
        assert told[WORDS, "hi"] == ["graded by the corrected rule", "1"]
        assert f"| {NO_COMMA} | th | no natural reply fails it | left out | 1 |" in lines
        assert not any(language == "de" for _, language in told)


def test_data_that_the_published_rules_measure_name_no_rules(tmp_path: Path) -> None:
    folder, _ = released(tmp_path, [GERMAN])
    assert "graded_by" not in (folder / "sea.csv").read_text("utf-8")
    assert "The published rules measure all of them." in (folder / "DATASHEET.md").read_text("utf-8")


def test_the_released_task_grades_such_a_slot_by_the_corrected_rule_and_its_signature_says_so(tmp_path: Path) -> None:
    folder, _ = released(tmp_path, [JAPANESE, GERMAN])
    with (folder / "sea.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    assert (row["turn_1_graded_by"], row["turn_2_graded_by"]) == ("", '["published", "corrected"]')

    def reply(prompt: str) -> str:
        return "海は広く、深いです。"  # a comma in Japanese, none to the published rule

    manager = TaskManager(include_path=str(folder), include_defaults=False)
    results = simple_evaluate(ScriptedLM(reply), tasks=["sea_ja", "sea_de"], task_manager=manager, bootstrap_iters=0)
    assert results is not None
    figures = results["results"]
    assert figures["sea_ja"]["turn2_inst_strict_acc,none"] == 0.5
    assert figures["sea_de"]["turn2_inst_strict_acc,none"] == 0.5
    (sample,) = results["samples"]["sea_ja"]
    assert [turn["published"] for turn in sample["verdicts"][0]] == ["S", "SN"]
    assert results["configs"]["sea_ja"]["metadata"]["graded_by"] == "corrected in 1 of 3 slots"
    assert facts_of(results, "sea_ja", "none")["graded_by"] == f"published,corrected:{rules_in_use()}"
    assert "graded_by" not in facts_of(results, "sea_de", "none")


def test_rules_that_are_none_are_refused_with_the_row(tmp_path: Path) -> None:
    folder, _ = released(tmp_path, [JAPANESE])
    with (folder / "sea.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    (loaded,) = load_conversations(Source("csv", str(folder / "sea.csv")), "Japanese")
    assert [turn.get("graded_by") for turn in loaded["turns"]] == [None, ["published", "corrected"]]
    for wrong in ('["published"]', '["published", "both"]', '"corrected"'):
        with pytest.raises(DatasetError, match=r"Row sea:0:ja: turn_2_graded_by is .* expected published or corrected"):
            parse_row(row | {"turn_2_graded_by": wrong}, 2)


def test_a_conversation_without_a_proof_is_written_as_published() -> None:
    assert "graded_by" not in csv_text([JAPANESE])


def test_the_llm_is_asked_for_a_natural_reply_where_none_by_rule_fails(tmp_path: Path) -> None:
    """In a language of which nothing is known, and a conversation whose only sentence shows a format."""
    asked = conversation("rain:zu", "zu", ["Bhala indaba nge-<<imvula>>."], [(TITLE, {})])
    recording = tmp_path / "recording.jsonl"
    answers = {"reply": "Imvula iyana namuhla."}
    line = {"input": {"task": "plain_reply", "language": "zu", "turns": asked.prompts}, "answer": answers}
    recording.write_text(as_line(line))
    llm = LLM(LLMSettings("turnswap-recorded", {"path": str(recording)}), tmp_path / "cache")
    ((outcome,),) = Prove(ProveSettings(), llm).run([asked])
    assert outcome.reason is None
    assert outcome.conversation.note("prove")["fails"] == [
        {"id": TITLE, "reply": "Imvula iyana namuhla.", "from": "the LLM"}
    ]
