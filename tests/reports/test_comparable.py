"""Runs that were not made alike are not compared until that is accepted."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Turnswap, make_row, write_csv

from .compared import one_and_other, refused, replies
from .evaluations import evaluate


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    english = one_and_other(folder)
    evaluate(folder / "short", "org/short", replies(), **english, gen_kwargs="max_gen_toks=64")
    evaluate(folder / "system", "org/system", replies(), **english, system_instruction="Be short.")
    rows = [make_row(f"{n}:1:en", turns=2) for n in range(1, 25)]  # the same keys, but more instructions in turn 1
    for each in rows:
        each["turn_1_instruction_id_list"], each["turn_1_kwargs"] = (
            each[f"turn_2_{column}"] for column in ("instruction_id_list", "kwargs")
        )
    changed = write_csv(folder / "changed.csv", rows)
    evaluate(folder / "data", "org/data", replies(), data=changed, tasks=("multiif_en",))
    return folder


def changed_copy(folder: Path, target: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of a result folder whose results file was changed."""
    shutil.copytree(folder, target)
    (path,) = target.rglob("results_*.json")
    content = json.loads(path.read_text("utf-8"))
    change(content)
    path.write_text(json.dumps(content), "utf-8")
    return target


@pytest.mark.parametrize(
    ("name", "difference", "part"),
    [
        ("short", "gen is greedy,max_gen_toks:2048 and greedy,max_gen_toks:64", "gen"),
        ("system", "system is none and 815fa947", "system"),
    ],
)
def test_runs_that_were_not_made_alike_are_refused_until_accepted(
    name: str, difference: str, part: str, runs: Path, turnswap: Turnswap
) -> None:
    message = refused(turnswap("compare", runs / "one", runs / name))
    assert difference in message
    assert "--accept" in message
    assert refused(turnswap("compare", runs / "one", runs / name, "--accept", "data"))
    assert turnswap("compare", runs / "one", runs / name, "--accept", part).exit_code == 0


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("multiif", lambda content: content["configs"]["multiif_en"]["metadata"].update(version=2.0)),
        ("turnswap", lambda content: content["configs"]["multiif_en"]["metadata"].update(turnswap="9.9")),
        ("lm-eval", lambda content: content.update(lm_eval_version="0.5.0")),
        ("repeats", lambda content: content["configs"]["multiif_en"].update(repeats=4)),
        ("description", lambda content: content["configs"]["multiif_en"].update(description="Be kind.")),
        ("prompts", lambda content: content["configs"]["multiif_en"]["metadata"]["run"].update(prompts="plain")),
        ("gen", lambda content: content["configs"]["multiif_en"]["generation_kwargs"].update(do_sample=True)),
    ],
)
def test_each_part_of_the_measurement_is_compared(
    part: str, change: Callable[[dict[str, Any]], object], runs: Path, turnswap: Turnswap, tmp_path: Path
) -> None:
    changed = changed_copy(runs / "other", tmp_path / "changed", change)
    assert f"not comparable: {part} is " in refused(turnswap("compare", runs / "one", changed))
    assert turnswap("compare", runs / "one", changed, "--accept", part).exit_code == 0


def test_models_may_differ_in_their_chat_templates(runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    def template(content: dict[str, Any]) -> None:
        content["configs"]["multiif_en"]["metadata"]["run"]["chat_template_sha"] = "cafe" * 16

    found = turnswap("compare", runs / "one", changed_copy(runs / "other", tmp_path / "changed", template))
    assert found.exit_code == 0
    assert "template:cafecafe" in found.output


def test_a_temperature_that_api_models_sample_with_is_not_called_greedy(
    runs: Path, turnswap: Turnswap, tmp_path: Path
) -> None:
    # lm-eval's local-completions and local-chat-completions drop do_sample and send the temperature.
    def sampled(content: dict[str, Any]) -> None:
        content["configs"]["multiif_en"]["generation_kwargs"]["temperature"] = 0.6
        content["config"]["model"] = content["model_source"] = "local-chat-completions"

    found = turnswap("compare", runs / "one", changed_copy(runs / "other", tmp_path / "changed", sampled))
    assert "temperature:0.6" in found.output


@pytest.mark.parametrize(("a", "b"), [("one", "data"), ("data", "one")])
def test_accepting_other_data_does_not_pair_conversations_that_differ(
    a: str, b: str, runs: Path, turnswap: Turnswap
) -> None:
    assert re.search("data is csv@.*; content is ", refused(turnswap("compare", runs / a, runs / b)))
    assert ":1:en is not the same in both" in refused(turnswap("compare", runs / a, runs / b, "--accept", "data"))
