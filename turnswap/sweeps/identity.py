"""What makes two sweeps the same, so that one may go on where the other stopped: models, tasks, settings, versions."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from mergekit.options import MergeOptions

from turnswap.merge_methods.checkpoint import Checkpoint
from turnswap.merge_methods.compatibility import Model
from turnswap.merge_methods.weights import plain_folder

from .configurations import Planner
from .documents import describe, hashes
from .settings import Settings
from .suite import Suite

PACKAGES = ("turnswap", "lm_eval", "mergekit", "torch", "transformers")
# Where files lie, and which configurations there are, changes no figure: a sweep may grow.
_NO_MATTER = {"recipient", "donor", "base", "grid", "swaps", "controls", "halving", "lora_merge_cache"}
_NO_MATTER |= {"transformers_cache", "include_path", "select_on", "report_on", "unrelated_because"}
_SAMPLE = 2048  # bytes at either end of a tensor


def identity(settings: Settings, planner: Planner, suites: Mapping[str, Suite]) -> dict[str, Any]:
    """What must be the same for evaluations to stand beside each other."""
    return {
        "models": {role: fingerprint(model, planner.options) for role, model in planner.recipe.models.items()},
        "tasks": {role: {task: _task(suite, task) for task in suite.documents} for role, suite in suites.items()},
        "settings": settings.model_dump(mode="json", exclude=_NO_MATTER),
        "versions": {package: importlib.metadata.version(package) for package in PACKAGES},
        "computed on": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
    }


def fingerprint(model: Model, options: MergeOptions) -> str:
    """SHA-256 of a model's configuration, tokenizer, headers, and both ends of each of its tensors.

    Reading the weights whole would take as long as loading them; training leaves no tensor's ends as they were.
    """
    digest = hashlib.sha256()
    folder = plain_folder(model, options)
    adapter = [] if model.reference.lora is None else sorted(Path(model.reference.lora.path).glob("adapter_*"))
    for path in (folder / "config.json", *model.tokenizer_files, *adapter):
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    checkpoint = Checkpoint(folder)
    for name, info in sorted(checkpoint.tensors.items()):
        digest.update(f"{name} {info.shape} {info.dtype}".encode())
        values = checkpoint.read(name).reshape(-1)
        n = max(1, _SAMPLE // values.element_size())
        for end in (values[:n], values[-n:]):
            digest.update(bytes(end.contiguous().view(torch.uint8).numpy()))
    return digest.hexdigest()


def _task(suite: Suite, name: str) -> dict[str, Any]:
    task, documents = suite.tasks[name], {name: suite.documents[name]}
    content = task.dump_config()
    # Where the recipient lies is handed to tasks as metadata; an address says nothing about a function.
    content["metadata"] = {k: v for k, v in (content.get("metadata") or {}).items() if k != "pretrained"}
    config = re.sub(r" at 0x[0-9a-f]+", "", json.dumps(content, sort_keys=True, default=_plain))
    return {
        "version": task.VERSION,
        "configuration": hashlib.sha256(config.encode()).hexdigest(),
        "documents": describe(documents)[name],
        "content": hashlib.sha256("".join(hashes(suite.tasks, documents)[name]).encode()).hexdigest(),
    }


def _plain(value: Any) -> str:
    """A function by its name: its address differs from process to process."""
    return getattr(value, "__qualname__", None) or type(value).__qualname__


def differences(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """What differs between two identities, in words."""
    for key in dict.fromkeys([*before, *now]):
        place = f"{at}{key}"
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from differences(old, new, f"{place}: ")
        elif old != new:
            short = [str(value)[:12] + "…" if len(str(value)) > 60 else str(value) for value in (old, new)]
            yield f"{place} was {short[0]} and is {short[1]}"
