r"""``turnswap table --format latex``: the figures as a table for a paper, to ``\input`` or to paste."""

from __future__ import annotations

from collections.abc import Sequence

from turnswap.core.errors import visible

from .sheets import HEADLINE, SCOPES, percent, points
from .table import Figure, Summary

_SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "|": r"\textbar{}",
    "<": r"\textless{}", ">": r"\textgreater{}", '"': r"\textquotedbl{}", "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}", **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}  # fmt: skip
_BREAKS = "|,"  # a signature is long: it may go on in the next line after each of these


def as_latex(summaries: Sequence[Summary]) -> str:
    r"""A ``table`` of language by turn with intervals; a block of rows per model, its signature as a note.

    It needs the packages ``booktabs`` and ``threeparttable``, and fonts in T1.
    """
    letters = [_superscript(number) for number in range(len(summaries))]
    kinds = dict.fromkeys(s.interval_of(s.headline_scope) for s in summaries)
    caption = (
        f"Multi-IF: overall accuracy in per cent, {escaped(' or '.join(filter(None, kinds)) or 'without')} intervals."
    )
    header = " & ".join(["language", *map(escaped, HEADLINE), "n"]).replace("Δ 1→3", r"$\Delta_{1\to3}$")
    blocks = []
    for summary, letter in zip(summaries, letters, strict=True):
        name = rf"\multicolumn{{{len(HEADLINE) + 2}}}{{l}}{{{escaped(summary.model.name)}\tnote{{{letter}}}}} \\"
        blocks.append("\n".join([name, *(_row(summary, scope) for scope in summary.scopes)]))
    notes = [
        rf"\item[{letter}] {{\ttfamily {escaped(summary.signature, _BREAKS)}}}"
        for summary, letter in zip(summaries, letters, strict=True)
    ]
    return "\n".join([
        r"% \usepackage[T1]{fontenc}, \usepackage{textcomp}, \usepackage{booktabs}, \usepackage{threeparttable}",
        r"\begin{table}", r"\centering", r"\begin{threeparttable}", rf"\caption{{{caption}}}",
        rf"\small\setlength{{\tabcolsep}}{{3pt}}\begin{{tabular}}{{@{{}}l{'r' * (len(HEADLINE) + 1)}@{{}}}}", r"\toprule", rf"{header} \\", r"\midrule",
        "\n\\midrule\n".join(blocks), r"\bottomrule", r"\end{tabular}",
        r"\begin{tablenotes}\footnotesize\raggedright", *notes, r"\end{tablenotes}",
        r"\end{threeparttable}", r"\end{table}",
    ])  # fmt: skip


def _superscript(number: int) -> str:
    """``a`` to ``z``, then ``aa``, ``ab``, …"""
    return (chr(ord("a") + number // 26 - 1) if number >= 26 else "") + chr(ord("a") + number % 26)


def _row(summary: Summary, scope: str) -> str:
    scores = summary.scores(scope)
    change = points(scores.change).replace("-", "$-$").replace("+", "$+$")
    cells = [*map(_figure, (scores.average, *scores.turns)), change, str(summary.n(scope))]
    return rf"{escaped(SCOPES.get(scope, scope))} & {' & '.join(cells)} \\"


def _figure(figure: Figure) -> str:
    bounds = "" if figure.low != figure.low else rf" {{\scriptsize [{percent(figure.low)}, {percent(figure.high)}]}}"
    return percent(figure.value).replace("–", "--") + bounds


def escaped(text: str, breaks: str = "") -> str:
    r"""Text as LaTeX sets it, letter for letter; a line may break after each of ``breaks``."""
    return "".join(_SPECIAL.get(letter, letter) + r"\allowbreak{}" * (letter in breaks) for letter in visible(text))
