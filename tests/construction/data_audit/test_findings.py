"""The command turnswap audit on CSV files: every kind of finding, the benchmark's known rows, and what is refused."""

from __future__ import annotations

import csv
import json
import shlex
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import SHARED, Command, Turnswap
from turnswap.construction.data_audit.findings import KINDS, audit_data, slot_finding
from turnswap.construction.data_audit.slots import slots_of
from turnswap.core.cells import lines_of
from turnswap.tasks.multiif.dataset import SAMPLE, Source, load_conversations
from turnswap.tasks.multiif.grading import grade_reply

from .slots import (
    JSON,
    LOWER,
    TITLE,
    answer_in,
    bullets,
    data,
    end,
    exists,
    letters,
    nth,
    placeholders,
    row,
    sections,
    sentences,
    times,
    words,
)

FINE = row("1:1:en", ("Tell me of rivers.", [exists("rivers")]), ("At least 9 words, please.", [words("at least", 9)]))
OF_KIND = {
    "quantity": row("2:1:en", ("Rain in 80 words or more.", [words("at least", 60)]), ("A title: <<rain>>", [TITLE])),
    "relation": row("3:1:en", ("A title: <<rain>>", [TITLE]), ("Use at least 2 bullet points.", [bullets(2)])),
    "words": row("4:1:en", ("A title: <<rain>>", [TITLE]), ('End with "Good night".', [end("Good night.")])),
    "object": row("5:1:en", ("Your whole answer like <<this>>.", [TITLE]), ('Say "rain".', [exists("rain")])),
    "language": row("6:1:en", ("Answer in Hindi.", [answer_in("fr")]), ("A title: <<rain>>", [TITLE])),
    "unfollowable": row("7:1:en", ("A title: <<rain>>", [TITLE]), ("In no words at all.", [words("less than", 0)])),
    "conflict": row(
        "8:1:en",
        ("Answer in JSON.", [JSON]),
        ("3 paragraphs, the second one begins with rain.", [nth(3, 2, "rain")]),
        ('End with "Good night."', [end("Good night.")]),
    ),
    "tension": row("9:1:en", ("Use small letters.", [LOWER]), ('End with "Good night."', [end("Good night.")])),
    "repeated": row(
        "10:1:en",
        ("A title: <<a>>", [TITLE]),
        ("9 words or more.", [words("at least", 9)]),
        ("A title: <<b>>", [TITLE]),
    ),
    "unfailable": row(
        "11:1:en", ("A title: <<rain>>", [TITLE]), ("At least one sentence.", [sentences("at least", 1)])
    ),
}
EVERY = [FINE, *OF_KIND.values()]


