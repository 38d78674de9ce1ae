"""Draw ``docs/images/report.png``, the first screen of the demo's report: ``python docs/scripts/report_picture.py``.

Run ``make demo`` before.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.goto((ROOT / "demo-output" / "report.html").as_uri())
        page.wait_for_selector("figure svg, figure canvas")
        page.screenshot(path=ROOT / "docs" / "images" / "report.png")
        browser.close()
