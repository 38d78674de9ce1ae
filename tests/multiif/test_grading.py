"""Verdicts: our own table of cases, the published grader's where its verdicts are at hand, and what must not matter."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from turnswap.tasks.multiif.dataset import LANGUAGES, Source, load_conversations
from turnswap.tasks.multiif.grading import Verdict, grade_reply, loose_variants
from turnswap.tasks.multiif.instructions import INSTRUCTIONS, MalformedInstruction
from turnswap.tasks.multiif.text import known_languages

from ..conftest import SHARED
from ..published_ids import PUBLISHED

CASES = [json.loads(line) for line in (Path(__file__).parent / "cases.jsonl").read_text("utf-8").splitlines()]
needs_reference = pytest.mark.skipif(not SHARED.is_dir(), reason="the published verdicts are not beside this checkout")


def grade(case: dict[str, Any], reply: str = "reply") -> Verdict:
    return grade_reply(case[reply], [case["instruction_id"]], [case["kwargs"]])[0]


def test_every_case_gets_its_verdict() -> None:
    wrong = [
        f"{case['language']} {case['instruction_id']} {case['why']}: expected {case['strict']}/{case['loose']}, "
        f"got {verdict.strict}/{verdict.loose} for {case['reply']!r} with {case['kwargs']}"
        for case in CASES
        if ((verdict := grade(case)).strict, verdict.loose) != (case["strict"], case["loose"])
    ]
    assert wrong == []


def test_the_cases_cover_every_instruction_in_every_language_both_ways() -> None:
    covered = Counter((case["instruction_id"], case["language"], case["strict"]) for case in CASES)
    assert set(INSTRUCTIONS) >= PUBLISHED
    missing = []
    for instruction_id in INSTRUCTIONS:
        for language in LANGUAGES:
            for strict in (True, False):
                if not covered[instruction_id, language, strict]:
                    missing.append(f"{instruction_id} in {language} with strict {strict}")
    assert not missing, f"cases.jsonl has no case of {'; '.join(missing)}"


# ------------------------------------------------------------------------------ the published grader


@needs_reference
def test_all_published_verdicts_are_reproduced() -> None:
    with gzip.open(SHARED / "verdicts_dev.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    wrong = [
        (row["n"], row["language"], row["instruction_id"], row["kwargs"], (row["strict"], row["loose"]), verdict)
        for row in rows
        if ((verdict := grade(row, "response")).strict, verdict.loose) != (row["strict"], row["loose"])
    ]
    assert len(rows) == 4800
    assert not wrong, f"{len(wrong)} of {len(rows)} verdicts differ from the published ones:\n" + "\n".join(
        map(str, wrong[:20])
    )


@needs_reference
def test_all_verdicts_and_figures_of_the_published_transcripts_are_reproduced() -> None:
    from turnswap.tasks.multiif.metrics import aggregations, conversation_values
    from turnswap.tasks.multiturn import Reply

    source = Source("csv", str(SHARED / "multiif_english.csv"))
    conversations = {c["key"]: c for c in load_conversations(source, "English")}
    with gzip.open(SHARED / "transcripts_en.jsonl.gz", "rt", encoding="utf-8") as file:
        summary, *transcripts = [json.loads(line) for line in file]
    wrong, values = [], []
    for transcript in transcripts:
        graded = []
        for number, (turn, expected) in enumerate(
            zip(conversations[transcript["key"]]["turns"], transcript["turns"], strict=True), 1
        ):
            verdicts = grade_reply(expected["reply"], turn["instruction_ids"], turn["kwargs"])
            graded.append((Reply(expected["reply"]), verdicts))
            if ([v.strict for v in verdicts], [v.loose for v in verdicts]) != (expected["strict"], expected["loose"]):
                wrong.append((transcript["key"], number, turn["instruction_ids"], expected, verdicts))
        values.append(conversation_values(graded))
    assert not wrong, f"{len(wrong)} turns differ:\n" + "\n".join(map(str, wrong[:20]))

    ours = {
        "prompt_strict": "prompt_strict_acc",
        "inst_strict": "inst_strict_acc",
        "prompt_loose": "prompt_loose_acc",
        "inst_loose": "inst_loose_acc",
        "overall": "overall_acc",
        "forgetting_strict": "forgetting",
        "correction_strict": "correction",
    }
    functions = aggregations()
    for turn, figures in summary["summary"].items():
        assert figures.pop("prompts") == sum(len(t["turns"]) >= int(turn[-1]) for t in transcripts)
        for name, figure in figures.items():
            metric = f"{turn}_{ours[name]}"
            assert functions[metric]([value[metric] for value in values]) == pytest.approx(figure), metric


# ---------------------------------------------------------------------------------- strict and loose


def test_strict_implies_loose() -> None:
    assert all(not verdict.strict or verdict.loose for verdict in map(grade, CASES))


@pytest.mark.parametrize(
    ("reply", "variants"),
    [
        ("a\nb\nc", ["a\nb\nc", "b\nc", "a\nb", "b"]),
        ("one *line*", ["one *line*", "one line"]),
        ("a\n\n b *c*", ["a\n\n b *c*", "b *c*", "a", "a\n\n b c", "b c"]),
        ("***", ["***"]),
        ("", []),
    ],
)
def test_loose_variants_are_distinct_and_not_blank(reply: str, variants: list[str]) -> None:
    assert loose_variants(reply) == variants


@pytest.mark.parametrize("reply", ["", "   ", "\n\t\n", "\u3000"])
@pytest.mark.parametrize("instruction_id", ["punctuation:no_comma", "language:response_language"])
def test_an_empty_or_blank_reply_follows_nothing(reply: str, instruction_id: str) -> None:
    kwargs = {"language": "en"} if "language" in instruction_id else {}
    assert grade_reply(reply, [instruction_id], [kwargs]) == [Verdict(False, False)]


# ------------------------------------------------------------------------------------------- kwargs


@pytest.mark.parametrize(
    ("instruction_id", "kwargs", "holds"),
    [
        ("keywords:letter_frequency", {"letter": "#", "let_frequency": 2, "let_relation": "at least"}, True),
        ("keywords:letter_frequency", {"letter": "", "let_frequency": 1, "let_relation": "at least"}, False),
        ("keywords:letter_frequency", {"letter": "ab", "let_frequency": 1, "let_relation": "less than"}, False),
        ("keywords:letter_frequency", {"letter": "é", "let_frequency": 1, "let_relation": "less than"}, True),
        ("keywords:letter_frequency", {"letter": "İ", "let_frequency": 1, "let_relation": "less than"}, True),
        ("keywords:frequency", {"keyword": "", "frequency": 1, "relation": "less than"}, True),
        ("keywords:existence", {"keywords": ["++"]}, True),  # compiles nowhere: found literally
        ("keywords:existence", {"keywords": ["(a+)+$"]}, False),  # could hang: found literally
        ("keywords:frequency", {"keyword": "(a+)+$", "frequency": 1, "relation": "at least"}, False),
        ("keywords:forbidden_words", {"forbidden_words": ["(tag"]}, True),
        ("keywords:forbidden_words", {"forbidden_words": ["(?i)signs"]}, True),  # compiles at the start alone
        ("detectable_content:postscript", {"postscript_marker": r"\Z"}, False),  # no escape in small letters
        ("detectable_format:multiple_sections", {"section_spliter": "(?i)two", "num_sections": 0}, True),
        ("combination:repeat_prompt", {"prompt_to_repeat": ""}, True),
        ("language:response_language", {"language": "zh"}, False),
        ("language:response_language", {"language": "zh-cn"}, False),
        ("language:response_language", {"language": "nl"}, False),
        ("length_constraints:number_words", {"num_words": -1, "relation": "at least"}, True),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 1, "nth_paragraph": 2, "first_word": "two"},
            False,
        ),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 1, "nth_paragraph": 0, "first_word": "two"},
            False,
        ),
        (
            "length_constraints:nth_paragraph_first_word",
            {"num_paragraphs": 1, "nth_paragraph": -9, "first_word": "two"},
            False,
        ),
    ],
)
def test_what_the_published_grader_draws_at_random_or_dies_of_is_decided_and_reported(
    instruction_id: str, kwargs: dict[str, Any], holds: bool
) -> None:
    reply = "Two ## signs and one ++ in a plain English sentence about nothing in particular."
    (verdict,) = grade_reply(reply, [instruction_id], [kwargs])
    assert verdict == Verdict(holds, holds, ungradeable=True)


@pytest.mark.parametrize(
    ("instruction_id", "kwargs", "holds"),
    [
        # A blank keyword is not an empty one: a pattern that is empty once it is stripped matches everywhere.
        ("keywords:frequency", {"keyword": " ", "frequency": 70, "relation": "at least"}, True),
        ("keywords:frequency", {"keyword": " ", "frequency": 1, "relation": "less than"}, False),
        # Here alone the error of a pattern that does not compile is caught.
        ("keywords:frequency", {"keyword": "++", "frequency": 1, "relation": "at least"}, False),
        ("keywords:frequency", {"keyword": "++", "frequency": 9, "relation": "less than"}, False),
        ("keywords:existence", {"keywords": ["", " "]}, True),
        ("keywords:forbidden_words", {"forbidden_words": [""]}, False),
        ("keywords:letter_frequency", {"letter": "\u212a", "let_frequency": 1, "let_relation": "less than"}, True),
        ("combination:repeat_prompt", {"prompt_to_repeat": " "}, True),
        ("startend:end_checker", {"end_phrase": ""}, True),
        ("detectable_content:postscript", {"postscript_marker": " "}, True),
        ("detectable_format:multiple_sections", {"section_spliter": " ", "num_sections": 1}, False),
        ("change_case:capital_word_frequency", {"capital_frequency": -1, "capital_relation": "at least"}, True),
        ("length_constraints:number_words", {"num_words": 0, "relation": "less than"}, False),
    ],
)
def test_what_the_published_grader_decides_is_gradeable_however_odd(
    instruction_id: str, kwargs: dict[str, Any], holds: bool
) -> None:
    reply = "Two ## signs and one ++ in a plain English sentence about nothing in particular."
    (verdict,) = grade_reply(reply, [instruction_id], [kwargs])
    assert verdict == Verdict(holds, holds)


def test_response_language_is_gradeable_in_the_thirty_languages_of_the_published_table() -> None:
    codes = known_languages() | {"zh"}
    gradeable = {
        code
        for code in codes
        if not grade_reply("A reply.", ["language:response_language"], [{"language": code}])[0].ungradeable
    }
    assert len(gradeable) == 30
    assert codes - gradeable > {"zh", "zh-cn", "zh-tw", "nl", "el", "tr", "sv", "id"}


def test_the_cases_are_of_what_the_published_grader_decides() -> None:
    assert [case for case in CASES if grade(case).ungradeable] == []


@needs_reference
def test_one_slot_of_the_english_data_is_ungradeable() -> None:
    conversations = load_conversations(Source("csv", str(SHARED / "multiif_english.csv")), "English")
    ungradeable = {
        conversation["key"]
        for conversation in conversations
        for turn in conversation["turns"]
        for verdict in grade_reply("", turn["instruction_ids"], turn["kwargs"])
        if verdict.ungradeable
    }
    assert ungradeable == {"1122:18:en"}


def test_a_regex_among_the_keywords_stays_one() -> None:
    kwargs = [{"keywords": ["C++"]}, {"keywords": ["a.b"]}, {"keywords": ["¿qué?"]}]
    verdicts = grade_reply("cc, axb, ¿qu", ["keywords:existence"] * 3, kwargs)
    assert verdicts == [Verdict(True, True)] * 3


@pytest.mark.parametrize(
    ("ids", "kwargs", "message"),
    [
        (["keywords:nonsense"], [{}], "unknown instruction id 'keywords:nonsense'; expected one of keywords:existence"),
        (["punctuation:no_comma"], [], "1 instruction ids came with 0 kwargs"),
        (["keywords:existence"], [{"keywords": [1]}], "expected a list of one or more strings"),
        (["length_constraints:number_words"], [{"num_words": "5", "relation": "at least"}], "is '5'; expected a whole"),
        (["length_constraints:number_words"], [{"num_words": True, "relation": "at least"}], "expected a whole number"),
        (["length_constraints:number_words"], [{"num_words": 5, "relation": "around"}], "'at least' or 'less than'"),
        (["language:response_language"], [{"language": "klingon"}], "expected a language code of langdetect"),
        (["language:response_language"], [{"language": None}], "is None; expected a language code"),
    ],
)
def test_malformed_instructions_are_refused(ids: list[str], kwargs: list[Any], message: str) -> None:
    with pytest.raises(MalformedInstruction, match=message):
        grade_reply("A reply.", ids, kwargs)


def test_whole_floats_are_counts() -> None:
    kwargs = {"num_words": 2.0, "relation": "at least"}
    assert grade_reply("two words", ["length_constraints:number_words"], [kwargs])[0].strict


# ---------------------------------------------------------------------------------- order and place


def test_verdicts_do_not_depend_on_order_or_thread() -> None:
    sample = CASES[::7]
    forward = [grade(case) for case in sample]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(grade, sample)) == forward
    assert [grade(case) for case in reversed(sample)] == forward[::-1]


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_verdicts_whatever_the_hash_seed() -> None:
    sample = [case for case in CASES if case["instruction_id"].split(":")[0] in ("language", "length_constraints")][::9]
    program = (
        "import json, sys\nfrom turnswap.tasks.multiif.grading import grade_reply\n"
        "for c in json.load(sys.stdin):\n"
        "    v = grade_reply(c['reply'], [c['instruction_id']], [c['kwargs']])[0]\n"
        "    print(int(v.strict), int(v.loose))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=json.dumps(sample),
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {"".join(f"{int(v.strict)} {int(v.loose)}\n" for v in map(grade, sample))}
