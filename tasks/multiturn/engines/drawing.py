"""Drawing tokens so that a reply depends on its own seed, not on which requests run beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)
from transformers.generation.logits_process import LogitsProcessorList


class _Draw(ContinuousBatchingLogitsProcessor):
    """Draws each request's next token, by the request's seed and the token's position.

    transformers draws for the whole batch from one source, so that a reply would depend on when the others came.
    """

    supported_kwargs: dict[str, type] = {"seed": int}
    ignored_kwargs: tuple[str, ...] = ()

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        """No request is without a seed."""
        int32_tensor.zero_()

    def prepare_tensor_args(self, requests_with_new_token: Sequence[Any]) -> torch.Tensor:
        """A seed for each request's next token."""
        states = [request.state for request in requests_with_new_token]
        seeds = [(state.logit_processor_kwargs["seed"] + state.position_offset) & 0x7FFFFFFF for state in states]
        return torch.tensor(seeds, dtype=torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        """All the probability to the token that is drawn."""
        generator = torch.Generator(scores.device)
        for row, seed in zip(scores, tensor_arg.tolist(), strict=False):
            race = torch.empty_like(row).exponential_(generator=generator.manual_seed(seed))
            drawn = (row.softmax(-1) / race).argmax()  # each token wins the race with its probability
            row.fill_(-torch.inf)
            row[drawn] = 0
        return scores


def processors_with_own_seeds(processors: Sequence[Any]) -> ContinuousBatchingLogitsProcessorList:
    """The processors of a model's settings, and the drawing after them."""
    found = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([*processors, _Draw()]))
    found.tensors_required = 1  # the seeds
    return found
