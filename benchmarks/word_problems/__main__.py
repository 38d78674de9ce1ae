"""``python -m benchmarks.word_problems``: the registered study, or what is missing of it after an interruption."""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.cross_lingual.stages import told
from turnswap.core.errors import UserError

from .settings import REGISTERED, Settings, fingerprint

OUTPUT = Path("build/word_problems")
PILOT_SEEDS = (12,)  # and 11, with other candidates: see REGISTERED.md


def main() -> int:
    """Run what is missing and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.word_problems", description=__doc__)
    parser.add_argument("--pilot", action="store_true", help="the pilot's seeds, for which nothing is registered")
    parser.add_argument("--train-only", action="store_true", help="stop before anything is evaluated")
    parser.add_argument("--ability", action="store_true", help="measure which model knows which language, and stop")
    parser.add_argument("--jobs", type=int, default=2, help="at a time, each on one core; default 2")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"default {OUTPUT}")
    given = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
    logging.disable(logging.WARNING)
    return told(lambda: _work(given))


def _work(given: argparse.Namespace) -> None:
    if given.ability:
        from .pretrained import ability

        print(json.dumps(ability(), indent=1))
        return
    settings = Settings()
    seeds = PILOT_SEEDS if given.pilot else settings.seeds
    if not given.pilot and not given.train_only:
        check_registered(settings)
    run(settings, seeds, given.output, given.jobs, given.train_only)
    if not given.train_only:
        print((given.output / "table.md").read_text("utf-8"))


def check_registered(settings: Settings) -> None:
    """Refuse settings and texts other than those registered.

    Raises:
        UserError: they are others.
    """
    registered: dict[str, Any] = json.loads(REGISTERED.read_text("utf-8")) if REGISTERED.is_file() else {}
    if registered.get("fingerprint") != fingerprint(settings):
        raise UserError(
            f"The settings or texts are not the registered ones: {fingerprint(settings)} instead of "
            f"{registered.get('fingerprint')}.",
            "Restore benchmarks/word_problems/settings.py and texts/ as they are in the repository.",
        )


def run(settings: Settings, seeds: tuple[int, ...], folder: Path, jobs: int = 1, train_only: bool = False) -> None:
    """Train and evaluate all seeds, so many jobs at a time, and write the tables."""
    from benchmarks.cross_lingual.stages import finished

    from . import study
    from .pretrained import write_pretrained
    from .table import write_tables

    base = finished(folder / "base", write_pretrained)
    stages = [(study.train_task, study.train_language)]
    if not train_only:
        stages.append((study.evaluate_swaps, study.evaluate_models))
    homes = {seed: folder / f"seed-{seed}" for seed in seeds}
    for home in homes.values():
        home.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        work = [(job, settings, seed, home, base) for job in stage for seed, home in homes.items()]
        if jobs == 1:
            for job, *arguments in work:
                job(*arguments)
            continue
        # A thread each: the figures do not depend on how many there are, and nobody waits for a busy core.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(jobs, context, initializer=study.one_thread, max_tasks_per_child=1) as pool:
            for future in [pool.submit(job, *arguments) for job, *arguments in work]:
                future.result()
    if not train_only:
        write_tables(settings, {seed: study.rows_of(home) for seed, home in homes.items()}, folder)


if __name__ == "__main__":
    sys.exit(main())
