"""What several commands take: files, folders, and options that go together."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeAlias

import click

ANYTHING = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
Command: TypeAlias = Callable[..., None]


def together(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """A decorator that gives a command several options, shown in this order."""
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)
