"""Registration with the hosts: what makes lm-eval see our tasks, and mergekit our merge method."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any


def register_tasks(module: ModuleType) -> None:
    """Have every ``TaskManager`` of ``lm_eval.tasks.manager`` look into our folder, before the user's own.

    Later folders win in lm-eval, so that a user's ``--include_path`` may replace a task of ours; in between come the
    folders that ``TURNSWAP_TASKS`` lists. A manager that leaves out lm-eval's own tasks leaves out ours too.

    Raises:
        UserError: this lm-eval's ``TaskManager`` is another one.
    """
    from turnswap.core.contract import require, unmet
    from turnswap.tasks import task_folders

    require("lm-eval", unmet([f"{module.__name__}:TaskManager.__init__(include_path, include_defaults)"]))
    original = module.TaskManager.__init__

    @functools.wraps(original)
    def with_our_tasks(
        self: Any,
        verbosity: str | None = None,
        include_path: str | Path | list[str | Path] | None = None,
        include_defaults: bool = True,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        paths = _as_paths(include_path)
        if include_defaults:
            given = [path.resolve() for path in paths]
            paths = [path for path in task_folders() if path not in given] + paths
        original(self, verbosity, [str(path) for path in paths] or None, include_defaults, *args, **kwargs)
        self.include_path = include_path

    module.TaskManager.__init__ = with_our_tasks


def _as_paths(include_path: str | Path | Iterable[str | Path] | None) -> list[Path]:
    if include_path is None or include_path == "":
        return []
    return [Path(path) for path in ([include_path] if isinstance(include_path, (str, Path)) else include_path)]


def register_models(module: ModuleType) -> None:
    """Name ``hf-layerswap`` to lm-eval, which imports it when it is asked for.

    lm-eval 0.4.13 reads no entry points; later versions find the same target through ours, which is no conflict.
    """
    from lm_eval.api.registry import model_registry

    name = "hf-layerswap"
    if name not in model_registry:
        model_registry.register(name, target="turnswap.sweeps.hf_layerswap:HFLayerSwap")


def register_merge_method(module: ModuleType) -> None:
    """Add ``layer_swap`` to ``mergekit.merge_methods.registry``."""
    from turnswap.merge_methods.layer_swap import layer_swap

    module.register(layer_swap)


def guard_layer_swaps(module: ModuleType) -> None:
    """Have ``run_merge`` of ``mergekit.merge`` refuse bad swaps, and leave a whole model or none."""
    from turnswap.merge_methods import merge_run

    merge_run.install(module)
