"""TIES and DARE-TIES of stock mergekit, merged to a folder by its own command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import yaml

from .settings import Settings

METHODS = {"TIES": "ties", "DARE-TIES": "dare_ties"}


def merge(method: str, settings: Settings, seed: int, models: dict[str, Path], folder: Path) -> None:
    """Merge both experts with the pretrained model as base.

    Args:
        method: mergekit's name of it.
        settings: density and weight.
        seed: of what DARE drops.
        models: ``base``, ``recipient`` and ``donor``.
        folder: where to.
    """
    given = {"density": settings.density, "weight": settings.weight}
    content = {
        "merge_method": method,
        "base_model": str(models["base"]),
        "models": [{"model": str(models[role]), "parameters": given} for role in ("recipient", "donor")],
        "parameters": {"normalize": True},
        "dtype": "float32",
    }
    recipe = folder.with_suffix(".yml")
    recipe.write_text(yaml.safe_dump(content), "utf-8")
    command = [str(Path(sys.executable).with_name("mergekit-yaml")), str(recipe), str(folder)]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    subprocess.run([*command, "--random-seed", str(seed)], check=True, env=environment, capture_output=True)
