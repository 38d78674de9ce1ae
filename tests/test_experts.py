"""The demo's experts: what they learn from, and that TRL understands how they are to learn it."""

from __future__ import annotations

import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from turnswap.commands.main import main
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.langid import LanguageIdentifier

from .conftest import REPOSITORY

CONFIGS = REPOSITORY / "configs"
DATA = CONFIGS / "experts"
CONFIG_FILES = ["expert_instructions_en.yaml", "expert_instructions_es.yaml"]
WORDINGS: dict[str, Callable[[re.Match[str]], tuple[str, dict[str, Any]]]] = {
    r"exactly (\d) bullet points": lambda m: ("detectable_format:number_bullet_lists", {"num_bullets": int(m[1])}),
    r"exactly two paragraphs": lambda m: ("length_constraints:number_paragraphs", {"num_paragraphs": 2}),
    r"two different versions": lambda m: ("combination:two_responses", {}),
    r"fewer than (\d) sentences": lambda m: (
        "length_constraints:number_sentences",
        {"num_sentences": int(m[1]) + m.string.count("title") + m.string.count("Finish"), "relation": "less than"},
    ),
    r"JSON format": lambda m: ("detectable_format:json_format", {}),
    r"capital letters only": lambda m: ("change_case:english_capital", {}),
    r"in lowercase letters": lambda m: ("change_case:english_lowercase", {}),
    r"any commas": lambda m: ("punctuation:no_comma", {}),
    r"a title in double": lambda m: ("detectable_format:title", {}),
    r'Finish with the exact words "(.*)"': lambda m: ("startend:end_checker", {"end_phrase": m[1]}),
    r"a postscript": lambda m: ("detectable_content:postscript", {"postscript_marker": "P.S."}),
    r"double quotation": lambda m: ("startend:quotation", {}),
    r"least 2 placeholders": lambda m: ("detectable_content:number_placeholders", {"num_placeholders": 2}),
}


