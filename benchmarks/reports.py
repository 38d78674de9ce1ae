"""Reports at full size: 4,501 conversations in 8 languages, 25 MB of replies, saved by lm-eval itself.

Bootstrap: every figure of every language, macro and pooled ones, 10,000 resamples, against the plain loop that
draws and sums one resample at a time. Verdicts: read back from the samples, against grading all replies again.
Page: built, and opened in headless Chromium, against an empty page.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np

from tests.conftest import make_row, write_csv
from tests.reports.evaluations import evaluate
from tests.reports.made import CONVERSATIONS
from turnswap.reports import figures
from turnswap.reports.page import build_page
from turnswap.reports.reading import Reading, read_models
from turnswap.reports.table import Summary
from turnswap.reports.verdicts import corrected_verdicts, published_verdicts
from turnswap.tasks.multiif.dataset import LANGUAGES

BYTES_PER_REPLY = 1_870  # 25 MB in 13,447 replies
ALPHABETS = {"zh": "的一是不了人我在有他这中大来上国", "ru": "оеаинтсрвлкмдпу", "hi": "कखगघचजटडतदनपबमयरलवसह"}


def full_run(folder: Path) -> Path:
    """A whole run's results and samples: real files of lm-eval's, replies of pseudo-words in each script."""
    counts = CONVERSATIONS.items()
    rows = [make_row(f"{n}:1:{code}", LANGUAGES[code], 2 if n < 8 else 3) for code, of in counts for n in range(of)]
    data = write_csv(folder / "full.csv", rows)

    def reply(prompt: str) -> str:
        key = prompt.split("Write about ")[1].split(".")[0]
        drawn = random.Random(f"{key} {len(prompt)}")
        letters = ALPHABETS.get(key[-2:], "etaoinshrdlucmfw")
        words = ["".join(drawn.choices(letters, k=drawn.randint(2, 9))) for _ in range(400)]
        opening = "<<Title>>\n\n" if drawn.random() < 0.6 else ""
        text = opening + " ".join(drawn.choices([*words, "rain", "so,"], k=700))
        return text.encode()[:BYTES_PER_REPLY].decode("utf-8", "ignore")

    evaluate(folder / "results", "org/full", reply, data=data)
    return folder / "results"


def one_resample_at_a_time(by_language: dict[str, figures.Sums], resamples: int) -> float:
    """Seconds per resample of the plain loop, over all languages."""
    generator = np.random.default_rng(0)
    sources = sorted({source for each in by_language.values() for source in each.sources})
    places = [np.searchsorted(sources, each.sources) for each in by_language.values()]
    start = time.perf_counter()
    for _ in range(resamples):
        times = generator.poisson(1, len(sources))
        pairs = [each.pairs for each in by_language.values()]
        sums = [np.tensordot(times[place], array, 1) for place, array in zip(places, pairs, strict=True)]
        for total in [*sums, sum(sums)]:
            figures.from_sums(np.asarray(total, dtype=float))
    return (time.perf_counter() - start) / resamples


def bench_bootstrap(summary: Summary) -> None:
    resampling = figures.Resampling()
    start = time.perf_counter()
    estimates = figures.estimate(summary.sums, resampling)
    for estimate in estimates.values():
        estimate.interval(resampling.level)
    ours = time.perf_counter() - start
    loop = one_resample_at_a_time(summary.sums, 300) * resampling.resamples
    n = summary.n(figures.POOLED)
    print(f"bootstrap: {loop / ours:.0f} times faster than one resample at a time "
          f"({n} conversations, {resampling.resamples} resamples, {len(estimates) * len(figures.FIGURES)} figures: "
          f"{ours:.1f} s; bound 10 s)")  # fmt: skip


def bench_page(summary: Summary, folder: Path) -> None:
    start = time.perf_counter()
    graded, corrected = summary.graded, summary.corrected
    middle = time.perf_counter()
    (again,) = read_models([str(folder / "results")], Reading(regrade=True))
    begun = time.perf_counter()
    assert graded == published_verdicts(again)
    between = time.perf_counter()
    assert corrected == corrected_verdicts(again)
    ended = time.perf_counter()
    print(f"corrected verdicts: {(ended - between) / (between - begun):.1f} times as long as the published ones")
    print(f"kept verdicts, both sets: read and proven {(ended - begun) / (middle - start):.0f} times faster than all "
          f"replies are graded again ({middle - start:.1f} s)")  # fmt: skip
    middle = time.perf_counter()
    page, empty = folder / "report.html", folder / "empty.html"
    page.write_text(build_page([summary]), "utf-8")
    built = time.perf_counter()
    empty.write_text("<!doctype html><html data-charts=drawn><title>empty</title>", "utf-8")
    print(f"report: {page.stat().st_size / 1e6:.1f} MB, built in {built - middle:.1f} s")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("page: not opened, there is no Chromium")
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        opened: dict[Path, list[float]] = {page: [], empty: []}
        answered = []
        for _ in range(3):
            for path, times in opened.items():
                tab = browser.new_page()
                start = time.perf_counter()
                tab.goto(path.as_uri())
                tab.wait_for_selector("html[data-charts=drawn]", state="attached")
                times.append(time.perf_counter() - start)
                if path == page:
                    start = time.perf_counter()
                    tab.select_option("[name=verdict]", "0")
                    tab.click("#list button")
                    tab.wait_for_selector(".said")
                    answered.append(time.perf_counter() - start)
                tab.close()
        browser.close()
    seconds = median(opened[page])
    ratio = seconds / median(opened[empty])
    print(f"page: opens in {ratio:.1f} times an empty page's time ({seconds:.2f} s; bound 3 s); "
          f"filter and first transcript {median(answered):.2f} s")  # fmt: skip


def main() -> None:
    """Print each figure beside its bound."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        results = full_run(folder)
        size = sum(path.stat().st_size for path in results.rglob("samples_*")) / 1e6
        start = time.perf_counter()
        (model,) = read_models([str(results)], Reading())
        print(f"read and checked: {size:.0f} MB of samples in {time.perf_counter() - start:.1f} s")
        summary = Summary(model, figures.Resampling())
        bench_bootstrap(summary)
        bench_page(summary, folder)
