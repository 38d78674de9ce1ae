"""Memory for two models at once: counted before they are loaded, and explained where it runs out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from turnswap.core.errors import UserError
from turnswap.core.sizes import size
from turnswap.merge_methods.checkpoint import TensorInfo
from turnswap.merge_methods.compatibility import Model
from turnswap.merge_methods.recipe import Planned, Recipe

ADVICE = "Reduce batch_size, max_length or max_gen_toks, load in a smaller type (dtype=bfloat16), or free memory."


def model_bytes(model: Model, dtype: torch.dtype | None) -> int:
    """What a model occupies once it is loaded in a type; None for the types in which it is stored."""
    return sum(_bytes(weight.header, dtype) for weight in model.layout.weights.values())


def blend_bytes(blends: Iterable[Planned], dtype: torch.dtype | None, device: torch.device) -> int:
    """What blends occupy on a device in the loading type, working copies included."""
    blends = list(blends)
    # They are made on the CPU, one at a time: mergekit sums in float32, and the check for NaN takes as much twice.
    largest = max(
        (12 * blend.weight.header.n_bytes // blend.weight.header.dtype.itemsize for blend in blends), default=0
    )
    total = sum(_bytes(blend.weight.header, dtype) for blend in blends)
    return total + (largest if device.type == "cpu" else 0)


def _bytes(header: TensorInfo, loading: torch.dtype | None) -> int:
    if loading is None or not header.dtype.is_floating_point:
        return header.n_bytes
    return header.n_bytes // int(header.dtype.itemsize) * int(loading.itemsize)


def free_bytes(device: torch.device) -> int | None:
    """What is free on a device; None where that cannot be told."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free)
    if device.type != "cpu":
        return None
    found = [free for free in (_available(), *_cgroup_free()) if free is not None]
    return min(found, default=None)


def _available() -> int | None:
    """What Linux could give to a new process."""
    try:
        match = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text("ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(match[1]) * 1024 if match else None


def _cgroup_free(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> Iterator[int]:
    """What the limits of this process's control groups (a container's, a batch job's) leave free, v2 and v1."""
    try:
        lines = [line.split(":", 2) for line in own.read_text("utf-8").splitlines()]
    except OSError:
        return
    for _, controllers, path in (line for line in lines if len(line) == 3):
        if controllers == "":
            base, names = root, ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base, names = root / "memory", ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = base / path.strip("/")
        for folder in (group, *group.parents):
            if not folder.is_relative_to(base):
                break
            free = _left(folder, *names)
            if free is not None:
                yield free


def _left(folder: Path, limit_name: str, used_name: str, cache_name: str) -> int | None:
    try:
        limit, used = ((folder / name).read_text("ascii").strip() for name in (limit_name, used_name))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
    except (OSError, ValueError):
        return None
    if not limit.isdecimal():  # "max": no limit
        return None
    # Pages of files count as used, but are given back when they are needed.
    return max(0, int(limit) - int(used) + int(statistics.get(cache_name, 0)))


def check_memory(recipe: Recipe, dtype: torch.dtype | None, device: torch.device) -> None:
    """Refuse a swap whose models and blends do not fit into memory together, before they are loaded.

    Raises:
        UserError: it names what is needed and what is free.
    """
    used = {tensor.source.origin for tensor in recipe.tensors.values()} | {"recipient", "donor"}
    models = [model for role, model in recipe.models.items() if role in used]
    blends = [tensor for tensor in recipe.tensors.values() if tensor.source.origin == "blend"]
    needed = sum(model_bytes(model, dtype) for model in models) + blend_bytes(blends, dtype, device)
    check_free(needed, device, f"{len(models)} models" + (" and the blends of the two" if blends else ""))


def check_free(needed: int, device: torch.device, what: str) -> None:
    """Refuse what does not fit into the free memory of a device.

    Args:
        needed: bytes.
        device: where.
        what: for people, a plural.

    Raises:
        UserError: it names what is needed and what is free.
    """
    free = free_bytes(device)
    if free is not None and needed > free:
        raise UserError(
            f"Too little memory on {device}: {what} need {size(needed)}, and {size(free)} are free.",
            "Load in a smaller type (dtype=bfloat16), blend fewer layers, or free memory; mergekit-yaml needs less, "
            "and lm-eval's hf evaluates the folder.",
        )


@contextlib.contextmanager
def out_of_memory_explained(device: torch.device | str | None = None) -> Iterator[None]:
    """Turn what is raised where memory runs out into words.

    Args:
        device: where the models lie; the GPU, if there is one.

    Raises:
        UserError: memory ran out; it names what was asked for and what was free, as far as that is known.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        asked = _asked(str(error))
        free = free_bytes(where)
        told = ([f"{asked} were asked for at once"] if asked else []) + (
            [f"{size(free)} are free now"] if free is not None else []
        )
        raise UserError(f"Memory ran out on {where}" + (f": {', '.join(told)}." if told else "."), ADVICE) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out: torch has a class of its own for GPUs alone."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "DefaultCPUAllocator: can't allocate memory" in text
        or "not enough memory" in text
        or "CUDA out of memory" in text
    )


def _asked(text: str) -> str | None:
    """What torch was asked for, from its message."""
    if match := re.search(r"tried to allocate (\d+) bytes", text):
        return size(int(match[1]))
    match = re.search(r"[Tt]ried to allocate ([\d.]+ [KMGT]i?B)", text)
    return match[1] if match else None
