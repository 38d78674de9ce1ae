r"""``turnswap table --format latex``: the figures as a table for a paper, to ``\input`` or to paste."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

import jinja2

from turnswap.core.errors import visible

from . import sheets
from .table import Summary

_NAMED = {
    "\\": "textbackslash", "~": "textasciitilde", "^": "textasciicircum", "|": "textbar", "<": "textless",
    ">": "textgreater", '"': "textquotedbl", "'": "textquotesingle", "`": "textasciigrave", "–": "textendash",
}  # fmt: skip


def as_latex(summaries: Sequence[Summary]) -> str:
    """A table of language by turn with intervals: a block of rows per model, its signature as a note.

    It needs the packages ``booktabs`` and ``threeparttable``, and fonts in T1.
    """
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["tex"] = escaped
    template = environment.from_string((files(__package__) / "html" / "table.tex.j2").read_text("utf-8"))
    kinds = dict.fromkeys(summary.interval_of(summary.headline_scope) for summary in summaries)
    values = {"summaries": summaries, "sheets": sheets, "kinds": " or ".join(filter(None, kinds)) or "without"}
    text = template.render(**values, any_points=False)
    return template.render(**values, any_points=True) if f"[{sheets.POINT}]" in text else text


def escaped(text: str) -> str:
    """Text as LaTeX sets it, letter for letter."""
    signs = {letter: f"\\{name}{{}}" for letter, name in _NAMED.items()} | {c: f"\\{c}" for c in "&%$#_{}"}
    return "".join(signs.get(letter, letter) for letter in visible(text))
