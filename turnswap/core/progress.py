"""A bar that shows how far long work is, where standard error is a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

T = TypeVar("T")


def progress(items: Iterable[T], what: str) -> tqdm[T]:
    """The items, with a bar that goes away when they are through."""
    return tqdm(items, what, disable=None, leave=False)