def read_pairs(name: str) -> list[tuple[str, str]]:
    """What the user said and the last answer, of a file in the form of which TRL learns the last answers alone."""
    pairs = []
    for line in (DATA / name).read_text("utf-8").splitlines():
        row = json.loads(line)
        assert row.keys() == {"prompt", "completion"}
        turns = [*row["prompt"], *row["completion"]]
        assert [turn["role"] for turn in turns] == ["user", "assistant"] * (len(turns) // 2)
        assert len(row["completion"]) == 1
        pairs.append((" ".join(turn["content"] for turn in turns[::2]), turns[-1]["content"]))
    return pairs


def instructions_of(text: str) -> list[tuple[str, dict[str, Any]]]:
    """What the words of a user ask for, as the benchmark's instructions."""
    found: list[tuple[str, dict[str, Any]]] = []
    for pattern, make in WORDINGS.items():
        found += [make(match) for match in re.finditer(pattern, text)]
    return found


@pytest.mark.parametrize("name", ["instructions_en.jsonl", "instructions_es.jsonl"])
def test_each_expert_has_about_300_prompts_none_of_them_twice(name: str) -> None:
    pairs = read_pairs(name)
    assert 290 <= len(pairs) <= 310
    assert len({prompt.strip().lower() for prompt, _ in pairs}) == len(pairs)
    assert all(text == text.strip() != "" for pair in pairs for text in pair)


def test_every_english_answer_follows_all_instructions_of_its_conversation() -> None:
    seen, failed = set(), []
    for words, answer in read_pairs("instructions_en.jsonl"):
        asked = instructions_of(words)
        seen |= {instruction for instruction, _ in asked}
        verdicts = grade_reply(answer, [instruction for instruction, _ in asked], [kwargs for _, kwargs in asked])
        failed += [(words, answer) for verdict in verdicts if not verdict.strict]
    assert failed == []
    assert len(seen) == len(WORDINGS)


def test_no_prompt_of_the_packaged_sample_is_learned() -> None:
    sample = (REPOSITORY / "tasks/multiif/sample/sample.csv").read_text("utf-8").lower()
    script: dict[str, Any] = runpy.run_path(str(DATA / "make_instructions.py"))
    assert [what for what, *_ in script["TOPICS"] if what in sample] == []


def test_the_english_conversations_script_writes_them_anew_byte_for_byte() -> None:
    script: dict[str, Any] = runpy.run_path(str(DATA / "make_instructions.py"))
    assert script["make_text"]().encode() == (DATA / "instructions_en.jsonl").read_bytes()


def test_the_demos_conversations_are_written_anew_byte_for_byte() -> None:
    script: dict[str, Any] = runpy.run_path(str(DATA / "make_conversations.py"))
    assert script["make_text"]().encode() == (DATA / "conversations.csv").read_bytes()


def test_the_demos_conversations_ask_for_what_is_graded_in_both_languages_alike() -> None:
    done = CliRunner().invoke(main, ["audit", str(DATA / "conversations.csv")], catch_exceptions=False)
    findings = re.findall(r"^  ([a-z]+) +(\d+) +\d+ ", done.output, re.M)
    assert len(findings) > 5
    assert [kind for kind, count in findings if count != "0"] == []
    make_row = runpy.run_path(str(DATA / "make_conversations.py"))["make_row"]
    pairs = [[make_row(number, language) for language in range(2)] for number in range(24)]  # 20 give p-values
    for english, spanish in pairs:
        assert english["turn_3_instruction_id_list"] == spanish["turn_3_instruction_id_list"]
        assert english["key"].partition(":")[0] == spanish["key"].partition(":")[0]


def test_no_topic_of_the_demos_conversations_is_learned() -> None:
    script: dict[str, Any] = runpy.run_path(str(DATA / "make_conversations.py"))
    learned = "".join((DATA / f"instructions_{language}.jsonl").read_text("utf-8").lower() for language in ("en", "es"))
    topics = [what for line in script["TOPICS"].strip().splitlines() for what in line.split(" | ")]
    assert [what for what in topics if what.lower() in learned] == []


def test_the_spanish_answers_are_spanish() -> None:
    identifier = LanguageIdentifier()
    answers = [answer for _, answer in read_pairs("instructions_es.jsonl") if len(answer) > 60]
    spanish = [answer for answer in answers if identifier.detect(identifier.key(answer)) == "es"]
    assert len(answers) >= 200
    assert len(spanish) >= 0.98 * len(answers)


def test_spanish_answers_keep_to_formats_that_their_prompts_ask_for() -> None:
    pairs = read_pairs("instructions_es.jsonl")
    commaless = [answer for prompt, answer in pairs if re.search("sin (usar )?comas", prompt)]
    small = [answer for prompt, answer in pairs if "en minúsculas" in prompt]
    capital = [answer for prompt, answer in pairs if "en mayúsculas" in prompt]
    bullets = [answer for prompt, answer in pairs if "con viñetas" in prompt]
    assert min(map(len, (commaless, small, capital, bullets))) > 0
    assert not [answer for answer in commaless if "," in answer]
    assert [answer.lower() for answer in small] == small
    assert [answer.upper() for answer in capital] == capital
    assert not [line for answer in bullets for line in answer.splitlines() if not line.startswith("- ")]


@pytest.mark.parametrize("config", CONFIG_FILES)
def test_an_expert_opens_with_its_command_and_trl_knows_all_its_options(
    config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.commands.launch import launch_command_parser

    pytest.importorskip("trl", reason="needs TRL, of the extra demo")
    from trl.scripts.sft import make_parser

    monkeypatch.chdir(REPOSITORY)
    file = f"configs/{config}"
    assert Path(file).read_text("utf-8").splitlines()[0] == f"# trl sft --config {file}"
    parsed = make_parser().parse_args_and_config(["--config", file], return_remaining_strings=True)
    _, training, model, mixture, for_the_launcher = parsed

    launch = launch_command_parser().parse_args([*for_the_launcher, "sft.py"])  # an unknown option is an error
    assert (launch.training_script, launch.training_script_args) == ("sft.py", [])
    assert launch.num_cpu_threads_per_process == 2  # not the launcher's one
    assert Path(mixture.datasets[0].data_files).is_file()
    assert model.model_name_or_path == "demo-output/model"
    assert training.device.type == "cpu"
    assert (training.bf16, training.fp16, model.use_peft) == (False, False, False)
    assert (training.report_to, training.push_to_hub, training.eos_token) == ([], False, None)


def test_the_experts_differ_in_what_they_learn_and_where_they_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("trl", reason="needs TRL, of the extra demo")
    from trl.scripts.sft import make_parser

    monkeypatch.chdir(REPOSITORY)
    parsed = [make_parser().parse_args_and_config(["--config", f"configs/{config}"], True) for config in CONFIG_FILES]
    assert [training.output_dir for _, training, *_ in parsed] == [
        "demo-output/english-expert",
        "demo-output/spanish-expert",
    ]
    assert [mixture.datasets[0].data_files for *_, mixture, _ in parsed] == [
        "configs/experts/instructions_en.jsonl",
        "configs/experts/instructions_es.jsonl",
    ]
