"""Stages that leave their result whole or not at all, so that a study that was killed goes on where it was."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path


def finished(folder: Path, make: Callable[[Path], object]) -> Path:
    """A stage's folder: made under another name and renamed once it is whole, unless it is there already."""
    if not folder.is_dir():
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        make(part)
        part.rename(folder)
    return folder
