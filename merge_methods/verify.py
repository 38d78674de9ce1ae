"""Proof that a merged folder is what its configuration declares: every tensor, bit by bit, and every other file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions
from transformers import AutoConfig

from turnswap.core.errors import UserError, reason_of

from .blending import is_finite
from .checkpoint import Checkpoint, first_line, read_json, type_name
from .checksums import check_recorded
from .claims import claim_problems
from .configuration import read_configuration
from .folder import TOKENIZER_CONFIG, code_is_the_recipients, declared_template, differences, folder_problems, said
from .loading import check_loaded
from .merge_run import unfinished_folder
from .planning import Planned
from .recipe import Recipe, is_rounded, read_recipe
from .vocabulary import loaded_tokenizer
from .weights import WeightReader, declared_tensor, same_bits

# What a configuration may differ in: who wrote it, and the older name of the type.
NOT_COMPARED = ("transformers_version", "_name_or_path", "torch_dtype")


@dataclass
class Report:
    """What was found. ``problems`` is empty if and only if ``status`` is ``verified``."""

    folder: Path
    status: Literal["verified", "differs", "incomplete"] = "verified"
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what a reader should know, and no problem
    tensors: Counter[str] = field(default_factory=Counter)  # how many were compared, by where they come from
    rounded: list[str] = field(default_factory=list)  # whose declared type holds fewer numbers than a source's
    n_bytes: int = 0
    n_loaded: int | None = None  # the tensors in memory that were compared; None where nothing was loaded
    recipe: Recipe | None = None

    def as_json(self) -> dict[str, Any]:
        """For machines: status, problems, tensors by origin, bytes compared."""
        return {
            "folder": str(self.folder),
            "status": self.status,
            "problems": self.problems,
            "notes": self.notes,
            "tensors": dict(self.tensors),
            "rounded": self.rounded,
            "bytes": self.n_bytes,
            "loaded": self.n_loaded,
        }


def verify(folder: Path, options: MergeOptions, config_file: Path | None = None, load: bool = False) -> Report:
    """Compare a merged folder with its own ``mergekit_config.yml``, or with another configuration.

    Relative paths in the configuration are taken from the current directory, as mergekit takes them. Code that comes
    with the folder is run only where ``options`` say so, and it is the recipient's.

    Args:
        folder: of the merged model.
        options: mergekit's, for how models are read.
        config_file: instead of the folder's own.
        load: load the model too, if nothing else is wrong, and compare what is in memory.

    Raises:
        UserError: the configuration or its models cannot be read; what is wrong with the folder itself is reported.
    """
    missing = _what_is_missing(folder, config_file)
    if missing:
        return Report(folder, "incomplete", [missing])
    recipe = read_recipe(read_configuration(config_file or folder / "mergekit_config.yml"), options)
    try:
        output = Checkpoint(folder)
    except UserError as error:
        return Report(folder, "incomplete", [error.message], recipe=recipe)
    report = Report(folder, recipe=recipe)
    try:
        trusted = options.trust_remote_code and code_is_the_recipients(folder, recipe)
        report.problems += folder_problems(folder, recipe, output)
        if not report.problems and (recipe.recipient.description.folder / TOKENIZER_CONFIG).is_file():
            _check_tokenizer(folder, recipe, report, trusted)
        report.problems += _config_problems(folder, recipe, trusted)
        problems, notes = check_recorded(folder)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read: {error.strerror}.", "Check that you may read it.") from error
    report.problems += problems
    report.notes += notes
    extra = sorted(set(output.tensors) - set(recipe.tensors))
    report.problems += [f"{name}: not declared, but there" for name in extra]
    readers = {role: WeightReader(model, options) for role, model in recipe.models.items()}
    for tensor in recipe.tensors.values():
        if tensor.name not in output.tensors:
            report.problems.append(f"{tensor.name}: missing")
            continue
        report.tensors[tensor.source.origin] += 1
        report.n_bytes += output.tensors[tensor.name].n_bytes
        report.problems += _tensor_problems(output.read(tensor.name), tensor, readers, recipe.config)
        if is_rounded(tensor, recipe):
            report.rounded.append(tensor.name)
    if load and report.problems:
        report.notes.append("the model was not loaded, since something else is wrong")
    elif load:
        problems, notes, report.n_loaded = check_loaded(folder, recipe, readers, trusted)
        report.problems += problems
        report.notes += notes
    found = report.as_json() | {"status": "verified", "problems": []}  # for nothing else is a record written
    report.problems += claim_problems(folder, recipe, found, options, whole=load, named=config_file is None)
    report.status = "differs" if report.problems else "verified"
    return report


def _what_is_missing(folder: Path, config_file: Path | None) -> str | None:
    left = unfinished_folder(folder).parent
    if left.exists():
        return f"a merge to it was stopped, or is still running: {left} is there"
    if not folder.is_dir():
        return "there is no such folder"
    for name in ("config.json", *(() if config_file else ("mergekit_config.yml",))):
        if not (folder / name).is_file():
            return f"{name} is missing"
    return None


def _tensor_problems(
    tensor: torch.Tensor, planned: Planned, readers: dict[str, WeightReader], config: MergeConfiguration
) -> Iterator[str]:
    """What is wrong with one tensor of the output."""
    if tensor.dtype != planned.dtype:
        yield f"{planned.name}: is {tensor.dtype}, declared {planned.dtype}"
        return
    if not same_bits(tensor, declared_tensor(planned, readers, config)):
        source = planned.source
        blend = f"the declared blend (donor's share {source.donor_share:g}; {source.why})"
        what = blend if source.origin == "blend" else f"the {source.origin}'s ({source.why})"
        yield f"{planned.name}: is not, bit for bit, {what}"
    if not is_finite(tensor, tensor.dtype):
        yield f"{planned.name}: holds NaN or infinite values"


def _config_problems(folder: Path, recipe: Recipe, trusted: bool) -> Iterator[str]:
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=trusted, local_files_only=True)
    except Exception as error:  # transformers' checks of what a file says raise errors of many kinds
        yield f"config.json: cannot be read ({reason_of(error)})"
        return
    yield from _contradicted_types(read_json(folder / "config.json"))
    pair = [(folder, config), (recipe.recipient.description.folder, recipe.recipient.config)]
    # What a file says, and what becomes of it: some keys count for loaders and are no part of the configuration.
    ours, theirs = (_compared(read_json(of / "config.json") | one.to_dict()) for of, one in pair)
    known = config.to_dict().keys() | recipe.recipient.config.to_dict().keys()
    asked = recipe.config.out_dtype or recipe.config.dtype
    if asked:
        theirs = _retyped(theirs, ours, type_name(asked))
        known -= {"dtype"}
        ours.pop("dtype", None)
        if type_name(config.dtype) != type_name(asked):
            yield f"config.json: dtype is {config.dtype}, declared {asked}"
    for key in sorted(ours.keys() | (theirs.keys() & known)):
        if ours.get(key) != theirs.get(key):
            yield f"config.json: {said(key, ours.get(key), theirs.get(key))}"


def _contradicted_types(value: Any, where: str = "") -> Iterator[str]:
    """Where a file states two types of one part: which of them counts is up to its reader."""
    if isinstance(value, dict):
        new, old = value.get("dtype"), value.get("torch_dtype")
        if new and old and new != old:
            yield f"config.json: {where}torch_dtype is {old}, but {where}dtype is {new}"
        for key, item in value.items():
            yield from _contradicted_types(item, f"{where}{key}.")


def _compared(value: Any) -> Any:
    if isinstance(value, dict):
        named = value | ({} if value.get("dtype") else {"dtype": value.get("torch_dtype")})
        return {
            key: _compared(item)
            for key, item in named.items()
            if key not in NOT_COMPARED and not (key == "dtype" and item is None)
        }
    return value


def _retyped(theirs: Any, ours: Any, asked: str) -> Any:
    """The recipient's configuration, with the declared type in those of its parts where ours has it."""
    if not isinstance(theirs, dict) or not isinstance(ours, dict):
        return theirs
    declared = {"dtype": asked} if ours.get("dtype") == asked else {}
    return {key: _retyped(item, ours.get(key), asked) for key, item in theirs.items()} | declared


def _check_tokenizer(folder: Path, recipe: Recipe, report: Report, trusted: bool) -> None:
    """Whether what transformers loads as the tokenizer is the recipient's, with the declared template."""
    try:
        theirs = loaded_tokenizer(recipe.recipient.description.folder, trusted)
    except Exception as error:  # of the tokenizer's own code, or of none
        report.notes.append(
            f"the recipient's tokenizer could not be loaded ({first_line(error)}); only its files were compared"
        )
        return
    template = declared_template(recipe)
    if template is not None:
        stored = theirs["chat_template"]
        theirs["chat_template"] = stored | {"default": template} if isinstance(stored, dict) else template
    try:
        ours = loaded_tokenizer(folder, trusted)
    except Exception as error:
        report.problems.append(f"tokenizer as loaded: fails ({type(error).__name__}: {first_line(error)})")
        return
    report.problems += differences("tokenizer as loaded", ours, theirs)
