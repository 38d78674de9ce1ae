"""vLLM in process: conversations that move on by themselves against lockstep, on a real model (the demo model).

64 real English conversations at their natural lengths, greedy, float32, 16 sequences at a time. The bound, in steps of
the engine: the larger of all replies' tokens / 16 and the longest conversation's. Steps do not depend on what else the
machine does; the seconds beside them do.

It runs in the environment with vLLM that ``make test-engines`` makes.
``python -m benchmarks.vllm_schedule --conversations 16 --cap 64`` for less.
"""

from __future__ import annotations

import argparse
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[1]
PYTHON = REPOSITORY / ".venv-vllm" / "bin" / "python"
DATA = REPOSITORY.parent / "shared" / "data" / "multiif_english.csv"
CONVERSATIONS, SLOTS, CAP = 64, 16, 384
# One engine has the machine's cores, and does not bind itself to some of them.
VARIABLES = {
    "VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "HF_HUB_OFFLINE": "1",
    "OMP_WAIT_POLICY": "passive",  # threads that wait give the core to vLLM's other processes
}  # fmt: skip


def conversations(count: int, cap: int, schedule: str) -> list[Any]:
    """The turns of the first conversations."""
    from turnswap.tasks.multiif.task import MultiIF

    # Without do_sample lm-eval's vllm samples, unlike its other models.
    settings = {"max_gen_toks": cap, "until": [], "do_sample": False}
    config = {"task": "English", "dataset_name": "English", "generation_kwargs": settings}
    task = MultiIF(config=config | {"metadata": {"multiif_data": str(DATA), "schedule": schedule}})
    task.build_all_requests(limit=count)
    return task.instances  # type: ignore[no-any-return]


def measure(lm: Any, count: int, cap: int, schedule: str) -> tuple[int, float, list[Any]]:
    """The engine's steps, the seconds, and the turns with their replies."""
    from turnswap.tasks.multiturn.runner import generate_until_multi_turn

    engine, steps = lm.model.llm_engine, 0
    step = engine.step

    def counted() -> Any:
        nonlocal steps
        steps += 1
        return step()

    engine.reset_prefix_cache()
    instances = conversations(count, cap, schedule)
    engine.step = counted
    try:
        start = time.perf_counter()
        generate_until_multi_turn(lm, instances)
        seconds = time.perf_counter() - start
    finally:
        del engine.step
    taken = instances[0].script.run_facts["schedule"]
    if taken != schedule:
        raise SystemExit(f"{schedule} was asked for, but {taken} was taken: {instances[0].script.run_facts}")
    return steps, seconds, instances


def computed(instances: Sequence[Any]) -> int:
    """Tokens of all replies; those of equal requests count once, as they are asked once."""
    return sum({instance.args[0]: instance.replies[0].answer.completion_tokens for instance in instances}.values())


def bound(instances: Sequence[Any], slots: int) -> float:
    """Fewest steps in which so many sequences at a time give these replies."""
    longest: Counter[int] = Counter()
    for instance in instances:
        longest[id(instance.script)] += instance.replies[0].answer.completion_tokens
    return max(computed(instances) / slots, max(longest.values()))


def compare(model: str, count: int, cap: int, slots: int) -> None:
    """Print both schedules, their ratio, and the share of the bound that is reached."""
    from lm_eval.models.vllm_causallms import VLLM

    sizes = {"max_model_len": 4096, "max_num_seqs": slots, "batch_size": "auto"}
    lm = VLLM(pretrained=model, dtype="float32", enforce_eager=True, **sizes)
    logging.disable(logging.WARNING)
    measure(lm, 2, 8, "pipelined")  # warm up
    took = {}
    for schedule in ("lockstep", "pipelined"):
        steps, seconds, instances = measure(lm, count, cap, schedule)
        took[schedule] = (steps, seconds, [instance.replies[0].raw for instance in instances])
        tokens, best = computed(instances), bound(instances, slots)
        print(f"{schedule}: {tokens} tokens in {steps} steps and {seconds:.0f} s ({tokens / seconds:.1f} tokens per "
              f"second), {best / steps:.2f} of the bound of {best:.0f} steps", flush=True)  # fmt: skip
    (steps, seconds, replies), (ours, our_seconds, our_replies) = took["lockstep"], took["pipelined"]
    same = sum(one == other for one, other in zip(replies, our_replies, strict=True))
    print(f"{same} of {len(replies)} replies are the same in both")
    print(f"vLLM in process, {count} conversations, {slots} sequences, cap {cap}: {seconds / our_seconds:.2f} times as "
          f"fast as lockstep, {steps / ours:.2f} in steps (aim 1.15), {best / ours:.2f} of the bound "
          "(aim 0.9)")  # fmt: skip


def main(arguments: Sequence[str] = ()) -> None:
    """Write the demo model, and compare in the environment with vLLM."""
    if not PYTHON.exists():
        print("vLLM: not measured, there is no .venv-vllm. Run: make test-engines")
        return
    from turnswap.commands.demo_model import write_demo_model

    with tempfile.TemporaryDirectory() as directory:
        model = Path(directory) / "model"
        write_demo_model(model)
        command = [str(PYTHON), "-m", "benchmarks.vllm_schedule", "--model", str(model), *arguments]
        subprocess.run(command, cwd=REPOSITORY, env=os.environ | VARIABLES, check=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="vLLM's conversations without a barrier, against lockstep.")
    parser.add_argument("--model", help="a folder with the demo model, where this interpreter has vLLM")
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    parser.add_argument("--slots", type=int, default=SLOTS)
    parser.add_argument("--cap", type=int, default=CAP)
    asked = parser.parse_args()
    if asked.model is None:
        main(sys.argv[1:])
    else:
        compare(asked.model, asked.conversations, asked.cap, asked.slots)
