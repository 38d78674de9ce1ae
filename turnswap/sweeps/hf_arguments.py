"""Which arguments ``hf-layerswap`` takes of lm-eval's ``hf``, checked before anything is loaded."""

from __future__ import annotations

import inspect
import os
import re
from collections.abc import Mapping
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM

from turnswap.core.errors import UserError
from turnswap.merge_methods.configuration import SHARED

# Arguments of HFLM that replace or wrap weights, or spread them over devices, with the words that refuse them.
_OTHER_WEIGHTS = "a swap takes whole models in one type, on one device"
REFUSED = {
    "peft": "write MODEL+ADAPTER for a model with a LoRA adapter",
    "delta": "give the model with its delta applied",
    "revision": "write MODEL@REVISION: there are several models",
    "subfolder": "there are several models; name folders",
    "config": _OTHER_WEIGHTS,
} | dict.fromkeys(
    (
        "autogptq", "gptqmodel", "gguf_file", "quantization_config", "load_in_4bit", "load_in_8bit", "parallelize",
        "device_map", "tp_plan", "max_memory_per_gpu", "max_cpu_memory", "offload_folder", "backend",
    ),
    _OTHER_WEIGHTS,
)  # fmt: skip
DEFAULTS = {"revision": "main", "subfolder": "", "backend": "causal"}  # HFLM's own, of what is refused
MODEL_CLASS = ("attn_implementation",)  # what may be handed on to transformers


def check_arguments(given: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    """Refuse what HFLM or transformers would take for something else than the user means."""
    for name, value in given.items():
        if value is None:  # lm-eval makes this of layers=None
            raise UserError(f"{name}: got None.", "Leave it out, or write none in small letters for no layers.")
    known = [name for name in inspect.signature(HFLM.__init__).parameters if name not in ("self", "kwargs", *REFUSED)]
    known += MODEL_CLASS
    for name, value in arguments.items():
        if name in REFUSED and value not in (None, False, DEFAULTS.get(name)):
            raise UserError(f"{name} is not for hf-layerswap: {REFUSED[name]}.", f"Remove {name}.")
        if name not in (*known, *REFUSED):
            ours = ("donor", "ancestor", "swap", "lora_merge_cache", "transformers_cache", *SHARED)
            raise UserError(
                f"{name} is no argument of hf-layerswap. There are: {', '.join((*ours, *known))}.",
                "lm-eval splits model_args at commas: a value with commas needs quotes, such as "
                "'layers=\"0-4,30-31\"', or JSON.",
            )
    # HFLM would take some sizes that are none, and fail in the evaluation.
    of_batches = r"[1-9]\d*|auto(:[1-9]\d*)?", "a number from 1, auto, or auto:4 to choose it anew 4 times"
    for name in ("batch_size", "max_length", "max_batch_size"):
        pattern, words = of_batches if name == "batch_size" else (r"[1-9]\d*", "a number from 1")
        if (value := arguments.get(name)) is not None and not re.fullmatch(pattern, str(value)):
            raise UserError(f"{name}: expected {words}, got {value}.", f"Change {name}, or leave it out.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError("hf-layerswap runs in one process, on one device.", "Start lm_eval without a launcher.")


def find_device(name: str | None) -> torch.device:
    """Where to put the models: on the first GPU, if nothing is said and there is one.

    Raises:
        UserError: this machine, or this torch, has no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(str(name))
        number = torch.get_device_module(device).device_count()
    except (RuntimeError, AttributeError):
        raise UserError(
            f"device: expected cpu, cuda, cuda:0 or another that torch knows, got {name}.",
            "Change device, or remove it.",
        ) from None
    if (device.index or 0) >= number:
        is_gpu = device.type == "cuda"
        kind = "GPUs" if is_gpu else f"devices of the kind {device.type}"
        more = (
            ", or look at the driver, at CUDA_VISIBLE_DEVICES, and whether torch was built for GPUs" if is_gpu else ""
        )
        raise UserError(
            f"device: {name} is not there: torch sees {number} {kind}.",
            f"Counted from 0, the last is {device.type}:{number - 1}." if number else f"Use device=cpu{more}.",
        )
    return torch.device("cpu") if device.type == "cpu" else device  # HFLM does not know cpu:0
