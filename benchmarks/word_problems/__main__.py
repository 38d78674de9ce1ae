"""``python -m benchmarks.word_problems``: the registered study, or what is missing of it after an interruption."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError, format_error

from .settings import REGISTERED, Settings, fingerprint

OUTPUT = Path("build/word_problems")
PILOT_SEEDS = (11, 12)


def main() -> int:
    """Run what is missing and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.word_problems", description=__doc__)
    parser.add_argument("--pilot", action="store_true", help="the pilot's seeds, for which nothing is registered")
    parser.add_argument("--train-only", action="store_true", help="stop before anything is evaluated")
    parser.add_argument("--ability", action="store_true", help="measure which model knows which language, and stop")
    parser.add_argument("-o", "--output", type=Path, default=OUTPUT, help=f"default {OUTPUT}")
    given = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TQDM_DISABLE": "1"}
    logging.disable(logging.WARNING)
    try:
        if given.ability:
            from .pretrained import ability

            print(json.dumps(ability(), indent=1))
            return 0
        settings = Settings()
        seeds = PILOT_SEEDS if given.pilot else settings.seeds
        if not given.pilot and not given.train_only:
            check_registered(settings)
        run(settings, seeds, given.output, given.train_only)
    except UserError as error:
        print(format_error(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What is finished is kept: run the same command again to go on.", file=sys.stderr)
        return 130
    if not given.train_only:
        print((given.output / "table.md").read_text("utf-8"))
    return 0


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


def run(settings: Settings, seeds: tuple[int, ...], folder: Path, train_only: bool = False) -> None:
    """Train and evaluate all seeds, and write the tables."""
    from benchmarks.cross_lingual.stages import finished

    from .pretrained import write_pretrained
    from .study import evaluate_seed, train_seed
    from .table import write_tables

    base = finished(folder / "base", write_pretrained)
    rows = {}
    for seed in seeds:
        home = folder / f"seed-{seed}"
        train_seed(settings, seed, home, base)
        if not train_only:
            rows[seed] = evaluate_seed(settings, seed, home, base)
    if not train_only:
        write_tables(settings, rows, folder)


if __name__ == "__main__":
    sys.exit(main())
