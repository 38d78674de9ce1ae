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

    require("lm-eval", unmet([f"{module.__name__}: TaskManager.__init__(include_path, include_defaults)"]))
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
    """Have ``layer_swap`` register with ``mergekit.merge_methods.registry``, as it does when it is imported.

    Where it is half-made, since it is what imports mergekit, it registers when it is done.
    """
    import turnswap.merge_methods.layer_swap  # noqa: F401


def guard_layer_swaps(module: Any) -> None:
    """Have ``mergekit.merge`` refuse bad swaps, write what they plan, and leave a whole model or none.

    Ours is imported when a merge runs: what imports ``mergekit.merge`` may be a half-made module of ours.

    Raises:
        UserError: this mergekit does not fit; a layer swap that it is given all the same is refused with these words.
    """
    from mergekit.config import MergeConfiguration

    from turnswap.core.errors import show_without_traceback
    from turnswap.merge_methods.swap_plan import NAME

    from .mergekit_contract import require_mergekit

    run_merge, get_architecture_info = module.run_merge, module.get_architecture_info
    model_validate = MergeConfiguration.model_validate

    @functools.wraps(run_merge)
    def with_layer_swap(merge_config: Any, out_path: str, options: Any, config_source: str | None = None) -> None:
        if merge_config.merge_method == NAME:
            from turnswap.merge_methods.merge_run import run_layer_swap

            run_layer_swap(run_merge, merge_config, out_path, options, config_source)
        else:
            run_merge(merge_config, out_path, options, config_source)

    @functools.wraps(get_architecture_info)
    def with_our_architecture(config: Any, *args: Any, **kwargs: Any) -> Any:
        from turnswap.merge_methods.layer_swap import layer_swap

        plan = layer_swap.plan_of(config.base_model) if config.merge_method == NAME else None
        return plan.architecture if plan else get_architecture_info(config, *args, **kwargs)

    @functools.wraps(model_validate)
    def with_checks(content: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(content, dict) or content.get("merge_method") != NAME:
            return model_validate(content, *args, **kwargs)
        show_without_traceback()
        require_mergekit()
        from turnswap.merge_methods.configuration import parse_configuration

        return parse_configuration(content)

    MergeConfiguration.model_validate = with_checks
    require_mergekit()
    module.run_merge, module.get_architecture_info = with_layer_swap, with_our_architecture
