"""What holds for every page: on a phone, on paper, from the keyboard, and for who does not see it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from turnswap.commands.main import main
from turnswap.core.heat_maps import heat_chart, worded_colour, write_heat_maps

from .evaluations import evaluate, follows_share

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PAGES = ("report", "compare", "board", "maps")
# An A4 page less the margins that style.css asks for, in CSS pixels.
PAPER = {"width": 703, "height": 1009}
LONG = "organisation/a-model-with-a-very-long-name-70B-Instruct"


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one page of each kind, of two models in eight languages."""
    folder = tmp_path_factory.mktemp("pages")
    evaluate(folder / "a", LONG, follows_share(0.4))
    evaluate(folder / "b", "org/b", follows_share(0.8, "b"), model="scripted-tokens")
    for command, name in (("report", "report"), ("compare", "compare"), ("leaderboard", "board")):
        made = CliRunner().invoke(
            main, [command, str(folder / "a"), str(folder / "b"), "-o", str(folder / f"{name}.html")]
        )
        assert made.exit_code == 0, made.output
    write_heat_maps(folder, "maps.html", "A grid", {"grid": ("Differences", grid())}, {"metric": "x" * 20 + " y" * 99})
    return folder


def grid() -> Any:
    """A heat map of 16 columns, which is wider than a phone."""
    alt, pd = pytest.importorskip("altair"), pytest.importorskip("pandas")
    cells = [{"top": x, "bottom": y, "value": x - y} for x in range(16) for y in range(4)]
    chart = heat_chart(
        alt.Chart(pd.DataFrame(cells)),
        x=alt.X("top:O"),
        y=alt.Y("bottom:O"),
        tooltip=["value:Q"],
        colour=worded_colour(-15, 15, ("A better", "B better"), signed=True),
        digits=".1f",
        dark=abs(alt.datum.value) > 9,
    )
    return chart.properties(width=44 * 16, height=4 * 26)


@pytest.fixture
def open_page(browser: Browser, pages: Path) -> Iterator[Any]:
    opened = []

    def open_(name: str, **context: Any) -> Page:
        page = browser.new_page(**context)
        opened.append(page)
        page.goto((pages / f"{name}.html").as_uri())
        if page.locator(".chart").count():
            page.wait_for_selector("html[data-charts=drawn]", state="attached")
        return page

    yield open_
    for page in opened:
        page.close()


def show_everything(page: Page) -> None:
    """Open what is folded, and a conversation."""
    for details in page.query_selector_all("details"):
        details.evaluate("node => { node.open = true; }")
    if page.locator("#list button").count():
        page.locator("#list button").first.click()
        page.wait_for_selector(".said.reply")


# Of every text that is seen: its font's size as it appears, and what of it lies outside of its picture.
TEXTS = """() => {
  const found = [];
  for (const node of document.querySelectorAll("body *")) {
    const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
    const box = node.getBoundingClientRect();
    if (!own || !box.width || ["SCRIPT", "STYLE", "OPTION"].includes(node.tagName)) continue;
    const picture = node.closest("svg");
    const frame = picture?.getBoundingClientRect();
    const scale = picture ? frame.width / picture.width.baseVal.value : 1;
    const outside = picture ? Math.max(frame.left - box.left, box.right - frame.right, box.bottom - frame.bottom) : 0;
    found.push({ text: node.textContent.trim(), size: parseFloat(getComputedStyle(node).fontSize) * scale, outside });
  }
  return found;
}"""

# Pairs of labels of one chart that lie upon each other.
OVERLAPS = """() => [...document.querySelectorAll(".chart svg")].flatMap((picture) => {
  const labels = [...picture.querySelectorAll("text")].filter((node) => node.textContent && node.style.opacity !== "0");
  const boxes = labels.map((node) => ({ box: node.getBoundingClientRect(), text: node.textContent }));
  return boxes.flatMap((one, i) => boxes.slice(i + 1).filter((other) =>
    Math.min(one.box.right, other.box.right) - Math.max(one.box.left, other.box.left) > 1
    && Math.min(one.box.bottom, other.box.bottom) - Math.max(one.box.top, other.box.top) > 4,
  ).map((other) => `${one.text} / ${other.text}`));
})"""


@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone_nothing_is_too_small_cut_or_overlapping(open_page: Any, name: str) -> None:
    page = open_page(name, viewport={"width": 390, "height": 844})
    show_everything(page)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    texts = page.evaluate(TEXTS)
    assert len(texts) > 20
    assert [each for each in texts if each["size"] < 10.99] == []
    assert [each for each in texts if each["outside"] > 1] == []
    assert page.evaluate(OVERLAPS) == []


