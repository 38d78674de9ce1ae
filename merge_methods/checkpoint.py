"""What a model folder holds: names, shapes and types from the headers, weights one tensor at a time."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers.modeling_utils import str_to_torch_dtype

from turnswap.core.errors import UserError

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


@dataclass(frozen=True)
class TensorInfo:
    """A tensor as its file's header describes it."""

    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def n_bytes(self) -> int:
        """Its size in its own type."""
        return math.prod(self.shape) * int(self.dtype.itemsize)


@dataclass(frozen=True)
class SourceFile:
    """A file as it was when its header was read."""

    path: Path
    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> SourceFile:
        """The file as it is now."""
        status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that lies in a safetensors file, from the byte ``start`` on."""

    name: str
    info: TensorInfo
    file: SourceFile
    start: int


class Checkpoint:
    """A folder with weights: ``*.safetensors`` or ``*.bin``, sharded or not. Opening it reads headers only.

    Attributes:
        folder: where it lies.
        files: the weight files, in the order of their names.
        tensors: what each tensor is, by name.
        stored: where each lies; nothing of ``*.bin``.

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
        self.base = single.name
        self._is_safetensors = single.suffix == ".safetensors"
        self._file_of: dict[str, str] = {}
        self.files = [single]
        if _index(single).exists():
            self._file_of = _read_index(_index(single))
            self.files = sorted({folder / name for name in self._file_of.values()})
        missing = next((file for file in self.files if not file.is_file()), None)
        if missing:
            incomplete = f"{folder} is incomplete: its index names {missing.name}, which is not there."
            message = incomplete if self._file_of else f"{missing} is no file."
            raise UserError(message, "Download or copy the model again.")
        self._open_bin: tuple[Path, Mapping[str, torch.Tensor]] | None = None
        self.stored: dict[str, StoredTensor] = {}
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
                    f"{self.folder} is incomplete: its index says that {wrong[0]} is "
                    f"{'' if wrong[0] in named else 'not '}in {file.name}, but it is "
                    f"{'not' if wrong[0] in named else 'there'}.",
                    "Download or copy the model again.",
                )
            found |= here
        return found

    def _read_header(self, file: Path) -> dict[str, TensorInfo]:
        if not self._is_safetensors:
            return {name: TensorInfo(tuple(t.shape), t.dtype) for name, t in self._load_bin(file).items()}
        try:
            source = SourceFile.of(file)
            with safe_open(file, "pt") as opened:
                headers = {name: opened.get_slice(name) for name in opened.offset_keys()}
                found = {
                    name: TensorInfo(tuple(header.get_shape()), type_of(header.get_dtype(), name, file))
                    for name, header in headers.items()
                }
        except (SafetensorError, OSError) as error:
            raise _corrupt(file, error) from error
        # safetensors accepts no file with gaps, or with anything after the last tensor.
        start = source.size - sum(info.n_bytes for info in found.values())
        for name, info in found.items():
            self.stored[name] = StoredTensor(name, info, source, start)
            start += info.n_bytes
        return found

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
            f"{path} is no index of weights: its weight_map must name a file for each tensor.",
            "Download or copy the model again.",
        )
    return found


def read_json(path: Path) -> dict[str, Any]:
    """A file's mapping; empty where there is none."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def type_of(name: str, tensor: str, file: Path) -> torch.dtype:
    """The type that a header names in safetensors' way, ``BF16``; UserError where torch has none such."""
    if name not in str_to_torch_dtype:
        raise UserError(f"{file}: {tensor} is of type {name}, which cannot be merged.", "Convert the model first.")
    return str_to_torch_dtype[name]


def type_name(dtype: object) -> str:
    """``bfloat16`` of ``torch.bfloat16``, as configurations and mergekit write it."""
    return str(dtype).removeprefix("torch.")


def first_line(error: Exception) -> str:
    """What the error says first: hosts' messages run to many lines."""
    return (str(error).strip().splitlines() or [""])[0]


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


def sha256(path: Path) -> str:
    """Of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
