"""Charts as files for a paper: one per chart and format, in black on white, and none overwrites another."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("vl_convert", reason="needs the extra report")

from tests.conftest import Turnswap
from turnswap.reports.charts import write_charts
from turnswap.reports.table import Summary

from .evaluations import evaluate, follows_share
from .made import made_without_samples


def of(name: str) -> Summary:
    return made_without_samples(name, (0.75, 0.5, 0.25), en=(4, 4))


def colours(svg: str) -> set[str]:
    """Of lines and areas, as they are written."""
    return set(re.findall(r'(?:fill|stroke)="([^"]+)"', svg)) - {"none", "transparent"}


def test_lines_are_black_on_white_and_told_apart_by_dashes_and_shapes(tmp_path: Path) -> None:
    write_charts([of("org/a"), of("org/b")], tmp_path)
    svg = (tmp_path / "overall-accuracy-per-turn-en.svg").read_text("utf-8")
    assert {"black", "white"} < colours(svg)
    greys = [colour.strip("#") for colour in colours(svg) - {"black", "white"}]
    assert [grey for grey in greys if grey != grey[: len(grey) // 3] * 3] == []
    assert "stroke-dasharray" in svg
    for name in ("org/a", "org/b"):
        assert f">{name}</text>" in svg  # a page has its legend elsewhere
    assert "currentColor" not in svg


def test_each_chart_is_an_svg_and_a_pdf(turnswap: Turnswap, tmp_path: Path) -> None:
    results = evaluate(tmp_path / "results", "org/a", follows_share(0.5), tasks=("multiif_en",))
    made = turnswap("report", results, "--charts", "charts", "--resamples", 200)
    assert made.exit_code == 0, made.output
    names = {path.stem for path in (tmp_path / "charts").iterdir()}
    assert names == {
        "overall-accuracy-per-turn-en",
        "overall-accuracy-by-language-and-turn-org-a",
        "what-became-of-instructions-between-turns-org-a",
        "instructions-followed-by-family-and-turn-org-a",
        "instructions-followed-by-instruction-and-turn-org-a",
    }
    for name in names:
        assert (tmp_path / "charts" / f"{name}.svg").read_text("utf-8").startswith("<svg")
        assert (tmp_path / "charts" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    flows = (tmp_path / "charts" / "what-became-of-instructions-between-turns-org-a.svg").read_text("utf-8")
    assert not {"#009e73", "#d55e00", "#56b4e9"} & colours(flows)


def test_names_that_differ_in_signs_alone_do_not_overwrite_each_other(tmp_path: Path) -> None:
    written = write_charts([of("org/a"), of("org-a"), of("Org a")], tmp_path)
    assert len(written) == len(set(written)) == 2 * (1 + 3) == len(list(tmp_path.iterdir()))
    assert (tmp_path / "overall-accuracy-by-language-and-turn-org-a-3.pdf").is_file()
