"""The leaderboard's page in a real browser: it ranks as the command does, and nothing in a name can act."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from turnswap.core.pages import json_for_script
from turnswap.reports.leaderboard import Board, build_board
from turnswap.reports.leaderboard_formats import as_page, as_sheets
from turnswap.reports.table import Summary

from .made import benchmark, made, made_without_samples

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ATTACKS = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(1)</script>",
    '"><b onclick="alert(1)">{{ 7 * 7 }}',
    "<!--<script>",
)
HALF, THIRD = [(1, 1, 0), (1, 0, 0), (1, 1, 1), (0, 0, 0)], [(1, 0, 0), (1, 1, 0), (0, 0, 0), (1, 1, 1)]
# 13 of 16 are 81.25 %, a tie between two digits.
TIE = [(1, 1, 1)] * 13 + [(0, 0, 0)] * 3


def models() -> list[Summary]:
    return [
        made("even", en=TIE, zh=TIE, fr=TIE),
        made("english", en=[(1, 1, 1)] * 16, zh=[(0, 0, 0)] * 16, fr=HALF * 4),
        made("chinese", en=[(0, 0, 0)] * 16, zh=[(1, 1, 1)] * 16, fr=THIRD * 4),
        made_without_samples("bare", (0.5, 0.4, 0.3), en=(16, 16), zh=(16, 16), fr=(16, 16)),
    ]


@pytest.fixture
def open_board(browser: Browser, tmp_path: Path) -> Iterator[Any]:
    """Opens a board's page; at the end it must not have complained, asked, or loaded anything."""
    complaints: list[str] = []
    requests: list[str] = []
    pages = []
    address = (tmp_path / "board.html").as_uri()

    def open_(board: Board, **options: Any) -> Page:
        (tmp_path / "board.html").write_text(as_page(board), encoding="utf-8")
        page = browser.new_page(**options)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(address)
        pages.append(page)
        return page

    yield open_
    for page in pages:
        page.close()
    assert complaints == []
    assert set(requests) == {address}


def cells(page: Page) -> list[list[str]]:
    """What the table shows, hidden columns left out."""
    found: list[list[str]] = page.evaluate(
        "[...document.querySelectorAll('#ranking tbody tr')].map((row) => [...row.cells].filter((cell) => !cell.hidden)"
        ".map((cell) => cell.innerText.trim().replace(/\\s+/g, ' ')))"
    )
    return found


def choose(page: Page, codes: Sequence[str]) -> None:
    for code in codes:
        page.check(f"#languages [value={code}]")
    for box in page.query_selector_all("#languages input"):
        if box.get_attribute("value") not in codes:
            box.uncheck()


def expected(summaries: Sequence[Summary], codes: Sequence[str]) -> list[list[str]]:
    return [list(row) for row in as_sheets(build_board(summaries, codes), wide=True)[0].rows]


def test_the_page_shows_what_the_command_prints_with_and_without_javascript(open_board: Any) -> None:
    board = build_board(models())
    with_script, without = open_board(board), open_board(board, java_script_enabled=False)
    assert cells(with_script) == expected(models(), ["en", "zh", "fr"])
    assert without.locator("#languages").is_hidden()
    assert without.locator("#ranking button").count() == 0
    texts = [
        row.all_inner_texts()
        for row in (without.locator("#ranking tbody tr").nth(i).locator("th, td") for i in range(4))
    ]
    assert [[" ".join(text.split()) for text in row] for row in texts] == cells(with_script)
    assert "81.2 [" in cells(with_script)[0][2]


def test_every_choice_of_languages_is_ranked_as_the_command_ranks_it(open_board: Any) -> None:
    page = open_board(build_board(models()))
    ranked = set()
    for size in (2, 1, 3):
        for codes in combinations(("en", "zh", "fr"), size):
            choose(page, codes)
            assert cells(page) == expected(models(), codes)
            ranked.add(tuple(row[0] + row[1] for row in cells(page)))
            assert page.locator("#chosen").is_hidden() == (size == 3)
    assert len(ranked) > 3  # the choice mattered
    choose(page, ["en", "fr"])
    assert page.inner_text("#chosen").endswith("turnswap leaderboard RESULT... --languages en,fr")


