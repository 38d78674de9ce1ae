"""Models whose vocabularies differ: padded, extended by tokens, tied and untied. Their layers swap all the same.

Embeddings and head stay with the recipient, or a donor's rows are matched with the recipient's by token. And what a
tokenizer does to text, as facts that can be compared: of a ``tokenizer.json``, and of a loaded one.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer

from turnswap.core.errors import UserError

from .compatibility import TOKENIZER_FILES, Difference, Model
from .layout import NAMES, Layout, is_tied

PROBES, SIDES = NAMES["tokenizer"]["probes"], NAMES["tokenizer"]["sides"]


def rows_of(layout: Layout) -> int:
    """How many rows the embeddings have; 0 where none are found."""
    return next((weight.header.shape[0] for weight in layout.weights.values() if weight.by_token), 0)


def compare(recipient: Model, other: Model, accepted: frozenset[str] = frozenset()) -> tuple[str, Difference | None]:
    """Compare the vocabulary of a model with the recipient's, which the result has.

    Args:
        recipient: the model that gives the tokenizer.
        other: a model that gives layers.
        accepted: with ``tokenizer``, one that gives tokens other ids is no reason to refuse the model.
    """
    tokenizers, ids = None, []
    if recipient.tokenizer_files and other.tokenizer_files:
        tokenizers = tokenizer_difference(recipient, other)
    if tokenizers is not None:
        with contextlib.suppress(UserError):  # one of them cannot be read, which the difference tells
            ids = [model.tokens.items() for model in (recipient, other)]
    is_extended = bool(ids) and (ids[0] < ids[1] or ids[1] < ids[0])
    refused = None if is_extended else tokenizers
    rows = rows_of(recipient.layout), rows_of(other.layout)
    tied = ["ties" if is_tied(model.config) else "does not tie" for model in (recipient, other)]
    reason = ""
    if rows[0] != rows[1]:
        reason = f"the recipient's embeddings have {rows[0]} rows, those of {other} {rows[1]}"
    elif tied[0] != tied[1]:
        reason = f"the recipient {tied[0]} its embeddings to its head, {other} {tied[1]} them"
    elif is_extended:
        reason = f"the recipient's tokenizer has {len(ids[0])} tokens, that of {other} {len(ids[1])}"
    elif "tokenizer" in accepted and ids and ids[0] != ids[1]:
        reason = f"the tokenizers of the recipient and of {other} give tokens different ids"
    return reason, refused


def tokenizer_difference(recipient: Model, other: Model) -> Difference | None:
    """What the tokenizers of two models disagree in: first byte for byte, then in what turns text into ids."""
    ours, theirs = ({path.name: path for path in model.tokenizer_files} for model in (recipient, other))
    name = next((name for name in TOKENIZER_FILES if name in ours and name in theirs), None)
    if name is None:
        return Difference("tokenizer", *(min(files, default="none") for files in (ours, theirs)))
    contents = [files[name].read_bytes() for files in (ours, theirs)]
    if name == "vocab.json":  # half of a tokenizer
        contents = [
            content + path.read_bytes() if (path := model.description.folder / "merges.txt").is_file() else content
            for content, model in zip(contents, (recipient, other), strict=True)
        ]
    if contents[0] == contents[1]:
        return None
    if name != "tokenizer.json":
        return Difference("tokenizer", f"{name} of {len(contents[0])} bytes", f"another of {len(contents[1])}")
    read = []
    for content in contents:
        try:
            read.append(tokenizer_json(content))
        except Exception:  # the library raises nothing more special
            states = "tokenizer.json is readable", "tokenizer.json is damaged"
            return Difference("tokenizer", *(states if read else reversed(states)))
    left, right = read
    vocabularies = left.pop("vocab"), right.pop("vocab")
    differing = vocabularies[0].items() ^ vocabularies[1].items()
    if differing:
        token, _ = min(differing)
        return Difference("tokenizer", *(f"{token!r} is {held.get(token, 'absent')}" for held in vocabularies))
    parts = (left.keys() | right.keys()) - {"added_tokens", "decoder", "padding", "truncation", "model.vocab"}
    unlike = [part for part in parts if left.get(part) != right.get(part)]
    return Difference("tokenizer", f"one {min(unlike)}", "another") if unlike else None


def check_matchable(recipient: Model, donor: Model) -> None:
    """Refuse to take embeddings from a donor whose rows cannot be matched.

    Raises:
        UserError: a tokenizer is missing, or the donor has a head of its own, which tied embeddings have no place for.
    """
    if is_tied(recipient.config) and not is_tied(donor.config):
        raise UserError(
            f"{recipient} ties its embeddings to its head, and {donor} has a head of its own, which would be lost.",
            "Write embeddings: recipient and head: recipient.",
        )
    for model in (recipient, donor):
        _ = model.tokens


def matched_rows(recipient: Model, donor: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of the recipient that have a counterpart of the same token, and the numbers of those in the donor."""
    theirs = donor.tokens
    n_ours, n_theirs = rows_of(recipient.layout), rows_of(donor.layout)
    pairs = [(row, theirs[token]) for token, row in recipient.tokens.items() if token in theirs]
    pairs = sorted((ours, other) for ours, other in pairs if ours < n_ours and other < n_theirs)
    return torch.tensor([ours for ours, _ in pairs]), torch.tensor([other for _, other in pairs])


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
