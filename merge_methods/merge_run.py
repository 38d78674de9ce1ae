"""mergekit's ``run_merge`` for layer swaps: refuse before anything is read, and leave a whole model or none.

The merge is written beside the output, in ``.NAME.incomplete``, and moved when it is finished. mergekit computes what
no model stores as the result has it; the rest is copied as bytes (``writing``).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from huggingface_hub import constants
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from mergekit.io.lazy_tensor_loader import LazyTensorLoader
from mergekit.io.tasks import LoaderCache
from mergekit.options import MergeOptions
from safetensors import SafetensorError
from safetensors.torch import save_file

from turnswap.core.errors import UserError, show_without_traceback
from turnswap.core.settings import parse_yaml

from .analysis import sampled_drifts
from .blending import refuse_overflow
from .checkpoint import Checkpoint, StoredTensor
from .configuration import EXAMPLE
from .folder import (
    ATTESTATION,
    CARD,
    CHECKSUMS,
    PROVENANCE,
    copy_deciding_files,
    declared_template,
    files_of,
    stray_files,
)
from .layer_swap import layer_swap
from .recipe import Recipe, read_recipe
from .references import MARK, cache_entry, ingredients, merged_folder
from .weights import WeightReader, declared_tensor, stored_tensors
from .writing import write_model

LOG = logging.getLogger(__name__)
MODEL_FILES = ("*.safetensors*", "*.bin*", "*config*", "tokenizer*", "chat_template*")
WRITTEN = (*MODEL_FILES, CARD, PROVENANCE, ATTESTATION, CHECKSUMS)


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
    source = config_source or config.to_yaml()  # before mergekit rewrites the configuration
    parse_yaml(source, "the configuration", EXAMPLE)  # mergekit reads some of it otherwise than it is written
    if not out_path.strip():  # which would be the current folder
        raise UserError("The path of the output is empty.", "Name a folder for the merged model.")
    out = Path(out_path)
    _check_output(out)
    recipe = read_recipe(config, options)
    declared_template(recipe)  # refuses what is none
    _check_strays(out, recipe)
    references = [model.reference for model in recipe.models.values()]
    if any(reference.lora for reference in references):
        merge_adapters(references, options)
        recipe = read_recipe(config, options)  # now with the adapters' own shapes and types
    if not recipe.recipient.tokenizer_files:
        options = options.model_copy(update={"copy_tokenizer": False})  # mergekit would log a traceback and go on
    elif not options.copy_tokenizer:
        LOG.warning("the merged folder has no tokenizer, as asked: turnswap verify reports it until you add one")
    for warning in (*recipe.warnings, *sampled_drifts(recipe, options)):
        LOG.warning("%s", warning)
    # A pickled output is mergekit's whole: there are no bytes in it to hand on.
    stored = stored_tensors(recipe, options) if options.safe_serialization else {}
    computed = [name for name in recipe.tensors if name not in stored]
    # mergekit merges tensors of one shape; rows of other vocabularies are matched here.
    ours = [name for name in computed if recipe.apart and recipe.tensors[name].weight.by_token]
    if ours and not options.safe_serialization:
        raise UserError(
            "The models' vocabularies differ, which cannot be merged into pickled files.",
            "Leave out --no-safe-serialization.",
        )
    _check_space(recipe, computed, out)
    plan = recipe.plan([name for name in computed if name not in ours])
    following = layer_swap.following(recipe.recipient.reference, plan)
    looking = _looking_in(options.transformers_cache)
    with following, looking, _finished_or_absent(out) as unfinished, _fresh_loaders(references, options):
        # A file for each tensor, so that mergekit keeps none longer than until the next is there.
        alone = {"out_shard_size": 1} if computed else {"quiet": True, "multi_gpu": False}
        ways = options.model_copy(update=alone) if options.safe_serialization else options
        # The plan knows in what type each tensor is computed.
        types = {"dtype": None, "out_dtype": recipe.config.out_dtype or recipe.config.dtype}
        run_merge(recipe.config.model_copy(update=types, deep=True), str(unfinished), ways, source)
        if options.safe_serialization:
            _assemble(recipe, stored, ours, unfinished, options)
        copy_deciding_files(recipe, unfinished, options)
        _check_complete(recipe, unfinished)


def _assemble(
    recipe: Recipe, stored: Mapping[str, StoredTensor], ours: Sequence[str], folder: Path, options: MergeOptions
) -> None:
    """Write the weights into the folder, from where they are stored; the others mergekit has left in it, one by one.

    ``ours``: those that are still to be computed.
    """
    scratch = folder.with_name(f"{folder.name} computed")
    found = dict(stored)
    if len(stored) < len(recipe.tensors):
        scratch.mkdir()
        for file in folder.glob("model*.safetensors*"):
            file.rename(scratch / file.name)
        readers = {role: WeightReader(model, options) for role, model in recipe.models.items()} if ours else {}
        if len(stored) + len(ours) < len(recipe.tensors):
            found |= Checkpoint(scratch).stored
        for number, name in enumerate(ours):
            alone = scratch / f"rows {number}"
            alone.mkdir()
            made = declared_tensor(recipe.tensors[name], readers, recipe.config)
            refuse_overflow(made, made.dtype, name)
            save_file({name: made.contiguous()}, alone / "model.safetensors")
            found |= Checkpoint(alone).stored
    tensors = [found[name] for name in recipe.tensors if name in found]
    write_model(tensors, folder, options.out_shard_size, quiet=options.quiet, scratch=scratch)


def merge_adapters(references: list[ModelReference], options: MergeOptions) -> None:
    """Merge every adapter into its model, in ``--lora-merge-cache``, where that is not done yet.

    A run that is killed leaves no entry, and an entry that an earlier mergekit left unfinished is made anew.

    Raises:
        UserError: there is an adapter but no cache.
    """
    for reference in references:
        if reference.lora is None:
            continue
        if options.lora_merge_cache is None:
            raise UserError(
                f"{reference} is a model with a LoRA adapter, which is merged before the swap: this needs a folder.",
                "Add --lora-merge-cache FOLDER; it takes as much space as the model.",
            )
        if merged_folder(reference, options.lora_merge_cache):
            continue
        final = cache_entry(reference, options.lora_merge_cache)
        if final.exists():
            LOG.warning("%s is unfinished or of another adapter: merging it again", final)
            shutil.rmtree(final)
        unfinished = final.parent / f".{final.name}.incomplete"
        shutil.rmtree(unfinished, ignore_errors=True)
        with _looking_in(options.transformers_cache):
            merged = reference.merged(
                cache_dir=str(unfinished),
                trust_remote_code=options.trust_remote_code,
                lora_merge_dtype=options.lora_merge_dtype,
            )
        (Path(merged.model.path) / MARK).write_text(json.dumps(ingredients(reference), indent=2), "utf-8")
        Path(merged.model.path).rename(final)
        unfinished.rmdir()


def unfinished_folder(out: Path) -> Path:
    """Where a merge lies until it is finished: on the output's own disk, and under its name, the title of the card."""
    out = out.absolute()
    return (out if out.is_dir() else out.parent) / f".{out.name}.incomplete" / out.name


