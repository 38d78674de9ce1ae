"""What to write instead: a parameter's value that will not do, and the spelling of what was probably meant."""

from __future__ import annotations

import re
from typing import Any, get_args

from .zones import PAPER_DEPTHS, Choice

SETS = ("layers", "blend_layers", "revert")
DEPTHS = ("transition", *PAPER_DEPTHS)
RANGES = re.compile(r"\s*\d+\s*(-\s*\d+\s*)?(,\s*\d+\s*(-\s*\d+\s*)?)*|none")
SEXAGESIMAL = 60  # YAML 1.1 reads 1:2 as 1 * 60 + 2


def is_ambiguous(name: str, value: object) -> bool:
    """Whether a set of layers is a number that YAML may have made of something else, such as ``1:2``."""
    return name in SETS and type(value) is int and value >= SEXAGESIMAL


def is_unreadable(name: str, value: object) -> bool:
    """Whether a text is no set of layers."""
    return name in SETS and isinstance(value, str) and not RANGES.fullmatch(value)


def what_to_write(name: str, value: Any) -> str:
    """Advice for a value of a parameter that was refused; empty where nothing is to be guessed."""
    if name in SETS:
        return _for_layers(name, value)
    text = str(value).strip().strip("'\"").lower()
    if name in DEPTHS:
        if isinstance(value, bool):
            return f"Write a number: {name}: 1."
        if whole := re.fullmatch(r"(\d+)(\.0*)?", text):
            return f"Write {name}: {int(whole[1])}."
        return f"Write {name}: auto." if text == "auto" else f"Write a number of layers, such as {name}: 2, or auto."
    if name == "blend":
        number = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%?", text.replace(",", "."))
        share = float(number[1]) / (1 if "%" not in text and float(number[1]) <= 1 else 100) if number else 2.0
        return f"Write blend: {share:g}." if share <= 1 else "Write the donor's share, such as blend: 0.5."
    if name == "invert":
        return "Write invert: true or invert: false."
    return f"Write {name}: {text}." if text in (*get_args(Choice), "pretrained") else ""


def _for_layers(name: str, value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return f'Write which layers, in quotes: {name}: "0-4".'
    if is_ambiguous(name, value):
        minutes, rest = divmod(value, SEXAGESIMAL)
        return f'Write {name}: "{value}" for that layer, or {name}: "{minutes}-{rest}" for a range.'
    text = re.sub(r"\s*(?:[:\u2010-\u2015\u2212]|\.{2,3}|\bto\b)\s*", "-", str(value).strip().strip("[](){}'\""))
    text = re.sub(r"\s*[;,]\s*|(?<=\d)\s+(?=\d)", ",", text)
    if RANGES.fullmatch(text):
        return f'Write {name}: "{text}" (both ends of a range belong to it).'
    return f'Write layers and ranges of them, in quotes: {name}: "0-4,30-31".'
