"""Models whose replies are a function of the prompt, for faults and for what no real model shows on a CPU."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from lm_eval.api.model import LM
from tqdm import tqdm


class ScriptedLM(LM):
    """Answers each prompt with ``reply(prompt)`` and keeps what it was asked; a ChatML-like template."""

    def __init__(self, reply: Callable[[str], str] | None = None, *, template: bool = True) -> None:
        super().__init__()
        self.reply = reply or (lambda prompt: "re " + hashlib.sha256(prompt.encode()).hexdigest()[:8])
        self.template = template
        self.calls: list[list[tuple[str, dict[str, Any]]]] = []

    tokenizer_name = "scripted"

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        if not self.template:
            return super().apply_chat_template(chat_history, add_generation_prompt)  # type: ignore[no-any-return]
        return "".join(f"<{m['role']}>{m['content']}" for m in chat_history) + "<assistant>" * add_generation_prompt

    def generate_until(self, requests: list[Any], disable_tqdm: bool = False) -> list[str]:
        self.calls.append([request.args for request in requests])
        answers = []
        for request in tqdm(requests, desc="Generating", disable=disable_tqdm):
            answer = self.reply(request.args[0])
            self.cache_hook.add_partial("generate_until", request.args, answer)
            answers.append(answer)
        return answers

    def loglikelihood(self, requests: list[Any]) -> Any:
        raise NotImplementedError

    def loglikelihood_rolling(self, requests: list[Any]) -> Any:
        raise NotImplementedError

    @property
    def prompts(self) -> list[str]:
        return [prompt for call in self.calls for prompt, _ in call]


class TokenLM(ScriptedLM):
    """As above, with a tokenizer at hand (a token per character) and a model length."""

    def __init__(self, reply: Callable[[str], str] | None = None, max_length: int = 400) -> None:
        super().__init__(reply)
        self.max_length = max_length

    def tok_encode(self, string: str, add_special_tokens: bool | None = None) -> list[int]:
        return [ord(c) for c in string] + ([] if add_special_tokens is False else [1])


class RankedLM(ScriptedLM):
    """One rank of a data-parallel run over gloo."""

    def __init__(self) -> None:
        import torch.distributed as dist

        super().__init__()
        self._rank, self._world_size = dist.get_rank(), dist.get_world_size()
        self._device = "cpu"

    @property
    def device(self) -> str:
        return "cpu"

    def all_gather(self, tensor: Any) -> Any:
        import torch
        import torch.distributed as dist

        gathered = [torch.zeros_like(tensor) for _ in range(self.world_size)]
        dist.all_gather(gathered, tensor)
        return torch.stack(gathered)

    def gather_object(self, obj: Any, dst: int = 0) -> Any:
        import torch.distributed as dist

        gathered = [None] * self.world_size if self.rank == dst else None
        dist.gather_object(obj, gathered, dst=dst)
        return gathered

    def barrier(self) -> None:
        import torch.distributed as dist

        dist.barrier()


def evaluate(lm: LM, data: str, tasks: list[str]) -> dict[str, Any] | None:
    """Results and samples of these tasks; None on other ranks than 0."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from turnswap.tasks import tasks_path

    manager = TaskManager(include_path=str(tasks_path()), include_defaults=False, metadata={"multiif_data": data})
    results = simple_evaluate(lm, tasks=tasks, task_manager=manager, bootstrap_iters=100)
    return results and {"results": results["results"], "samples": results["samples"]}


def main() -> None:
    """Under torchrun, for each data file given: rank 0 writes results and samples beside it, every rank its calls."""
    import sys

    import torch.distributed as dist

    dist.init_process_group("gloo")
    tasks, *files = sys.argv[1:]
    for data in files:
        lm = RankedLM()
        results = evaluate(lm, data, tasks.split(","))
        with open(f"{data}.calls{lm.rank}", "w") as file:
            json.dump([len(call) for call in lm.calls], file)
        if results is not None:
            with open(f"{data}.results", "w") as file:
                json.dump(results, file, default=str)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
