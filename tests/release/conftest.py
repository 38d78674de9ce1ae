"""What make release-check built: wheel and source archive in dist/, and a wheel made from the latter in dist/again/."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from ..conftest import BIN, REPOSITORY

DIST = REPOSITORY / "dist"


def only(pattern: str) -> Path:
    """The one file of this pattern in dist/."""
    (found,) = DIST.glob(pattern)
    return found


@pytest.fixture(scope="session")
def wheel() -> Path:
    return only("*.whl")


@pytest.fixture(scope="session")
def archive() -> Path:
    return only("*.tar.gz")


@pytest.fixture(scope="session")
def uv() -> str:
    beside = BIN / "uv"
    return str(beside) if beside.exists() else str(shutil.which("uv"))


def run(*command: str | Path, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing of this environment's Python."""
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    return subprocess.run(
        list(map(str, command)), cwd=cwd, env=kept | settings, capture_output=True, text=True, timeout=900, check=False
    )


def check(*command: str | Path, cwd: Path, **settings: str) -> str:
    """Run a command that must succeed; returns what it printed."""
    done = run(*command, cwd=cwd, **settings)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return done.stdout
