"""Memory for several models at once: counted before they are loaded, and explained where it runs out."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped] # it has no types
import torch
from rich.filesize import decimal as size

from turnswap.core.errors import UserError
from turnswap.merge_methods.checkpoint import TensorInfo
from turnswap.merge_methods.compatibility import Model
from turnswap.merge_methods.recipe import Recipe

ADVICE = "Reduce batch_size, max_length or max_gen_toks, load in a smaller type (dtype=bfloat16), or free memory."
_OUT_OF_MEMORY = ("DefaultCPUAllocator: can't allocate memory", "not enough memory", "CUDA out of memory")


class TooLittleMemory(UserError):
    """Memory ran out, or would."""


def model_bytes(model: Model, dtype: torch.dtype | None) -> int:
    """What a model occupies once it is loaded in a type; None for the types in which it is stored."""
    return sum(_bytes(weight.header, dtype) for weight in model.layout.weights.values())


def _bytes(header: TensorInfo, loading: torch.dtype | None) -> int:
    return TensorInfo(header.shape, loading if loading and header.dtype.is_floating_point else header.dtype).n_bytes


def free_bytes(device: torch.device) -> int | None:
    """What is free on a device; None where that cannot be told."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    if device.type != "cpu":
        return None
    return min([int(psutil.virtual_memory().available), *_cgroup_free()])


def _cgroup_free(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """What the limits of this process's control groups (a container's, a batch job's) leave free, v2 and v1."""
    for line in own.read_text("utf-8").splitlines() if own.exists() else ():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            base, limit, used, cache = root, "memory.max", "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            base, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
            cache = "total_inactive_file"
        else:
            continue
        group = base / path.strip("/")
        for folder in (each for each in (group, *group.parents) if each.is_relative_to(base)):
            try:
                left = int((folder / limit).read_text("ascii")) - int((folder / used).read_text("ascii"))
                statistics = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
            except (OSError, ValueError):  # no file, or "max": no limit
                continue
            # Pages of files count as used, but are given back when they are needed.
            yield max(0, left + int(statistics.get(cache, 0)))


def check_memory(recipe: Recipe, dtype: torch.dtype | None, device: torch.device) -> None:
    """Refuse a swap whose models and blends do not fit into memory together, before they are loaded.

    Raises:
        UserError: it names what is needed and what is free.
    """
    copied = {tensor.source.origin for tensor in recipe.tensors.values()}
    models = [model for role, model in recipe.models.items() if role != "pretrained" or role in copied]
    blends = [tensor.weight.header for tensor in recipe.tensors.values() if tensor.is_computed]
    needed = sum(model_bytes(model, dtype) for model in models) + sum(_bytes(blend, dtype) for blend in blends)
    if blends and device.type == "cpu":
        # Blends are made there, one at a time: mergekit sums in float32, and the check for NaN takes as much twice.
        needed += max(12 * math.prod(blend.shape) for blend in blends)
    check_free(needed, device, f"{len(models)} models" + (" and their blends" if blends else ""))


def check_free(needed: int, device: torch.device, what: str) -> None:
    """Refuse what does not fit into the free memory of a device: so many bytes for ``what``, a plural.

    Raises:
        UserError: it names what is needed and what is free.
    """
    free = free_bytes(device)
    if free is not None and needed > free:
        raise TooLittleMemory(
            f"Too little memory on {device}: {what} need {size(needed)}, and {size(free)} are free.",
            "Load in a smaller type (dtype=bfloat16), blend fewer layers, or free memory; mergekit-yaml needs less, "
            "and lm-eval's hf evaluates the folder.",
        )


def is_out_of_memory(error: Exception) -> bool:
    """Whether that is what it says; torch has a class of its own for GPUs alone."""
    known = isinstance(error, (MemoryError, torch.OutOfMemoryError))
    return known or any(words in str(error) for words in _OUT_OF_MEMORY)


@contextlib.contextmanager
def out_of_memory_explained(device: torch.device | str | None = None) -> Iterator[None]:
    """Turn what is raised where memory runs out into words; without a device, it is the GPU's, if there is one.

    Raises:
        UserError: memory ran out; it names what was asked for and what was free, as far as that is known.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        told = []
        if asked := re.search(r"ried to allocate ([\d.]+) ?(bytes|[KMGT]i?B)", str(error)):
            amount = size(int(asked[1])) if asked[2] == "bytes" else f"{asked[1]} {asked[2]}"
            told.append(f"{amount} were asked for at once")
        free = free_bytes(where)
        if free is not None:
            told.append(f"{size(free)} are free now")
        said = f"Memory ran out on {where}" + (f": {', '.join(told)}." if told else ".")
        raise TooLittleMemory(said, ADVICE) from error
