"""``python -m benchmarks.cross_lingual``: the study, or what is missing of it after an interruption."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

from turnswap.core.errors import UserError, format_error
from turnswap.core.files import write_whole

from .settings import FIRST_SEED, Settings
from .study import run_seed
from .table import write_tables

OUTPUT = Path("build/cross_lingual")


def main() -> int:
    """Run what is missing, a process of one thread per seed, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cross_lingual", description=__doc__)
    parser.add_argument("--seeds", type=int, default=8, help="how many (at least 2); default 8")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help=f"default {FIRST_SEED}")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="seeds at a time")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"default {OUTPUT}")
    given = parser.parse_args()
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
    }
    try:
        run(Settings(), range(given.first_seed, given.first_seed + given.seeds), given.output, given.jobs)
    except UserError as error:
        print(format_error(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What is finished is kept: run the same command again to go on.", file=sys.stderr)
        return 130
    print((given.output / "table.md").read_text("utf-8"))
    return 0


def run(settings: Settings, seeds: range, folder: Path, jobs: int) -> None:
    """The seeds' rows and the tables of them.

    Raises:
        UserError: fewer than two seeds, or the folder holds a study with other settings.
    """
    if len(seeds) < 2:
        raise UserError(f"{len(seeds)} seed gives no interval.", "Take at least --seeds 2.")
    said = json.dumps(asdict(settings), indent=1, sort_keys=True)
    path = folder / "settings.json"
    if path.is_file() and path.read_text("utf-8") != said:
        raise UserError(f"{folder} holds a study with other settings.", "Name another folder: -o FOLDER.")
    write_whole(path, said)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, jobs), mp_context=context) as pool:
        futures = {seed: pool.submit(run_seed, settings, seed, folder) for seed in seeds}
        rows = {seed: future.result() for seed, future in futures.items()}
    write_tables(settings, rows, folder)


if __name__ == "__main__":
    sys.exit(main())
