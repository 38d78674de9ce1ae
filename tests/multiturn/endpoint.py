"""A small evaluation against an endpoint that answers, or refuses, as a test says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from turnswap.tasks import tasks_path

from .fault_server import FaultServer


def body(message: dict[str, Any] | None = None, finish: str | None = "stop", **more: Any) -> dict[str, Any]:
    """A chat completion; without usage, as some servers send it."""
    return {
        "choices": [{"index": 0, "message": {"role": "assistant"} | (message or {}), "finish_reason": finish}]
    } | more


def evaluate(server: FaultServer, data: Path, concurrency: int = 4, **options: Any) -> Any:
    arguments = {"model": "served", "base_url": server.url, "num_concurrent": concurrency, "max_retries": 2}
    arguments |= options.pop("arguments", {})
    metadata = {"multiif_data": str(data), **options.pop("metadata", {})}
    manager = TaskManager(include_path=str(tasks_path()), include_defaults=False, metadata=metadata)
    model = options.pop("model", "local-chat-completions")
    results: Any = simple_evaluate(
        model, model_args=arguments, tasks=["multiif_en"], task_manager=manager, bootstrap_iters=0, **options
    )
    return results
