"""lm-eval's result files of Multi-IF, read and checked: who was measured, on what, how, and each conversation.

A model's languages may lie in several files, and so may the conversations of one language.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from glob import escape
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError
from turnswap.core.progress import progress
from turnswap.tasks.multiif.languages import code_of
from turnswap.tasks.multiif.metrics import VERDICTS, aggregations

from . import figures
from .folders import CutOff, NotResults, read_results, results_files, samples_beside
from .runs import LanguageRun, LoggedConversation, Model, in_order, read_samples
from .signature import content_of, describe_difference, facts_of, identity_of, is_benchmark, shown_names, told_apart_by

HEADLINE = "turn1_overall_acc"


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
    others: dict[str, list[Path]] = {}
    seen: set[tuple[str | None, str]] = set()
    for argument in arguments:
        label, path = split_label(argument)
        files = {(label, os.path.realpath(file)): file for file in results_files(path)}
        here: dict[str, list[Path]] = {}
        new = [file for real, file in files.items() if real not in seen]
        found = [run for file in new for run in _runs_in(file, label, reading, here)]
        if path.is_file() and here:
            raise UserError(
                f"{path} is no results file of lm-eval, but one {next(iter(here))}.",
                "Expected what lm_eval (0.4 or newer) wrote with --output_path: a folder, or a file in it.",
            )
        if not found and not files.keys() & seen:
            raise UserError(
                f"{path} holds {_left_out(here) or 'results of lm-eval, but none of Multi-IF.'}",
                "Expected results of tasks such as multiif_en, graded (a run with --predict_only has no figures).",
            )
        parts += found
        seen |= files.keys()
        others = {kind: others.get(kind, []) + here.get(kind, []) for kind in {**others, **here}}
    if others:
        reading.warnings.append(f"Skipped: {_left_out(others)}")
    names = iter(shown_names([part.identity for part in parts if not part.model]))
    parts = [part if part.model else replace(part, model=next(names)) for part in parts]
    models = []
    for name in dict.fromkeys(part.model for part in parts):
        own = [part for part in parts if part.model == name]
        codes = in_order(part.language for part in own)
        runs = {code: _join([part for part in own if part.language == code], reading) for code in codes}
        _require_alike(name, list(runs.values()))
        models.append(Model(name, runs))
    return models


def split_label(argument: str) -> tuple[str | None, Path]:
    """``NAME=PATH``; either may hold an ``=`` of its own, so what exists decides."""
    splits: list[tuple[str | None, str]] = [(None, argument)]
    splits += [(argument[:at], argument[at + 1 :]) for at, letter in enumerate(argument) if letter == "=" and at]
    # By os, since pathlib raises for what is too long to be a name. Where nothing exists, the first = parts the two.
    label, path = next((split for split in splits if split[1] and os.path.exists(split[1])), splits[:2][-1])
    if not path:
        raise UserError(f"{argument!r} names no path.", "Expected a folder that lm_eval wrote, or NAME=PATH.")
    return label, Path(path)


def _left_out(others: Mapping[str, Sequence[Path]]) -> str:
    """How many files are no results of lm-eval, which kinds, and an example of each; empty where there are none."""
    kinds = ", ".join(f"{len(files)} {kind} ({files[0]})" for kind, files in others.items())
    n = sum(map(len, others.values()))
    what = "file that is no results file" if n == 1 else "files that are no results files"
    return f"{n} {what} of lm-eval: {kinds}." if n else ""


def _runs_in(file: Path, label: str | None, reading: Reading, others: dict[str, list[Path]]) -> Iterable[LanguageRun]:
    """The runs in a file; what is no results file of lm-eval goes into ``others``, by kind.

    What is left of one of Multi-IF is refused: without it a model, or a language, is missing, and the figures change.
    """
    try:
        content = read_results(file)
    except NotResults as reason:
        if isinstance(reason, CutOff) and not reading.allow_partial:
            raise UserError(
                f"{file} is a results file of lm-eval that was cut off or damaged.",
                "Run it again, leave it out, or go on without it with --allow-partial.",
            ) from None
        others.setdefault(str(reason), []).append(file)
        return
    results, configs = content["results"], content["configs"]
    for task, config in progress(configs.items(), "Reading samples"):
        language = code_of(str(config.get("dataset_name")))
        metrics = results.get(task, {})
        names = sorted({key.split(",", 1)[1] for key in metrics if key.startswith(f"{HEADLINE},")})
        if language is None or not names or (reading.group and task.rpartition("_")[0] != reading.group):
            continue
        wanted = [name for name in names if reading.filter_name in (None, name)]
        if len(wanted) != 1:
            raise UserError(
                f"{file}: {task} was graded with the filters {', '.join(names)}"
                + (f", not {reading.filter_name}." if reading.filter_name else "."),
                "Choose one of them with --filter.",
            )
        run = _language_run(file, content, task, language, wanted[0])
        run = replace(run, model=label or "", rules=None if reading.regrade else run.rules)
        yield _with_samples(run, wanted[0], reading)


def _language_run(file: Path, content: Mapping[str, Any], task: str, language: str, filter_name: str) -> LanguageRun:
    metrics = content["results"][task]
    reported = {}
    for key, value in metrics.items():
        name, _, of_filter = key.partition(",")
        if of_filter == filter_name and not name.endswith("_stderr") and isinstance(value, int | float):
            stderr = metrics.get(f"{name}_stderr,{filter_name}")
            if name in figures.FIGURES and not (0 <= value <= 1 or math.isnan(value)):
                raise UserError(
                    f"{file}: {name} of {task} is {value}.", "Expected a share, 0 to 1: the file was changed."
                )
            reported[name] = (float(value), float(stderr) if isinstance(stderr, int | float) else None)
    counts = content.get("n-samples", {}).get(task, {})
    metadata = content["configs"][task].get("metadata") or {}
    return LanguageRun(
        model="",
        language=language,
        task=task,
        facts=facts_of(content, task, filter_name),
        identity=identity_of(content, task),
        files=(file,),
        n=int(counts.get("effective", 0)),
        of=int(counts.get("original", 0)),
        reported=reported,
        conversations=None,
        when=float(content.get("date") or 0),
        content=content_of(metadata) or None,
        is_benchmark=is_benchmark(metadata, language),
        rules=metadata.get("corrected_rules"),
    )


def _with_samples(run: LanguageRun, filter_name: str, reading: Reading) -> LanguageRun:
    """The run with its conversations, proven to be those that its figures were computed from."""
    (file,) = run.files
    if (samples := next(iter(samples_beside(file, escape(run.task))), None)) is None:
        return run
    conversations, whole = read_samples(samples, filter_name, reading.allow_partial, reading.warnings)
    if any(VERDICTS not in conversation.values for conversation in conversations):
        run = replace(run, rules=None)  # an earlier version made them
    n, advice = len(conversations), "The two do not belong together, or one was changed; run the evaluation again."
    if whole and reading.allow_partial and n < run.n:
        reading.warnings.append(f"{samples.name} was cut off: figures are from {n} of {run.n} conversations.")
        whole = False
    if not whole:
        return replace(run, n=n, reported={}, conversations=conversations)
    if n != run.n:
        raise UserError(f"{samples} has {n} conversations, but {file.name} was computed from {run.n}.", advice)
    found: dict[str, Any] = figures.compute(figures.add_up(conversations))
    for name, figure in aggregations(repeats=conversations[0].repeats, priced=True).items():
        if name in run.reported and name not in found:
            found[name] = figure([conversation.values.get(name) for conversation in conversations])
    for name, value in found.items():
        expected, _ = run.reported.get(name, (float("nan"), None))
        if value == "N/A" or abs(value - expected) > 1e-9 or math.isnan(value) != math.isnan(expected):
            by_both = f"{name} is {value} by the samples and {expected} in the results"
            raise UserError(f"{samples} does not match {file.name}: {by_both}.", advice)
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
            _require_alike(newest.model, parts)  # the true reason, where they are of two ways of running
            raise UserError(
                f"{where} Conversation {min(twice)} is in more than one.",
                "Name one of the files, take the newest with --latest, or give different models names: NAME=PATH.",
            )
        used += [part] if len(twice) < len(conversations) else []
        together = conversations | together
    _require_alike(newest.model, parts)
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
    """Refuse parts that are not of one model, or were not run alike; each language has its own content and slots."""
    # The settings stand in the signature too, in one piece.
    facts = [{**told_apart_by(run.identity), **run.facts, "args": ""} for run in runs]
    for run, others in zip(runs[1:], facts[1:], strict=True):
        other_data = run.language != runs[0].language
        own = ["content", *({"graded_by"} - ({*facts[0]} & {*others}))] if other_data else []
        if difference := describe_difference(facts[0], others, own):
            raise UserError(
                f"The runs of {name} were not made alike: {difference}, in {runs[0].files[0]} and {run.files[0]}.",
                "One set of figures needs one model and one way of running. Leave one out, or give them names of their "
                "own: NAME=PATH.",
            )
