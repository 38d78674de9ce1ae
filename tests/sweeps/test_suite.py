"""The tasks of a search: metrics, groups, and how their figures come together."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from turnswap.core.errors import UserError
from turnswap.sweeps.objectives import Objective, objectives_of
from turnswap.sweeps.settings import Measure
from turnswap.sweeps.suite import Suite, find_metric, mean

from .sweeping import copying, own_tasks_alone

__all__ = ["copying", "own_tasks_alone"]  # fixtures


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
