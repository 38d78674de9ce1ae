"""Which model a run asks: what its cache is held against."""

from __future__ import annotations

import hashlib
import os
import tomllib
from pathlib import Path
from typing import Any

from lm_eval.api.model import LM, CachingLM

from . import backend

ARGUMENTS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("model_args.toml").read_text("utf-8"))
# Arguments of a model that make no other one of it.
NO_OTHER_MODEL = {name for kind in ("speed", "place", "permission", "secret") for name in ARGUMENTS[kind]}
_NAMED_BY = ("pretrained", "model", "model_name")
_TOLD_APART_BY = ("base_url", "revision", "peft", "delta", "dtype", "quantization", "adapter", "think_end_token")
_BLOCKS, _BLOCK = 64, 1024  # per file of weights: enough to meet every layer


def identity(lm: LM | CachingLM) -> str:
    """The model in words: its kind, name, address or content of its folder, and what else changes replies."""
    model = backend.inner_model(lm)
    given = {name: getattr(model, name, None) for name in (*_NAMED_BY, *_TOLD_APART_BY)}
    given = {
        **getattr(model, "model_args", {}),
        **{name: value for name, value in given.items() if isinstance(value, str)},
    }
    if (adapter := getattr(getattr(model, "lora_request", None), "lora_path", None)) is not None:
        given["adapter"] = adapter
    name = next((given[each] for each in _NAMED_BY if isinstance(given.get(each), str)), "")
    about = [f"{each} {given[each]}" for each in _TOLD_APART_BY if given.get(each)]
    if (dtype := getattr(getattr(model, "model", None), "dtype", None)) is not None:
        about.append(f"dtype {str(dtype).removeprefix('torch.')}")
    for folder in (name, given.get("peft"), given.get("delta"), given.get("adapter")):
        if isinstance(folder, str) and folder and Path(folder).is_dir():
            about.append(f"weights {fingerprint(Path(folder))}")
    if callable(described := getattr(model, "turnswap_identity", None)):
        about.append(str(described()))
    return " ".join(filter(None, [type(model).__name__, name, f"({', '.join(about)})" if about else ""]))


def fingerprint(folder: Path) -> str:
    """A short hash of a model's folder: names and sizes of its weight files, and parts of them, evenly spread.

    A model merged anew into the same folder gets another one, after a fraction of the time that reading takes.
    """
    digest = hashlib.blake2b(digest_size=6)
    files = [file for pattern in ("*.safetensors", "*.bin", "*.gguf") for file in sorted(folder.glob(pattern))]
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size} ".encode())
        with file.open("rb") as opened:
            for number in range(_BLOCKS):
                opened.seek(number * max(size - _BLOCK, 0) // max(_BLOCKS - 1, 1), os.SEEK_SET)
                digest.update(opened.read(_BLOCK))
    return digest.hexdigest()