def _check_output(out: Path) -> None:
    """Refuse an output folder that holds what a merge writes, or is no folder."""
    if out.is_symlink() and not out.exists():
        raise UserError(f"{out} is a link to {out.readlink()}, which is not there.", "Name another folder.")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; the output is a folder.", "Name another one.")
    there = next((path for pattern in WRITTEN for path in sorted(out.glob(pattern))), None) if out.is_dir() else None
    if there:
        raise UserError(
            f"{out} already holds a model, or a part of one: {there.name}.", "Name another folder, or remove it first."
        )


def _check_strays(out: Path, recipe: Recipe) -> None:
    """Refuse an output folder with a file that the merged model could not be verified with."""
    left = f"{unfinished_folder(out).parent.name}/"
    there = {name: path for name, path in files_of(out).items() if not name.startswith(left)}
    for problem in stray_files(there, recipe, set(), "the merged model"):
        raise UserError(
            f"{out} holds a file that does not belong to the merged model: {problem}.",
            "Name another folder, or remove the file first.",
        )


def _check_space(recipe: Recipe, computed: Iterable[str], out: Path) -> None:
    """Refuse a merge that the disk has no room for."""
    needed = sum(tensor.n_bytes for tensor in recipe.tensors.values())
    needed += max((recipe.tensors[name].n_bytes for name in computed), default=0)  # one at a time is there twice
    existing = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(
            f"The merged model takes {needed / 1e9:.2f} GB; {existing} has {free / 1e9:.2f} GB free.",
            "Free some space or name a folder on another disk.",
        )


def _check_complete(recipe: Recipe, folder: Path) -> None:
    """Refuse a result that lacks a planned tensor or has another one, by its headers."""
    there = {(name, info.shape, info.dtype) for name, info in Checkpoint(folder).tensors.items()}
    planned = {(name, tensor.weight.header.shape, tensor.dtype) for name, tensor in recipe.tensors.items()}
    wrong = sorted(name for name, *_ in there ^ planned)
    if wrong:
        raise UserError(
            f"mergekit wrote tensors that differ from the plan ({wrong[0]} among {len(wrong)}); nothing was kept.",
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
        if out.exists():
            _move_into(out, unfinished)
        else:
            unfinished.rename(out)
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"The merge to {out} failed while reading or writing ({type(error).__name__}: {error}); nothing was kept.",
            "Check that you may write there, that the disk has room and the models are whole; then run it again.",
        ) from error
    finally:
        shutil.rmtree(unfinished.parent, ignore_errors=True)


def _move_into(out: Path, unfinished: Path) -> None:
    """Move all files into a folder that holds others, or none of them."""
    with contextlib.ExitStack() as undo:
        # The configuration last, without which nothing takes it for a model.
        for name, path in sorted(files_of(unfinished).items(), key=lambda item: item[0] == "config.json"):
            target = out / name
            if target.exists():  # as declared, or it had been refused
                continue
            if not target.parent.exists():
                target.parent.mkdir()
                undo.callback(target.parent.rmdir)
            os.replace(path, target)
            undo.callback(target.unlink)
        undo.pop_all()


class _Forgetful(LazyTensorLoader):
    """Closes a safetensors file when a tensor is read, or all that was ever read of it would count as memory."""

    def get_tensor(self, *arguments: Any, **options: Any) -> torch.Tensor | None:
        tensor: torch.Tensor | None = super().get_tensor(*arguments, **options)
        if self.index.is_safetensors:
            self.flush()
        return tensor


@contextlib.contextmanager
def _fresh_loaders(references: list[ModelReference], options: MergeOptions) -> Iterator[None]:
    """mergekit keeps files open by the models' names for the life of the process; a folder may have changed since."""
    cache = LoaderCache()
    cache.setup(options)
    with contextlib.ExitStack() as stack:
        for reference in references:
            cache.loaders.pop(reference, None)
            stack.callback(cache.loaders.pop, reference, None)
            cache.loaders[reference] = _Forgetful(cache.get(reference).index, options.lazy_unpickle)
        yield


def _looking_in(cache: str | None) -> contextlib.AbstractContextManager[Any]:
    """Where transformers looks for models of the Hub: mergekit does not hand ``--transformers-cache`` on to it."""
    return mock.patch.object(constants, "HF_HUB_CACHE", cache or constants.HF_HUB_CACHE)
