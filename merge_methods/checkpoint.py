"""What a model folder holds: names, shapes and types from the headers, weights one tensor at a time.

And which folder a reference names: ``model``, or ``model+adapter`` once mergekit merged the two into its cache.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from huggingface_hub import get_safetensors_metadata, snapshot_download
from mergekit.common import ModelPath, ModelReference
from mergekit.config import MergeConfiguration
from pydantic import PrivateAttr
from safetensors import SafetensorError, safe_open
from transformers import PretrainedConfig
from transformers.modeling_utils import str_to_torch_dtype

from turnswap.core.errors import UserError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
MARK = "merged_adapter.json"  # written last into a model merged with its adapter: what it was made of
# What a merge and its check need besides the weights.
DESCRIPTION_FILES = ["*.json", "*.model", "*.jinja", "*.txt"]


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as its file's header describes it."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def n_bytes(self) -> int:
        """Its size in its own type."""
        return math.prod(self.shape) * int(self.dtype.itemsize)


class Checkpoint:
    """A folder with weights: ``*.safetensors`` or ``*.bin``, sharded or not. Opening it reads headers only.

    Attributes:
        folder: where it lies.
        files: the weight files, in the order of their names.
        tensors: what each tensor is, by name.

    Raises:
        UserError: no weights, a shard missing, or a file that is cut short or no such file at all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        single = next(
            (file for name in WEIGHT_FILES if (file := folder / name).exists() or _index(file).exists()), None
        )
        if single is None:
            raise UserError(
                f"{folder} holds no weights (model.safetensors, pytorch_model.bin, or their index).",
                "Check the path; a merge or download that was stopped leaves such folders.",
            )
        # Not by mergekit's ShardedTensorIndex: it lets a pickle run code where torch's environment variables allow it.
        self._is_safetensors = single.suffix == ".safetensors"
        self._file_of: dict[str, str] = {}
        self.files = [single]
        if _index(single).exists():
            self._file_of = _read_index(_index(single))
            self.files = sorted({folder / name for name in self._file_of.values()})
        for file in self.files:
            if not file.is_file():
                raise UserError(
                    f"{folder} is incomplete: its index names {file.name}, which is not there."
                    if self._file_of
                    else f"{file} is no file.",
                    "Download or copy the model again.",
                )
        self._open_bin: tuple[Path, Mapping[str, torch.Tensor]] | None = None
        self.tensors = self._read_headers()

    def _read_headers(self) -> dict[str, TensorInfo]:
        found: dict[str, TensorInfo] = {}
        for file in self.files:
            here = self._read_header(file)
            self._file_of = self._file_of or dict.fromkeys(here, file.name)
            named = {name for name, place in self._file_of.items() if place == file.name}
            wrong = sorted(named ^ here.keys())
            if wrong:
                raise UserError(
                    f"{self.folder} is incomplete: by its index {wrong[0]} is {'' if wrong[0] in named else 'not '}in "
                    f"{file.name}, but it is {'not' if wrong[0] in named else 'there'}.",
                    "Download or copy the model again.",
                )
            found |= here
        return found

    def _read_header(self, file: Path) -> dict[str, TensorInfo]:
        if not self._is_safetensors:
            return {name: TensorInfo(tuple(t.shape), t.dtype) for name, t in self._load_bin(file).items()}
        try:
            with safe_open(file, "pt") as opened:
                headers = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
                return {
                    name: TensorInfo(tuple(header.get_shape()), _dtype(header.get_dtype(), name, file))
                    for name, header in headers.items()
                }
        except (SafetensorError, OSError) as error:
            raise _corrupt(file, error) from error

    def read(self, name: str) -> torch.Tensor:
        """One tensor, mapped from its file: what is not looked at is not read, and nothing stays open."""
        file = self.folder / self._file_of[name]
        if not self._is_safetensors:
            return self._load_bin(file)[name]
        try:
            with safe_open(file, "pt") as opened:
                return opened.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise _corrupt(file, error) from error

    def _load_bin(self, file: Path) -> Mapping[str, torch.Tensor]:
        if self._open_bin is None or self._open_bin[0] != file:
            self._open_bin = None
            try:
                # torch's older format, which is no zip file, can only be read whole.
                loaded = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
                self._open_bin = file, dict(loaded.get("state_dict", loaded))
            except Exception as error:  # torch raises whatever the pickle makes it raise
                raise _corrupt(file, error) from error
        return self._open_bin[1]


