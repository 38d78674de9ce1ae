"""Reading one weight of a model: as mergekit would, or with a LoRA adapter's change, of which nothing is written.

And what a planned tensor is to be, computed from such weights apart from mergekit's own run.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from mergekit.architecture.conversion import convert_checkpoint_tensors
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions
from safetensors import SafetensorError

from turnswap.core.errors import UserError

from .blending import composed
from .checkpoint import Checkpoint, StoredTensor
from .compatibility import Model
from .layout import Weight
from .planning import Planned, working_type
from .recipe import Recipe
from .references import merged_folder
from .swap_plan import origins_of
from .vocabulary import matched_rows

PREFIX = "base_model.model."


class WeightReader:
    """Reads a model's weights one at a time.

    Attributes:
        checkpoint: its files; for a model with a LoRA, those of the merged one.
    """

    def __init__(self, model: Model, options: MergeOptions, folder: Path | None = None) -> None:
        self.model = model
        self.checkpoint = Checkpoint(folder or weights_folder(model, options))

    def read(self, weight: Weight) -> torch.Tensor:
        """The weight in the type in which it is stored.

        Raises:
            UserError: the model does not have it, or its file is damaged.
        """
        made: torch.Tensor | None = None
        with contextlib.suppress(LookupError):
            if (name := self.name_of(weight)) is not None:
                return self.checkpoint.read(name)
            stored = (one.name for one in self.model.layout.by_target.get(weight.target, ()))
            parts = {name: functools.partial(self.checkpoint.read, name) for name in stored}
            made = convert_checkpoint_tensors(self.model.config.model_type, parts, weight.target)
        if made is None:
            raise UserError(f"{self.model} has no tensor {weight.name}.", "Was it changed after the merge?")
        return made

    def name_of(self, weight: Weight) -> str | None:
        """The name under which the model stores the weight; None where it is made of others, or not there."""
        return held.name if (held := self.model.layout.held(weight)) else None


def _is_kept(planned: Planned, stored: torch.dtype, config: MergeConfiguration) -> bool:
    """Whether a tensor that is stored in this type is the result's, bit by bit."""
    working = working_type(planned, config) or stored
    wider = working in (torch.float32, torch.float64) and working.itemsize > stored.itemsize
    exact = working == stored or (stored.is_floating_point and wider)  # any smaller type of floats fits into these
    return not planned.is_computed and planned.dtype == stored and exact


def stored_tensors(recipe: Recipe, options: MergeOptions) -> dict[str, StoredTensor]:
    """The tensors of the result whose bytes lie in a file of their model, by their names in the result.

    Not among them is what must be computed: blends, changes of type, tensors that are stored in another layout or in
    another format.

    Raises:
        UserError: a model's files cannot be read.
    """
    readers = {role: WeightReader(model, options) for role, model in recipe.models.items()}
    found = {}
    for name, planned in recipe.tensors.items():
        reader = readers.get(planned.source.origin)  # what is computed has none
        stored = reader and reader.checkpoint.stored.get(reader.name_of(planned.weight) or "")
        if stored and _is_kept(planned, stored.info.dtype, recipe.config):
            found[name] = replace(stored, name=name)
    return found


def declared_tensor(planned: Planned, readers: Mapping[str, WeightReader], config: MergeConfiguration) -> torch.Tensor:
    """What a tensor should be: its source in the declared type, or the blend of two in that type.

    Args:
        planned: a tensor of a recipe.
        readers: of the recipe's models, by role.
        config: the recipe's.

    Raises:
        UserError: a weight cannot be read, or a blend is not finite.
    """
    working = working_type(planned, config)

    def read(role: str) -> torch.Tensor:
        tensor = readers[role].read(planned.weight)
        return tensor if working is None else tensor.to(working)

    if planned.source.origin in readers and not planned.matched:
        stored = readers[planned.source.origin].read(planned.weight)
        made = stored if _is_kept(planned, stored.dtype, config) else read(planned.source.origin)
        return made.to(planned.dtype)
    tensors = {role: read(role) for role in sorted(origins_of(planned.source) - planned.matched)}
    if planned.matched:
        ours = tensors["recipient"] if "recipient" in tensors else read("recipient")
        matched = torch.zeros(len(ours), dtype=torch.bool)
        for role in planned.matched:
            rows, counterparts = matched_rows(readers["recipient"].model, readers[role].model)
            tensors[role] = ours.clone()
            tensors[role][rows] = read(role)[counterparts].to(ours.dtype)
            matched[rows] = True
    made = composed(planned.source, tensors, planned.name, planned.weight.place.axis)
    if planned.matched:  # methods that look at a tensor as a whole would move rows that no other model has
        made[~matched] = ours[~matched]
    return made.to(planned.dtype)


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Equality of shape and bits: torch.equal takes -0 for 0, and NaN for different from itself."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[left.dtype.itemsize]
    return bool(torch.equal(left.contiguous().view(integers), right.contiguous().view(integers)))


