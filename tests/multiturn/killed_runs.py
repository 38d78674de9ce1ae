"""Runs that are killed and resumed, for test_resume.py: imports once, then forks a run per attempt.

``python -m tests.multiturn.killed_runs DATA URL LOG CACHE OUT KILLS SEED`` kills that many runs at random moments,
lets the next one finish, writes its samples and metrics to OUT, and prints the moments of the kills (monotonic clock)
as JSON. LOG is the server's: that it grows says that a run is asking.
"""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp  # noqa: F401 - imported before the fork, not after each
import sqlitedict  # noqa: F401
import torch.utils.collect_env
from lm_eval import simple_evaluate
from lm_eval.models import openai_completions  # noqa: F401
from lm_eval.tasks import TaskManager

import turnswap.tasks.multiif.task  # noqa: F401
from turnswap.tasks import tasks_path


def run(data: str, url: str, cache: str | None, out: str, concurrency: int = 8) -> None:
    """One run, and what came of it."""
    metadata = {"multiif_data": data, "open": 24}
    results: Any = simple_evaluate(
        "local-chat-completions",
        model_args={"model": "served", "base_url": url, "num_concurrent": concurrency, "max_retries": 2},
        tasks=["multiif_en", "multiif_es"],
        task_manager=TaskManager(include_path=str(tasks_path()), include_defaults=False, metadata=metadata),
        use_cache=cache,
        bootstrap_iters=0,
    )
    content = {"results": results["results"], "samples": results["samples"]}
    Path(out).write_text(json.dumps(content, default=str, sort_keys=True), "utf-8")


def main() -> None:
    data, url, log, cache, out, kills, seed = sys.argv[1:]
    logging.disable(logging.WARNING)
    torch.utils.collect_env.get_pretty_env_info = lambda: "a test"  # asks pip and lscpu for a second
    moments = random.Random(int(seed))
    killed_at = []
    while True:
        child = os.fork()
        if child == 0:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            run(data, url, cache, out)
            os._exit(0)
        if len(killed_at) == int(kills):
            _, status = os.waitpid(child, 0)
            assert status == 0, f"the last run ended with {status}"
            break
        # Most are killed while they ask, some before.
        if moments.random() < 0.9:
            size = os.path.getsize(log)
            while os.path.getsize(log) == size:
                time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.4))
        os.kill(child, signal.SIGKILL)
        killed_at.append(time.monotonic())
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status), "the run was over before it could be killed"
    print(json.dumps(killed_at))


if __name__ == "__main__":
    main()
