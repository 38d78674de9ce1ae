"""A seed of the study from its data to its rows: models trained and analysed, swaps suggested and searched for."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner, Result
from filelock import FileLock, Timeout

from turnswap.commands.main import main as turnswap
from turnswap.core.errors import UserError

from . import training
from .documents import write_documents
from .searches import Searches
from .settings import Settings
from .stages import finished

SUGGESTED = {
    "ratio": ("--rule", "ratio"),
    "shin-hwang": ("--rule", "shin-hwang"),
    "shin-hwang by module": ("--rule", "shin-hwang", "--granularity", "module"),
    "alignment": ("--rule", "alignment"),
}
PAPER = {"bottom": "auto", "top": "auto", "transition": "auto"}
CONTROLS = {"control": "best random placement", "weight": "tuned average"}  # by their kind in a search


def run_seed(settings: Settings, seed: int, folder: Path) -> list[dict[str, Any]]:
    """Everything about one seed, or what is missing of it.

    Args:
        settings: of the study.
        seed: of languages, weights and text.
        folder: of the study; the seed has one in it.

    Returns:
        A row per model and swap: ``row``, ``parameters``, ``layers`` and the figures, or why it was ``refused``.

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
    finished(home / "analysis", lambda part: analyse(home, part))
    rows = _rows(Searches(settings, seed, home), home)
    print(f"seed {seed}: {len(rows)} rows", flush=True)
    return rows


def _rows(searches: Searches, home: Path) -> list[dict[str, Any]]:
    swaps: dict[str, Any] = {"paper-style": PAPER}
    refused: dict[str, str] = {}
    for name in SUGGESTED:
        path, why = suggest(home, name)
        (swaps if path else refused)[f"suggested {name}"] = path or why
    reported = {}
    by_skill, zero_shot = searches.by_skill(), searches.zero_shot()
    for said, done in (("", by_skill), ("zero-shot ", zero_shot)):
        best, role = done.best, done.roles["report"]
        swaps[f"{said}best swap"] = best.configuration.parameters
        swaps |= {said + CONTROLS[row.configuration.kind]: row.configuration.parameters for row in done.chosen}
        assert best.report is not None
        [(reported[f"{said}best swap"], _)] = role.figures(best.report).values()
    swaps["middle"] = middle(by_skill.best.configuration.layers, by_skill.best.configuration.parameters)
    rows = searches.rows("recipient", "donor", swaps)
    # Two trained models without a swap are no search: one is tried, and not shown.
    others = searches.rows("base", "reference", {"not shown": {"bottom": 1, "top": 0, "transition": 0}})
    for name, figure in reported.items():
        if abs(rows[name]["skill_b"] - figure) > 1e-9:
            raise RuntimeError(f"{home}: the search reports {figure} where its {name} has {rows[name]['skill_b']}")
    order = ["recipient", "donor", "average", *swaps]
    return [
        others["recipient"] | {"row": "base"},
        *(rows[name] for name in order),
        *({"row": name, "refused": why} for name, why in refused.items()),
        others["donor"] | {"row": "reference"},
    ]


def middle(layers: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
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
    done = called("analyze", *models, "-o", str(folder))
    if done.exit_code:
        raise RuntimeError(f"turnswap analyze failed: {done.output}") from done.exception


def suggest(home: Path, name: str) -> tuple[str, str]:
    """The file that ``turnswap suggest`` writes by a rule; or none, and why the rule refuses."""
    path = home / "suggestions" / f"{name.replace(' ', '-')}.yml"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        # Small models trained at high rates move far from their ancestor, which here is known to be one.
        done = called("suggest", str(home / "analysis"), *SUGGESTED[name], "--anyway", "-o", str(path))
        if done.exit_code:
            return "", " ".join(done.output.split())
    return str(path), ""


def called(*arguments: str) -> Result:
    """The package's own command, as a user would call it."""
    return CliRunner().invoke(turnswap, arguments)
