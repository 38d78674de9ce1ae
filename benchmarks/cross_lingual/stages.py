"""Stages that leave their result whole or not at all, so that a study that was killed goes on where it was."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from turnswap.core.errors import UserError, format_error


def finished(folder: Path, make: Callable[[Path], object]) -> Path:
    """A stage's folder: made under another name and renamed once it is whole, unless it is there already."""
    if not folder.is_dir():
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        make(part)
        part.rename(folder)
    return folder


def told(work: Callable[[], object]) -> int:
    """Do the work of a command, and say in words what stopped it; the exit status."""
    try:
        work()
    except UserError as error:
        print(format_error(error), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What is finished is kept: run the same command again to go on.", file=sys.stderr)
        return 130
    return 0
