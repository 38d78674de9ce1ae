"""Sizes as people read them."""

from __future__ import annotations


def size(n_bytes: int) -> str:
    """Bytes for people, in powers of 1000.

    >>> size(538_000_000)
    '538.0 MB'
    """
    value = float(n_bytes)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"
