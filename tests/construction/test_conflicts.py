"""The step that rejects instructions that exclude each other, and the audit of existing data."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from turnswap.construction.conflicts import Conflicts, ConflictSettings, audit_csv, summary, write_findings
from turnswap.construction.constructors import construct
from turnswap.construction.instructions import find_conflicts
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.records import DraftConversation, Turn
from turnswap.core.errors import UserError
from turnswap.core.journal import as_line
from turnswap.tasks.multiif.dataset import SAMPLE, Source, load_conversations

from ..conftest import SHARED

ENGLISH = SHARED / "multiif_english.csv"
needs_data = pytest.mark.skipif(not ENGLISH.is_file(), reason="the benchmark's data are not here")


def conversation(key: str, *instructions: tuple[str, dict[str, Any]]) -> DraftConversation:
    ids, kwargs = tuple(id_ for id_, _ in instructions), tuple(kwargs for _, kwargs in instructions)
    turns = [Turn(f"{key}, turn {n}", ids[:n], kwargs[:n]) for n in range(1, len(ids) + 1)]
    return DraftConversation(key, "en", tuple(turns))


FINE = conversation("fine", ("detectable_format:title", {}), ("punctuation:no_comma", {}))
IMPOSSIBLE_PAIR = conversation("cases", ("change_case:english_capital", {}), ("change_case:english_lowercase", {}))
ODD = conversation("odd", ("detectable_format:json_format", {}), ("combination:two_responses", {}))


def question(asked: DraftConversation) -> dict[str, Any]:
    last = asked.turns[-1]
    return {
        "task": "find_conflict",
        "turns": [turn.prompt for turn in asked.turns],
        "instructions": [
            {"id": id_, "kwargs": kwargs} for id_, kwargs in zip(last.instruction_ids, last.kwargs, strict=True)
        ],
    }


def step(folder: Path, *answers: tuple[dict[str, Any], Any], **settings: Any) -> Conflicts:
    recording = folder / "recording.jsonl"
    recording.write_text("".join(as_line({"input": asked, "answer": answer}) for asked, answer in answers))
    llm = LLM(LLMSettings("turnswap-recorded", {"path": str(recording)}), folder / "cache")
    return Conflicts(ConflictSettings(**settings), llm)


def test_the_rules_reject_with_the_pair_and_the_reason_and_ask_no_llm(tmp_path: Path) -> None:
    [[cases], [odd]] = step(tmp_path, llm_check=False).run([IMPOSSIBLE_PAIR, ODD])
    assert cases.reason == (
        "instructions exclude each other: change_case:english_capital × change_case:english_lowercase: a reply cannot "
        "be in capitals and in small letters throughout (rule: all capitals, all small letters)"
    )
    assert odd.reason is None
    assert "rule: shaped JSON" in odd.conversation.notes["conflicts"]["tensions"][0]


def test_tensions_are_rejected_where_the_settings_ask_for_it(tmp_path: Path) -> None:
    [[odd], [fine]] = step(tmp_path, llm_check=False, reject_tensions=True).run([ODD, FINE])
    assert "shaped JSON" in str(odd.reason)
    assert fine.reason is None


def test_the_llm_is_asked_about_what_the_rules_let_pass(tmp_path: Path) -> None:
    asked = step(
        tmp_path,
        (question(FINE), {"conflict": False, "reason": ""}),
        (question(ODD), {"conflict": True, "reason": "Two replies are no JSON."}),
    )
    [[cases], [fine], [odd]] = asked.run([IMPOSSIBLE_PAIR, FINE, ODD])
    assert "rule: all capitals" in str(cases.reason)
    assert fine.reason is None
    assert odd.reason == "the LLM finds a conflict: Two replies are no JSON."


def test_nonsense_from_the_llm_is_asked_for_once_more_and_then_rejects(tmp_path: Path) -> None:
    reason = "the LLM's answer is no JSON object: 'Hm.'"
    again = {**question(FINE), "problem": reason}
    [[outcome]] = step(tmp_path, (question(FINE), "Hm."), (again, {"conflict": False, "reason": ""})).run([FINE])
    assert outcome.reason is None
    other = tmp_path / "other"
    other.mkdir()
    [[outcome]] = step(other, (question(FINE), "Hm."), (again, "Hm.")).run([FINE])
    assert outcome.reason == reason


# ------------------------------------------------------------------------------------------- existing data


def test_the_packaged_conversations_hold_nothing_impossible() -> None:
    assert "impossible" not in set(audit_csv(SAMPLE)["severity"])


def test_a_conflict_is_found_in_the_turn_in_which_it_comes_up_and_once(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    added = ["detectable_format:title", "change_case:english_lowercase", "change_case:english_capital"]
    row = {"key": "k:1:en", "language": "English", "turns": "", "responses": "", "turn_index": "0"}
    for turn in (1, 2, 3):
        row[f"turn_{turn}_prompt"] = json.dumps({"role": "user", "content": f"Turn {turn}."})
        row[f"turn_{turn}_instruction_id_list"] = json.dumps([added[1], added[0], added[2]][:turn])
        row[f"turn_{turn}_kwargs"] = json.dumps(["{}"] * turn)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    findings = audit_csv(path)
    [finding] = findings.itertuples()
    assert (finding.key, finding.turn, finding.instruction_ids) == ("k:1:en", 3, (added[1], added[2]))
    assert summary(findings)[0] == (
        "impossible (no reply passes all strictly; loosely one can, its first or last line set aside), conversations: 1"
    )
    write_findings(findings, tmp_path / "findings.csv")
    with (tmp_path / "findings.csv").open(newline="") as file:
        [written] = csv.DictReader(file)
    assert written["rule"] == "all capitals, all small letters"
    assert json.loads(written["instruction_ids"]) == [added[1], added[2]]


def test_a_file_that_is_none_of_this_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="no column"):
        audit_csv(tmp_path / "other.csv")
    with pytest.raises(UserError, match="cannot be read"):
        audit_csv(tmp_path / "none.csv")


@needs_data
def test_the_benchmarks_english_conversations_that_no_reply_can_satisfy() -> None:
    findings = [each for each in audit_csv(ENGLISH).itertuples() if each.severity == "impossible"]
    assert len({finding.key for finding in findings if len(finding.instruction_ids) < 3}) == 36
    of_three = {finding.key for finding in findings if len(finding.instruction_ids) == 3}
    assert of_three == {"1137:3:en", "1137:9:en", "371:14:en"}
    assert {finding.loose for finding in findings} == {"possible"}
    assert Counter(finding.rule for finding in findings).most_common(2) == [
        ("a splitter in the other case", 12),
        ("a quotation that starts with the prompt", 7),
    ]
    of_key = {each["key"]: each for each in load_conversations(Source("csv", str(ENGLISH)), "English")}
    for finding in findings:
        texts = [turn["prompt"] for turn in of_key[finding.key]["turns"]]
        assert construct(finding.instruction_ids, finding.kwargs, texts, "en", attempts=20).failed, finding


@needs_data
def test_no_graded_reply_passes_both_of_an_impossible_pair() -> None:
    of_key = {each["key"]: each for each in load_conversations(Source("csv", str(ENGLISH)), "English")}
    pairs = 0
    with gzip.open(SHARED / "transcripts_en.jsonl.gz", "rt", encoding="utf-8") as file:
        for transcript in [json.loads(line) for line in file][1:]:
            for turn, graded in zip(of_key[transcript["key"]]["turns"], transcript["turns"], strict=False):
                for conflict in find_conflicts(turn["instruction_ids"], turn["kwargs"]):
                    if conflict.rule.severity == "impossible":
                        pairs += 1
                        assert not all(graded["strict"][position] for position in conflict.positions)
    assert pairs == 4
