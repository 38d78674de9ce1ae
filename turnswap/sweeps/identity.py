"""What makes two searches the same, so that one may go on where the other stopped: models, tasks, code, settings."""

from __future__ import annotations

import functools
import importlib.metadata
import platform
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mergekit.options import MergeOptions

from turnswap.merge_methods.checkpoint import Checkpoint
from turnswap.merge_methods.checksums import hashes_of, remembered
from turnswap.merge_methods.claims import weight_files
from turnswap.merge_methods.compatibility import Model
from turnswap.merge_methods.folder import deciding_files
from turnswap.merge_methods.weights import plain_folder

from .configurations import Planner
from .documents import describe, digest, hashes
from .settings import Settings
from .suite import Suite
from .task_files import Files, locate, task_files

PACKAGES = ("turnswap", "lm_eval", "mergekit", "torch", "transformers", "tokenizers")
# Modules that compute figures, with all they import; and the one of the evaluator.
CORE = ("turnswap.sweeps.suite", "turnswap.sweeps.{}_layerswap")
# Where files lie, what is tried, how long, and how one is chosen, change no figure: a search may grow.
NO_MATTER = {"recipient", "donor", "base", "grid", "swaps", "controls", "averages", "trials", "hours", "storage"}
NO_MATTER |= {"sampler", "pruner", "choose", "constraints", "anyway", "lora_merge_cache", "transformers_cache"}
NO_MATTER |= {"include_path", "select_on", "report_on"}


def identity(
    settings: Settings, planner: Planner, suites: Mapping[str, Suite], no_matter: Collection[str] = NO_MATTER
) -> dict[str, Any]:
    """What must be the same for evaluations to stand beside each other.

    Weights, data and code by the SHA-256 of whole files, named without the folders they lie in. Code is turnswap's and
    lm-eval's as far as it computes figures, and what a task imports; other packages are known by their versions.

    Args:
        settings: of the search.
        planner: knows its models.
        suites: its tasks, by role.
        no_matter: names of settings that change no figure.
    """
    code, given = Files(), Files()
    for name in CORE:
        code.add_modules(locate(name.format(settings.evaluator)))
    tasks = {
        role: {name: _task(suite, name, settings, code) for name in suite.documents} for role, suite in suites.items()
    }
    own = settings.model_dump(mode="json", exclude=set(no_matter))
    if own.get("device"):
        own["device"] = own["device"].partition(":")[0]  # which of several alike does not matter
    return {
        "versions": _versions(code.packages, PACKAGES),
        "models": {role: _hashed(model_files(model, planner.options)) for role, model in planner.recipe.models.items()},
        "settings": given.settle(own, Path.cwd()),
        "files of settings": _hashed(given.found),
        "tasks": tasks,
        "code": _hashed(code.found),
        "computed on": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }


def model_files(model: Model, options: MergeOptions) -> dict[Path, str]:
    """Every file of a model that decides what is computed, with its adapter's if it has one."""
    folder = plain_folder(model, options)
    files = {"config.json": folder / "config.json"} | deciding_files(folder) | weight_files(Checkpoint(folder))
    adapter = [] if model.reference.lora is None else sorted(Path(model.reference.lora.path).glob("adapter_*"))
    return {path: name for name, path in files.items()} | {path: path.name for path in adapter}


def _hashed(files: Mapping[Path, str]) -> dict[str, str]:
    """The SHA-256 of files by their names; of several with one name, of their hashes."""
    by_name: dict[str, list[str]] = {}
    for path, found in hashes_of(files, remembered).items():
        by_name.setdefault(files[path], []).append(found)
    return {name: held[0] if len(held) == 1 else digest(sorted(held)) for name, held in sorted(by_name.items())}


def _task(suite: Suite, name: str, settings: Settings, code: Files) -> dict[str, Any]:
    task, documents = suite.tasks[name], {name: suite.documents[name]}
    entry = suite.task_index.get(name) or suite.task_index.get(name.split("::")[0])  # ``group::task`` stands in a group
    files, configuration = task_files(task, entry and entry.yaml_path, code)
    shots = task.config.num_fewshot if settings.num_fewshot is None else settings.num_fewshot
    return {
        "version": task.VERSION,
        **_hashed(files.found),
        **{yaml: digest(held) for yaml, held in files.declared.items()},
        "configuration": digest(configuration),
        "documents": describe(documents)[name],
        "content": digest(hashes(suite.tasks, documents)[name]),
        "examples": digest(list(task.fewshot_docs())) if shots else None,
        "packages": _versions(files.packages),
    }


def _versions(imported: Collection[str], always: Collection[str] = ()) -> dict[str, str]:
    """The versions of the installed packages that modules are imported from."""
    packages = _distributions() if imported else {}
    named = {package for top in imported for package in packages.get(top, ())} - {*always}
    return {package: importlib.metadata.version(package) for package in [*always, *sorted(named)]}


_distributions = functools.cache(importlib.metadata.packages_distributions)


def differences(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """What differs between two identities, in words."""
    for key in dict.fromkeys([*before, *now]):
        place = f"{at}{key}"
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{place}: ")
        elif key not in now or key not in before:
            yield f"{place} was {'missing' if key in now else 'there'} and is {'there' if key in now else 'missing'}"
        elif old != new:
            short = [str(value)[:12] + "…" if len(str(value)) > 60 else str(value) for value in (old, new)]
            yield f"{place} was {short[0]} and is {short[1]}"
