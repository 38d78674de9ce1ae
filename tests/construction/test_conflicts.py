"""The rules of what excludes what, the step that rejects by them, and the audit of existing data."""

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
from turnswap.construction.instructions import RULES, Demand, find_conflicts
from turnswap.construction.instructions.ids import LANGUAGE
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.records import DraftConversation, Turn
from turnswap.core.errors import UserError
from turnswap.core.journal import as_line
from turnswap.tasks.multiif.dataset import SAMPLE, Source, load_conversations
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.text import detect_language

from ..conftest import SHARED
from .conflict_examples import EXAMPLES, end, exists, forbids, keyword, nth

ENGLISH = SHARED / "multiif_english.csv"
needs_data = pytest.mark.skipif(not ENGLISH.is_file(), reason="the benchmark's data are not here")

CONFLICTING, NEAR = (
    {name: tuple(Demand(*each) for each in examples[side]) for name, examples in EXAMPLES.items()} for side in (0, 1)
)
IMPOSSIBLE = [rule for rule in RULES.values() if rule.severity == "impossible"]

# For every rule a reply that follows the example next to its conflict.
PASSES_NEAR = {
    "fewer than none": "...",
    "nothing to count": "Anything.",
    "a number below zero": "Not a list.",
    "a paragraph beyond the last": "Sun.\n\nRain again.",
    "a first word that is no word": "Well-known, is it not?",
    "an end in quotation marks": 'He said "yes".',
    "bounds that exclude each other": "Just four words here.",
    "two exact numbers": "Rain.\n\nSun.",
    "two first words": "Rain.\n\nSun.",
    "two ends": "It is late. Good night.",
    "two beginnings": "Name a river. The Congo.",
    "all capitals, all small letters": "THE RIVER IS VERY LONG AND WIDE.",
    "small letters, words in capitals": "the river is very long and the water is cold.",
    "capitals, no word in capitals": "THE-RIVER-IS-VERY-LONG-AND-WIDE-AND-THE-WATER-IS-COLD",
    "a splitter in the other case": "PART 1 THE RIVER IS LONG. PART 2 THE WATER IS COLD.",
    "a fixed answer in the other case": "My answer is yes.",
    "English letters, another language": "the river is very long and the water is cold.",
    "two languages": "这条河很长，水很冷。",
    "a comma that is asked for": "Thank you friends.",
    "a forbidden word that is asked for": "A brainy idea.",
    "a keyword too often": "A book, a book, a book.",
    "a letter too often": "An evening.",
    "too few words for what is asked for": "See you all tomorrow.",
    "six stars hold three": "Rain. ****** Sun.\n\nMore sun.",
    "JSON that starts with a word": '[\n\n"rain"\n\n]',
    "JSON that starts with the prompt": "12",
    "a quotation that starts with the prompt": "“Name” a river. The Congo”",
    "a prompt of too many parts": "Rhyme:\n- rain\n- plane",
    "a prompt that starts with another word": "Rain is what? Explain. It is water.",
    "too few sentences for the prompt": "Is it raining? Tell me.",
    "JSON of several paragraphs that ends with a phrase": '```json\n\n"rain. Good night."',
    "JSON with bullets that ends with a phrase": "-5",
    "quoted JSON of several lines": '"Rain."',
}

# For every rule that holds of strict verdicts alone a reply that passes the conflicting example loosely.
_SMALL, _CAPITALS = "the river is very long and the water is cold.", "THE RIVER IS VERY LONG AND THE WATER IS COLD."
_FRENCH, _ITALIAN = "La rivière est très longue et l'eau est froide.", "Il fiume è molto lungo e l'acqua è fredda."
PASSES_LOOSELY = {
    "bounds that exclude each other": "word " * 60 + "\n" + "word " * 60,
    "two exact numbers": "Rain.\n\nIce.\n\nSun.",
    "two first words": "Rain\nSun falls.\n\nIce.",
    "two ends": "Good night.\nGood day.",
    "two beginnings": "Name a river.\nName a lake.",
    "all capitals, all small letters": f"{_SMALL}\n{_CAPITALS}",
    "small letters, words in capitals": f"RIVER\n{_SMALL}",
    "capitals, no word in capitals": f"{_SMALL}\n{_CAPITALS}",
    "a splitter in the other case": f"Part 1 rain Part 2 sun\n{_CAPITALS}",
    "a fixed answer in the other case": f"My answer is yes.\n{_SMALL}",
    "English letters, another language": f"{_SMALL}\n{_FRENCH}",
    "two languages": f"{_FRENCH}\n{_ITALIAN}",
    "a comma that is asked for": "Rain.\nThank you, friends.",
    "a forbidden word that is asked for": "Sun.\nHere comes the rain.",
    "a keyword too often": "Sun.\nBooks, books, books.",
    "a letter too often": "Sun.\nevening",
    "too few words for what is asked for": "Sun.\nSee you all tomorrow.",
    "six stars hold three": "Rain ******\nSun *** Moon",
    "JSON that starts with a word": "rain\n[1,\n\n2,\n\n3]",
    "JSON that starts with the prompt": "Name a river.\n[1]",
    "a quotation that starts with the prompt": 'Name a river.\n"Yes"',
    "a prompt of too many parts": "Rhyme:\n- rain\n- plane",
    "a prompt that starts with another word": "Name a river.\nRain falls.",
    "too few sentences for the prompt": "Is it raining? Is it cold? Is it late? Tell me.\nSun.",
    "JSON of several paragraphs that ends with a phrase": '[1,\n\n"rain",\n\n2]\nGood night.',
    "JSON with bullets that ends with a phrase": "[1,\n-1]\nGood night.",
    "quoted JSON of several lines": '- rain\n"Sun."',
}


