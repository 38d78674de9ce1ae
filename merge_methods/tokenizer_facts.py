"""What a tokenizer does to text, as facts that can be compared: of a ``tokenizer.json``, and of a loaded one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

# Spaces, digits and contractions; scripts with and without spaces, combining marks, ligatures, right to left, emoji.
PROBES = (
    "Hello, world!  It's 3.14 \n\tx = 1_000;",
    "Habari ya asubuhi, dunia?",
    "ÉCOLE e\u0301cole ﬁn Ⅷ ½ ñandú",
    "नमस्ते दुनिया। తెలుగు భాష",
    "你好,世界。日本語のテキスト 안녕하세요",
    "مرحبا بالعالم שלום",
    "👩‍👩‍👧 <|im_end|></s> [INST]",
)
SIDES = (
    "chat_template", "model_max_length", "padding_side", "truncation_side", "clean_up_tokenization_spaces",
    "split_special_tokens", "model_input_names", "all_special_tokens", "special_tokens_map", "pad_token_id",
    "add_bos_token", "add_eos_token", "add_prefix_space",
)  # fmt: skip


def tokenizer_json(content: bytes) -> dict[str, Any]:
    """The parts of a ``tokenizer.json`` as one version of the library writes them, defaults filled in.

    Those of its model stand beside the others, as ``model.type`` and so on; added tokens and vocabulary by their texts.

    Raises:
        Exception: it is none.
    """
    return _parts(Tokenizer.from_buffer(content))


def _parts(tokenizer: Tokenizer) -> dict[str, Any]:
    written: dict[str, Any] = json.loads(tokenizer.to_str())
    del written["version"]
    model = {f"model.{key}": value for key, value in written.pop("model").items()}
    if isinstance(model.get("model.vocab"), dict):  # a list holds scores too
        del model["model.vocab"]
    added = {token["content"]: token for token in written.pop("added_tokens")}
    return written | model | {"added_tokens": added, "vocab": tokenizer.get_vocab()}


def loaded_tokenizer(folder: Path, trusted: bool) -> dict[str, Any]:
    """What transformers loads as a folder's tokenizer, and what it makes of texts in several scripts.

    Raises:
        Exception: it cannot be loaded, or only by code of its own, which is not ``trusted``.
    """
    from transformers import AutoTokenizer  # takes a second

    loaded = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusted, local_files_only=True)
    facts = {"class": type(loaded).__name__} | {name: getattr(loaded, name, None) for name in SIDES}
    facts["special_tokens_map"] = {name: str(token) for name, token in loaded.special_tokens_map.items()}
    facts["added_tokens_decoder"] = {number: repr(token) for number, token in loaded.added_tokens_decoder.items()}
    backend = getattr(loaded, "_tokenizer", None)
    facts |= _parts(backend) if isinstance(backend, Tokenizer) else {"vocabulary": loaded.get_vocab()}
    for text in PROBES:
        ids = loaded(text, verbose=False)["input_ids"]
        decoded = [loaded.decode(ids, skip_special_tokens=skip) for skip in (False, True)]
        facts[f"what becomes of {text!r}"] = [ids, *decoded]
    return facts
