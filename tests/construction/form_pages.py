"""A sheet's page in a browser, filled in as a person would."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def export(page: Page, path: Path) -> Path:
    with page.expect_download() as download:
        page.click("#export")
    download.value.save_as(path)
    return path


def choose(page: Page, number: int, decision: str) -> None:
    page.locator("article").nth(number).locator(f"[value='{decision}']").check()
