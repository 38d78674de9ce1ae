"""A model with a LoRA adapter on top, one weight at a time: nothing is merged and nothing is written."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import torch
from mergekit.common import ModelReference
from mergekit.options import MergeOptions
from safetensors import SafetensorError, safe_open

from turnswap.core.errors import UserError

from .layout import Weight
from .weights import WeightReader

PREFIX = "base_model.model."
FILES = ("adapter_model.safetensors", "adapter_model.bin")


class AdapterReader:
    """Reads ``model+adapter``: the model's weight, plus what LoRA (Hu et al. 2021, arXiv 2106.09685) adds to it.

    Raises:
        UserError: no adapter on this machine, a damaged one, or one that is no plain LoRA.
    """

    def __init__(self, reader: WeightReader, reference: ModelReference, options: MergeOptions) -> None:
        assert reference.lora is not None
        self.reader, self.name = reader, str(reference)
        try:
            folder = Path(ModelReference(model=reference.lora).local_path(options.transformers_cache))
            self.config: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text("utf-8"))
            self.tensors = _read_tensors(folder)
        except (OSError, ValueError, SafetensorError) as error:
            raise UserError(
                f"The adapter {reference.lora} cannot be read ({type(error).__name__}: {error}).",
                "Expected adapter_config.json and adapter_model.safetensors, as peft writes them.",
            ) from error
        unusual = [name for name in self.tensors if "magnitude" in name]
        if self.config.get("peft_type") != "LORA" or self.config.get("use_dora") or unusual:
            raise UserError(
                f"{reference.lora} is no plain LoRA adapter (peft_type {self.config.get('peft_type')}).",
                "Merge it into its model with peft first, and name the merged folder.",
            )
        self._check_all_known(reader)

    def _check_all_known(self, reader: WeightReader) -> None:
        """Every tensor of the adapter belongs to a weight of the model: none would be left out silently."""
        modules = {weight.info.name.removesuffix(".weight") for weight in reader.model.layout.weights.values()}
        for name in self.tensors:
            if name.removesuffix(".weight").removesuffix(".bias") not in modules and _module(name) not in modules:
                raise UserError(
                    f"{self.name}: the adapter's {name} belongs to no weight of the model.",
                    "Is it an adapter of this model? If so, merge it with peft first, and name the merged folder.",
                )

    def read(self, weight: Weight) -> torch.Tensor:
        """The weight with the adapter's change, in the type in which the model stores it."""
        plain = self.reader.read(weight)
        saved = self.tensors.get(weight.info.name)
        if saved is not None:  # a module that was trained whole
            return saved.to(plain.dtype)
        module = weight.info.name.removesuffix(".weight")
        change = self._change(module)
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


def _module(name: str) -> str:
    return re.sub(r"\.lora_(A|B|embedding_A|embedding_B)(\.weight)?$", "", name)


def _read_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """The adapter's tensors by their names in the model: an adapter is small, so all at once."""
    file = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if file is None:
        raise OSError(f"neither {' nor '.join(FILES)} is in {folder}")
    if file.suffix == ".bin":
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    else:
        with safe_open(file, "pt") as opened:
            loaded = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    return {name.removeprefix(PREFIX): tensor for name, tensor in loaded.items()}
