"""``python -m benchmarks.word_problems.power FOLDER``: how many items are needed, by the pilot in a folder."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from .inference import power
from .lines import Lines
from .settings import Settings
from .table import FAMILY, Rows, differences

ITEMS = (100, 160, 200, 300)  # of each seed
EFFECTS = (0.02, 0.03, 0.04, 0.05, 0.06, 0.08, 0.10)


def pilot_rows(folder: Path) -> Rows:
    """Of the pilot's seeds that are whole."""
    found = {int(path.parent.name[5:]): Lines(path).found for path in sorted(folder.glob("seed-*/swaps.jsonl"))}
    needed = {name for pair in FAMILY for name in pair}
    return {seed: rows for seed, rows in found.items() if needed <= rows.keys()}


def main() -> None:
    """Print the pilot's discordances and, for each, the power of the tests by simulation."""
    rows = pilot_rows(Path(sys.argv[1]))
    seeds, level = len(Settings().seeds), 0.05 / len(FAMILY)
    shares = []
    print(
        f"Pilot seeds: {', '.join(map(str, rows))}. Level of the strictest test: {level:g}; seeds planned: {seeds}.\n"
    )
    print("| comparison | differing items | difference by pilot seed |\n|---|--:|---|")
    for one, other in FAMILY:
        by_seed = differences(rows, one, other)
        shares.append(float(np.mean([(of != 0).mean() for of in by_seed])))
        said = " ".join(f"{100 * of.mean():+.1f}" for of in by_seed)
        print(f"| {one} - {other} | {100 * shares[-1]:.1f} % | {said} |")
    print(f"\n| items a seed | differing | {' | '.join(f'{100 * effect:+.0f}' for effect in EFFECTS)} |")
    print("|--:|--:|" + "--:|" * len(EFFECTS))
    for items in ITEMS:
        for discordant in sorted({round(min(shares), 2), round(max(shares), 2)}):
            cells = [
                f"{100 * power(discordant, effect, items * seeds, level):.0f} %" if effect <= discordant else "–"
                for effect in EFFECTS
            ]
            print(f"| {items} | {100 * discordant:.0f} % | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
