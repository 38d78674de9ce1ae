"""``turnswap enable``: one small file that makes the stock commands of this environment see us, and its removal."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole

# One line, run by Python's ``site`` at start-up. It stays silent when turnswap is gone.
PTH_LINE = (
    "import sys; exec('try:\\n from turnswap.hosts.startup import install\\n install()\\nexcept Exception:\\n pass')\n"
)
# From Python 3.15 on, code in .pth files is deprecated in favour of entry points in .start files (PEP 829).
START_LINE = "turnswap.hosts.startup:install\n"


def startup_file() -> tuple[Path, str]:
    """Where the file goes in this environment, and what it holds."""
    name, content = ("turnswap.start", START_LINE) if sys.version_info >= (3, 15) else ("turnswap.pth", PTH_LINE)
    return Path(sysconfig.get_path("purelib")) / name, content


def is_enabled() -> bool:
    """Whether the file is there, with what this version writes."""
    path, content = startup_file()
    try:
        return path.read_text("utf-8") == content
    except OSError:
        return False


def enable() -> Path:
    """Write the file, or leave it as it is; returns its path.

    Raises:
        UserError: it may not be written there.
    """
    path, content = startup_file()
    advice = (
        "Install turnswap into a virtual environment of your own (python -m venv .venv) and enable it there, "
        'or do without: turnswap lm-eval …, or lm_eval --include_path "$(turnswap tasks-path)" ….'
    )
    return path if is_enabled() else write_whole(path, content, advice)


def disable() -> Path | None:
    """Remove the file; returns its path, or None where there was none.

    Raises:
        UserError: it may not be removed.
    """
    path, _ = startup_file()
    try:
        path.unlink()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UserError(
            f"{path} cannot be removed: {error.strerror}.", "Remove it as the environment's owner."
        ) from error
    return path
