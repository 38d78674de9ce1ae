"""Draw the pictures of the demo again, after ``make demo``: ``python docs/scripts/demo_images.py``.

``docs/images/report.png`` is the first screen of ``demo-output/report.html``; ``docs/images/demo.svg`` is the
swap (its plan and its proof) and the last screen.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright
from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
OUT = ROOT / "demo-output"


def draw_report() -> None:
    """The report's first screen."""
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto((OUT / "report.html").as_uri())
        page.wait_for_selector("figure svg, figure canvas")
        page.screenshot(path=IMAGES / "report.png")
        browser.close()


def draw_terminal() -> None:
    """The plan, the proof and the last screen, as a terminal shows them."""
    console = Console(record=True, width=120, file=(OUT / "logs" / "screen.tmp").open("w"), color_system="truecolor")
    said = (OUT / "logs" / "screen.txt").read_text("utf-8")
    plan = said[said.rindex("$ turnswap plan") :].partition("\n  done in")[0]
    for line in [*plan.splitlines(), "", *said[said.rindex("Done in ") :].splitlines()]:
        console.print(Text(line, style="bold" if line.startswith(("$", "[", "Done")) else ""), soft_wrap=False)
    console.save_svg(str(IMAGES / "demo.svg"), title="make demo")
    (OUT / "logs" / "screen.tmp").unlink()


if __name__ == "__main__":
    draw_report()
    draw_terminal()
