"""Writing a model out of byte ranges of files: byte for byte what safetensors would write, at the speed of copying."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path

import torch
from safetensors.torch import save
from tqdm import tqdm

from turnswap.core.errors import UserError

from .checkpoint import SourceFile, StoredTensor

CHUNK = 8_000_000  # bytes at once: what the progress bar moves by, and what a copy outside the kernel holds
ALIGNMENT = 8  # of the tensors' first byte, as safetensors pads it


def write_model(
    tensors: Sequence[StoredTensor], folder: Path, shard_size: int, *, quiet: bool, scratch: Path | None
) -> None:
    """Write the tensors into ``folder``, in this order, as mergekit names and fills its files.

    Args:
        tensors: the tensors.
        folder: where ``model.safetensors`` is to lie, or several files and their index.
        shard_size: how many bytes of tensors a file may hold; 0 for all.
        quiet: without a progress bar.
        scratch: the folder of files of one tensor each, which are removed as soon as they are copied.

    Raises:
        UserError: a file that is copied from has changed since its header was read.
        OSError: reading or writing failed.
    """
    shards = _shards(tensors, shard_size)
    names = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    names = names if len(shards) > 1 else ["model.safetensors"]
    total = sum(tensor.info.n_bytes for tensor in tensors)
    with tqdm(total=total, unit="B", unit_scale=True, desc="Copying tensors", disable=quiet) as progress:
        for name, shard in zip(names, shards, strict=True):
            header, ordered = _header(shard)
            with (folder / name).open("xb", buffering=0) as target:
                target.write(header)
                for run in _runs(ordered):
                    for n_bytes in _copy(run, target):
                        progress.update(n_bytes)
                    if run.file.path.parent == scratch:
                        run.file.path.unlink()
    if len(shards) > 1:
        places = {tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard}
        metadata = {"total_size": total, "mergekit_version": importlib.metadata.version("mergekit")}
        index = json.dumps({"metadata": metadata, "weight_map": places}, indent=2)
        (folder / "model.safetensors.index.json").write_text(index, "utf-8")


def _shards(tensors: Sequence[StoredTensor], shard_size: int) -> list[list[StoredTensor]]:
    """A file's tensors are those that fit into the size; one that is larger has a file of its own."""
    shards: list[list[StoredTensor]] = [[]]
    size = 0
    for tensor in tensors:
        if shards[-1] and 0 < shard_size < size + tensor.info.n_bytes:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor.info.n_bytes
    return shards


def _header(shard: Sequence[StoredTensor]) -> tuple[bytes, list[StoredTensor]]:
    """The header of a file of these tensors, and the tensors in the order of their bytes.

    Order, names of types and form are what safetensors gives tensors of the same names and types that are empty.
    """
    by_name = {tensor.name: tensor for tensor in shard}
    empty = {tensor.name: torch.empty(0, dtype=tensor.info.dtype) for tensor in shard}
    header = json.loads(save(empty, {"format": "pt"})[8:])
    ordered = [by_name[name] for name in header if name in by_name]
    end = 0
    for tensor in ordered:
        start, end = end, end + tensor.info.n_bytes
        header[tensor.name] |= {"shape": tensor.info.shape, "data_offsets": [start, end]}
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(8, "little") + text, ordered


@dataclass
class _Run:
    """Bytes that lie one after the other in a file."""

    file: SourceFile
    start: int
    n_bytes: int


def _runs(tensors: Sequence[StoredTensor]) -> list[_Run]:
    """The tensors' bytes, in order, in as few runs as there can be."""
    runs: list[_Run] = []
    for tensor in tensors:
        last = runs[-1] if runs else None
        if last and last.file == tensor.file and last.start + last.n_bytes == tensor.start:
            last.n_bytes += tensor.info.n_bytes
        else:
            runs.append(_Run(tensor.file, tensor.start, tensor.info.n_bytes))
    return runs


def _copy(run: _Run, target: FileIO) -> Iterator[int]:
    """Append a run to a file; yields how many bytes more are there."""
    with run.file.path.open("rb", buffering=0) as source:
        position, end = run.start, run.start + run.n_bytes
        while position < end:
            copied = _copy_some(source, target, position, min(CHUNK, end - position))
            if not copied:
                break
            position += copied
            yield copied
        # After the last byte: what was written into the file meanwhile shows now.
        if position < end or SourceFile.of(run.file.path) != run.file:
            raise UserError(
                f"{run.file.path} changed during the merge.", "Wait until the file is complete, then run it again."
            )


def _copy_some(source: FileIO, target: FileIO, position: int, n_bytes: int) -> int:
    """Copy some of these bytes, within the kernel where that can be done; 0 where the source has none there."""
    # Where it refuses (other file systems, old kernels) or has nothing to copy, plain reading and writing find out why.
    with contextlib.suppress(AttributeError, OSError):
        copied = os.copy_file_range(source.fileno(), target.fileno(), n_bytes, position)
        if copied:
            return copied
    source.seek(position)
    return target.write(source.read(n_bytes))
