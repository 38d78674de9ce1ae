"""The page of ``turnswap analyze`` in a real browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from turnswap.reports.heat_maps import TITLES, write_pictures


def rows(layers: int = 4) -> list[dict[str, Any]]:
    """Donor and recipient that change the more the deeper, and places outside the layers."""
    places = [
        (None, "embeddings"),
        *((layer, part) for layer in range(layers) for part in ("q", "down")),
        (None, "head"),
    ]
    return [
        {
            "layer": layer,
            "component": component,
            "expert": expert,
            "relative": None if component == "head" else (layer or 0) * (0.01 if expert == "donor" else 0.02),
            "cosine": None if component == "head" else 0.1 * (layer or 0) - 0.2,
        }
        for layer, component in places
        for expert in ("recipient", "donor")
    ]


def test_the_page_draws_its_heat_maps_without_a_complaint(browser: Browser, tmp_path: Path) -> None:
    facts = {
        "models": {"base": "base", "recipient": "<img src=x onerror=alert(1)>", "donor": "donor"},
        "ancestor": {"recipient": {"verdict": "yes", "reason": "close"}, "donor": {"verdict": "no", "reason": "far"}},
    }
    written = write_pictures(rows(), facts, tmp_path)
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
    assert "no: far" in page.inner_text("body")
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert said == []
    page.close()
