"""What a search needs before it starts: its documents by role, its constraints, and whether its experts are related."""

from __future__ import annotations

from collections.abc import Mapping

from turnswap.core.errors import UserError
from turnswap.merge_methods.analysis import sampled_drifts

from .configurations import Planner
from .documents import count, hashes, hold_out, refuse_overlap
from .evaluations import Role
from .kept import cluster_of
from .objectives import Objective, objectives_of
from .settings import Settings
from .suite import Suite, open_manager

SOURCE_POINTS = 5  # of the skill in its own language, which a zero-shot choice may cost unless constraints are given


def constraints_of(settings: Settings, objectives: Mapping[str, Objective]) -> list[str]:
    """The constraints that the settings say, or what a zero-shot choice may cost.

    Raises:
        UserError: the metric of the skill is none that is counted in points.
    """
    if settings.constraints or not settings.is_zero_shot or "source_skill" not in objectives:
        return settings.constraints
    if not objectives["source_skill"].is_share:
        raise UserError(
            f"A limit for source_skill is missing: {settings.zero_shot.metric} is no share, so none is set by default.",
            "Write constraints: [source_skill >= recipient - 0.1] (<= recipient + 0.1 where lower is better).",
        )
    return [f"source_skill >= recipient - {SOURCE_POINTS} points"]


def roles_of(settings: Settings) -> tuple[dict[str, Role], list[str]]:
    """The documents selected on and reported on, with their objectives, and notes.

    Raises:
        UserError: tasks or metrics that are not there, documents in both roles, too few to hold some out.
    """
    manager = open_manager(settings)
    suite = Suite(manager, settings.measures(), settings.limit)
    objectives = objectives_of(settings.measures(), suite)
    if reported := settings.reported():
        other = Suite(manager, reported, settings.limit)
        refuse_overlap(suite.documents, other.documents)
        roles = (
            Role("select", suite, suite.documents, objectives),
            Role("report", other, other.documents, objectives_of(reported, other)),
        )
        return {role.name: role for role in roles}, _alike(suite, other)
    if not settings.held_out:
        return {"select": Role("select", suite, suite.documents, objectives)}, []
    # Documents of one number may be one question in two languages, or with and without examples.
    clusters = {
        task: [
            str(n) if source == f"{task}:{n}" else source for n, source in zip(suite.documents[task], held, strict=True)
        ]
        for task, held in _clusters(suite).items()
    }
    select, report = hold_out(suite.documents, clusters, settings.held_out, settings.seed)
    named = {"select": Role("select", suite, select, objectives), "report": Role("report", suite, report, objectives)}
    return named, [f"{count(report)} of {count(suite.documents)} documents were held out: nothing was chosen by them"]


def kinship(planner: Planner, settings: Settings) -> list[str]:
    """Notes on whether both experts come from the base.

    Raises:
        UserError: an expert, or layers of one, do not seem to, and ``anyway`` is not said; weights that are no numbers.
    """
    if settings.base is None:
        return ["not checked whether both experts come from one model: no --base was given"]
    if any(model.reference.lora is not None for model in planner.recipe.models.values()):
        return ["not checked whether both experts come from the base: their adapters are merged on loading"]
    far = [found for found in sampled_drifts(planner.recipe, planner.options) if found.is_far]
    if far and not settings.anyway:
        raise UserError(
            f"The experts do not seem to come from one model: {'; '.join(map(str, far))}.",
            "If you know better, go on with --anyway; the results will say it.",
        )
    return [f"{found}; accepted (--anyway)" for found in far]


def _alike(select: Suite, report: Suite) -> list[str]:
    """A note where documents of the two sets are the same word for word, under other numbers or in another task."""
    seen = {digest for found in hashes(select.tasks, select.documents).values() for digest in found}
    again = sum(digest in seen for found in hashes(report.tasks, report.documents).values() for digest in found)
    said = f"{again} of {count(report.documents)} documents reported on are, word for word, also selected on"
    both = set().union(*_clusters(select).values()) & set().union(*_clusters(report).values())
    shared = f"{len(both)} sources of documents reported on, such as {min(both, default='')}, are also selected on"
    return ([said] if again else []) + ([shared] if both else [])


def _clusters(suite: Suite) -> dict[str, list[str]]:
    """What each document comes from, by task."""
    found = {}
    for task, numbers in suite.documents.items():
        docs = suite.tasks[task].eval_docs  # a task may make them each time
        found[task] = [cluster_of(task, suite.tasks[task], number, docs[number]) for number in numbers]
    return found
