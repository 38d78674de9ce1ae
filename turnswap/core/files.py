"""Files that are whole or not there."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from .errors import UserError


def write_whole(path: Path, content: str | bytes, advice: str = "") -> Path:
    """Write a file in one step: whoever stops us, it is either as it was or whole. Its folder is made.

    Args:
        path: of the file; one that is there keeps its permissions.
        content: text goes out as UTF-8; half a surrogate pair, which UTF-8 lacks, as an escape.
        advice: what to do where it cannot be written.

    Returns:
        The path.

    Raises:
        UserError: the system refuses.
    """
    # Processes of several containers may write here, and share their numbers.
    unfinished = path.with_name(f".{path.name[:99]}.{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            unfinished.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
            if path.exists():
                shutil.copymode(path, unfinished)
            os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}.", advice) from None
    return path


def similar(path: Path) -> str:
    """`` Did you mean NAME?``, where a path is not there and its folder holds something of nearly this name."""
    with suppress(OSError):
        if not path.exists() and (near := get_close_matches(path.name, os.listdir(path.parent), 1)):
            return f" Did you mean {path.with_name(near[0])}?"
    return ""


def set_aside(path: Path) -> None:
    """Keep a file beside, as ``.previous``, or ``.previous.2`` and so on: none that was kept before is written over."""
    if path.exists():
        kept, number = path.with_suffix(".previous"), 1
        while kept.exists():
            number += 1
            kept = path.with_suffix(f".previous.{number}")
        path.replace(kept)


def cache_folder() -> Path:
    """Where we keep for this user what can be made again; it may not be there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "turnswap")
