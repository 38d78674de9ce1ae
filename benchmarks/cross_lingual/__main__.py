"""``python -m benchmarks.cross_lingual``: the study, or what is missing of it after an interruption."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole

from .settings import FIRST_SEED, QUICK, Settings
from .stages import told
from .study import run_seed
from .table import write_tables

OUTPUT, QUICK_OUTPUT = Path("build/cross_lingual"), Path("build/cross_lingual_quick")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, a process of one thread per seed, and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cross_lingual", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="does everything run? two seeds of models that know nothing"
    )
    parser.add_argument("--seeds", type=int, help="how many (at least 2); default 8, or 2 with --quick")
    parser.add_argument("--first-seed", type=int, default=FIRST_SEED, help=f"default {FIRST_SEED}")
    parser.add_argument("--jobs", type=int, help="seeds at a time; default 2, or 1 with --quick")
    parser.add_argument("-o", "--output", type=Path, help=f"default {OUTPUT}, or {QUICK_OUTPUT}")
    given = parser.parse_args(arguments)
    settings, n_seeds, n_jobs, output = (QUICK, 2, 1, QUICK_OUTPUT) if given.quick else (Settings(), 8, 2, OUTPUT)
    seeds = range(given.first_seed, given.first_seed + (given.seeds or n_seeds))
    folder: Path = given.output or output
    os.environ |= {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_NUM_THREADS": "1",
        "TQDM_DISABLE": "1",
    }
    if status := told(lambda: run(settings, seeds, folder, given.jobs or n_jobs)):
        return status
    print((folder / "table.md").read_text("utf-8"))
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
    one_seed = partial(run_seed, settings, folder=folder)
    if jobs > 1:
        with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
            rows = dict(zip(seeds, pool.map(one_seed, seeds), strict=True))
    else:
        rows = {seed: one_seed(seed) for seed in seeds}
    write_tables(settings, rows, folder)


if __name__ == "__main__":
    sys.exit(main())
