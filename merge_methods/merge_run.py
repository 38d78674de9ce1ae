"""mergekit's ``run_merge`` for layer swaps: refuse before anything is read, and leave a whole model or none.

mergekit writes straight into the output folder, so that a run that is killed leaves what looks like a model. Here the
merge is written beside the output, in ``.NAME.incomplete``, and moved when it is finished. Other merge methods are
handed on untouched.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from mergekit.architecture import ModelArchitecture
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from mergekit.io.tasks import LoaderCache
from mergekit.options import MergeOptions
from safetensors import SafetensorError

from turnswap.core.errors import UserError, show_without_traceback

from .ancestry import sampled_findings
from .checkpoint import Checkpoint
from .configuration import is_layer_swap, parse_configuration
from .layer_swap import NAME, forget_models
from .lora import merge_adapters
from .recipe import Recipe, read_recipe

LOG = logging.getLogger(__name__)
WRITTEN = ("*.safetensors*", "*.bin*", "*config*", "tokenizer*", "chat_template*", "README.md")
_writing: ContextVar[ModelArchitecture | None] = ContextVar("_writing", default=None)


def install(module: Any) -> None:
    """Have ``mergekit.merge`` run layer swaps through ``run_layer_swap``, and check their configurations."""
    run_merge, get_architecture_info = module.run_merge, module.get_architecture_info
    model_validate = MergeConfiguration.model_validate

    @functools.wraps(run_merge)
    def with_layer_swap(
        merge_config: MergeConfiguration, out_path: str, options: MergeOptions, config_source: str | None = None
    ) -> None:
        if is_layer_swap(merge_config):
            run_layer_swap(run_merge, merge_config, out_path, options, config_source)
        else:
            run_merge(merge_config, out_path, options, config_source)

    @functools.wraps(get_architecture_info)
    def with_our_architecture(*args: Any, **kwargs: Any) -> ModelArchitecture:
        return _writing.get() or get_architecture_info(*args, **kwargs)

    @functools.wraps(model_validate)
    def with_checks(content: Any, *args: Any, **kwargs: Any) -> MergeConfiguration:
        if isinstance(content, dict) and content.get("merge_method") == NAME:
            show_without_traceback()
            return parse_configuration(content, model_validate)
        return model_validate(content, *args, **kwargs)

    module.run_merge, module.get_architecture_info = with_layer_swap, with_our_architecture
    MergeConfiguration.model_validate = with_checks


def run_layer_swap(
    run_merge: Callable[..., None],
    config: MergeConfiguration,
    out_path: str,
    options: MergeOptions,
    config_source: str | None,
) -> None:
    """Check the configuration and the output folder, let mergekit merge beside it, and move the result there.

    Raises:
        UserError: the swap is refused, or reading or writing failed; the output folder is as it was.
    """
    show_without_traceback()
    forget_models()
    source = config_source or config.to_yaml()  # before mergekit rewrites the configuration
    out = Path(out_path)
    check_output(out)
    recipe = read_recipe(config, options)
    references = [model.reference for model in recipe.models.values()]
    if any(reference.lora for reference in references):
        merge_adapters(references, options)
        forget_models()
        recipe = read_recipe(config, options)  # now with the adapters' own shapes and types
    if not recipe.recipient.tokenizer_files:
        options = options.model_copy(update={"copy_tokenizer": False})  # mergekit would log a traceback and go on
    for warning in (*recipe.warnings, *sampled_findings(recipe, options)):
        LOG.warning("%s", warning)
    check_space(recipe, out)
    with _finished_or_absent(out) as unfinished, _writes(recipe), _fresh_loaders(references):
        run_merge(recipe.config.model_copy(deep=True), str(unfinished), options, source)
        check_complete(recipe, unfinished)


def unfinished_folder(out: Path) -> Path:
    """Where a merge lies until it is finished: on the output's own disk, and under its name, the title of the card."""
    out = out.absolute()
    return (out if out.is_dir() else out.parent) / f".{out.name}.incomplete" / out.name


def check_output(out: Path) -> None:
    """Refuse an output folder that holds what a merge writes.

    Raises:
        UserError: it does, or it is no folder.
    """
    if out.is_symlink() and not out.exists():
        raise UserError(f"{out} is a link to {out.readlink()}, which is not there.", "Name another folder.")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; the output is a folder.", "Name another one.")
    there = next((path for pattern in WRITTEN for path in sorted(out.glob(pattern))), None) if out.is_dir() else None
    if there:
        raise UserError(
            f"{out} already holds a model, or a part of one: {there.name}.", "Name another folder, or remove it first."
        )


def check_space(recipe: Recipe, out: Path) -> None:
    """Refuse a merge that the disk has no room for.

    Raises:
        UserError: the output is larger than what is free.
    """
    needed = sum(tensor.n_bytes for tensor in recipe.tensors.values())
    existing = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(
            f"The merged model takes {needed / 1e9:.2f} GB; {existing} has {free / 1e9:.2f} GB free.",
            "Free some space or name a folder on another disk.",
        )


def check_complete(recipe: Recipe, folder: Path) -> None:
    """Refuse a result that lacks a planned tensor or has another one, by its headers.

    Raises:
        UserError: it does.
    """
    wrong = sorted(set(Checkpoint(folder).tensors) ^ set(recipe.tensors))
    if wrong:
        raise UserError(
            f"mergekit wrote other tensors than planned ({wrong[0]} among {len(wrong)}); nothing was kept.",
            "Please report this with your configuration and the versions that turnswap status prints.",
        )


@contextlib.contextmanager
def _finished_or_absent(out: Path) -> Iterator[Path]:
    unfinished = unfinished_folder(out)
    try:
        if unfinished.parent.is_dir():
            LOG.warning("removing %s, left by a merge that was stopped", unfinished.parent)
            shutil.rmtree(unfinished.parent)
        unfinished.mkdir(parents=True)
        yield unfinished
        if not out.exists():
            unfinished.rename(out)
            return
        # Into a folder that holds other things; the configuration last, without which nothing takes it for a model.
        for path in sorted(unfinished.iterdir(), key=lambda path: path.name == "config.json"):
            os.replace(path, out / path.name)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"The merge to {out} failed while reading or writing ({type(error).__name__}: {error}); nothing was kept.",
            "Check that the disk has room and the models are whole, then run it again.",
        ) from error
    finally:
        shutil.rmtree(unfinished.parent, ignore_errors=True)


@contextlib.contextmanager
def _writes(recipe: Recipe) -> Iterator[None]:
    token = _writing.set(recipe.recipient.layout.architecture())
    try:
        yield
    finally:
        _writing.reset(token)


@contextlib.contextmanager
def _fresh_loaders(references: list[ModelReference]) -> Iterator[None]:
    """mergekit keeps files open by the models' names for the life of the process; a folder may have changed since."""

    def forget() -> None:
        for reference in references:
            LoaderCache.loaders.pop(reference, None)

    forget()
    try:
        yield
    finally:
        forget()
