# Copyright (C) 2026 Arcee AI
# SPDX-License-Identifier: LGPL-3.0-only

import re
from typing import Literal, Set

import torch

from mergekit.merge_methods.base import (
    BasePolicy,
    InputContract,
    OptionalTensorPolicy,
    TensorGroup,
)
from mergekit.merge_methods.easy_define import merge_method

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks)\.(\d+)\.")
_EMBEDDINGS = re.compile(r"embed|\bwte\b")
_RANGE = re.compile(r"(\d+)(?:\s*-\s*(\d+))?")


@merge_method(
    name="layer_swap",
    pretty_name="Layer Swapping",
    reference_url="https://arxiv.org/abs/2410.01335",
    optional_tensor_policy=OptionalTensorPolicy.PASSTHROUGH_BASE_SINGLETON,
    uses_accelerator=False,
    contract=InputContract(base=BasePolicy.REQUIRED, min_inputs=2, max_inputs=2),
)
def layer_swap_merge_method(
    group: TensorGroup,
    layers: str,
    blend_layers: str = "",
    blend: float = 0.5,
    embeddings: Literal["donor", "recipient"] = "recipient",
    head: Literal["donor", "recipient"] = "recipient",
) -> torch.Tensor:
    """Replace layers of the base model (the recipient) by the other model's (the donor).

    layers, blend_layers: layer numbers from 0 on, such as "0-4,30-31".
    blend: the donor's share in blend_layers.
    embeddings, head: whose they are; the head is every other tensor outside the layers.
    """
    recipient, donor = group.base.tensor, group.non_base[0].tensor
    name = group.metadata.name or ""
    match = _LAYER.search(name)
    if match is None:
        source = embeddings if _EMBEDDINGS.search(name) else head
        return donor if source == "donor" else recipient
    layer = int(match[1])
    if layer in _numbers(layers):
        return donor
    if layer in _numbers(blend_layers):
        return torch.lerp(recipient, donor, blend)
    return recipient


def _numbers(ranges: str) -> Set[int]:
    found: Set[int] = set()
    for part in ranges.split(",") if ranges.strip() else ():
        match = _RANGE.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise ValueError(f"Expected layers such as '0-4,30-31'; got {ranges!r}")
        found.update(range(first, last + 1))
    return found
