"""``turnswap export --format every-eval-ever``: figures with intervals, and conversations with all of their turns."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import REPOSITORY, Turnswap
from tests.reports.evaluations import evaluate, follows_share
from tests.reports.export.shared import Edited
from turnswap.tasks.multiif.dataset import LANGUAGES

# In an environment of its own: it needs an old huggingface_hub and a newer Python than ours may be.
ENVIRONMENT = REPOSITORY / ".venv-every-eval-ever"


def exported(turnswap: Turnswap, folder: Path, *arguments: object) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The one record below a folder: the aggregate, and the lines beside it."""
    result = turnswap("export", *arguments, "--format", "every-eval-ever", "-o", folder, "--resamples", 100)
    assert result.exit_code == 0, result.output
    (aggregate,) = folder.rglob("*.json")
    samples = aggregate.with_name(f"{aggregate.stem}_samples.jsonl")
    lines = [json.loads(line) for line in samples.read_bytes().split(b"\n")[:-1]] if samples.exists() else []
    return json.loads(aggregate.read_text("utf-8")), lines


def test_every_figure_of_the_table_is_in_the_record_with_its_interval(
    turnswap: Turnswap, sample_run: Path, tmp_path: Path
) -> None:
    content, _ = exported(turnswap, tmp_path / "out", sample_run)
    assert turnswap("table", sample_run, "-o", "t.csv", "--resamples", 100).exit_code == 0
    table = pd.read_csv("t.csv").query("metric == 'overall_acc' and turn.notna() and language != 'pooled'")
    expected = {(row.language, int(row.turn)): (row.value, row.low, row.high, row.n) for row in table.itertuples()}
    found = {}
    for result in content["evaluation_results"]:
        _, scope, turn = result["evaluation_name"].split(".")
        score = result["score_details"]
        interval = score["uncertainty"]["confidence_interval"]
        numbers = (score["score"], interval["lower"], interval["upper"], score["uncertainty"]["num_samples"])
        found["macro" if scope == "all" else scope, int(turn[-1])] = numbers
        width = ", zero width" if interval["lower"] == interval["upper"] else ""
        assert (interval["confidence_level"], interval["method"]) == (0.95, f"95% bootstrap{width}")
        assert score["uncertainty"]["num_bootstrap_samples"] == 100
    assert found.keys() == expected.keys()
    assert all(found[key] == pytest.approx(expected[key]) for key in expected)


def test_a_conversation_keeps_all_turns_and_has_a_score_for_each(
    turnswap: Turnswap, sample_run: Path, tmp_path: Path
) -> None:
    content, lines = exported(turnswap, tmp_path / "out", sample_run)
    samples = [json.loads(line) for path in sample_run.rglob("samples_*_en_*") for line in path.open(encoding="utf-8")]
    for sample in samples:
        doc, replies = sample["doc"], sample["filtered_resps"]
        own = [line for line in lines if line["sample_id"] == doc["key"]]
        assert [line["evaluation"]["num_turns"] for line in own] == list(range(1, len(doc["turns"]) + 1))
        for turn, line in enumerate(own, 1):
            said = [(message["role"], message["content"]) for message in line["messages"]]
            assert said == [
                pair
                for asked, reply in zip(doc["turns"][:turn], replies, strict=False)
                for pair in (("user", asked["prompt"]), ("assistant", reply))
            ]
            (attribution,) = line["answer_attribution"]
            assert line["messages"][attribution["turn_idx"]]["content"] == attribution["extracted_value"]
            names = [f"turn{turn}_{name}" for name in ("prompt_strict_acc", "inst_strict_acc")]
            names += [f"turn{turn}_{name}" for name in ("prompt_loose_acc", "inst_loose_acc")]
            shares = [sample[name][0] / sample[name][1] for name in names]
            assert line["evaluation"]["score"] == pytest.approx(sum(shares) / 4)
            assert line["evaluation"]["is_correct"] == (shares[0] == 1)
            assert replies[turn - 1] not in line["input"]["raw"]
    ids = {result["evaluation_result_id"] for result in content["evaluation_results"]}
    assert {line["evaluation_result_id"] for line in lines} == {id_ for id_ in ids if id_[0] != "t"}
    assert {line["evaluation_id"] for line in lines} == {content["evaluation_id"]}


def test_the_record_names_its_lines_and_their_checksum(turnswap: Turnswap, sample_run: Path, tmp_path: Path) -> None:
    content, lines = exported(turnswap, tmp_path / "out", sample_run)
    told = content["detailed_evaluation_results"]
    there = (tmp_path / "out" / told["file_path"]).read_bytes()
    assert told["checksum"] == hashlib.sha256(there).hexdigest()
    assert told["total_rows"] == len(lines)