def plain_folder(model: Model, options: MergeOptions) -> Path:
    """Where the weights of a model lie without its adapter, downloaded if need be."""
    if model.description.complete:
        return model.description.folder
    return Path(ModelReference(model=model.reference.model).local_path(options.transformers_cache))


def weights_folder(model: Model, options: MergeOptions) -> Path:
    """Where a model's weights lie on this machine, downloaded if need be.

    Raises:
        UserError: a LoRA that is not in ``--lora-merge-cache``.
    """
    if model.reference.lora is None:
        return plain_folder(model, options)
    merged = merged_folder(model.reference, options.lora_merge_cache)
    if merged is None:
        raise UserError(
            f"{model} is a model with a LoRA adapter, and there is no merged one to compare with.",
            "Name the folder that the merge used: --lora-merge-cache FOLDER.",
        )
    return merged


class AdapterReader(WeightReader):
    """Reads ``model+adapter``: the model's weight, plus what LoRA (Hu et al. 2021, arXiv 2106.09685) adds to it.

    Raises:
        UserError: no adapter on this machine, a damaged one, or one that is no plain LoRA.
    """

    def __init__(self, model: Model, options: MergeOptions) -> None:
        from peft.utils import load_peft_weights  # takes a second, which only adapters need

        super().__init__(model, options, plain_folder(model, options))
        adapter = model.reference.lora
        try:
            folder = Path(ModelReference(model=adapter).local_path(options.transformers_cache))
            self.config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
            # All at once: an adapter is small. An absolute path: for "a/b" without weights peft would ask the Hub.
            saved = load_peft_weights(str(folder.absolute()), device="cpu")
        except (OSError, ValueError, SafetensorError) as error:
            raise UserError(
                f"The adapter {adapter} cannot be read ({type(error).__name__}: {error}).",
                "Expected adapter_config.json and adapter_model.safetensors, as peft writes them.",
            ) from error
        self.tensors = {name.removeprefix(PREFIX): tensor for name, tensor in saved.items()}
        unusual = [name for name in self.tensors if "magnitude" in name]
        if self.config.get("peft_type") != "LORA" or self.config.get("use_dora") or unusual:
            raise UserError(
                f"{adapter} is no plain LoRA adapter (peft_type {self.config.get('peft_type')}).",
                "Merge it into its model with peft first, and name the merged folder.",
            )
        # Every tensor of the adapter belongs to a weight of the model: none is left out silently.
        modules = {weight.target.removesuffix(".weight") for weight in model.layout.weights.values()}
        suffix = r"(\.lora_(A|B|embedding_A|embedding_B)(\.weight)?|\.weight|\.bias)$"
        for name in self.tensors:
            if re.sub(suffix, "", name) not in modules:
                raise UserError(
                    f"{model}: the adapter's {name} belongs to no weight of the model.",
                    "Check that it is one of this model; if it is, merge it with peft and name the merged folder.",
                )

    def read(self, weight: Weight) -> torch.Tensor:
        """The weight with the adapter's change, in the type in which the model stores it."""
        plain = super().read(weight)
        saved = self.tensors.get(weight.target)
        if saved is not None:  # a module that was trained whole
            return saved.to(plain.dtype)
        change = self._change(weight.target.removesuffix(".weight"))
        return plain if change is None else (plain.float() + change).to(plain.dtype)

    def _change(self, module: str) -> torch.Tensor | None:
        if (a := self.tensors.get(f"{module}.lora_embedding_A")) is not None:
            b = self.tensors[f"{module}.lora_embedding_B"]
            return (b.float() @ a.float()).T * self._scale(module, a.shape[0])
        if (a := self.tensors.get(f"{module}.lora_A.weight")) is None:
            return None
        change = self.tensors[f"{module}.lora_B.weight"].float() @ a.float() * self._scale(module, a.shape[0])
        return change.T if self.config.get("fan_in_fan_out") else change

    def _scale(self, module: str, rank: int) -> float:
        alpha = float(self.config.get("lora_alpha") or 1)
        for pattern, value in (self.config.get("alpha_pattern") or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", module):
                alpha = float(value)
        return alpha / math.sqrt(rank) if self.config.get("use_rslora") else alpha / rank


def expert_reader(model: Model, options: MergeOptions) -> WeightReader:
    """Of a model; with an adapter that is not merged yet, of the model under it with the adapter's change added.

    Raises:
        UserError: the model or its adapter cannot be read.
    """
    if model.reference.lora is None or merged_folder(model.reference, options.lora_merge_cache):
        return WeightReader(model, options)
    return AdapterReader(model, options)
