"""Where planned tensors are in a model that transformers has loaded: it renames some on loading, and fuses others."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from mergekit.architecture.conversion import convert_checkpoint_tensors

from turnswap.core.errors import UserError

from .checkpoint import first_line, type_name
from .planning import Planned
from .recipe import Recipe
from .weights import WeightReader, declared_tensor, same_bits

MOST = 5  # names in one note


def tensors_of(model: Any) -> dict[str, torch.Tensor]:
    """A model's own parameters and persistent buffers, by every name that they have."""
    return dict(model.state_dict(keep_vars=True))


def map_names(recipe: Recipe, model: Any) -> dict[str, str]:
    """The name in memory of every planned tensor that is loaded; tied tensors have the first of their names.

    Raises:
        UserError: a planned tensor that the model lacks, or a parameter that is not planned.
    """
    ours = tensors_of(model)
    first = {id(tensor): name for name, tensor in reversed(ours.items())}
    found: dict[str, str] = {}
    for name, planned in recipe.tensors.items():
        target = next((one for one in (planned.weight.target, name) if one in ours), None)
        if target is not None:
            found[name] = first[id(ours[target])]
        elif not _may_be_left_out(name, planned, model):
            raise UserError(
                f"Missing component: {recipe.recipient} stores {name}, but {type(model).__name__} has no such tensor "
                "in memory.",
                "Merge this swap with mergekit-yaml.",
            )
    unplanned = {name for name, _ in model.named_parameters()} - set(found.values())
    if unplanned:
        raise UserError(
            f"Missing component: {type(model).__name__} has {min(unplanned)}, which {recipe.recipient} does not store.",
            "Check that its folder is complete and was saved from this class.",
        )
    return found


def _may_be_left_out(name: str, planned: Planned, model: Any) -> bool:
    """Whether loading a merged folder would leave the tensor out too, and nothing of the swap with it."""
    patterns = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
    return planned.weight.place.part in ("outside", "prediction") or any(
        re.search(pattern, name) for pattern in patterns
    )


def declared_in_memory(
    target: str, part: Sequence[Planned], like: torch.Tensor, readers: Mapping[str, WeightReader], recipe: Recipe
) -> torch.Tensor | None:
    """What a loaded tensor should be, from all planned ones that make it; None where they cannot make its shape."""
    sources: dict[str, Callable[[], torch.Tensor]] = {
        planned.name: functools.partial(declared_tensor, planned, readers, recipe.config) for planned in part
    }
    made = sources[part[0].name]() if len(part) == 1 else None
    if made is None or made.shape != like.shape:
        made = convert_checkpoint_tensors(recipe.recipient.config.model_type, sources, target)
    return None if made is None or made.shape != like.shape else made


def check_loaded(
    folder: Path, recipe: Recipe, readers: Mapping[str, WeightReader], trusted: bool
) -> tuple[list[str], list[str], int]:
    """Load a folder as users do, in the type that it declares, and compare every tensor with what was declared.

    Returns problems, notes, and how many tensors are as declared.
    """
    try:
        # The class that the configuration names, with the model's own code where it brings such.
        config, usual = recipe.recipient.config, transformers.AutoModelForCausalLM
        has_own = getattr(config, "auto_map", None)
        kind = usual if has_own else getattr(transformers, config.architectures[0], usual)
        model, info = kind.from_pretrained(
            folder, dtype="auto", output_loading_info=True, trust_remote_code=trusted, local_files_only=True
        )
        targets = map_names(recipe, model)
    except UserError as error:
        return [f"as loaded: {error.message}"], [], 0
    except Exception as error:  # transformers raises errors of many kinds
        return [f"as loaded: transformers fails ({type(error).__name__}: {first_line(error)})"], [], 0
    problems: list[str] = []
    notes: list[str] = []
    left_out = sorted(recipe.tensors.keys() - targets.keys())
    # Layers beyond the last are not loaded; transformers knows that of some models only by their number.
    beyond = {name for name in left_out if recipe.tensors[name].weight.place.part == "prediction"}
    for what, keys in info.items():
        keys = set(keys) - beyond
        problems += [f"as loaded: {what.replace('_', ' ')}: {key}" for key in sorted(map(str, keys))]
    loaded = tensors_of(model)
    parts: dict[str, list[Planned]] = {}
    for name, target in targets.items():
        parts.setdefault(target, []).append(recipe.tensors[name])
    problems += _unequal(loaded, parts, readers, recipe)
    if left_out:
        named = ", ".join(left_out[:MOST]) + (", …" if len(left_out) > MOST else "")
        notes.append(f"{len(left_out)} tensors are left out when it is loaded, by design: {named}")
    for target, part in parts.items():
        stored, found = part[0].dtype, loaded[target].dtype
        # A recipient that stores a tensor in another type than its configuration states is loaded so itself.
        usual = stored == part[0].weight.header.dtype and found == getattr(model.config, "dtype", None)
        if stored != found and not usual and not _keeps(model, target, found):
            problems.append(f"as loaded: {target} is {type_name(found)}, stored as {type_name(stored)}")
    retyped = sorted(target for target, part in parts.items() if loaded[target].dtype != part[0].dtype)
    if retyped:
        types = type_name(parts[retyped[0]][0].dtype), type_name(loaded[retyped[0]].dtype)
        notes.append(f"{len(retyped)} tensors are loaded in another type, such as {retyped[0]}: %s as %s" % types)
    return problems, notes, len(parts) - len(problems)


def _keeps(model: Any, name: str, dtype: torch.dtype) -> bool:
    """Whether a model's own code loads a tensor in single precision, whatever the model's type."""
    kept = [*(model._keep_in_fp32_modules or ()), *(model._keep_in_fp32_modules_strict or ())]
    return dtype == torch.float32 and any(re.search(rf"(^|\.){module}(\.|$)", name) for module in kept)


def _unequal(
    loaded: Mapping[str, torch.Tensor],
    parts: Mapping[str, Sequence[Planned]],
    readers: Mapping[str, WeightReader],
    recipe: Recipe,
) -> Iterator[str]:
    for target, every in parts.items():
        # Stored under several names, each is the whole tensor; others make it together.
        fused = [planned for planned in every if planned.weight.converted]
        for part in [*([planned] for planned in every if planned not in fused), *([fused] if fused else [])]:
            declared = declared_in_memory(target, part, loaded[target], readers, recipe)
            names = part[0].name if len(part) == 1 else f"{part[0].name} and {len(part) - 1} more"
            if declared is None:
                yield f"as loaded: the shape of {target} differs from that of {names} as declared"
            elif not same_bits(loaded[target].detach(), declared.to(loaded[target].dtype)):
                yield f"as loaded: {target} is not, bit for bit, {names} as declared"
    made_up = sorted(loaded.keys() - parts.keys())
    tied = {id(loaded[target]) for target in parts}
    yield from (f"as loaded: {name} is not declared" for name in made_up if id(loaded[name]) not in tied)