def verdicts(reply: str, demands: tuple[Demand, ...]) -> list[bool]:
    return [
        verdict.strict
        for verdict in grade_reply(reply, [each.id for each in demands], [each.kwargs for each in demands])
    ]


def found(demands: tuple[Demand, ...]) -> set[str]:
    conflicts = find_conflicts([each.id for each in demands], [each.kwargs for each in demands])
    return {conflict.rule.name for conflict in conflicts}


@pytest.fixture(scope="module")
def replies() -> list[str]:
    """Replies of all kinds: those of this file, and those that the grader was checked with where they are here."""
    composed = dict.fromkeys(PASSES_NEAR.values())
    path = SHARED / "verdicts_dev.jsonl.gz"
    if path.is_file():
        with gzip.open(path, "rt", encoding="utf-8") as file:
            composed |= dict.fromkeys([json.loads(line)["response"] for line in file][::3])
    return list(composed)


def test_every_rule_has_an_example_and_a_reason() -> None:
    assert RULES.keys() == EXAMPLES.keys()
    assert all(rule.reason != rule.name for rule in RULES.values())
    assert {rule.name for rule in IMPOSSIBLE} == set(PASSES_NEAR), (
        "a reply that follows both of the near pair is missing"
    )


@pytest.mark.slow
@pytest.mark.parametrize("rule", IMPOSSIBLE, ids=lambda rule: rule.name)
def test_what_is_called_impossible_is_passed_by_no_reply(rule: Any, replies: list[str]) -> None:
    assert rule.name in found(CONFLICTING[rule.name])
    assert rule.name in found(CONFLICTING[rule.name][::-1])
    ids, kwargs = [each.id for each in CONFLICTING[rule.name]], [each.kwargs for each in CONFLICTING[rule.name]]
    assert construct(ids, kwargs, ["Name a river and tell me where the rain goes."], "en").failed
    for reply in replies:
        # Text of no detectable language is in every language to the grader, and left aside: see rules.py.
        if LANGUAGE in ids and detect_language(reply) is None:
            continue
        # One after the other: detecting languages takes time, and most replies fail the first.
        assert not all(verdicts(reply, (each,)) == [True] for each in CONFLICTING[rule.name]), reply


@pytest.mark.parametrize("rule", IMPOSSIBLE, ids=lambda rule: rule.name)
def test_what_is_near_to_it_can_be_followed(rule: Any) -> None:
    assert rule.name not in found(NEAR[rule.name])
    assert all(verdicts(PASSES_NEAR[rule.name], NEAR[rule.name]))


@pytest.mark.parametrize("rule", [r for r in IMPOSSIBLE if r.loose == "possible"], ids=lambda rule: rule.name)
def test_what_is_impossible_strictly_alone_is_passed_loosely_by_some_reply(rule: Any) -> None:
    demands = CONFLICTING[rule.name]
    graded = grade_reply(PASSES_LOOSELY[rule.name], [each.id for each in demands], [each.kwargs for each in demands])
    assert all(verdict.loose for verdict in graded)
    assert not all(verdict.strict for verdict in graded)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [r for r in IMPOSSIBLE if r.loose == "impossible"], ids=lambda rule: rule.name)
def test_what_is_impossible_loosely_too_is_passed_by_no_reply(rule: Any, replies: list[str]) -> None:
    demands = CONFLICTING[rule.name]
    assert rule.name not in PASSES_LOOSELY
    for reply in replies:
        graded = grade_reply(reply, [each.id for each in demands], [each.kwargs for each in demands])
        assert not all(verdict.loose for verdict in graded), reply


def test_three_instructions_are_no_conflict_where_two_of_them_are_one() -> None:
    demands = [JSON, nth(3, 1, "rain"), end("Good night.")]
    assert {each.rule.name for each in find_conflicts(*zip(*demands, strict=True)) if len(each.positions) > 2} == set()


@pytest.mark.parametrize("rule", [r for r in RULES.values() if r.severity == "tension"], ids=lambda rule: rule.name)
def test_a_tension_is_not_called_impossible(rule: Any) -> None:
    assert found(CONFLICTING[rule.name]) == {rule.name}
    assert rule.name not in found(NEAR[rule.name])


JSON = ("detectable_format:json_format", {})
ODD_REPLIES: list[tuple[str, list[tuple[str, dict[str, Any]]]]] = [
    ('"One. ****** Two."', [JSON, ("combination:two_responses", {})]),
    ("[1\n,\n-1]", [JSON, ("detectable_format:number_bullet_lists", {"num_bullets": 1})]),
    ('"Rain falls here."\n\n```', [JSON, nth(2, 1, "rain")]),
    ('"Good night."', [("startend:quotation", {}), end("Good night.")]),
    ("A train.", [forbids("rain"), exists("rain")]),
]


@pytest.mark.parametrize(("reply", "instructions"), ODD_REPLIES)
def test_what_an_odd_reply_passes_is_a_tension_alone(
    reply: str, instructions: list[tuple[str, dict[str, Any]]]
) -> None:
    demands = tuple(Demand(*each) for each in instructions)
    assert all(verdicts(reply, demands))
    conflicts = find_conflicts([each.id for each in demands], [each.kwargs for each in demands])
    assert {conflict.rule.severity for conflict in conflicts} == {"tension"}


def test_keywords_that_are_patterns_lead_to_no_conclusion() -> None:
    demands = (Demand(*forbids("rain")), Demand(*keyword("rain|sun", "at least", 2)))
    assert found(demands) == set()
    assert all(verdicts("Sun, sun.", demands))


# ------------------------------------------------------------------------------------------------ the step


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
