"""Result folders for the tests: lm-eval itself writes them, for models whose replies are a function of the prompt."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

from lm_eval import simple_evaluate
from lm_eval.api.registry import register_model
from lm_eval.loggers import EvaluationTracker
from lm_eval.tasks import TaskManager

from tests.multiturn.stub_models import ScriptedLM, TokenLM
from turnswap.tasks import tasks_path

Reply = Callable[[str], str]
FOLLOWS = "<<Title>>\n\nThe rain falls on the city."


@register_model("scripted")
class NamedLM(ScriptedLM):
    """A scripted model that lm-eval makes by name, as the command does."""

    replies: ClassVar[dict[str, Reply]] = {}

    def __init__(self, pretrained: str, **_: Any) -> None:
        super().__init__(self.replies[pretrained])


@register_model("scripted-tokens")
class NamedTokenLM(TokenLM):
    """Likewise, with a tokenizer: it is known which replies used up their tokens, of which each has a character."""

    def __init__(self, pretrained: str, **_: Any) -> None:
        super().__init__(NamedLM.replies[pretrained], max_length=10_000)


def follows_share(share: float, seed: str = "") -> Reply:
    """Replies that follow title, no comma and rain in about this share of the turns, and nothing of them otherwise."""

    def reply(prompt: str) -> str:
        drawn = int(hashlib.sha256((seed + prompt.split("<assistant>")[0] + str(len(prompt))).encode()).hexdigest(), 16)
        return FOLLOWS if drawn % 1000 < share * 1000 else "Well, no."

    return reply


def evaluate(
    output: Path,
    name: str,
    reply: Reply,
    *,
    data: object = "sample",
    tasks: tuple[str, ...] = ("multiif",),
    include: Path | None = None,
    model: str = "scripted",
    **run: Any,
) -> Path:
    """Run tasks and let lm-eval save results and samples below ``output``; ``run`` goes to ``simple_evaluate``.

    ``include`` is a folder of tasks of one's own, which bring their data with them.
    """
    NamedLM.replies[name] = reply
    metadata = {**({} if include else {"multiif_data": str(data)}), **run.pop("metadata", {})}
    with_samples = run.pop("log_samples", True)
    tracker = EvaluationTracker(output_path=str(output))
    # lm-eval describes the machine in every results file, which takes pip and lscpu a second.
    described = "torch.utils.collect_env.get_pretty_env_info"
    with mock.patch(described, return_value="a test") if find_spec("torch") else nullcontext():
        results = simple_evaluate(
            model=model,
            model_args={"pretrained": name, **run.pop("model_args", {})},
            tasks=list(tasks),
            # Without lm-eval's own tasks, whose thousands of YAMLs take seconds to look through.
            task_manager=TaskManager(
                include_path=str(include or tasks_path()), include_defaults=False, metadata=metadata
            ),
            evaluation_tracker=tracker,
            log_samples=with_samples,
            bootstrap_iters=run.pop("bootstrap_iters", 0),
            **run,
        )
    samples = results.pop("samples", None)
    tracker.save_results_aggregated(results=results, samples=samples)
    for task in results["configs"] if with_samples else ():
        tracker.save_results_samples(task_name=task, samples=samples[task])
    return output
