"""A task of one's own, and runs of it through lm-eval's own simple_evaluate."""

from __future__ import annotations

from typing import Any

from lm_eval import simple_evaluate
from lm_eval.api.metrics import mean
from lm_eval.tasks import TaskManager

from turnswap.tasks.multiturn import MultiTurnTask, Reply


class Politeness(MultiTurnTask):
    """A task of one's own."""

    def load_docs(self) -> list[dict[str, Any]]:
        return [{"turns": ["Hi", "How are you?", "Bye"]}, {"turns": ["Hello", "Thanks"]}, {"turns": ["Hey", "a", "b"]}]

    def doc_to_turns(self, doc: dict[str, Any]) -> list[str]:
        return doc["turns"]  # type: ignore[no-any-return]

    def grade(self, doc: dict[str, Any], replies: list[Reply]) -> dict[str, Any]:
        return {
            "polite": sum("please" in reply for reply in replies) / len(replies),
            "unclosed": sum(reply.unclosed for reply in replies),
            "truncated": [reply.truncated for reply in replies].count(True),
            "overflowing": [reply.overflowing for reply in replies].count(True),
        }

    def aggregation(self) -> dict[str, Any]:
        return {"polite": mean, "unclosed": sum, "truncated": sum, "overflowing": sum}

    def higher_is_better(self) -> dict[str, bool]:
        return {"polite": True}


def run(lm: Any, config: dict[str, Any] | None = None, **options: Any) -> Any:
    task = Politeness(config={"task": "polite", "generation_kwargs": {"max_gen_toks": 20}} | (config or {}))
    # A manager that does not look through lm-eval's thousands of YAMLs, which takes seconds.
    manager = TaskManager(include_defaults=False)
    return simple_evaluate(lm, tasks=[task], task_manager=manager, bootstrap_iters=0, **options)
