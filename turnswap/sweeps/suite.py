"""lm-eval's evaluation of one composition after another, each as a fresh run of lm-eval would have it."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
from lm_eval import evaluator
from lm_eval.defaults import DEFAULT_OTHER_SEED, DEFAULT_RANDOM_SEED
from lm_eval.tasks import TaskManager

from turnswap.core.errors import UserError
from turnswap.tasks import task_folders

from .documents import Documents, Named, describe, documents_of, in_words, join, parse_named
from .settings import Measure, Settings
from .zero_shot import own_task

# Settings under lm-eval's own names.
_OF_LM_EVAL = {"num_fewshot", "batch_size", "device", "system_instruction", "apply_chat_template"}
_OF_LM_EVAL |= {"confirm_run_unsafe_code"}


def open_manager(settings: Settings) -> TaskManager:
    """lm-eval's tasks, ours and those of ``include_path``; reading its thousands of YAMLs takes seconds."""
    # What a run of lm-eval on a merged folder would hand to its tasks.
    metadata = {"pretrained": settings.recipient} | settings.model_args | settings.metadata
    own = [settings.include_path] if settings.include_path else []
    return TaskManager(include_path=[*map(str, task_folders()), *own], metadata=metadata)


class Suite:
    """The tasks of several measures, built once; lm-eval takes it for a ``TaskManager``.

    lm-eval's tasks change as they are evaluated (few-shot samplers, settings, facts of the run), and building them may
    use up random numbers. So every evaluation gets copies of the tasks as they were built, and the random states that
    a fresh run has after building them.

    Attributes:
        names: the tasks, groups and tags as they were named, globs resolved.
        names_of: of which of them each measure is the mean.
        metrics: of the measures whose tasks are ours.
        tasks: every task of theirs, by name.
        sizes: how many documents each has.
        documents: which documents of each.
    """

    def __init__(self, manager: TaskManager, measures: Mapping[str, Measure], limit: int | None) -> None:
        self.names_of: dict[str, list[str]] = {}
        self.metrics: dict[str, str] = {}
        specs: dict[str, str | dict[str, Any]] = {}
        parsed: dict[str, list[tuple[Named, list[str]]]] = {}
        for name, measure in measures.items():
            if own := own_task(name, measure):
                config, self.metrics[name] = own
                specs[config["task"]] = config
                matches = [(Named(config["task"]), [str(config["task"])])]
            else:
                matches = [(one, _matching(manager, one.name)) for one in map(parse_named, measure.tasks)]
                specs |= {match: match for _, names in matches for match in names}
            parsed[name] = matches
            self.names_of[name] = list(dict.fromkeys(itertools.chain(*(names for _, names in matches))))
        self.names = list(specs)
        self.task_index = manager.task_index
        random.seed(DEFAULT_RANDOM_SEED)
        np.random.seed(DEFAULT_OTHER_SEED)
        torch.manual_seed(DEFAULT_OTHER_SEED)
        try:
            self._built = manager.load(list(specs.values()))
        except (ValueError, OSError) as error:  # OSError: their data are not there
            said = " ".join(str(error).split())
            twice = "Name a group or its tasks, the same in every objective." if "Duplicate task" in said else ""
            raise UserError(f"The tasks {', '.join(self.names)} cannot be built: {said}.", twice) from error
        self._states = random.getstate(), np.random.get_state(), torch.get_rng_state()
        self.tasks: Mapping[str, Any] = self._built["tasks"]
        self.sizes = {name: len(task.eval_docs) for name, task in self.tasks.items()}  # a task may make them each time
        # A tag is no group: its tasks stand by themselves.
        self.members = {name: self._members(manager, name) for name in self.names}
        self.documents: dict[str, Sequence[int]] = {}
        asked_by: dict[str, str] = {}
        for name, matches in parsed.items():
            sizes = [{task: self.sizes[task] for each in names for task in self.members[each]} for _, names in matches]
            documents = [documents_of(one, each, limit) for (one, _), each in zip(matches, sizes, strict=True)]
            for task, numbers in join(documents).items():
                other = asked_by.setdefault(task, name)
                if list(self.documents.setdefault(task, numbers)) != list(numbers):
                    both = [in_words(describe({task: each})) for each in (self.documents[task], numbers)]
                    raise UserError(
                        f"{other} and {name} name different documents of one task, {both[0]} and {both[1]}.",
                        "Name the same in both, or give one a task of its own: a YAML with another name that includes "
                        "this one.",
                    )

    def _members(self, manager: TaskManager, name: str) -> list[str]:
        if name in self.tasks:
            return [name]
        groups = self._built.get("groups", {})
        if name in groups:
            return [task.task_name for task in groups[name].get_all_tasks()]
        return list(manager.load([name])["tasks"])

    def weighs_by_size(self, name: str, metric: Metric) -> bool:
        """Whether a group's figure counts each of its tasks by its documents; others count them alike."""
        group = self._built.get("groups", {}).get(name)
        wanted = {key.partition(",")[0] for key in metric.keys.values()}
        listed = (group and group.aggregate_metric_list) or ()
        return any(each.metric in wanted and each.weight_by_size for each in listed)

    def load(self, _: Any) -> dict[str, Any]:
        """What ``TaskManager.load`` gives, as new as on the first call."""
        random.setstate(self._states[0])
        np.random.set_state(self._states[1])
        torch.set_rng_state(self._states[2])
        return {**self._built, "tasks": {name: _copy(task) for name, task in self.tasks.items()}}


