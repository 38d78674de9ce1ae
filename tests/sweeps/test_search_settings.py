"""What a search refuses before it reads a weight, and the parts that decide: documents, metrics, rungs, controls."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from turnswap.core.errors import UserError
from turnswap.sweeps.configurations import Planner, join_equal
from turnswap.sweeps.controls import placements
from turnswap.sweeps.documents import describe, hold_out, rungs
from turnswap.sweeps.objectives import Objective, objectives_of
from turnswap.sweeps.settings import Measure, read_settings
from turnswap.sweeps.suite import Suite, find_metric, mean

from ..conftest import REPOSITORY
from ..merge_methods.models import LAYERS as TINY_LAYERS
from ..merge_methods.models import pair, save_model
from .sweeping import copying, own_tasks_alone, run, settings_of

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
        (TWO | {"pruner": "halving"}, "pruner: halving goes by one objective, and there are 2"),
        (TWO | {"sampler": "cmaes"}, "sampler: cmaes goes by one objective"),
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


def test_a_swap_may_be_a_file_of_the_same_models(copying: Path, tmp_path: Path) -> None:
    path = tmp_path / "layerswap.yml"
    settings = settings_of(copying, swaps={"suggested": str(path)})
    content = {
        "merge_method": "layer_swap", "base_model": settings.recipient, "models": [{"model": settings.donor}],
        "parameters": {"bottom": 1, "top": 1, "transition": [{"filter": "mlp", "value": 1}, {"value": 0}]},
    }  # fmt: skip
    path.write_text(yaml.safe_dump(content), "utf-8")
    (found,), _ = Planner(settings).swaps()
    assert (found.name, found.layers) == ("suggested", "D*RR*D")
    path.write_text(yaml.safe_dump(content | {"base_model": str(copying / "tasks")}), "utf-8")
    with pytest.raises(UserError, match="for another recipient"):
        Planner(settings).swaps()


class FakeTask:
    """As much of a task as the choice of a metric looks at."""

    def __init__(self, higher: dict[str, bool], filters: tuple[str, ...] = ("none",)) -> None:
        self.higher = higher
        self._filters = [type("Ensemble", (), {"name": name}) for name in filters]

    def aggregation(self) -> dict[str, Any]:
        return dict.fromkeys(self.higher, sum)

    def higher_is_better(self) -> dict[str, bool]:
        return self.higher


def test_a_metric_is_found_with_its_filter_and_direction() -> None:
    strict = FakeTask({"exact_match": True}, ("strict", "flexible"))
    loss = FakeTask({"exact_match": False, "loss": False})
    with pytest.raises(UserError, match="Name one: exact_match,strict, exact_match,flexible"):
        find_metric("exact_match", {"a": strict})
    assert find_metric("exact_match,flexible", {"a": strict}).keys == {"a": "exact_match,flexible"}
    assert not find_metric("loss", {"b": loss}).higher_is_better
    with pytest.raises(UserError, match="do not agree on whether a higher exact_match is better"):
        find_metric("exact_match", {"a": FakeTask({"exact_match": True}), "b": loss})


def test_several_tasks_count_by_their_mean_and_a_group_that_aggregates_as_one(copying: Path, tmp_path: Path) -> None:
    from lm_eval.tasks import TaskManager

    both = "aggregate_metric_list: [{metric: acc, weight_by_size: true}]\n"
    tasks = copying / "tasks"
    for name, more in (("both", both), ("loose", "")):
        text = f"group: {name}\ntask: [copying, copying_shown]\n{more}"
        (tmp_path / f"{name}.yaml").write_text(text, "utf-8")
    manager = TaskManager(include_path=[str(tasks), str(tmp_path)], include_defaults=False)
    results = {
        "copying": {"acc,none": 0.25, "acc_stderr,none": 0.03},
        "copying_shown": {"acc,none": 0.75, "acc_stderr,none": 0.04},
        "both": {"acc,none": 0.6, "acc_stderr,none": 0.01},
    }

    def suite_of(*names: str) -> Suite:
        return Suite(manager, {"skill": Measure(tasks=list(names), metric="acc")}, None)

    def figure(*names: str) -> tuple[float, float]:
        suite = suite_of(*names)
        return find_metric("acc", suite.tasks).of(suite, suite.names_of["skill"], results)

    assert figure("both") == (0.6, 0.01)
    assert figure("loose") == figure("copying", "copying_shown") == (0.5, pytest.approx(0.025))
    assert suite_of("both:3-4").documents == {"copying": range(3, 5), "copying_shown": range(3, 5)}
    assert math.isnan(mean([(0.5, math.nan), (1.0, 0.1)])[1])


def tagged_suite(copying: Path, folder: Path, **tasks: str) -> tuple[Suite, dict[str, Objective]]:
    """A suite of the copying tasks, with a tag and a group of both, by the tasks of each measure."""
    from lm_eval.tasks import TaskManager

    for name in ("copying", "copying_shown"):
        text = (copying / "tasks" / f"{name}.yaml").read_text("utf-8")
        (folder / f"{name}.yaml").write_text(f"tag: copying_tag\n{text}", "utf-8")
    group = "group: copying_group\ntask: [copying, copying_shown]\n"
    (folder / "group.yaml").write_text(group, "utf-8")
    measures = {name: Measure(tasks=each.split(), metric="acc") for name, each in tasks.items()}
    suite = Suite(TaskManager(include_path=str(folder), include_defaults=False), measures, None)
    return suite, objectives_of(measures, suite)


@pytest.mark.parametrize(
    ("tasks", "weights"),
    [
        ("copying*", {"copying": 0.5, "copying_shown": 0.5}),
        ("copying copying_tag", {"copying": 0.75, "copying_shown": 0.25}),
        ("copying_tag:0-3 copying_shown:0-3", {"copying": 0.25, "copying_shown": 0.75}),
        ("copying_group", {"copying": 0.5, "copying_shown": 0.5}),
    ],
)
def test_weights_of_tasks_that_several_names_give_add_up(
    copying: Path, tmp_path: Path, tasks: str, weights: dict[str, float]
) -> None:
    suite, objectives = tagged_suite(copying, tmp_path, skill=tasks)
    parts = objectives["skill"].parts(suite, suite.documents)
    assert {task: part.weight for task, part in parts.items()} == weights
    results = {"copying": {"acc,none": 0.2}, "copying_shown": {"acc,none": 0.6}, "copying_group": {}}
    expected = sum(weight * results[task]["acc,none"] for task, weight in weights.items())
    assert objectives["skill"].figure(suite, results)[0] == pytest.approx(expected)


def test_objectives_that_share_a_task_share_its_documents(copying: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a and b name different documents of one task, copying:0-9 and") as refused:
        tagged_suite(copying, tmp_path, a="copying:0-9", b="copying:30-59")
    assert refused.value.advice.startswith("Name the same in both, or give one a task of its own")
    suite, _ = tagged_suite(copying, tmp_path, a="copying:0-9 copying:30-39", b="copying:30-39 copying:0-9")
    assert suite.documents == {"copying": [*range(10), *range(30, 40)]}
    with pytest.raises(UserError, match="Duplicate task 'copying'") as refused:
        tagged_suite(copying, tmp_path, a="copying_group", b="copying")
    assert refused.value.advice == "Name a group or its tasks, the same in every objective."


def test_ties_are_broken_by_the_objectives_own_tasks(copying: Path, tmp_path: Path) -> None:
    suite, objectives = tagged_suite(copying, tmp_path, a="copying:0-9", b="copying_shown:0-4")
    rows = [
        {"task": task, "document": n, "metric": metric, "log_likelihood": likely}
        for task, size, likely in (("copying", 10, -1.0), ("copying_shown", 5, -9.0))
        for n in range(size)
        for metric in ("acc,none", "brier_score,none")
    ]
    table = pd.DataFrame(rows)
    assert objectives["a"].ties(suite, suite.documents, table) == ([10], -1.0)
    assert objectives["b"].ties(suite, suite.documents, table) == ([5], -9.0)


def test_rungs_are_nested_and_the_last_is_everything() -> None:
    documents = {"a": range(90), "b": range(100, 130)}
    first, second, last = rungs(documents, 3, seed=0)
    assert [len(first[task]) for task in documents] == [10, 4]
    assert [len(second[task]) for task in documents] == [30, 10]
    assert all(set(first[task]) <= set(second[task]) <= set(last[task]) for task in documents)
    assert first["a"] != list(range(10))
    assert last == documents
    assert rungs(documents, 3, seed=1)[0] != first
    assert rungs({"a": range(29)}, 3, seed=0) == [{"a": range(29)}]


def test_documents_of_one_source_are_held_out_together_in_all_tasks() -> None:
    documents = {"en": range(12), "sw": range(4, 12)}
    clusters = {task: [f"source {n // 2}" for n in numbers] for task, numbers in documents.items()}
    select, report = hold_out(documents, clusters, 0.25, seed=0)
    for task, numbers in documents.items():
        assert sorted([*select[task], *report[task]]) == list(numbers)
    sides = [{n // 2 for numbers in side.values() for n in numbers} for side in (select, report)]
    assert not sides[0] & sides[1]
    assert len(select["en"]) == 8
    assert hold_out(documents, clusters, 0.25, seed=1) != (select, report)


@pytest.mark.parametrize("clusters", [["a"], ["a", "a", "a"]])
def test_too_few_sources_to_hold_some_out_are_refused(clusters: list[str]) -> None:
    with pytest.raises(UserError, match="t has too few documents to choose by some .* --held-out 0"):
        hold_out({"t": range(len(clusters))}, {"t": clusters}, 0.5, seed=0)


def test_controls_keep_what_is_not_placed_and_end_where_placements_do(tmp_path: Path) -> None:
    recipient = save_model(tmp_path / "r", "qwen3-tied", 1)
    donor = save_model(tmp_path / "d", "qwen3-tied", 2)
    settings = read_settings(
        None,
        {"recipient": str(recipient), "donor": str(donor), "select_on": "t", "metric": "m",
         "swaps": {"one": {"layers": "0", "blend_layers": "1", "blend": 0.3, "embeddings": "donor"},
                   "narrow": {"layers": "0", "embeddings": "recipient", "head": "recipient"}}},
    )  # fmt: skip
    planner = Planner(settings)
    (one, narrow), _ = planner.swaps()
    drawn, notes = placements(planner, None, one, 5)
    assert not notes
    for control in drawn:
        assert sorted(control.layers) == sorted(one.layers)
        recipe = planner.read(control.parameters)
        assert recipe.tensors["model.embed_tokens.weight"].source.origin == "donor"
        assert {t.source.donor_share for t in recipe.tensors.values() if t.source.origin == "blend"} == {0.3}
    drawn, notes = placements(planner, None, narrow, 100)
    assert len(drawn) == TINY_LAYERS - 1
    assert notes == [f"{TINY_LAYERS - 1} random placements instead of 100: there are hardly more of that width"]


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    recipient, donor = pair(tmp_path_factory.mktemp("tied"), "qwen3-tied")
    return {"recipient": str(recipient), "donor": str(donor), "select_on": "t", "metric": "m"}


ENDS = ["donor", "recipient"]


@pytest.mark.parametrize(
    ("grid", "sources"),
    [
        ({"embeddings": ENDS, "head": ENDS}, {"embeddings=donor": "donor", "embeddings=recipient": "recipient"}),
        ({"embeddings": ["donor"], "head": ["recipient"]}, {"": "donor"}),
        ({"head": ENDS}, {"head=donor": "donor", "head=recipient": "recipient"}),
        ({"bottom": [0, 2]}, {"bottom=0": "recipient", "bottom=2": "donor"}),
        ({"bottom": [0, 2], "invert": [True]}, {"bottom=0": "donor", "bottom=2": "recipient"}),
        ({"bottom": [0, 2], "top": [0]}, {"bottom=0": "recipient", "bottom=2": "donor"}),
    ],
    ids=str,
)
def test_tied_embeddings_work_in_every_cell_of_a_grid(
    tied: dict[str, Any], grid: dict[str, Any], sources: dict[str, str]
) -> None:
    planner = Planner(read_settings(None, tied | {"grid": {"bottom": [2], "top": [1]} | grid}))
    swaps, notes = planner.swaps()
    found = {
        swap.name: planner.read(swap.parameters).tensors["model.embed_tokens.weight"].source.origin for swap in swaps
    }
    assert len(found) == len(sources)
    for said, source in sources.items():
        assert [origin for name, origin in found.items() if said in name] == [source], found
    expected = ("head" in grid and "embeddings" in grid) or grid.get("bottom") == [0, 2]
    assert any("one tensor in these models" in note for note in notes) == expected


def test_swaps_of_one_name_that_differ_are_refused_and_of_one_plan_are_joined(copying: Path) -> None:
    planner = Planner(settings_of(copying))
    one, same = (planner.plan(n, "swap", p) for n, p in (("a", {"layers": "0"}), ("b", {"layers": "0", "blend": 0.2})))
    (joined,) = join_equal([one, same])
    assert (joined.name, joined.also) == ("a", ("b",))
    with pytest.raises(UserError, match="Two different swaps are called a"):
        join_equal([one, planner.plan("a", "swap", {"layers": "1"})])