def test_each_repeat_of_a_conversation_has_its_own_lines_and_score(turnswap: Turnswap, tmp_path: Path) -> None:
    counter = iter(range(10_000))
    run = evaluate(
        tmp_path / "run",
        "org/m",
        lambda _: "<<Title>> rain" if next(counter) % 2 else "no, no",
        tasks=("multiif_en",),
        metadata={"repeats": 3},
        gen_kwargs={"do_sample": True, "temperature": 1.0},
    )
    content, lines = exported(turnswap, tmp_path / "out", run)
    by_repeat = pd.DataFrame([{**line["metadata"], **line["evaluation"], "id": line["sample_id"]} for line in lines])
    assert set(by_repeat.repeat) == {"0", "1", "2"}
    assert set(by_repeat.groupby(["id", "num_turns"]).size()) == {3}
    strict = by_repeat[by_repeat.num_turns == 1].is_correct.mean()
    assert turnswap("table", run, "-o", "t.csv", "--resamples", 100).exit_code == 0
    table = pd.read_csv("t.csv").query("metric == 'prompt_strict_acc' and turn == 1 and language == 'en'")
    assert strict == pytest.approx(table.value.item())
    assert content["evaluation_results"][0]["generation_config"]["additional_details"]["repeats"] == "3"


def test_without_samples_the_figures_alone_are_written(turnswap: Turnswap, edited: Edited, tmp_path: Path) -> None:
    content, lines = exported(turnswap, tmp_path / "out", edited(), "--source", "https://example.org/runs")
    assert (lines, content.get("detailed_evaluation_results")) == ([], None)
    assert content["source_metadata"]["additional_details"] == {"url": "https://example.org/runs"}
    assert len(content["evaluation_results"]) == 3 * (1 + len(LANGUAGES))
    assert content["evaluation_results"][0]["source_data"]["hf_repo"] == "facebook/Multi-IF"
    methods = {
        result["score_details"]["uncertainty"].get("confidence_interval", {}).get("method")
        for result in content["evaluation_results"]
    }
    assert methods <= {None, "95% normal (lm-eval's standard error)"}


def test_other_data_is_not_told_to_be_the_benchmark(turnswap: Turnswap, sample_run: Path, tmp_path: Path) -> None:
    content, _ = exported(turnswap, tmp_path / "out", sample_run)
    assert {result["source_data"]["source_type"] for result in content["evaluation_results"]} == {"other"}


@pytest.mark.slow
def test_every_eval_evers_own_validator_finds_no_fault(
    turnswap: Turnswap, sample_run: Path, edited: Edited, tmp_path: Path
) -> None:
    out, hostile = tmp_path / "out", "<<a\ud800b>> rain\x00\u2028\x85\r\n"
    runs = [sample_run, edited(("en", "fr"), name="/models/final"), f"org/other={edited()}"]
    runs.append(evaluate(tmp_path / "run", "org/hostile", lambda _: hostile, tasks=("multiif_hi",)))
    runs.append(evaluate(tmp_path / "adapted", "org/b", follows_share(1), model_args={"peft": "org/a"}))
    for run in runs:
        result = turnswap("export", run, "--format", "every-eval-ever", "-o", out, "--resamples", 100)
        assert result.exit_code == 0, result.output
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*.json*"))
    assert len(files) == 8
    told = subprocess.run([validator(), "validate", *files], cwd=out, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    assert "8 passed, 0 warning-only, 0 failed" in told.stdout


def validator() -> str:
    """The project's command, installed once; the test is skipped where that cannot be done."""
    program = ENVIRONMENT / "bin" / "every_eval_ever"
    if not program.exists():
        shims = {**os.environ, "PYTHONPATH": ""}
        if pyenv := shutil.which("pyenv"):
            versions = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=False)
            shims["PYENV_VERSION"] = ":".join(versions.stdout.split())
        names = [f"python3.{minor}" for minor in (12, 13, 14)]
        command = ["-m", "venv", "--clear", str(ENVIRONMENT)]
        made = (
            subprocess.run([name, *command], env=shims, capture_output=True, check=False).returncode == 0
            for name in names
            if shutil.which(name)
        )
        if not any(made):
            pytest.skip("Every Eval Ever needs Python 3.12 or newer, and there is none")
        install = [ENVIRONMENT / "bin" / "pip", "install", "--quiet", "every-eval-ever==0.3.0"]
        done = subprocess.run(install, env=shims, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"Every Eval Ever cannot be installed: {done.stderr[-300:]}")
    return str(program)
