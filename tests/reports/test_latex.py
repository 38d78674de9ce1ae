"""The table for a paper: what it holds, that it compiles, and that no name can act in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Turnswap
from turnswap.reports.latex import as_latex, escaped

from .evaluations import evaluate, follows_share
from .made import made, made_without_samples

EVIL = r"a\b{c}$x_1^2$ 50% #1 & ~tilde `q' \"z | <d> \input{/etc/passwd}"
HALF = [(1, 1, 0), (1, 0, 0), (1, 1, 1), (0, 0, 0)]


def compiled(table: str, folder: Path) -> str:
    """What LaTeX says of a paper with this table."""
    if not shutil.which("pdflatex"):
        pytest.skip("needs pdflatex with booktabs and threeparttable: Debian's texlive-latex-extra")
    packages = "".join(
        f"\\usepackage{name}" for name in ("[T1]{fontenc}", "{textcomp}", "{booktabs}", "{threeparttable}")
    )
    paper = f"\\documentclass{{article}}{packages}\\begin{{document}}{table}\\end{{document}}"
    (folder / "paper.tex").write_text(paper, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "paper.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
    said = done.stdout.decode("utf-8", "replace")
    assert done.returncode == 0, said[-2000:]
    assert (folder / "paper.pdf").read_bytes().startswith(b"%PDF")
    return said


def test_it_is_language_by_turn_with_intervals_and_the_signature_as_a_note() -> None:
    summary = made("org/a", en=HALF, zh=HALF)
    table = as_latex([summary])
    assert table.count("\n\\midrule\n") == 1
    rows = {line.split(" & ")[0]: line for line in table.splitlines() if line.endswith(r"\\")}
    assert next(iter(rows)) == "language"
    assert [name for name in rows if name in ("en", "zh", "macro mean", "pooled")] == [
        "en",
        "zh",
        "macro mean",
        "pooled",
    ]
    scores = summary.scores("en")
    cells = rows["en"].removesuffix(r" \\").split(" & ")
    assert len(cells) == 7
    assert cells[2].startswith(f"{100 * scores.turns[0].value:.1f} ")
    assert f"[{100 * scores.turns[0].low:.1f}, {100 * scores.turns[0].high:.1f}]" in cells[2]
    assert cells[5] == "$-$50.0"
    assert r"org/a\tnote{1}" in table
    note = next(line for line in table.splitlines() if line.startswith(r"\item[1]"))
    plain = re.sub(r"\\allowbreak\{\}", "", note).replace(r"\textbar{}", "|").replace(r"\_", "_")
    assert summary.signature in plain
    assert r"\thanks" not in table


def test_a_table_of_several_models_compiles_within_the_width_of_a_page(tmp_path: Path) -> None:
    models = [made("org/a", en=HALF, zh=HALF), made("org/b-" + "long-" * 9, en=HALF, zh=HALF)]
    assert "Overfull" not in compiled(
        as_latex([*models, made_without_samples("bare", (0.5, 0.4, 0.3), en=(4, 4))]), tmp_path
    )


def test_names_are_set_letter_for_letter(tmp_path: Path) -> None:
    assert escaped("50% of a_b") == r"50\% of a\_b"
    assert escaped("a|b – c") == r"a\textbar{}b \textendash{} c"
    assert escaped("\\input{x}") == r"\textbackslash{}input\{x\}"
    compiled(as_latex([made(EVIL, {"description": EVIL}, en=HALF)]), tmp_path)


def test_the_command_prints_it_or_writes_it(turnswap: Turnswap, tmp_path: Path) -> None:
    results = evaluate(tmp_path / "results", "org/a", follows_share(0.5), tasks=("multiif_en",))
    printed = turnswap("table", results, "--format", "latex", "--resamples", 200)
    assert printed.exit_code == 0
    assert r"\begin{threeparttable}" in printed.stdout
    assert turnswap("table", results, "-o", "figures.tex", "--resamples", 200).exit_code == 0
    assert (tmp_path / "figures.tex").read_text("utf-8") == printed.stdout
    refused = turnswap("table", results)
    assert refused.exit_code == 1
    assert "-o figures.parquet" in refused.output


def test_an_interval_without_width_is_called_so_and_explained_only_where_there_is_one() -> None:
    table = as_latex([made("org/a", en=[(1, 1, 1)] * 20)])
    assert table.count("[zero width]") == 4
    assert "not certainty" in table
    assert "ero width" not in as_latex([made("org/b", en=[(1, 1, 0), (0, 1, 1), (1, 0, 0)] * 10)])