def _matching(manager: TaskManager, name: str) -> list[str]:
    if found := list(manager.match_tasks([name])):
        # A group or tag that a glob gives beside all its members says nothing more.
        return [each for each in found if not _is_given(manager, each, found)]
    raise UserError(
        f"lm-eval knows no task, group or tag called {name}.",
        "lm_eval ls tasks lists them; --include-path names a folder with your own.",
    )


def _is_given(manager: TaskManager, name: str, names: Sequence[str]) -> bool:
    """Whether a group or tag is among names with everything that is in it."""
    entry = manager.task_index[name]
    held = {"TAG": entry.tags, "GROUP": (entry.cfg or {}).get("task")}.get(entry.kind.name)
    return bool(held) and all(member != name and member in names for member in held or ())


def _copy(task: Any) -> Any:
    task = copy.copy(task)
    task._config = copy.deepcopy(task._config)
    if hasattr(task, "sampler"):
        task.sampler = copy.copy(task.sampler)
    return task


@dataclass(frozen=True)
class Metric:
    """A metric of several tasks."""

    name: str  # as it was asked for
    keys: Mapping[str, str]  # lm-eval's name of it with its filter, such as ``acc,none``, by task
    higher_is_better: bool  # as the tasks say

    def of(self, suite: Suite, names: Sequence[str], results: Mapping[str, Any]) -> tuple[float, float]:
        """The figure and its standard error: the mean over the named tasks, where a group that aggregates is one.

        NaN where there is none. Standard errors are combined as of independent figures.
        """
        figures = []
        for name in names:
            keys = {self.keys[task] for task in suite.members[name]}
            key = keys.pop() if len(keys) == 1 else ""
            if name in suite.tasks or key in results.get(name, {}):
                figures.append(_figure(results[name], key))
            else:
                figures.append(mean([_figure(results[task], self.keys[task]) for task in suite.members[name]]))
        return mean(figures)


def mean(figures: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The plain mean of figures with standard errors, taken for independent.

    >>> mean([(0.5, 0.3), (0.7, 0.4)])
    (0.6, 0.25)
    """
    values, errors = zip(*figures, strict=True)
    return sum(values) / len(values), math.hypot(*errors) / len(errors)


def _figure(results: Mapping[str, Any], key: str) -> tuple[float, float]:
    if key not in results:
        raise UserError(f"lm-eval gave no {key} for {results.get('name', 'a task')}.", "Use another --metric.")
    metric, _, filter_ = key.partition(",")
    value, error = results[key], results.get(f"{metric}_stderr,{filter_}")
    return tuple(float(x) if isinstance(x, (int, float)) else math.nan for x in (value, error))  # type: ignore[return-value]


def find_metric(name: str, tasks: Mapping[str, Any]) -> Metric:
    """The metric of that name in every task; ``exact_match,strict-match`` also says which of lm-eval's filters.

    Raises:
        UserError: a task lacks it, has it under several filters, or the tasks do not say which direction is better.
    """
    wanted, _, filter_ = name.partition(",")
    keys, directions = {}, {}
    for task_name, task in tasks.items():
        filters = [ensemble.name for ensemble in getattr(task, "_filters", [])] or ["none"]
        metrics = list(task.aggregation())
        if wanted not in metrics or (filter_ and filter_ not in filters):
            has = ", ".join(f"{metric},{f}" if len(filters) > 1 else metric for metric in metrics for f in filters)
            raise UserError(f"{task_name} has no metric {name}.", f"It has: {has}.")
        if not filter_ and len(filters) > 1:
            choices = ", ".join(f"{wanted},{f}" for f in filters)
            raise UserError(f"{task_name} has {wanted} under several filters.", f"Name one: {choices}.")
        keys[task_name] = f"{wanted},{filter_ or filters[0]}"
        directions[task_name] = task.higher_is_better().get(wanted)
    if len(set(directions.values())) > 1 or None in directions.values():
        listed = ", ".join(f"{task}: {direction}" for task, direction in directions.items())
        raise UserError(
            f"The tasks do not agree on whether a higher {wanted} is better, or do not say ({listed}).",
            "Use another --metric, or write higher_is_better in the task's YAML.",
        )
    return Metric(name, keys, bool(next(iter(directions.values()))))


def evaluate(
    lm: Any, suite: Suite, documents: Documents, settings: Settings
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """lm-eval's results of the model as it is now, by task and group, and its samples by task."""
    whole = {task for task, numbers in documents.items() if len(numbers) == suite.sizes[task]}
    samples = {task: list(numbers) for task, numbers in documents.items() if task not in whole}
    # lm-eval lists the machine's hardware and packages with every result, which takes seconds, and asks git, which may
    # complain; a search keeps none.
    no_facts = mock.patch.multiple(evaluator, add_env_info=mock.DEFAULT, get_git_commit_hash=mock.DEFAULT)
    # Its bars, several per evaluation, would bury what a search says; what it logs stays.
    with no_facts, contextlib.redirect_stderr(io.StringIO()):
        results = evaluator.simple_evaluate(
            model=lm,
            tasks=suite.names,
            task_manager=suite,
            samples=samples or None,
            fewshot_as_multiturn=bool(settings.apply_chat_template),
            gen_kwargs=settings.gen_kwargs or None,
            **settings.model_dump(include=_OF_LM_EVAL),
        )
    return dict(results["results"]), dict(results["samples"])
