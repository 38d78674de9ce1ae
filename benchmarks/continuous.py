"""Conversations through continuous batching against lockstep in static batches, on a real model (the demo model).

Real English conversations at their natural lengths, greedy, float32. The baseline is lockstep at the best of three
batch sizes. Counted are the tokens that are kept: those of the replies. The bound: what static batches compute for the
tokens that they keep, because every reply in a batch waits for its longest. Continuous batching can exceed it, since it
does not compute the earlier turns of a conversation again, and fall short of it, since its steps take longer.

``python -m benchmarks.continuous --conversations 16 --sizes 8`` for less.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from lm_eval.models.huggingface import HFLM

from turnswap.commands.demo_model import write_demo_model
from turnswap.tasks.multiif.task import MultiIF
from turnswap.tasks.multiturn.runner import TurnInstance, generate_until_multi_turn

DATA = Path(__file__).parents[2] / "shared" / "data" / "multiif_english.csv"
CAP, CONVERSATIONS, SIZES = 384, 64, (8, 16, 32)


def conversations(count: int, schedule: str) -> list[TurnInstance]:
    """The turns of the first conversations."""
    metadata = {"multiif_data": str(DATA), "schedule": schedule}
    config = {"task": "English", "dataset_name": "English", "generation_kwargs": {"max_gen_toks": CAP, "until": []}}
    task = MultiIF(config=config | {"metadata": metadata})
    task.build_all_requests(limit=count)
    return task.instances  # type: ignore[no-any-return]


def measure(lm: HFLM, size: int, schedule: str, count: int) -> tuple[float, list[TurnInstance]]:
    """The tokens per second that are kept, and the turns with their replies."""
    lm.batch_size_per_gpu = size
    instances = conversations(count, schedule)
    start = time.perf_counter()
    generate_until_multi_turn(lm, instances)
    seconds = time.perf_counter() - start
    taken = instances[0].script.run_facts["schedule"]
    if taken != schedule:
        raise SystemExit(f"{schedule} was asked for, but {taken} was taken: {instances[0].script.run_facts}")
    return sum(map(sum, lengths(lm, instances))) / seconds, instances


def lengths(lm: HFLM, instances: Sequence[TurnInstance]) -> list[list[int]]:
    """Each turn's replies in tokens, in the order in which lm-eval makes batches of them: long prompts first."""
    by_turn = itertools.groupby(sorted(instances, key=lambda each: each.idx), key=lambda each: each.idx)
    turns = [sorted(group, key=lambda each: (-len(lm.tok_encode(each.args[0])), each.args[0])) for _, group in by_turn]
    return [[len(lm.tok_encode(each.replies[0].raw, add_special_tokens=False)) for each in turn] for turn in turns]


def waste(turns: Sequence[Sequence[int]], size: int) -> float:
    """Tokens computed in static batches of this size, over those kept."""
    batches = [turn[start : start + size] for turn in turns for start in range(0, len(turn), size)]
    return sum(max(batch) * len(batch) for batch in batches) / sum(map(sum, batches))


def compare(count: int = CONVERSATIONS, sizes: Sequence[int] = SIZES) -> None:
    """Print both at each size, and the ratio of the best to the best."""
    best = {"lockstep": 0.0, "pipelined": 0.0}
    replies: list[list[str]] = []
    with tempfile.TemporaryDirectory() as directory:
        write_demo_model(Path(directory) / "model")
        lm = HFLM(pretrained=str(Path(directory) / "model"), dtype="float32", device="cpu")
        measure(lm, 2, "lockstep", 1)  # warm up
        for size in sizes:
            for schedule in best:
                speed, instances = measure(lm, size, schedule, count)
                best[schedule] = max(best[schedule], speed)
                replies.append([instance.replies[0].raw for instance in instances])
                named = "continuous batching" if schedule == "pipelined" else "lockstep"
                print(f"{named}, {size} at once: {speed:.1f} tokens per second", flush=True)
            print(f"the bound at {size}: {waste(lengths(lm, instances), size):.2f}", flush=True)
    same = sum(first == other for other in replies[1:] for first, other in zip(replies[0], other, strict=True))
    print(f"{same} of {len(replies[0]) * (len(replies) - 1)} replies equal those of the first run")
    ratio = best["pipelined"] / best["lockstep"]
    print(f"continuous batching, {count} conversations, cap {CAP}: {ratio:.2f} x the tokens per second of lockstep, "
          "each at its best size (aim 1.25)")  # fmt: skip


def main() -> None:
    """Print the ratio, and the bound."""
    logging.disable(logging.WARNING)
    compare()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Continuous batching against lockstep.")
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    asked = parser.parse_args(sys.argv[1:])
    logging.disable(logging.WARNING)
    compare(asked.conversations, asked.sizes)
