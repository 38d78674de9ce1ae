"""The page of ``turnswap analyze`` in a real browser."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("mergekit", reason="needs mergekit, of the extra merge")

from turnswap.commands.analysis_view import TITLES, write_pictures
from turnswap.merge_methods.analysis_file import Analysis, Cell, ExpertChange

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def cell(layer: int | None, component: str) -> Cell:
    """Donor and recipient that change the more the deeper; the head has no norm to compare with."""
    depth = layer or 0
    recipient, donor = (math.nan if component == "head" else depth * step for step in (0.02, 0.01))
    changes = [ExpertChange(0.1, relative, 1.0, 0.0, None, 1.0) for relative in (recipient, donor)]
    return Cell(layer, component, 4, 1.0, *changes, math.nan if component == "head" else 0.1 * depth - 0.2)


def analysis(models: dict[str, str], layers: int = 4) -> Analysis:
    inner = [cell(layer, part) for layer in range(layers) for part in ("q", "down")]
    return Analysis(models, layers, [cell(None, "embeddings"), *inner, cell(None, "head")])


def test_the_page_draws_its_heat_maps_without_a_complaint(browser: Browser, tmp_path: Path) -> None:
    models = {"base": "base", "recipient": "<img src=x onerror=alert(1)>", "donor": "donor"}
    written = write_pictures(analysis(models), tmp_path)
    assert {path.name for path in written} == {"analysis.html", *(f"{name}.png" for name in TITLES)}
    page = browser.new_page(viewport={"width": 375, "height": 700})
    said: list[str] = []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto((tmp_path / "analysis.html").as_uri())
    page.wait_for_selector("html[data-charts=drawn]", state="attached")
    for name in TITLES:
        assert page.locator(f"#{name} svg .mark-rect path").count() == 10
    assert page.locator("img").count() == 0
    assert "donor comes from base\tyes: ||change||" in page.inner_text("body")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert said == []
    page.close()
