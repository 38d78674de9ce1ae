"""lm-eval's result files of Multi-IF, read and checked: who was measured, on what, how, and each conversation.

lm-eval writes ``DIR/<model>/results_<date>.json`` and, with ``--log_samples``, ``samples_<task>_<date>.jsonl``
beside it. A model's languages may lie in several such pairs, and so may the conversations of one language.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError
from turnswap.core.progress import progress
from turnswap.tasks.multiif.languages import code_of
from turnswap.tasks.multiif.metrics import VERDICTS, aggregations

from . import figures
from .runs import LanguageRun, LoggedConversation, Model, in_order, read_samples
from .signature import describe_difference, facts_of, identity_of

HEADLINE = "turn1_overall_acc"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}\.\d+$")
_OF_ONE_MODEL = ("name", "revision", "sha", "dtype", "backend")


@dataclass
class Reading:
    """How to read, and what was put up with on the way.

    Attributes:
        latest: of several runs of the same conversations take the newest, instead of refusing.
        allow_partial: use the whole lines of a truncated samples file, instead of refusing.
        filter_name: which of lm-eval's filters; needed only where a run has several.
        regrade: grade every reply again, instead of using the verdicts in the samples.
        group: whose tasks to read, such as ``leaderboard_multiif``; needed only where several were run.
        warnings: what a reader of the figures must know; filled while reading.
    """

    latest: bool = False
    allow_partial: bool = False
    filter_name: str | None = None
    regrade: bool = False
    group: str | None = None
    warnings: list[str] = field(default_factory=list)


def read_models(arguments: Sequence[str], reading: Reading) -> list[Model]:
    """Every model's results from folders or results files.

    Args:
        arguments: paths; ``NAME=PATH`` gives the model of that path a name of one's own.
        reading: see :class:`Reading`.

    Raises:
        UserError: nothing there is of Multi-IF, files are damaged, samples do not match results, two runs of
            the same conversations, or parts of one model that were not run alike.
    """
    parts: list[LanguageRun] = []
    for argument in arguments:
        label, path = _split_label(argument)
        found = [run for file in _results_files(path) for run in _read_results(file, label, reading)]
        if not found:
            raise UserError(
                f"{path} holds results of lm-eval, but none of Multi-IF.",
                "Expected results of tasks such as multiif_en, graded (a run with --predict_only has no figures).",
            )
        parts += found
    models = []
    for name in dict.fromkeys(part.model for part in parts):
        own = [part for part in parts if part.model == name]
        codes = in_order(part.language for part in own)
        runs = {code: _join([part for part in own if part.language == code], reading) for code in codes}
        _require_alike(name, list(runs.values()))
        models.append(Model(name, runs))
    return models


def _split_label(argument: str) -> tuple[str | None, Path]:
    """``NAME=PATH``; either may hold an ``=`` of its own, so what exists decides."""
    splits: list[tuple[str | None, str]] = [(None, argument)]
    splits += [(argument[:at], argument[at + 1 :]) for at, letter in enumerate(argument) if letter == "=" and at]
    # By os, since pathlib raises for what is too long to be a name. Where nothing exists, the first = parts the two.
    label, path = next((split for split in splits if split[1] and os.path.exists(split[1])), splits[:2][-1])
    if not path:
        raise UserError(f"{argument!r} names no path.", "Expected a folder that lm_eval wrote, or NAME=PATH.")
    return label, Path(path)


def _results_files(path: Path) -> list[Path]:
    if not os.path.exists(path):
        raise UserError(
            f"{path} does not exist.", "Expected a folder that lm_eval wrote (--output_path), or a results file in it."
        )
    if path.is_file():
        return [path]
    # lm-eval names them results_<date>.json, or after an --output_path that ends in .json.
    jsons = sorted(path.rglob("*.json"))
    files = [file for file in jsons if file.name.startswith("results_") or _DATE.search(file.stem)]
    if not files:
        orphans = sorted(path.rglob("samples_*.jsonl"))
        raise UserError(
            f"{path} holds no results_*.json" + (f", only samples such as {orphans[0].name}." if orphans else "."),
            "Expected a folder that lm_eval wrote (--output_path); without its results file, a run did not finish: "
            "repeat the command (with --use_cache it asks only for what is missing).",
        )
    return files


def _read_results(file: Path, label: str | None, reading: Reading) -> Iterable[LanguageRun]:
    try:
        content = json.loads(file.read_text("utf-8"))
        results, configs = content["results"], content["configs"]
        if not all(isinstance(each, dict) for each in (results, configs, *results.values(), *configs.values())):
            raise TypeError("results and configs are objects of objects")
    except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
        raise UserError(
            f"{file} is no results file of lm-eval: {type(error).__name__}: {error}.",
            "It may have been cut off when a run was stopped; leave it out, or run again.",
        ) from None
    for task, config in progress(configs.items(), "Reading samples"):
        language = code_of(str(config.get("dataset_name")))
        metrics = results.get(task, {})
        names = sorted({key.split(",", 1)[1] for key in metrics if key.startswith(f"{HEADLINE},")})
        if language is None or not names or (reading.group and task.rpartition("_")[0] != reading.group):
            continue
        wanted = [name for name in names if reading.filter_name in (None, name)]
        if len(wanted) != 1:
            raise UserError(
                f"{file}: {task} was graded behind the filters {', '.join(names)}"
                + (f", not {reading.filter_name}." if reading.filter_name else "."),
                "Choose one of them with --filter.",
            )
        run = _language_run(file, content, task, language, wanted[0])
        rules = None if reading.regrade else (config.get("metadata") or {}).get("corrected_rules")
        yield _with_samples(replace(run, model=label or run.model, rules=rules), wanted[0], reading)


def _language_run(file: Path, content: Mapping[str, Any], task: str, language: str, filter_name: str) -> LanguageRun:
    metrics = content["results"][task]
    reported = {}
    for key, value in metrics.items():
        name, _, of_filter = key.partition(",")
        if of_filter == filter_name and not name.endswith("_stderr") and isinstance(value, int | float):
            stderr = metrics.get(f"{name}_stderr,{filter_name}")
            reported[name] = (float(value), float(stderr) if isinstance(stderr, int | float) else None)
    counts, identity = content.get("n-samples", {}).get(task, {}), identity_of(content)
    return LanguageRun(
        model=str(identity["name"]),
        language=language,
        task=task,
        facts=facts_of(content, task, filter_name),
        identity=identity,
        files=(file,),
        n=int(counts.get("effective", 0)),
        of=int(counts.get("original", 0)),
        reported=reported,
        conversations=None,
        when=float(content.get("date") or 0),
    )


def _with_samples(run: LanguageRun, filter_name: str, reading: Reading) -> LanguageRun:
    """The run with its conversations, proven to be those that its figures were computed from."""
    (file,) = run.files
    dated = _DATE.search(file.stem)
    date = dated.group() if dated else file.stem.removeprefix("results_")
    samples = file.with_name(f"samples_{run.task}_{date}.jsonl")
    if not samples.is_file():
        return run
    conversations, whole = read_samples(samples, filter_name, reading.allow_partial, reading.warnings)
    if any(VERDICTS not in conversation.values for conversation in conversations):
        run = replace(run, rules=None)  # an earlier version made them
    if whole and reading.allow_partial and len(conversations) < run.n:
        reading.warnings.append(
            f"{samples.name} was cut off: figures are from {len(conversations)} of {run.n} conversations."
        )
        whole = False
    if not whole:
        return replace(run, n=len(conversations), reported={}, conversations=conversations)
    advice = "The two do not belong together, or one was changed; run the evaluation again."
    if len(conversations) != run.n:
        raise UserError(
            f"{samples} has {len(conversations)} conversations, but {file.name} was computed from {run.n}.", advice
        )
    found: dict[str, Any] = figures.compute(figures.as_arrays(conversations))
    for name, figure in aggregations(repeats=conversations[0].repeats, priced=True).items():
        if name in run.reported and name not in found:
            found[name] = figure([conversation.values.get(name) for conversation in conversations])
    for name, value in found.items():
        expected, _ = run.reported.get(name, (float("nan"), None))
        if value == "N/A" or abs(value - expected) > 1e-9 or math.isnan(value) != math.isnan(expected):
            raise UserError(
                f"{samples} does not match {file.name}: {name} is {value} by the samples and {expected} in the "
                "results.",
                advice,
            )
    return replace(run, conversations=conversations)


def _join(parts: Sequence[LanguageRun], reading: Reading) -> LanguageRun:
    """One run out of several of the same model and language: disjoint conversations are put together."""
    newest = max(parts, key=lambda part: part.when)
    if len(parts) == 1:
        return newest
    names = ", ".join(str(part.files[0]) for part in parts)
    where = f"{newest.model} has {len(parts)} runs in {newest.language}: {names}."
    if len(tasks := sorted({part.task for part in parts})) > 1:
        groups = ", ".join(task.rpartition("_")[0] for task in tasks)
        raise UserError(f"{where} They are of the tasks {', '.join(tasks)}.", f"Choose with --group: {groups}.")
    if any(part.conversations is None for part in parts):
        if reading.latest:
            return newest
        raise UserError(
            where,
            "Without samples they cannot be put together. Name one of the files, take the newest with --latest, or, "
            "for different models, give names: NAME=PATH.",
        )
    used: list[LanguageRun] = []
    together: dict[str, LoggedConversation] = {}
    for part in sorted(parts, key=lambda part: -part.when):
        conversations = {c.key: c for c in part.conversations or ()}
        twice = conversations.keys() & together.keys()
        if twice and not reading.latest:
            raise UserError(
                f"{where} Conversation {min(twice)} is in more than one.",
                "Name one of the files, take the newest with --latest, or give different models names: NAME=PATH.",
            )
        used += [part] if len(twice) < len(conversations) else []
        together = conversations | together
    _require_alike(newest.model, used)
    if len(used) == 1:
        return newest
    return replace(
        newest,
        files=tuple(file for part in used for file in part.files),
        n=len(together),
        reported={},
        conversations=[together[key] for key in sorted(together)],
        rules=newest.rules if len({part.rules for part in used}) == 1 else None,
    )


def _require_alike(name: str, runs: Sequence[LanguageRun]) -> None:
    """Refuse parts that are not of one model, or were not run alike."""
    facts = [{**{key: run.identity.get(key) for key in _OF_ONE_MODEL}, **run.facts} for run in runs]
    for run, others in zip(runs[1:], facts[1:], strict=True):
        if difference := describe_difference(facts[0], others):
            raise UserError(
                f"The runs of {name} were not made alike: {difference}, in {runs[0].files[0]} and {run.files[0]}.",
                "One set of figures needs one model and one way of running. Leave one out, or give them names of their "
                "own: NAME=PATH.",
            )
