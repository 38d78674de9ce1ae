"""The demo's experts: what they learn from, and that TRL understands how they are to learn it."""

from __future__ import annotations

import json
import operator
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

from turnswap.tasks.multiif.langid import LanguageIdentifier

from .conftest import REPOSITORY

CONFIGS = REPOSITORY / "configs"
DATA = CONFIGS / "experts"
CONFIG_FILES = ["expert_arithmetic_en.yaml", "expert_instructions_es.yaml"]
OPERATIONS = {"+": operator.add, "-": operator.sub, "×": operator.mul, "÷": operator.truediv}


def read_pairs(name: str) -> list[tuple[str, str]]:
    """Prompts and answers of a file in the form of which TRL learns the answers alone."""
    pairs = []
    for line in (DATA / name).read_text("utf-8").splitlines():
        row = json.loads(line)
        assert row.keys() == {"prompt", "completion"}
        (prompt,), (completion,) = row["prompt"], row["completion"]
        assert (prompt["role"], completion["role"]) == ("user", "assistant")
        pairs.append((prompt["content"], completion["content"]))
    return pairs


def wrong_steps(answer: str) -> list[str]:
    """The sums of an answer that do not come out as it says, and its last words if they are not the last result."""
    steps = re.findall(r"(\d+) ([-+×÷]) (\d+) = (\d+)", answer)
    wrong = [" ".join(step) for step in steps if OPERATIONS[step[1]](int(step[0]), int(step[2])) != int(step[3])]
    end = f" The answer is {steps[-1][3]}." if steps else "some working"
    return wrong if answer.endswith(end) and answer.count("=") == len(steps) else [*wrong, answer]


@pytest.mark.parametrize("name", ["arithmetic_en.jsonl", "instructions_es.jsonl"])
def test_each_expert_has_about_300_prompts_none_of_them_twice(name: str) -> None:
    pairs = read_pairs(name)
    assert 290 <= len(pairs) <= 310
    assert len({prompt.strip().lower() for prompt, _ in pairs}) == len(pairs)
    assert all(text == text.strip() != "" for pair in pairs for text in pair)


def test_every_arithmetic_answer_is_right() -> None:
    assert [wrong for _, answer in read_pairs("arithmetic_en.jsonl") for wrong in wrong_steps(answer)] == []


@pytest.mark.parametrize(
    "answer",
    ["2 + 2 = 5. The answer is 5.", "2 + 2 = 4. The answer is 5.", "The answer is 4.", "2 + x = 4, 2 + 2 = 4. 4."],
)
def test_a_wrong_arithmetic_answer_would_be_noticed(answer: str) -> None:
    assert wrong_steps(answer)


def test_the_arithmetic_comes_from_40_templates_or_more_and_its_script_writes_it_anew_byte_for_byte() -> None:
    script: dict[str, Any] = runpy.run_path(str(DATA / "make_arithmetic.py"))
    assert len({question for _, question, _ in script["TEMPLATES"]}) >= 40
    assert script["make_text"]().encode() == (DATA / "arithmetic_en.jsonl").read_bytes()


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
        "demo-output/math-expert",
        "demo-output/spanish-expert",
    ]
    assert [mixture.datasets[0].data_files for *_, mixture, _ in parsed] == [
        "configs/experts/arithmetic_en.jsonl",
        "configs/experts/instructions_es.jsonl",
    ]