def written(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_found_where_it_is_and_nowhere_else(kind: str, tmp_path: Path) -> None:
    found = audit_data(data(tmp_path / "data.csv", FINE, OF_KIND[kind]))
    assert found.conversations == 2
    assert {each.kind for each in found.findings} - {"tension"} == {kind} - {"tension"}
    assert {each.key for each in found.findings} == {OF_KIND[kind]["key"]}
    assert all(each.prompt_says and each.kwargs_grade for each in found.findings)


def test_a_slot_is_found_in_the_turn_that_brings_it_and_at_its_place(tmp_path: Path) -> None:
    rows = [
        row(
            "1:1:en",
            ('A title: <<rain>>, and say "rain".', [TITLE, exists("rain")]),
            ("In 60 words or more.", [words("at least", 60)]),
            ("Say sun twice.", [times("sun", "at least", 3)]),
        )
    ]
    [finding] = audit_data(data(tmp_path / "data.csv", *rows)).findings
    assert (finding.turn, finding.positions, finding.instruction_ids) == (3, (4,), ("keywords:frequency",))
    assert (finding.prompt_says, finding.kwargs_grade) == ("Say sun twice", "'sun' at least 3 times")


def test_what_is_impossible_strictly_alone_is_told_from_what_is_impossible_loosely_too(tmp_path: Path) -> None:
    rows = OF_KIND["conflict"], OF_KIND["unfollowable"]
    severities = {each.kind: each.severity for each in audit_data(data(tmp_path / "data.csv", *rows)).findings}
    assert severities["conflict"] == "impossible strictly"
    assert severities["unfollowable"] == "impossible"


@pytest.mark.parametrize(
    ("asked", "replies"),
    [
        (sentences("at least", 1), ["Rain.", "rain", "???", "雨。", "बारिश"]),
        (words("at least", 0), ["Rain.", "...", "雨"]),
        (placeholders(0), ["Rain.", "[]"]),
        (sections("Day", 0), ["Rain.", "Day 1"]),
        (times("rain", "at least", 0), ["Sun."]),
    ],
)
def test_what_no_reply_can_fail_is_passed_by_replies_of_every_kind(
    asked: tuple[str, dict[str, object]], replies: list[str], tmp_path: Path
) -> None:
    path = data(tmp_path / "data.csv", row("1:1:en", ("Rain, a title: <<a>>", [TITLE]), ("Some rain.", [asked])))
    assert "unfailable" in {each.kind for each in audit_data(path).findings}
    for reply in replies:
        assert grade_reply(reply, [asked[0]], [asked[1]])[0].strict


def test_a_bound_that_most_replies_meet_can_be_failed(tmp_path: Path) -> None:
    asked = [words("less than", 9000), words("at least", 1), times("sun", "less than", 1), times("sun", "at least", 1)]
    rows = [row(f"{n}:1:en", ("A title: <<a>>", [TITLE]), ("Talk of the sun.", [one])) for n, one in enumerate(asked)]
    assert "unfailable" not in {each.kind for each in audit_data(data(tmp_path / "data.csv", *rows)).findings}


# ------------------------------------------------------------------------------------------------ the command


def test_the_command_counts_each_kind_and_writes_the_two_texts_side_by_side(
    run_command: Command, tmp_path: Path
) -> None:
    path = data(tmp_path / "data.csv", *EVERY)
    done = run_command("turnswap", "audit", path, "-o", "audit.csv", COLUMNS="160")
    assert done.returncode == 0, done.stderr
    counts = {line.split()[0]: line.split()[1:3] for line in done.stdout.splitlines() if line.split()[:1]}
    for kind in KINDS:
        assert int(counts[kind][0]) >= 1
    assert "11 conversations, 24 slots." in done.stdout
    rows = written(tmp_path / "audit.csv")
    assert f"{len(rows)} findings written: audit.csv" in done.stdout
    assert f"Not written: {counts['tension'][0]} of tension (--kind tension)" in done.stdout
    assert """--metadata '{"verdicts": "both", "leave_out": "audit.csv"}'""" in done.stdout
    assert "at least 60 words" not in done.stdout
    assert {each["kind"] for each in rows} == KINDS.keys() - {"tension"}
    by_kind = {each["kind"]: each for each in rows}
    assert by_kind["quantity"]["prompt_says"] == "Rain in 80 words or more"
    assert by_kind["quantity"]["kwargs_grade"] == "at least 60 words"
    assert by_kind["conflict"]["position"] == "1 2 3"


def test_without_a_file_the_two_texts_are_shown(turnswap: Turnswap, tmp_path: Path) -> None:
    shown = turnswap("audit", data(tmp_path / "data.csv", *EVERY)).output
    assert "quantity: 1" in shown
    assert "written" not in shown


def test_a_spreadsheet_reads_the_file_as_text_and_no_cell_is_long(turnswap: Turnswap, tmp_path: Path) -> None:
    prompt = "=Rain in 80 words or more" + " and more of it" * 40
    rows = row("1:1:en", ("A title: <<a>>", [TITLE]), (prompt, [words("at least", 60)]))
    empty = row(
        "2:1:en", ("A title: <<a>>", [TITLE]), ("Repeat.", [("combination:repeat_prompt", {"prompt_to_repeat": ""})])
    )
    done = turnswap("audit", data(tmp_path / "data.csv", rows, empty), "-o", "it's.csv")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "it's.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    header, first, second = lines_of((tmp_path / "it's.csv").read_bytes())
    says = dict(zip(header, first, strict=True))["prompt_says"]
    assert says.startswith("'=Rain")
    assert len(says) <= 201
    assert dict(zip(header, second, strict=True))["kind"] == "unfailable"
    hint = next(line for line in done.output.splitlines() if "--metadata" in line)
    assert json.loads(shlex.split(hint)[-1]) == {"verdicts": "both", "leave_out": "it's.csv"}


def test_kinds_are_chosen_by_name(turnswap: Turnswap, tmp_path: Path) -> None:
    path = data(tmp_path / "data.csv", *EVERY)
    done = turnswap("audit", path, "--kind", "tension", "--kind", "words", "-o", "some.csv")
    assert done.exit_code == 0, done.output
    assert {each["kind"] for each in written(tmp_path / "some.csv")} == {"tension", "words"}
    refused = turnswap("audit", path, "--kind", "odd")
    assert refused.exit_code == 2
    assert "'odd' is no kind of finding. Kinds: quantity, relation" in " ".join(refused.output.split())


def test_data_without_findings_say_so_and_leave_no_file(turnswap: Turnswap, tmp_path: Path) -> None:
    path = data(tmp_path / "data.csv", FINE)
    for fine in (path, "sample"):
        assert turnswap("audit", fine).exit_code == 0
    done = turnswap("audit", path, "-o", "audit.csv")
    assert done.exit_code == 1
    assert "Nothing was found of these kinds" in done.output
    assert not (tmp_path / "audit.csv").exists()


def test_what_is_no_such_file_is_refused(turnswap: Turnswap, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    for path, said in (("other.csv", "no column"), ("none.csv", "cannot be read")):
        done = turnswap("audit", path)
        assert done.exit_code == 1
        assert said in done.output
        assert "Traceback" not in done.output


@pytest.mark.parametrize("language", ["English", "Chinese", "Hindi", "Korean"])
def test_hostile_prompts_are_read_to_their_end(language: str, tmp_path: Path) -> None:
    asked = [
        words("at least", 50),
        times("+*", "less than", 3),
        sections(" ", 2),
        end("("),
        letters("İ", "at least", 1),
    ]
    repeated = ("combination:repeat_prompt", {"prompt_to_repeat": "ab " * 4_000})
    prompts = ["9" * 6_000, "一" * 6_000, '"' * 20_001, "(at least " * 5_000, "ſix twice-twice " * 2_000, "ba " * 5_000]
    rows = [
        row(f"{n}:1:x", (prompt, [TITLE]), (prompt, [*asked, repeated]), language=language)
        for n, prompt in enumerate(prompts)
    ]
    assert audit_data(data(tmp_path / "data.csv", *rows)).conversations == len(prompts)


def test_languages_whose_words_are_not_known_are_named(turnswap: Turnswap, tmp_path: Path) -> None:
    korean = row("1:1:ko", ("제목: <<비>>", [TITLE]), ("350단어 이상", [words("at least", 350)]), language="Korean")
    done = turnswap("audit", data(tmp_path / "data.csv", korean, FINE))
    assert "Prompts in Korean are compared by digits" in " ".join(done.output.split())


def test_build_conflicts_is_the_same_mechanism(turnswap: Turnswap, tmp_path: Path) -> None:
    path = data(tmp_path / "data.csv", *EVERY)
    done = turnswap("build", "conflicts", path, "-o", "conflicts.csv")
    assert done.exit_code == 0, done.output
    impossible = [each for each in written(tmp_path / "conflicts.csv") if each["severity"] == "impossible"]
    assert {each["key"]: each["loose"] for each in impossible} == {"7:1:en": "impossible", "8:1:en": "possible"}
    conflicts = [each.key for each in audit_data(path).findings if each.kind in ("conflict", "unfollowable")]
    assert sorted(conflicts) == sorted(each["key"] for each in impossible)


# ------------------------------------------------------------------------------------------- existing data


def test_the_packaged_conversations_say_what_is_graded_in_all_eight_languages() -> None:
    found = audit_data(SAMPLE)
    assert found.findings == []
    assert found.by_digits == []


ENGLISH = SHARED / "multiif_english.csv"


@pytest.mark.skipif(not ENGLISH.is_file(), reason="the benchmark's data are not here")
def test_the_benchmarks_known_rows_are_found() -> None:
    keys = defaultdict(set)
    for each in audit_data(ENGLISH).findings:
        keys[each.kind].add(each.key)
    assert {"337:3:en", "337:15:en"} <= keys["quantity"]
    assert {"2268:7:en", "2292:17:en"} <= keys["repeated"]
    assert {"1137:3:en", "1137:9:en", "371:14:en"} <= keys["conflict"]
    assert len(keys["conflict"]) == 39
    assert len(keys["quantity"] | keys["relation"] | keys["words"] | keys["object"] | keys["language"]) <= 25


@pytest.mark.skipif(not ENGLISH.is_file(), reason="the benchmark's data are not here")
def test_kwargs_of_the_benchmark_that_are_changed_are_found() -> None:
    conversations = load_conversations(Source("csv", str(ENGLISH)), "English")
    found = Counter[tuple[str, bool]]()
    for here in (slot for conversation in conversations for slot in slots_of(conversation)):
        if slot_finding(here) is None:
            for name, value in here.kwargs.items():
                changed = changes(name, value)
                if changed is not None:
                    other = replace(here, kwargs={**here.kwargs, name: changed})
                    found[type(value).__name__, slot_finding(other) is not None] += 1
    for kind, least in (("int", 0.97), ("list", 1.0), ("str", 0.97)):
        of = found[kind, True] + found[kind, False]
        assert of > 400, kind
        assert found[kind, True] >= least * of, (kind, found)


def changes(name: str, value: object) -> object:
    """Another number, relation or word; None for a text that may be repeated."""
    if name == "prompt_to_repeat":
        return None
    if isinstance(value, int):
        return value + 3
    if isinstance(value, list):
        return [*value[1:], "zebrafish"]
    turned = {"at least": "less than", "less than": "at least", "P.S.": "P.P.S", "P.P.S": "P.S."}
    return turned.get(str(value), "sw" if name == "language" else "ж" if name == "letter" else "zebrafish")
