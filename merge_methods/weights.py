"""Reading one weight of a model as mergekit would: under its name, an alias, or made from the experts it fuses.

And what a planned tensor is to be, computed from such weights apart from mergekit's own run.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from mergekit.architecture.conversion import convert_checkpoint_tensors
from mergekit.common import ModelReference, dtype_from_name
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions

from turnswap.core.errors import UserError

from .checkpoint import Checkpoint
from .compatibility import Model
from .layer_swap import blended
from .layout import Weight
from .lora import merged_folder
from .recipe import Planned


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
        info = weight.info
        for name in (info.name, *(info.aliases or ()), *(info.tied_names or ())):
            if name in self.checkpoint.tensors:
                return self.checkpoint.read(name)
        near = [n for n in self.checkpoint.tensors if weight.place.layer is None or f".{weight.place.layer}." in n]
        sources = {name: (lambda name=name: self.checkpoint.read(name)) for name in near}
        made = convert_checkpoint_tensors(self.model.config.model_type, sources, info.name)
        if made is None:
            raise UserError(f"{self.model} has no tensor {info.name}.", "Has it changed since the merge?")
        return made


def working_type(planned: Planned, config: MergeConfiguration) -> torch.dtype | None:
    """The type in which a merge takes a tensor of its inputs; None for the one in which each is stored."""
    # In mergekit, dtype is for the inputs and out_dtype for the output.
    return dtype_from_name(planned.weight.info.force_dtype) or dtype_from_name(config.dtype)


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

    if planned.source.origin == "blend":
        made = blended(read("recipient"), read("donor"), planned.source.donor_share, planned.name)
    else:
        made = read(planned.source.origin)
    return made.to(planned.dtype)


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
