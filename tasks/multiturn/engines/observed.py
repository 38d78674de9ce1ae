"""What lm-eval's ``generate_until`` does not hand on of each reply: why it ended, and its tokens.

Both models give their replies to ``cache_hook.add_partial`` one by one, in the order in which ``_model_generate``
returned them: the n-th text of a batch belongs to its n-th row.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any
from unittest import mock

from lm_eval.api.model import LM, hash_args

from ..answers import Answer
from ..backend import is_a
from ..cache import Replies
from .vllm import answer_of

Row = Callable[[str], Answer]  # one reply as the model gave it, which lacks nothing but its text


class Observed:
    """The answers that were seen, by request.

    It stands in for the model's cache hook, and hands on all that the hook is told: a request with its own settings,
    where VLLM would name what it made of them, under which no cache finds it again.
    """

    def __init__(self, hook: Any = None) -> None:
        self._hook = hook
        self._answers: defaultdict[str, deque[Answer]] = defaultdict(deque)
        self.rows: deque[Row] = deque()  # of the last batch, those whose text is still to come
        self.settings: deque[dict[str, Any]] = deque()  # the requests' own, where the model hands others to its hook

    def get(self, prompt: Any, gen_kwargs: dict[str, Any]) -> Answer | None:
        """The answer to a request; None where none was seen: from a cache, or by another model.

        Equal requests get their answers in the order in which they were asked.
        """
        seen = self._answers.get(hash_args("generate_until", (prompt, gen_kwargs)))
        return None if not seen else seen.popleft() if len(seen) > 1 else seen[0]

    def add_partial(self, attr: str, request: tuple[Any, dict[str, Any]], text: str) -> None:
        """What a model calls with each text that it made of the next row."""
        if self.rows:
            prompt, gen_kwargs = request
            request = (prompt, self.settings.popleft() if self.settings else gen_kwargs)
            answer = self.rows.popleft()(text)
            self._answers[hash_args(attr, request)].append(answer)
            if isinstance(self._hook, Replies):
                self._hook.add_partial(attr, request, answer)
                return
        self._hook.add_partial(attr, request, text)


@contextmanager
def observed(lm: LM) -> Iterator[Observed]:
    """Note the answers that a model's ``generate_until`` gives meanwhile; afterwards the model is as it was.

    Args:
        lm: the model itself, not its cache. Other models than lm-eval's ``hf`` and ``vllm`` are left alone.
    """
    model: Any = lm
    seen = Observed(model.cache_hook)
    exchanged: dict[str, Any] = {}
    if is_a(lm, "huggingface", "HFLM"):
        exchanged = {"cache_hook": seen, "_model_generate": _watch_hf(model, seen)}
    elif is_a(lm, "vllm_causallms", "VLLM"):
        exchanged = {"cache_hook": seen, **_watch_vllm(model, seen)}
    with mock.patch.multiple(lm, **exchanged) if exchanged else nullcontext():
        yield seen


def _watch_vllm(model: Any, seen: Observed) -> dict[str, Callable[..., Any]]:
    modify, generate = model.modify_gen_kwargs, model._model_generate

    def watched_modify(gen_kwargs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        seen.settings.append(gen_kwargs)
        return modify(gen_kwargs, *args, **kwargs)

    def watched_generate(*args: Any, **kwargs: Any) -> Any:
        outputs = generate(*args, **kwargs)
        seen.rows = deque(partial(answer_of, each, think_end_token=model.think_end_token) for each in outputs)
        return outputs

    return {"modify_gen_kwargs": watched_modify, "_model_generate": watched_generate}


def _watch_hf(model: Any, seen: Observed) -> Callable[..., Any]:
    generate = model._model_generate

    def watched_generate(context: Any, max_length: int, stop: list[str], **kwargs: Any) -> Any:
        batch = generate(context=context, max_length=max_length, stop=stop, **kwargs)
        start = context.shape[1] if model.backend == "causal" else 1  # a decoder's reply begins with a token of its own
        prompts = kwargs["attention_mask"].sum(-1).tolist()
        seen.rows = deque(
            _row(model, row[start:], max_length - start, stop, prompt)
            for row, prompt in zip(batch.tolist(), prompts, strict=True)
        )
        return batch

    return watched_generate


def _row(model: Any, row: list[int], cap: int, stop: list[str], prompt: int) -> Row:
    """Why a row of HFLM's ended, and after how many tokens: it goes on while others of its batch are not done."""
    ids = model.model.generation_config.eos_token_id
    ends = {model.eot_token_id, *(ids if isinstance(ids, list) else [ids])}
    end = next((number for number, token in enumerate(row, 1) if token in ends), None)
    used = end or len(row)
    reason: str | None

    def stopped(length: int) -> bool:
        text = model.tokenizer.decode(row[:length])
        return any(each in text for each in stop if each)

    if end is not None or stopped(used):
        reason, used = "stop", bisect_left(range(used), True, key=stopped)
    else:
        reason = "length" if used >= cap else None  # where it is None, something else ended it, such as max_time
    return lambda text: Answer(text, finish_reason=reason, prompt_tokens=prompt, completion_tokens=used)
