"""Conversations through the runner against the same prompts through lm-eval's own ``generate_until``.

The baseline gets every turn's prompts, as the runner made them, in one call per turn: what is left between
the two is what the runner does itself. A real model (the demo model) on a CPU.
"""

from __future__ import annotations

import logging
import tempfile
import time
from pathlib import Path

from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from turnswap.commands.demo_model import write_demo_model
from turnswap.tasks.multiif.task import MultiIF
from turnswap.tasks.multiturn.runner import generate_until_multi_turn

CAP, PAIRS = 32, 3


def conversations() -> list[Instance]:
    instances = []
    for language in ("English", "Spanish"):
        config = {"task": language, "dataset_name": language, "generation_kwargs": {"max_gen_toks": CAP}}
        task = MultiIF(config=config | {"metadata": {"multiif_data": "sample"}})
        task.build_all_requests()
        instances += task.instances
    return instances


def main() -> None:
    """Print the ratio of the runner's time to the baseline's, the median of paired runs."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as directory:
        write_demo_model(Path(directory) / "model")
        lm = HFLM(pretrained=str(Path(directory) / "model"), batch_size=16, dtype="float32", device="cpu")
        generate_until_multi_turn(lm, conversations())  # warm up
        ratios = []
        for _ in range(PAIRS):
            instances = conversations()
            start = time.perf_counter()
            generate_until_multi_turn(lm, instances)
            middle = time.perf_counter()
            for turn in range(3):
                lm.generate_until(
                    [
                        Instance("generate_until", {}, i.arguments, 0, (None, None, 1))
                        for i in instances
                        if i.idx == turn
                    ]
                )
            ratios.append((middle - start) / (time.perf_counter() - middle))
    shown = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(
        f"the runner takes {sorted(ratios)[PAIRS // 2]:.3f} x the time of lm-eval's generate_until on the same prompts"
    )
    print(f"(pairs: {shown}; aim: 1.05)")