def _index(file: Path) -> Path:
    """Beside where a file of weights would be, what says that there are several."""
    return file.with_name(f"{file.name}.index.json")


def _read_index(path: Path) -> dict[str, str]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _corrupt(path, error) from error
    found = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(found, dict) or {type(name) for name in found.values()} != {str}:
        raise UserError(
            f"{path} is no index of weights: under weight_map it names no file for each tensor.",
            "Download or copy the model again.",
        )
    return found


def _dtype(name: str, tensor: str, file: Path) -> torch.dtype:
    if name not in str_to_torch_dtype:
        raise UserError(f"{file}: {tensor} is of type {name}, which cannot be merged.", "Convert the model first.")
    return str_to_torch_dtype[name]


def type_name(dtype: object) -> str:
    """``bfloat16`` of ``torch.bfloat16``, as configurations and mergekit write it."""
    return str(dtype).removeprefix("torch.")


def first_line(error: Exception) -> str:
    """What the error says first: hosts' messages run to many lines."""
    return (str(error).splitlines() or [""])[0]


def _corrupt(path: Path, error: Exception) -> UserError:
    # What torch refuses to run, in the words of its several versions.
    wanted = re.search(r"(?:GLOBAL|[Uu]nsupported class) ([\w.]+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and (wanted or "Unsupported operand" in str(error)):
        what = f"wants to run code ({wanted[1]})" if wanted else "holds more than tensors"
        return UserError(
            f"{path} is a pickle that {what}. It was not loaded.",
            "Do not load it by other means either: take the model as safetensors, from a source that you trust.",
        )
    # safetensors says of a file that may not be read that there is none.
    refused = getattr(error, "strerror", None) or (None if os.access(path, os.R_OK) else "Permission denied")
    if refused:
        return UserError(f"{path} cannot be read: {refused}.", "Check what is there, and that you may read it.")
    return UserError(
        f"{path} cannot be read: it is cut short or damaged ({type(error).__name__}: {first_line(error)}).",
        "Download or copy it again.",
    )


@dataclass(frozen=True)
class Description:
    """A model without its weights: the folder of its small files, its tensors, and the revision for Hub models.

    ``complete``: the weights are in the folder too.
    """

    folder: Path
    tensors: Mapping[str, TensorInfo]
    revision: str | None
    complete: bool = True


def describe(model: ModelPath, cache_dir: str | None = None) -> Description:
    """Read a model's headers; for a Hub id that is not in the cache, from the Hub, without loading a weight.

    Raises:
        UserError: it is neither a folder with weights nor a model on the Hub.
    """
    if not model.path.strip():
        raise UserError("The path of a model is empty.", "Write a folder or a Hub id.")
    if os.path.isdir(model.path):
        return Description(Path(model.path), Checkpoint(Path(model.path)).tensors, None)
    if model.path.startswith(("/", "./", "../", "~")) or model.path.count("/") > 1:  # no Hub id looks like this
        raise UserError(f"{model.path} is no folder here.", "Check the path: it is taken from the current folder.")
    fetch = functools.partial(snapshot_download, model.path, revision=model.revision, cache_dir=cache_dir)
    try:
        try:
            folder = Path(fetch(local_files_only=True))
            return Description(folder, Checkpoint(folder).tensors, folder.name)
        except (OSError, UserError):  # not in the cache, or without its weights
            folder = Path(fetch(allow_patterns=DESCRIPTION_FILES))
            remote = get_safetensors_metadata(model.path, revision=folder.name)
    except Exception as error:  # huggingface_hub: offline, gated, no such repository, no safetensors, …
        raise UserError(
            f"{model.path} is no folder here, and the Hub did not give it ({type(error).__name__}).",
            "Check the path or the id; log in to the Hub and go online, or download the model first.",
        ) from error
    tensors = {
        name: TensorInfo(tuple(info.shape), _dtype(info.dtype, name, folder))
        for file in remote.files_metadata.values()
        for name, info in file.tensors.items()
    }
    return Description(folder, tensors, folder.name, complete=False)


def same_model(one: ModelReference | str, other: ModelReference | str) -> bool:
    """Whether two references name one model: the same folder, however it is written, or id, with the same adapter."""
    pair = [ModelReference.model_validate(reference) for reference in (one, other)]
    return _same_place(pair[0].model, pair[1].model) and _same_place(pair[0].lora, pair[1].lora)


def _same_place(one: ModelPath | None, other: ModelPath | None) -> bool:
    if one is None or other is None or one == other:
        return one == other
    return os.path.isdir(one.path) and os.path.isdir(other.path) and os.path.samefile(one.path, other.path)


class FoundModel(ModelReference):
    """A model whose files were found on this machine, for mergekit, which would ask the Hub or another cache for them.

    It is equal to the reference that was given, and written as that is.
    """

    _folder: Path = PrivateAttr()

    @classmethod
    def at(cls, folder: Path, given: ModelReference) -> FoundModel:
        """The model that a reference names, in its folder."""
        found = cls(model=given.model, lora=given.lora, override_architecture=given.override_architecture)
        found._folder = folder
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelReference) and dict(self) == dict(other)

    __hash__ = ModelReference.__hash__

    def config(self, trust_remote_code: bool = False) -> PretrainedConfig:
        """The configuration in the folder."""
        model = ModelPath(path=str(self._folder))
        here = ModelReference(model=model, override_architecture=self.override_architecture)
        return here.config(trust_remote_code=trust_remote_code)

    def local_path(self, cache_dir: str | None = None, ignore_lora: bool = False) -> str:
        """The folder."""
        return str(self._folder)


