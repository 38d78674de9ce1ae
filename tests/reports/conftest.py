"""The report opened in a real browser, and the table read from result folders."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import Result

from tests.conftest import Turnswap

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


class Opened:
    """A page, and what it said and asked for while it was open."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", lambda request: self.requests.append(request.url))

    def found(self) -> int:
        text = self.page.inner_text("#found")
        return int(text.split()[0]) if text[0].isdigit() else 0

    def choose(self, **filters: str) -> int:
        for name, label in filters.items():
            self.page.select_option(f"[name={name}]", label=label)
        return self.found()


@pytest.fixture
def open_report(browser: Browser, turnswap: Turnswap, tmp_path: Path) -> Iterator[Any]:
    pages = []

    def build_and_open(*arguments: object, **context: Any) -> Opened:
        made = turnswap("report", *arguments, "-o", "report.html")
        assert made.exit_code == 0, made.output
        page = browser.new_page(**context)
        pages.append(page)
        opened = Opened(page)
        page.goto((tmp_path / "report.html").as_uri())
        page.wait_for_selector("html[data-charts=drawn]", state="attached")
        return opened

    yield build_and_open
    for page in pages:
        page.close()


@pytest.fixture
def read(turnswap: Turnswap) -> Callable[..., Result]:
    """turnswap table, whose rows lie in t.csv."""
    return lambda *arguments: turnswap("table", *arguments, "-o", "t.csv", "--resamples", 100)