def test_there_is_always_a_language(open_board: Any) -> None:
    page = open_board(build_board(models()))
    choose(page, ["zh"])
    page.locator("#languages [value=zh]").click()
    assert page.locator("#languages [value=zh]").is_checked()
    assert cells(page) == expected(models(), ["zh"])


def test_the_papers_average_is_its_own_and_its_languages_are_averaged(open_board: Any) -> None:
    page = open_board(build_board([benchmark("mine")]))

    def row(name: str) -> list[str]:
        (found,) = [row for row in cells(page) if row[1] == f"{name} published"]
        return found

    assert row("Claude-3.5-Sonnet")[:7] == ["–", "Claude-3.5-Sonnet published", "71.9", "81.7", "70.5", "63.4", "-18.3"]
    choose(page, ["en", "it"])
    assert row("Claude-3.5-Sonnet")[2:] == ["–"] * 7
    # The paper's English is 87.4, 78.4, 70.1 and its Italian 87.8, 76.0, 64.7.
    assert row("GPT-4o")[2:] == ["77.4", "87.6", "77.2", "67.4", "-20.2", "78.6", "76.2"]


def test_columns_sort_by_click_both_ways_and_say_so(open_board: Any) -> None:
    page = open_board(build_board(models()))

    def order() -> list[str]:
        return [row[1] for row in cells(page)]

    page.click("th[data-key=zh] button")
    assert order() == ["chinese", "even", "bare", "english"]
    assert page.get_attribute("th[data-key=zh]", "aria-sort") == "descending"
    page.click("th[data-key=zh] button")
    assert order() == ["english", "bare", "even", "chinese"]
    assert page.get_attribute("th[data-key=zh]", "aria-sort") == "ascending"
    page.focus("th[data-key=model] button")
    page.keyboard.press("Enter")
    assert order() == ["bare", "chinese", "english", "even"]
    assert page.locator("th[aria-sort]").count() == 1


def test_names_are_text(open_board: Any) -> None:
    page = open_board(build_board([made(name, en=HALF, zh=HALF) for name in ATTACKS]))
    choose(page, ["en"])
    page.click("th[data-key=model] button")
    assert sorted(row[1] for row in cells(page)) == sorted(ATTACKS)
    assert all(f"{name}: multiif:1.0|" in page.inner_text("footer") for name in ATTACKS)
    assert page.locator("img, b").count() == 0


def test_json_cannot_leave_its_script_element() -> None:
    written = json_for_script({"name": "</script><!--\u2028"})
    assert written == '{"name":"\\u003c/script>\\u003c!--\\u2028"}'
    assert json.loads(written) == {"name": "</script><!--\u2028"}


def test_a_script_that_is_not_the_pages_own_does_not_run(browser: Browser, tmp_path: Path) -> None:
    changed = as_page(build_board(models())).replace("<script>", "<script>document.title = 'owned';", 1)
    (tmp_path / "changed.html").write_text(changed, encoding="utf-8")
    page = browser.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto((tmp_path / "changed.html").as_uri())
    assert page.title() == "Multi-IF leaderboard"
    assert any("Content Security Policy" in complaint for complaint in complaints)
    assert len(page.locator("#ranking tbody tr").all()) == 4
    page.close()


def test_on_a_phone_only_the_table_scrolls_and_dark_is_dark(open_board: Any) -> None:
    summaries = [made("organisation/a-model-with-a-very-long-name-70B-Instruct", en=HALF, zh=HALF)]
    page = open_board(build_board(summaries), viewport={"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    assert page.evaluate("document.querySelector('.scroll').scrollWidth") > 360
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(18, 22, 28)"
    page.emulate_media(media="print")
    assert page.locator("#languages").is_hidden()


def test_the_footer_has_signatures_and_says_which_boards_are_alive(open_board: Any) -> None:
    page = open_board(build_board(models()))
    footer = page.inner_text("footer")
    assert "even: multiif:1.0|langs:en+zh+fr|n:48/48|" in footer
    assert "The Open LLM Leaderboard closed in March 2025 and takes no submissions." in footer
    assert "bare is not ranked" in footer
