"""Several continuations of a prompt in one sequence: what they share is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from .training import padded


class Tree:
    """A prompt and its continuations as one sequence, each token of which sees its own ancestors only.

    Attributes:
        tokens: the prompt's, then those of the continuations but for tokens that none follows.
        positions: of each token, as if its continuation stood alone.
        seen: which token sees which.
        options: per continuation its tokens, each with the place of the token before it.
    """

    def __init__(self, prompt: Sequence[int], continuations: Sequence[Sequence[int]]) -> None:
        self.tokens, self.positions = list(prompt), list(range(len(prompt)))
        places: dict[tuple[int, int], int] = {}
        before: list[int] = []
        self.options: list[list[tuple[int, int]]] = []
        for tokens in continuations:
            at, option = len(prompt) - 1, []
            for number, token in enumerate(tokens):
                option.append((at, token))
                if number == len(tokens) - 1:
                    break
                if (at, token) not in places:
                    places[at, token] = len(self.tokens)
                    before.append(at)
                    self.tokens.append(token)
                    self.positions.append(len(prompt) + number)
                at = places[at, token]
            self.options.append(option)
        self.seen = torch.tril(torch.ones(len(self.tokens), len(self.tokens), dtype=torch.bool))
        for at, parent in enumerate(before, len(prompt)):
            self.seen[at] = self.seen[parent]
            self.seen[at, at] = True


def hidden_of(model: Any, trees: Sequence[Tree]) -> torch.Tensor:
    """The model's last hidden states, in bfloat16 autocast."""
    tokens = padded([tree.tokens for tree in trees])
    width = tokens.shape[1]
    seen = torch.eye(width, dtype=torch.bool).repeat(len(trees), 1, 1, 1)
    for at, tree in enumerate(trees):
        seen[at, 0, : len(tree.tokens), : len(tree.tokens)] = tree.seen
    # Gemma's windows are longer than these sequences: both kinds of layers see the same.
    kinds = set(getattr(model.config, "layer_types", None) or [])
    mask: Any = dict.fromkeys(kinds, seen) if kinds else seen
    with torch.autocast("cpu", torch.bfloat16):
        found: torch.Tensor = model.model(
            input_ids=tokens, position_ids=padded([tree.positions for tree in trees]), attention_mask=mask
        ).last_hidden_state
    return found
