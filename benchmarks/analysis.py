"""``turnswap analyze`` on three generated 1.35 B-parameter bf16 models, against ``sha256sum`` of the same files.

Whole processes; the analysis less its imports. Memory: what it holds beyond the imports, in largest tensors per model.
Needs 9 GB of disk and as much free memory, so that both read from the page cache.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from .layer_swap import run

ROUNDS = 3
LARGEST = 32000 * 2048 * 2 / 1e6  # MB: the embeddings
IMPORTS = "import turnswap.merge_methods.analysis"


def main() -> None:
    """Print the ratios, medians over the rounds."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for seed, name in enumerate(("base", "recipient", "donor")):
            program = f"from benchmarks.layer_swap import write_model; write_model({str(folder / name)!r}, {seed})"
            subprocess.run([sys.executable, "-c", program], check=True, stderr=subprocess.DEVNULL)
        compare(folder)


def compare(folder: Path) -> None:
    """Analyse and hash in turn."""
    turnswap = str(Path(sys.executable).parent / "turnswap")
    models = [part for role in ("base", "recipient", "donor") for part in (f"--{role}", f"./{role}")]
    files = sorted(str(path) for path in folder.glob("*/*.safetensors"))
    run(folder, "sha256sum", *files)
    speeds, held = [], []
    for _ in range(ROUNDS):
        imports, at_rest = run(folder, sys.executable, "-c", IMPORTS)
        seconds, peak = run(folder, turnswap, "analyze", *models, "--json")
        hashing, _ = run(folder, "sha256sum", *files)
        speeds.append(hashing / (seconds - imports))
        held.append((peak - at_rest) / LARGEST)
        print(f"analyze {seconds:.1f} s (imports {imports:.1f} s), {peak:.0f} MB; sha256sum {hashing:.1f} s")
    print(f"speed: {statistics.median(speeds):.2f} of sha256sum's (floor 0.5)")
    print(f"memory beyond the imports: {statistics.median(held):.1f} largest tensors (bound: 2 for each of 3 models)")