@pytest.mark.parametrize("name", ["report", "compare", "board"])
def test_on_a_phone_what_a_row_is_of_stays_while_its_figures_scroll(open_page: Any, name: str) -> None:
    page = open_page(name, viewport={"width": 390, "height": 844})
    table = page.locator(".scroll", has=page.locator("tbody tr")).first
    assert table.evaluate("node => node.scrollWidth > node.clientWidth")
    table.evaluate("node => { node.scrollLeft = 10000; }")
    head, row = table.bounding_box(), table.locator("tbody th").first.bounding_box()
    last = table.locator("tbody tr").first.locator("td").last.bounding_box()
    assert head is not None
    assert row is not None
    assert last is not None
    assert head["x"] <= row["x"] < row["x"] + row["width"] < last["x"]
    assert last["x"] + last["width"] <= 390


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_no_column_is_lost_and_no_figure_split(open_page: Any, name: str) -> None:
    page = open_page(name, viewport={"width": 1200, "height": 900}, color_scheme="dark")
    page.emulate_media(media="print")
    page.set_viewport_size(PAPER)  # type: ignore[arg-type]
    assert page.evaluate("document.documentElement.scrollWidth") == PAPER["width"]
    beyond = f"""() => [...document.querySelectorAll("th, td, svg, p, figure")]
      .filter((node) => node.getBoundingClientRect().right > {PAPER["width"]} + 1).map((node) => node.outerHTML)"""
    assert page.evaluate(beyond) == []
    styles = "(nodes, name) => [...new Set(nodes.map((node) => getComputedStyle(node)[name]))]"
    assert page.locator(".scroll").evaluate_all(styles, "overflowX") == ["visible"]
    assert page.locator("body *").evaluate_all(styles, "printColorAdjust") == ["exact"]
    figures = page.locator("figure")
    assert figures.evaluate_all(styles, "breakInside") in ([], ["avoid"])
    assert all(height < PAPER["height"] for height in figures.evaluate_all("nodes => nodes.map((n) => n.offsetHeight)"))
    assert not page.locator("#browser, form, nav").first.is_visible()


@pytest.mark.parametrize("name", ["report", "compare", "board"])
def test_a_printed_page_names_models_and_date_and_has_every_column(open_page: Any, name: str) -> None:
    pypdf = pytest.importorskip("pypdf", reason="reads what was printed; of the extra dev")
    page = open_page(name)
    assert LONG in page.title()
    assert page.title().endswith(page.evaluate("new Date().toISOString().slice(0, 10)"))
    assert page.title() == page.inner_text("h1")
    wanted = page.locator("thead th:visible").all_inner_texts()
    printed = [sheet.extract_text() for sheet in pypdf.PdfReader(io.BytesIO(page.pdf(format="A4"))).pages]
    together = "".join("".join(printed).split())
    assert [text for text in wanted if "".join(text.split()) not in together] == []
    for sheet in printed:
        assert "".join(page.title().split()) in "".join(sheet.split())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing_serious(open_page: Any, name: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="brings axe-core; of the extra dev")
    page = open_page(name, color_scheme=scheme)
    show_everything(page)
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run(document)")
    assert len(found["passes"]) > 20
    assert [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]] == []


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_landmarks_and_headings_without_gaps(open_page: Any, name: str) -> None:
    page = open_page(name)
    show_everything(page)
    for landmark in ("header", "main", "footer"):
        assert page.locator(f"body > {landmark}").count() == 1
    levels = page.locator("h1, h2, h3, h4").evaluate_all("nodes => nodes.map((node) => Number(node.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(levels))
    assert page.locator("table th:not([scope])").count() == 0
    described = page.locator(".chart").evaluate_all("nodes => nodes.map((node) => node.getAttribute('aria-label'))")
    assert all(described)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_transcripts_are_chosen_with_the_keyboard(open_page: Any) -> None:
    page = open_page("report")
    page.locator("#next").focus() if page.is_enabled("#next") else page.locator("[name=text]").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.number") == "0"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector('#list button[data-number="2"][aria-current=true]')
    assert page.evaluate("document.activeElement.id") == "conversation"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.number") == "2"
    page.keyboard.press("End")
    assert page.evaluate("document.activeElement.dataset.number") == "95"
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.dataset.number") == "0"
