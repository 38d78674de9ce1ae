"""transformers' continuous batching around lm-eval's ``hf`` model: a manager that runs, and what it lacks.

It lacks drawing by seeds of the requests' own, and attention on a CPU that leaves other requests' keys alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import psutil  # type: ignore[import-untyped] # it has no types
import torch
import transformers
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
    ContinuousBatchingLogitsProcessorList,
)
from transformers.generation.logits_process import LogitsProcessorList
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

PAGE = 16  # tokens whose keys and values are shared or not: a conversation's next turn recomputes fewer than this
_CHUNK = 512  # tokens computed in one step: longer prompts are split, so that the others' replies go on meanwhile
_SHARE = 0.4  # of the free memory, for keys and values at most


@contextmanager
def running_batch(lm: Any, config: Any, slots: int, longest: int) -> Iterator[Any]:
    """The running manager; afterwards the model, the attention functions and the random state are as before.

    Args:
        lm: lm-eval's model.
        config: how to generate.
        slots: how many requests run at once.
        longest: how many tokens each of them may take, its prompt's and its reply's.
    """
    model = lm.model
    attention = model.config._attn_implementation
    cuda = model.device.type == "cuda"
    text = model.config.get_text_config()
    heads = getattr(text, "num_attention_heads", None) or 1
    width = (getattr(text, "head_dim", None) or text.hidden_size // heads) * model.dtype.itemsize
    page = 2 * text.num_hidden_layers * (getattr(text, "num_key_value_heads", None) or heads) * width * PAGE
    free = torch.cuda.mem_get_info(model.device)[0] if cuda else psutil.virtual_memory().available
    batching = transformers.ContinuousBatchingConfig(
        page_size=PAGE,
        num_blocks=max(1, min(slots * -(-longest // PAGE), int(_SHARE * free) // page)),
        max_batch_tokens=max(_CHUNK, slots),
        max_requests_per_batch=slots,
        auto_switch_to_flash=False,  # the user chooses: --model_args attn_implementation=flash_attention_2
        use_cuda_graph=False if config.do_sample else None,  # drawing by seeds of one's own is no graph
    )
    with ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng([model.device] if cuda else []))
        stack.callback(
            lambda: model.config._attn_implementation == attention or model.set_attn_implementation(attention)
        )
        manager = model.init_continuous_batching(config, batching)
        if config.do_sample:
            manager.logit_processor = _with_own_seeds(model._get_logits_processor(config))
        if model.config._attn_implementation == "sdpa" and not cuda:
            ALL_ATTENTION_FUNCTIONS["sdpa"] = _each_by_itself(ALL_ATTENTION_FUNCTIONS["sdpa"])
            stack.callback(ALL_ATTENTION_FUNCTIONS.pop, "sdpa")
        manager.start()
        stack.callback(manager.stop, hard_stop=True)
        yield manager


def _each_by_itself(attend: Callable[..., Any]) -> Callable[..., Any]:
    """An attention function for continuous batching on a CPU, where each request meets its own keys alone.

    transformers lays the requests of a step in one row and has each meet the keys of all, most of them masked: with 16
    requests that is sixteen times the work.
    """

    def attend_each(
        module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **kwargs: Any
    ) -> tuple[Any, None]:
        if kwargs.get("cu_seq_lens_q") is None:  # the model is used otherwise
            return attend(module, query, key, value, attention_mask, **kwargs)  # type: ignore[no-any-return]
        if (cache := kwargs.pop("cache", None)) is not None:  # up to transformers 5.21 it is filled here, later before
            key, value = cache.update(key_states=key, value_states=value, layer_idx=module.layer_idx, kwargs=kwargs)
        rows, columns = kwargs["cu_seq_lens_q"].tolist(), kwargs["cu_seq_lens_k"].tolist()
        spans = zip(itertools.pairwise(rows), itertools.pairwise(columns), strict=True)
        parts = [
            attend(module, query[:, :, a:b], key[:, :, c:d], value[:, :, c:d], attention_mask[..., a:b, c:d], **kwargs)[
                0
            ]
            for (a, b), (c, d) in spans
        ]
        return torch.cat(parts, dim=1), None

    return attend_each


class _Draw(ContinuousBatchingLogitsProcessor):
    """Draws each request's next token, by the request's seed and the token's position.

    transformers draws for the whole batch from one source, so that a reply would depend on when the others came.
    """

    supported_kwargs: ClassVar[dict[str, type]] = {"seed": int}
    ignored_kwargs: ClassVar[tuple[str, ...]] = ()

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


def _with_own_seeds(processors: Sequence[Any]) -> ContinuousBatchingLogitsProcessorList:
    """The processors of a model's settings, and the drawing after them."""
    found = ContinuousBatchingLogitsProcessorList(LogitsProcessorList([*processors, _Draw()]))
    found.tensors_required = 1  # the seeds
    return found