def with_plain_paths(config: MergeConfiguration) -> MergeConfiguration:
    """The configuration with ``./`` before relative folders: mergekit takes ``models/x`` for a Hub id."""

    def plain(reference: ModelReference) -> ModelReference:
        changes = {
            part: path.model_copy(update={"path": f"./{path.path}"})
            for part in ("model", "lora")
            if (path := getattr(reference, part)) and path.path[:1] not in "./~" and os.path.isdir(path.path)
        }
        return reference.model_copy(update=changes)

    return with_references(config, plain)


def with_references(
    config: MergeConfiguration, changed: Callable[[ModelReference], ModelReference]
) -> MergeConfiguration:
    """The configuration with other references to its models."""
    models = config.models and [listed.model_copy(update={"model": changed(listed.model)}) for listed in config.models]
    base = config.base_model and changed(config.base_model)
    return config.model_copy(update={"models": models, "base_model": base}, deep=True)


def merged_folder(reference: ModelReference, cache: str | None) -> Path | None:
    """The merged model in the cache; None where there is none that is finished and made of this very adapter."""
    if cache is None:
        return None
    folder = cache_entry(reference, cache)
    try:
        mark = json.loads((folder / MARK).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return folder if mark == ingredients(reference) else None


def cache_entry(reference: ModelReference, cache: str) -> Path:
    """Where mergekit looks for a model merged with its adapter. (It has no public function for the name.)"""
    assert reference.lora is not None
    return Path(cache) / f"{reference.model._unique_id()}_{reference.lora._unique_id()}"


def ingredients(reference: ModelReference) -> dict[str, str]:
    """What identifies a merged model: both names, and what is in the adapter's files."""
    assert reference.lora is not None
    names = {"model": str(reference.model), "adapter": str(reference.lora)}
    return names | {path.name: sha256(path) for path in sorted(Path(reference.lora.path).glob("adapter_*"))}


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
