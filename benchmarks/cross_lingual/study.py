"""A seed of the study from its data to its rows: trained, analysed, swaps suggested and swept, everything evaluated."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from filelock import FileLock, Timeout

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole

from . import training
from .documents import write_documents
from .settings import Settings
from .stages import finished

SUGGESTED = {
    "ratio": ("--rule", "ratio"),
    "shin-hwang": ("--rule", "shin-hwang"),
    "shin-hwang by module": ("--rule", "shin-hwang", "--granularity", "module"),
    "alignment": ("--rule", "alignment"),
}
PAPER = {"bottom": "auto", "top": "auto", "transition": "auto"}


def run_seed(settings: Settings, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Everything about one seed, or what is missing of it.

    Args:
        settings: of the study.
        seed: of languages, weights and text.
        folder: of the study; the seed has one in it.

    Returns:
        A row per model and swap: ``row``, ``parameters``, the figures, and ``documents``: 1 where the answer was right.

    Raises:
        UserError: another process is at work on this seed.
    """
    home = folder / f"seed-{seed}"
    home.mkdir(parents=True, exist_ok=True)
    try:
        # What the hosts print while they work goes into a file: two seeds run at a time.
        with (
            FileLock(home / "lock", timeout=0),
            _reproducibly_and_quietly(),
            (home / "log.txt").open("a", encoding="utf-8") as log,
            contextlib.redirect_stderr(log),
        ):
            return _run(settings, seed, home)
    except Timeout:
        raise UserError(f"{home}: a study is already running there.", "Wait for it, or name another folder.") from None


@contextlib.contextmanager
def _reproducibly_and_quietly() -> Iterator[None]:
    """One thread, as sums of several depend on how many there are; deterministic kernels; and no notes of the hosts."""
    disabled, threads = logging.root.manager.disable, torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        logging.disable(disabled)
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)


def _run(settings: Settings, seed: int, home: Path) -> list[dict[str, Any]]:
    finished(home / "data", lambda part: write_documents(settings, seed, part))
    base = finished(home / "base", lambda part: training.train(settings, seed, "base", part))
    for role in training.EXPERTS:
        finished(home / role, lambda part, role=role: training.train(settings, seed, role, part, base))
        print(f"seed {seed}: {role} is trained", flush=True)
    analysis = finished(home / "analysis", lambda part: analyse(home, part))
    suggested = {name: suggest(analysis, name, home / "suggestions") for name in SUGGESTED}
    swept = sweep(settings, seed, home)
    rows = list(_rows(settings, seed, home, suggested, swept))
    print(f"seed {seed}: {len(rows)} rows", flush=True)
    return rows


def _rows(
    settings: Settings, seed: int, home: Path, suggested: dict[str, dict[str, Any]], swept: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    from .evaluation import Rows

    rows = Rows(settings, home, seed)
    yield rows.model("base", "base")
    of_sweep = {row["configuration"]: row for row in swept["rows"]}
    for name in ("recipient", "donor", "average"):
        yield rows.swap(name, of_sweep[name]["parameters"])
    yield rows.swap("paper-style", PAPER)
    for name, suggestion in suggested.items():
        if "parameters" in suggestion:
            yield rows.swap(f"suggested {name}", suggestion["parameters"])
        else:
            yield {"row": f"suggested {name}", "refused": suggestion["refused"]}
    best = of_sweep[swept["best"]]
    row = rows.swap("sweep's best", best["parameters"])
    if abs(row["skill_b"] - best["report_figure"]) > 1e-9:
        raise RuntimeError(
            f"seed {seed}: the sweep reports {best['report_figure']} where its swap has {row['skill_b']}"
        )
    yield row
    yield rows.swap("middle", middle(best["layers"], best["parameters"]))
    controls = [row for row in swept["rows"] if row["kind"] == "control"]
    for number, control in enumerate(controls, 1):
        yield rows.swap(f"random {number}", control["parameters"])
    yield rows.model("reference", "reference")


def middle(layers: str, parameters: dict[str, Any]) -> dict[str, Any]:
    """As many donor layers as a swap has, but in the middle; embeddings and head from where they come in the swap.

    >>> middle("DDRRRRRD", {"bottom": 2, "top": 1})
    {'layers': '2-4', 'embeddings': 'donor', 'head': 'donor'}
    """
    width, first = layers.count("D"), (len(layers) - layers.count("D")) // 2
    ends = {"D": "donor", "R": "recipient"}
    return {
        "layers": f"{first}-{first + width - 1}" if width else "none",
        "embeddings": parameters.get("embeddings", ends[layers[0]]),
        "head": parameters.get("head", ends[layers[-1]]),
    }


def analyse(home: Path, folder: Path) -> None:
    """``turnswap analyze`` of the two experts."""
    models = [part for role in ("base", "recipient", "donor") for part in (f"--{role}", str(home / role))]
    done = turnswap("analyze", *models, "-o", str(folder))
    if done.returncode:
        raise RuntimeError(f"turnswap analyze failed: {done.stderr}")


def suggest(analysis: Path, name: str, folder: Path) -> dict[str, Any]:
    """The ``parameters`` that ``turnswap suggest`` gives by a rule, or why it was ``refused``."""
    path = folder / f"{name.replace(' ', '-')}.yml"
    if not path.is_file():
        folder.mkdir(exist_ok=True)
        # Small models trained at high rates move far from their ancestor, which here is known to be one.
        done = turnswap("suggest", str(analysis), *SUGGESTED[name], "--anyway", "-o", str(path))
        if done.returncode:
            return {"refused": " ".join(done.stderr.split())}
    return {"parameters": yaml.safe_load(path.read_text("utf-8"))["parameters"]}


def turnswap(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The package's own command, as a user would call it."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    command = [sys.executable, "-m", "turnswap", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def sweep(settings: Settings, seed: int, home: Path) -> dict[str, Any]:
    """The seed's sweep as ``turnswap sweep`` writes it; its own ledger lets it go on."""
    from turnswap.sweeps import outputs
    from turnswap.sweeps import sweep as sweeps

    from .evaluation import sweep_settings

    path = home / "sweep" / "sweep.json"
    if not path.is_file():
        done = sweeps.run(sweep_settings(settings, home, seed), home / "sweep", lambda line: None)
        write_whole(path, json.dumps(outputs.as_json(done), indent=1))
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found
