"""What a search refuses before it reads a weight."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from turnswap.core.errors import UserError
from turnswap.sweeps.documents import describe
from turnswap.sweeps.settings import read_settings

from ..conftest import REPOSITORY
from ..merge_methods.models import save_model
from .sweeping import copying, own_tasks_alone, run

__all__ = ["copying", "own_tasks_alone"]  # fixtures


def refused(copying: Path, folder: Path, **more: Any) -> str:
    """The words of a refusal, after which nothing was written."""
    with pytest.raises(UserError) as raised:
        run(copying, folder / "out", **more)
    assert not (folder / "out").exists()
    return str(raised.value)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"report_on": "copying:29-40"}, "share documents of copying: 29."),
        ({"report_on": "copying"}, "share documents of copying: 0-29."),
        ({"select_on": "copying", "report_on": "copying"}, "share documents of copying: 0-59."),
        ({"report_on": "copying:40-59", "select_on": "copying:0-39,copying:45"}, "share documents of copying: 45."),
        ({"select_on": "copying:0-60"}, "copying has 60 documents, 0-59."),
        ({"select_on": "copying:9-0"}, "runs backwards"),
        ({"select_on": "coping"}, "no task, group or tag called coping"),
        ({"metric": "f1"}, "copying has no metric f1. It has: acc, brier_score."),
        ({"metric": "acc,strict"}, "copying has no metric acc,strict."),
        ({"swaps": {"recipient": {"layers": "0"}}}, "recipient is the name of another row"),
        ({"swaps": {"average 0.3": {"layers": "0"}}}, "average 0.3 is the name of another row"),
        ({"swaps": {"one": {"layers": "0-9"}}}, "one: layers: layer 9 is outside the model"),
        ({"swaps": {"one": {"layer": "0"}}}, "one: layer is no parameter of layer_swap."),
        ({"swaps": {"one": {"layers": "0-5"}}}, "Every swap is the recipient, the donor or their average."),
        ({"grid": {"bottom": "4-5", "top": "4"}}, "No swap of the grid fits"),
        ({"grid": {"bottom": "1"}}, "The grid needs top"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    copying: Path, tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    assert words in refused(copying, tmp_path, **more)


def test_documents_that_a_limit_makes_disjoint_may_be_reported_on(copying: Path, tmp_path: Path) -> None:
    one = {"swaps": {"one": {"layers": "0"}}}
    assert "share documents of copying: 5-14" in refused(
        copying, tmp_path, select_on="copying", report_on="copying:5-59", limit=15, **one
    )
    sweep, _ = run(copying, tmp_path / "out", select_on="copying", report_on="copying:15-59", limit=15, **one)
    assert {name: describe(role.documents) for name, role in sweep.roles.items()} == {
        "select": {"copying": "0-14"}, "report": {"copying": "15-29"}
    }  # fmt: skip


def test_the_same_questions_in_another_task_are_pointed_out(copying: Path, tmp_path: Path) -> None:
    sweep, _ = run(copying, tmp_path, report_on="copying_shown:20-39", swaps={"one": {"layers": "0"}})
    assert any(note.startswith("10 of 20 documents reported on are, word for word") for note in sweep.notes)


def test_models_that_do_not_belong_together_are_refused(copying: Path, tmp_path: Path) -> None:
    save_model(tmp_path / "models" / "recipient", layers=6)
    save_model(tmp_path / "models" / "donor", layers=5)
    with pytest.raises(UserError, match="differ in layers: 6 and 5"):
        run(copying, tmp_path / "out", tmp_path / "models")


TWO = {"select_on": None, "objectives": {name: {"tasks": "t", "metric": name} for name in ("acc", "f1")}}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"metrics": "acc"}, "metrics is no setting of a search"),
        ({"metric": None}, "a search needs metric."),
        ({"select_on": None}, "Nothing says what a good swap is."),
        ({"grid": {"bottom": "3-1", "top": "0"}}, "bottom: expected numbers such as 0-4,6"),
        ({"grid": {"bottom": ["auto"], "top": "0"}}, "bottom: expected numbers of layers"),
        ({"grid": {"bottom": 1, "top": 0, "layers": "0-3"}}, "layers is no axis of a grid"),
        ({"grid": {}}, "There is nothing to try"),
        ({"halving": 3}, "Write pruner: halving"),
        ({"limit": 0}, "limit"),
        ({"held_out": 1}, "held_out cannot be 1"),
        ({"model_args": {"pretrained": "x"}}, "the search itself sets pretrained: use --recipient"),
        ({"gen_kwargs": "{nonsense"}, "gen_kwargs cannot be '{nonsense': it is no JSON"),
        ({"space": {"bottom": "0-3"}}, "A search of a space needs trials or hours."),
        ({"space": {"bottom": "0-3"}, "trials": 0}, "trials cannot be 0"),
        ({"space": {"bottom": "0-3"}, "hours": 0}, "hours cannot be 0"),
        ({"space": {"bottom": "0-3"}, "trials": 3, "sampler": "list"}, "sampler: list draws nothing from a space"),
        ({"sampler": "annealing"}, "sampler cannot be 'annealing'"),
        ({"pruner": "secateurs"}, "pruner cannot be 'secateurs'"),
        ({"objectives": {"a": {"tasks": "t", "metric": "acc"}}}, "select_on and objectives both say"),
        ({"select_on": None, "objectives": {"a": {"tasks": "t"}}}, "tasks need a metric"),
        ({"select_on": None, "objectives": {"a": {"replies_in": "sw"}}}, "replies_in needs prompts"),
        ({"select_on": None, "objectives": {"a": {"perplexity": "x", "tasks": "t", "metric": "m"}}}, "expected one of"),
        ({"select_on": None, "objectives": ["fluency"]}, "The objective fluency is not described."),
        ({"select_on": None, "objectives": ["source_skill"]}, "source with metric for source_skill"),
        ({"select_on": None, "zero_shot": {"source": "t"}}, "source needs a metric"),
        ({"select_on": None, "zero_shot": {"language": "sw"}}, "language needs prompts"),
        (
            {"select_on": None, "objectives": {"a": {"tasks": "t", "metric": "acc", "optimize": False}}},
            "No objective is optimized",
        ),
        ({"select_on": None, "objectives": {"a": 3}}, "a search: objectives.a cannot be 3"),
        ({"choose": "speed"}, "choose: speed is no objective"),
        (TWO | {"pruner": "halving"}, "pruner: halving needs one objective, and there are 2"),
        (TWO | {"sampler": "cmaes"}, "sampler: cmaes needs one objective"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    whole = {
        "recipient": "r", "donor": "d", "select_on": "t", "metric": "acc", "grid": {"bottom": 1, "top": 0}
    } | content  # fmt: skip
    path = tmp_path / "sweep.yml"
    path.write_text(yaml.safe_dump({key: value for key, value in whole.items() if value is not None}), "utf-8")
    with pytest.raises(UserError) as raised:
        read_settings(path, {})
    assert words in str(raised.value)


def test_the_documented_configuration_reads_and_options_override_it() -> None:
    path = REPOSITORY / "configs" / "sweep.yml"
    settings = read_settings(path, {})
    assert settings.grid["bottom"] == list(range(9))
    assert settings.select_on == ["mgsm_native_cot_sw:0-99"]
    changed = read_settings(
        path, {"limit": 5, "select_on": "a:0-4,b", "grid": {"top": "2"}, "model_args": "dtype=float32"}
    )
    assert changed.grid == settings.grid | {"top": [2]}
    assert changed.select_on == ["a:0-4", "b"]
    assert (changed.limit, changed.model_args) == (5, {"dtype": "float32"})
