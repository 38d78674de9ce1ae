"""Everything lm-eval sees: the runner of conversations, Multi-IF, and where lm-eval finds them."""

from __future__ import annotations

import os
from pathlib import Path

from turnswap.core.errors import UserError

TASKS_VARIABLE = "TURNSWAP_TASKS"


def tasks_path() -> Path:
    """The folder that lm-eval takes as ``--include_path``."""
    return Path(__file__).resolve().parent


def task_folders() -> list[Path]:
    """The folders of tasks that lm-eval shall know: ours, and those that ``TURNSWAP_TASKS`` lists.

    The latter are of one's own, such as those that ``turnswap build`` releases.

    Raises:
        UserError: one is no folder.
    """
    listed = [Path(part).resolve() for part in os.environ.get(TASKS_VARIABLE, "").split(os.pathsep) if part]
    for folder in listed:
        if not folder.is_dir():
            raise UserError(
                f"{TASKS_VARIABLE} names {folder}, which is no folder.",
                f"Expected folders of task YAMLs, with {os.pathsep!r} between them.",
            )
    return [tasks_path(), *listed]
