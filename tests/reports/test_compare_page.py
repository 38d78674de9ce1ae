"""The page of ``turnswap compare``: both models' replies side by side, with what was gained and lost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.conftest import Turnswap, make_row, write_csv
from turnswap.reports.charts import difference_maps
from turnswap.reports.compare import Comparison, compare
from turnswap.reports.figures import Resampling
from turnswap.reports.page import transcripts
from turnswap.reports.reading import Reading, read_models

from .evaluations import FOLLOWS, evaluate

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NOTHING = "No, nothing"  # no title, a comma, no rain


def follows(*places: tuple[int, int]) -> Callable[[str], str]:
    """Replies that follow every instruction in these conversations and turns, and none elsewhere."""

    def reply(prompt: str) -> str:
        found = re.search(r"about (\d+):1:", prompt)
        assert found
        return FOLLOWS if (int(found[1]), prompt.count("<user>")) in places else NOTHING

    return reply


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """70 conversations, more than a block of pairs; B gains in 3 and 69, and loses in 5."""
    folder = tmp_path_factory.mktemp("compared")
    data = write_csv(folder / "data.csv", [make_row(f"{n:02}:1:en") for n in range(70)])
    same = [(8, 1), (8, 2), (8, 3)]
    for name, own in (("a", [(5, 1), (5, 2)]), ("b", [(3, 1), (69, 3)])):
        evaluate(folder / name, f"org/{name}", follows(*same, *own), data=data, tasks=("multiif_en",))
    return folder


@pytest.fixture(scope="module")
def comparison(results: Path) -> Comparison:
    a, b = read_models([str(results / "a"), str(results / "b")], Reading())
    return compare(a, b, Resampling(200))


@pytest.fixture
def page(browser: Browser, turnswap: Turnswap, results: Path, tmp_path: Path) -> Iterator[Page]:
    made = turnswap("compare", results / "a", results / "b", "-o", "page.html", "--resamples", 200)
    assert made.exit_code == 0, made.output
    said: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url))
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_selector("html[data-charts=drawn]", state="attached")
    yield page
    page.close()
    assert said == [(tmp_path / "page.html").as_uri()]


def keys(page: Page) -> list[str]:
    return [text.split()[1] for text in page.locator("#list button > span:first-child").all_inner_texts()]


def test_its_tables_are_the_commands(page: Page, turnswap: Turnswap, results: Path) -> None:
    printed = turnswap("compare", results / "a", results / "b", "--resamples", 200).output
    shown = page.locator("#differences ~ .scroll tbody tr").all_inner_texts()
    assert len(shown) == 4 + 3 + 3  # turns and their mean; instructions that changed; conversations to look at
    for row in shown:
        assert all(cell in printed for cell in row.split("\t"))


def test_it_opens_with_the_conversations_that_changed_and_can_show_all(page: Page) -> None:
    assert keys(page) == ["03:1:en", "05:1:en", "69:1:en"]
    page.select_option("[name=change]", label="gained")
    assert keys(page) == ["03:1:en", "69:1:en"]
    page.select_option("[name=change]", label="lost")
    assert keys(page) == ["05:1:en"]
    page.select_option("[name=turn]", label="3")
    assert keys(page) == []
    page.select_option("[name=turn]", label="any")
    page.select_option("[name=instruction]", label="keywords:existence")
    assert keys(page) == []  # lost in the turns before it was asked
    page.select_option("[name=instruction]", label="any")
    page.select_option("[name=change]", label="any")
    assert len(keys(page)) == 70


def test_both_replies_to_a_turn_stand_side_by_side_with_what_changed(page: Page) -> None:
    page.locator("#list button").nth(1).click()
    page.wait_for_selector(".said.reply")
    assert page.locator(".said.user").count() == 3
    assert page.locator(".replies p").all_inner_texts()[:2] == ["A: org/a", "B: org/b"]
    replies = page.locator(".said.reply").all_inner_texts()
    assert replies == [FOLLOWS, NOTHING, FOLLOWS, NOTHING, NOTHING, NOTHING]
    one, other = (page.locator(".said.reply").nth(n).bounding_box() for n in (0, 1))
    assert one is not None
    assert other is not None
    assert one["y"] == other["y"]
    assert one["x"] + one["width"] < other["x"]
    assert page.locator(".replies").nth(1).locator(".change").all_inner_texts() == ["lost", "lost"]
    assert page.locator(".replies").nth(2).locator(".change").count() == 0
    page.locator("#list button").first.click()
    page.wait_for_selector("#conversation h3:has-text('03:1:en')")
    assert page.locator(".change").all_inner_texts() == ["gained"]


def test_words_are_searched_in_the_replies_of_both(page: Page) -> None:
    page.fill("[name=text]", "RAIN FALLS")
    page.wait_for_timeout(200)
    page.wait_for_selector("#searching[hidden]", state="attached")
    assert keys(page) == ["03:1:en", "05:1:en", "69:1:en"]
    page.select_option("[name=change]", label="any")
    page.wait_for_selector("#list li:nth-child(4)")
    assert keys(page) == ["03:1:en", "05:1:en", "08:1:en", "69:1:en"]


def test_maps_of_differences_share_a_scale_that_is_symmetric_and_says_who_is_better(comparison: Comparison) -> None:
    maps = difference_maps(comparison, "overall_acc")
    domains = [colour_of(spec)["scale"]["domain"] for spec in maps.values()]
    assert domains[0] == domains[1]
    low, middle, high = domains[0]
    assert (-low, middle) == (high, 0)
    for spec in maps.values():
        assert "A better" in colour_of(spec)["legend"]["labelExpr"].split("?")[1].split(":")[1]
        largest = max(abs(row["better"]) for rows in spec["datasets"].values() for row in rows)
        assert largest <= high


def test_where_less_is_better_the_colour_says_so(comparison: Comparison) -> None:
    spec = difference_maps(comparison, "forgetting")["by-language"]
    rows = [row for rows in spec["datasets"].values() for row in rows]
    assert any(row["value"] for row in rows)
    assert all(row["better"] == -row["value"] for row in rows)


def colour_of(spec: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = spec["layer"][0]["encoding"]["color"]
    return found


def test_pairs_stand_together_in_one_block(comparison: Comparison) -> None:
    summaries = [comparison.a, comparison.b]
    index, blocks = transcripts(summaries, paired=True)
    entries = index["conversations"]
    assert [entry[0] for entry in entries] == [0, 1] * 70
    assert [entry[1:4] for entry in entries[::2]] == [entry[1:4] for entry in entries[1::2]]
    assert index["block"] % 2 == 0
    assert len(blocks) == 3
