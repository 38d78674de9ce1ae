"""What the tests of refusals share: tiny experts that stay as they are, and shorthands around ``models``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from turnswap import _startup

_startup.install(force=True)  # before mergekit.merge is imported

from . import models  # noqa: E402

TOKENS = ["<unk>", "<s>", "</s>", *(f"w{n}" for n in range(61))]  # as many as a tiny model has embeddings


def save_tokenizer(folder: Path, tokens: Sequence[str]) -> None:
    """A tokenizer of whole words, whose ids are their places in the list."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(WordLevel({token: n for n, token in enumerate(tokens)}, unk_token="<unk>"))
    words.pre_tokenizer = Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", eos_token="</s>").save_pretrained(folder)


def save_model(
    folder: Path,
    kind: str = "llama",
    seed: int = 0,
    dtype: torch.dtype = torch.bfloat16,
    layers: int = models.LAYERS,
    shard: str | None = None,
    tokenizer: Sequence[str] | None = None,
    **config: Any,
) -> Path:
    """A random model; ``shard`` is the largest size of a file, ``tokenizer`` its words, ``config`` the rest."""
    models.save_model(folder, kind, seed, dtype, shard, num_hidden_layers=layers, **config)
    if tokenizer is not None:
        save_tokenizer(folder, tokenizer)
    return folder


def write_recipe(path: Path, recipient: object, donor: object, parameters: dict[str, Any], **top: Any) -> Path:
    """A merge configuration in a file; a key of ``top`` replaces what would stand there, None leaves it out."""
    path.write_text(models.recipe(recipient, donor, parameters, **top), "utf-8")
    return path


def swap(config: Path | str, out: Path, **options: Any) -> Path:
    """Merge in this process, as mergekit-yaml does; ``config`` is a file or its text."""
    return models.merge(config.read_text("utf-8") if isinstance(config, Path) else config, out, **options)


@pytest.fixture(scope="session")
def experts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A recipient and a donor of six layers, read by many tests and changed by none."""
    root = tmp_path_factory.mktemp("experts")
    return save_model(root / "recipient", seed=1, layers=6), save_model(root / "donor", seed=2, layers=6)
