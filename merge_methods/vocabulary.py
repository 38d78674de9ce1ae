"""Models whose vocabularies differ: padded, extended by tokens, tied and untied. Their layers swap all the same.

Embeddings and head then stay with the recipient, whose tokenizer the result has. Where they are asked for from a donor
(``embeddings: donor``), its rows are matched with the recipient's by token, and rows of other tokens stay.
"""

from __future__ import annotations

import functools
from pathlib import Path

import torch

from turnswap.core.errors import UserError

from .compatibility import Model, tokenizer_difference
from .layout import Layout, is_tied


def rows_of(layout: Layout) -> int:
    """How many rows the embeddings have; 0 where none are found."""
    return next((weight.header.shape[0] for weight in layout.weights.values() if weight.by_token), 0)


def difference(recipient: Model, other: Model, accepted: frozenset[str] = frozenset()) -> str:
    """Why rows of the same number are not of the same token, for people; empty where they are.

    Args:
        recipient: the model whose vocabulary the result has.
        other: a model that gives layers.
        accepted: with ``tokenizer``, one that gives tokens other ids is no reason to refuse the model.
    """
    rows = rows_of(recipient.layout), rows_of(other.layout)
    tied = ["ties" if is_tied(model.config) else "does not tie" for model in (recipient, other)]
    if rows[0] != rows[1]:
        return f"the recipient's embeddings have {rows[0]} rows, those of {other} {rows[1]}"
    if tied[0] != tied[1]:
        return f"the recipient {tied[0]} its embeddings to its head, {other} {tied[1]} them"
    if is_extended(recipient, other):
        ours, theirs = (len(tokens(model)) for model in (recipient, other))
        return f"the recipient's tokenizer has {ours} tokens, that of {other} {theirs}"
    if "tokenizer" in accepted and _have_other_ids(recipient, other):
        return f"the tokenizers of the recipient and of {other} give tokens different ids"
    return ""


def _have_other_ids(recipient: Model, other: Model) -> bool:
    if not (recipient.tokenizer_files and other.tokenizer_files):
        return False
    if tokenizer_difference(recipient.description.folder, other.description.folder) is None:
        return False
    return tokens(recipient) != tokens(other)


def is_extended(recipient: Model, other: Model) -> bool:
    """Whether one of the two tokenizers has all tokens of the other, with the same ids, and more."""
    if not (recipient.tokenizer_files and other.tokenizer_files):
        return False
    if tokenizer_difference(recipient.description.folder, other.description.folder) is None:
        return False  # soon seen where the files are equal
    try:
        ours, theirs = tokens(recipient).items(), tokens(other).items()
    except UserError:
        return False
    return ours < theirs or theirs < ours


def tokens(model: Model) -> dict[str, int]:
    """The ids of a model's tokens, added ones too.

    Raises:
        UserError: it came without a tokenizer, or that cannot be read.
    """
    return _tokens(model.description.folder)


@functools.lru_cache(maxsize=8)
def _tokens(folder: Path) -> dict[str, int]:
    from transformers import AutoTokenizer  # takes a second, which equal vocabularies do not need

    try:
        return dict(AutoTokenizer.from_pretrained(folder).get_vocab())
    except Exception as error:  # of many kinds, by what is missing or damaged
        raise UserError(
            f"The tokenizer of {folder} cannot be read, and rows of embeddings are matched by its tokens.",
            "Copy the tokenizer's files there, or say embeddings: recipient.",
        ) from error


def check_matchable(recipient: Model, donor: Model) -> None:
    """Refuse to take embeddings from a donor whose rows cannot be matched.

    Raises:
        UserError: a tokenizer is missing, or the donor has a head of its own, which tied embeddings have no place for.
    """
    if is_tied(recipient.config) and not is_tied(donor.config):
        raise UserError(
            f"{recipient} ties its embeddings to its head, and {donor} has a head of its own, which would be lost.",
            "Say embeddings: recipient and head: recipient.",
        )
    for model in (recipient, donor):
        tokens(model)


def matched_rows(recipient: Model, donor: Model) -> tuple[torch.Tensor, torch.Tensor]:
    """The rows of the recipient that have a counterpart of the same token, and the numbers of those in the donor."""
    theirs = tokens(donor)
    n_ours, n_theirs = rows_of(recipient.layout), rows_of(donor.layout)
    pairs = [(row, theirs[token]) for token, row in tokens(recipient).items() if token in theirs]
    pairs = sorted((ours, other) for ours, other in pairs if ours < n_ours and other < n_theirs)
    return torch.tensor([ours for ours, _ in pairs]), torch.tensor([other for _, other in pairs])


def aligned(ours: torch.Tensor, theirs: torch.Tensor, recipient: Model, donor: Model) -> torch.Tensor:
    """The donor's tensor with a row for each of the recipient's: of the same token, or the recipient's own."""
    rows, counterparts = matched_rows(recipient, donor)
    made = ours.clone()
    made[rows] = theirs[counterparts].to(made.dtype)
    return made
