"""The stock lm_eval from end to end: a real (tiny, random) model in process, and behind a real server."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from turnswap.tasks import tasks_path

from .conftest import REPOSITORY, Command, read_results, read_samples

pytestmark = pytest.mark.slow

INCLUDE = ["--include_path", str(tasks_path())]


def hf_run(model: Path, *more: str) -> list[str]:
    command = ["lm_eval", "run", "--model", "hf", "--model_args", f"pretrained={model},dtype=float32"]
    return [
        *command,
        "--tasks",
        "multiif_en",
        "--batch_size",
        "4",
        "--output_path",
        "out",
        "--log_samples",
        *INCLUDE,
        *more,
    ]


def test_hf_runs_real_conversations_and_a_second_run_asks_for_nothing(
    run_command: Command, tiny_model: Path, english_csv: Path, tmp_path: Path
) -> None:
    more = ["--gen_kwargs", "max_gen_toks=24", "--system_instruction", "Be short.", "--use_cache", "cache"]
    done = run_command(*hf_run(tiny_model, *more), TURNSWAP_MULTIIF=english_csv)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "5 conversations, 14 turns, 1 tasks: multiif_en" in done.stderr
    assert done.stderr.count("always use the model's chat template") == 1
    assert "Turn 2 of 3: Running generate_until requests" in done.stderr
    assert re.search(r"turn1_overall_acc\s*\|↑\s*\|\s*[\d.]+\|±\s*\|\s*[\d.]+\|", done.stdout)

    samples = read_samples(tmp_path / "out")
    assert [len(sample["resps"]) for sample in samples] == [3, 3, 3, 2, 3]
    from transformers import AutoTokenizer

    template = AutoTokenizer.from_pretrained(tiny_model).apply_chat_template
    for sample in samples:
        messages = [{"role": "system", "content": "Be short."}]
        for turn, (scripted, (reply,)) in enumerate(zip(sample["doc"]["turns"], sample["resps"], strict=True)):
            messages.append({"role": "user", "content": scripted["prompt"]})
            prompt = template(messages, tokenize=False, add_generation_prompt=True)
            assert sample["arguments"][f"gen_args_{turn}"]["arg_0"] == prompt
            messages.append({"role": "assistant", "content": reply})
    metadata = read_results(tmp_path / "out")["configs"]["multiif_en"]["metadata"]
    assert len(metadata["run"]["chat_template_sha"]) == 64
    assert len(metadata["data_sha256"]) == 64

    again = run_command(*hf_run(tiny_model, *more, "--output_path", "again"), TURNSWAP_MULTIIF=english_csv)
    remaining = re.findall(r"Cached requests: (\d+), Requests remaining: (\d+)", again.stderr)
    assert remaining == [("5", "0"), ("5", "0"), ("4", "0")]
    assert read_samples(tmp_path / "again") == samples

    reported = run_command("turnswap", "report", "mine=out", "again=again", "-o", "report.html")
    assert reported.returncode == 0, reported.stderr
    assert f"n:5/5|data:csv@{metadata['data_sha256'][:8]}|gen:greedy,max_gen_toks:24" in (
        tmp_path / "report.html"
    ).read_text("utf-8")
    compared = run_command("turnswap", "compare", "mine=out", "again=again", "--format", "json")
    assert {row["gap"] for row in json.loads(compared.stdout)["differences"]} <= {0, None}


def test_chosen_conversations_are_only_predicted(
    run_command: Command, tiny_model: Path, english_csv: Path, tmp_path: Path
) -> None:
    more = ["--gen_kwargs", "max_gen_toks=4", "--samples", '{"multiif_en": [1, 3]}', "--predict_only"]
    done = run_command(*hf_run(tiny_model, *more), TURNSWAP_MULTIIF=english_csv)
    assert done.returncode == 0, done.stderr[-3000:]
    samples = read_samples(tmp_path / "out")
    assert [(sample["doc_id"], len(sample["filtered_resps"])) for sample in samples] == [(1, 3), (3, 2)]
    assert not any("_acc" in metric for metric in read_results(tmp_path / "out")["results"]["multiif_en"])


def test_overflow_and_truncation_are_counted_on_a_model_that_cuts_prompts(
    run_command: Command, tiny_model: Path, english_csv: Path, tmp_path: Path
) -> None:
    done = run_command(*hf_run(tiny_model, "--gen_kwargs", "max_gen_toks=300"), TURNSWAP_MULTIIF=english_csv)
    assert done.returncode == 0, done.stderr[-3000:]
    results = read_results(tmp_path / "out")["results"]["multiif_en"]
    samples = read_samples(tmp_path / "out")
    assert results["turn1_overflowing,none"] == 0
    assert results["turn3_overflowing,none"] == sum(sample["turn3_overflowing"] for sample in samples) > 0
    assert "prompts plus the reply's room exceed the model's length" in done.stderr
    assert results["turn1_truncated,none"] > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metadata", '{"multiif_data": "missing.csv"}'], "--metadata multiif_data names 'missing.csv', which is no"),
        (
            ["--metadata", '{"prompts": "poem"}'],
            "--metadata: prompts cannot be 'poem': Input should be 'chat_template'",
        ),
        (
            ["--gen_kwargs", "max_gen_toks=512"],
            "The reply may take 512 tokens, but prompt and reply together have room",
        ),
    ],
)
def test_a_users_mistake_ends_in_a_message_without_traceback(
    arguments: list[str], message: str, run_command: Command, tiny_model: Path, english_csv: Path
) -> None:
    done = run_command(*hf_run(tiny_model, *arguments), TURNSWAP_MULTIIF=english_csv)
    assert done.returncode == 1
    assert f"turnswap: {message}" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_a_model_without_a_template_is_told_its_choices(
    run_command: Command, tiny_model: Path, english_csv: Path, tmp_path: Path
) -> None:
    base = tmp_path / "base"
    base.mkdir()
    for file in tiny_model.iterdir():
        if file.name != "chat_template.jinja":
            (base / file.name).write_bytes(file.read_bytes())
    config = json.loads((base / "tokenizer_config.json").read_text())
    config.pop("chat_template", None)
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    command = hf_run(base, "--gen_kwargs", "max_gen_toks=4", "--limit", "2")
    refused = run_command(*command, TURNSWAP_MULTIIF=english_csv)
    assert refused.returncode == 1
    assert "cannot apply a chat template" in " ".join(refused.stderr.split())
    assert '--metadata \'{"prompts": "plain"}\'' in refused.stderr
    assert "Traceback" not in refused.stderr
    plain = run_command(*command, "--metadata", '{"prompts": "plain"}', TURNSWAP_MULTIIF=english_csv)
    assert plain.returncode == 0, plain.stderr[-3000:]
    assert read_samples(tmp_path / "out")[0]["arguments"]["gen_args_0"]["arg_0"].startswith("User: Write about")


def test_the_published_settings_and_the_group_of_eight_languages(run_command: Command, tmp_path: Path) -> None:
    done = run_command(
        "lm_eval", "run", "--config", REPOSITORY / "configs" / "multiif_published.yaml", "--model", "dummy", *INCLUDE,
        "--batch_size", "1", "--limit", "2", "--metadata", '{"prompts": "plain", "multiif_data": "sample"}',
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    sent = read_samples(tmp_path / "results", "multiif_ru")[0]["arguments"]["gen_args_2"]["arg_1"]
    assert {k: v for k, v in sent.items() if k != "until"} == {
        "do_sample": True, "temperature": 0.6, "top_p": 0.9, "max_gen_toks": 1024,
    }  # fmt: skip
    results = read_results(tmp_path / "results")
    tasks = results["group_subtasks"]["multiif"]
    assert len(tasks) == 8
    for metric in ("turn1_overall_acc,none", "turn3_inst_loose_acc,none"):
        macro = sum(results["results"][task][metric] for task in tasks) / 8
        assert results["groups"]["multiif"][metric] == pytest.approx(macro)
        # Translations share their source prompts: each of these two counts once, for all languages.
        parts = {"turn1_overall_acc,none": 4, "turn3_inst_loose_acc,none": 1}[metric]
        moved: Counter[str] = Counter()
        for task in tasks:
            samples = read_samples(tmp_path / "results", task)
            pairs = np.array([sample[metric.partition(",")[0]] for sample in samples], dtype=float).reshape(
                -1, parts, 2
            )
            above, below = pairs[..., 0], pairs[..., 1]
            share = above.sum(axis=0) / below.sum(axis=0)
            each = ((above - share * below) / below.sum(axis=0)).mean(axis=1) / 8
            moved.update({sample["doc"]["source"]: value for sample, value in zip(samples, each, strict=True)})
        n = len(moved)
        stderr = results["groups"]["multiif"][metric.replace(",", "_stderr,")]
        assert stderr == pytest.approx((n / (n - 1) * sum(value**2 for value in moved.values())) ** 0.5)


def test_the_glob_selects_the_eight_tasks_and_not_the_group(run_command: Command, tmp_path: Path) -> None:
    done = run_command(
        "lm_eval", "run", "--model", "dummy", "--tasks", "multiif_*", "--limit", "1", "--output_path", "out", *INCLUDE,
        "--metadata", '{"prompts": "plain"}', TURNSWAP_MULTIIF="sample",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "8 conversations, 24 turns, 8 tasks" in done.stderr
    assert len(read_results(tmp_path / "out")["results"]) == 8


@pytest.mark.parametrize("command", [["lm_eval", "run"], ["turnswap", "lm-eval", "run"]])
@pytest.mark.parametrize("group", ["multiif", "leaderboard_multiif"])
def test_a_pattern_that_matches_a_group_and_its_tasks_runs_them_once(
    command: list[str], group: str, run_command: Command, tmp_path: Path
) -> None:
    done = run_command(
        *command, "--model", "dummy", "--tasks", f"{group}*", "--limit", "1", "--output_path", "out",
        "--metadata", '{"prompts": "plain"}', *(INCLUDE if command[0] == "lm_eval" else ()), TURNSWAP_MULTIIF="sample",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "8 conversations, 24 turns, 8 tasks" in done.stderr
    results = read_results(tmp_path / "out")
    assert len(results["results"]) == 9
    assert results["groups"].keys() == {group}


def test_a_task_beside_a_group_that_changes_it_stays_a_mistake(run_command: Command, tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "mine.yaml").write_text("group: mine\ntask: [{task: multiif_en, repeats: 2}]\n")
    changed = ["--tasks", "mine,multiif_en", "--include_path", str(tmp_path / "tasks"), "--limit", "1"]
    done = run_command("turnswap", "lm-eval", "run", "--model", "dummy", *changed, TURNSWAP_MULTIIF="sample")
    assert done.returncode == 1
    assert "Duplicate task 'multiif_en'" in done.stderr


@pytest.mark.parametrize("config", ["mgsm_merged.yaml", "multiif_merged.yaml"])
def test_the_configurations_for_merged_models_name_tasks_and_options_of_lm_evals(config: str) -> None:
    from lm_eval.config.evaluate_config import EvaluatorConfig
    from lm_eval.tasks import TaskManager

    read = EvaluatorConfig.from_config(REPOSITORY / "configs" / config)  # an unknown option is an error
    known = TaskManager(include_path=str(REPOSITORY / "tasks"))
    assert read.tasks
    assert set(read.tasks) <= set(known.all_tasks)
    assert read.log_samples
