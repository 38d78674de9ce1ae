"""The report's page in a real browser: it renders, its filters work, and nothing in it can act."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import make_row, write_csv
from turnswap.tasks.multiif.dataset import BENCHMARK_SHA256

from .evaluations import FOLLOWS, evaluate, follows_share

ATTACKS = [
    '<img src=x onerror="window.owned = 1">',
    "</script><script>window.owned = 1</script>",
    "<style>body { display: none }</style>",
    '" onmouseover="window.owned = 1" style="position:fixed;inset:0',
    "<!--<script>",
    "{{ 7 * 7 }} ${window.owned = 1} javascript:window.owned=1",
    "]]>\u2028\u2029\x00</textarea></select></title>",
    "half a pair \ud83d, and \x1b[31m",
]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models on the packaged conversations, one of which answers with attacks."""
    folder = tmp_path_factory.mktemp("results")
    evaluate(folder / "good", "org/good", follows_share(0.7))
    evaluate(folder / "evil", "org/evil", lambda prompt: ATTACKS[len(prompt) % len(ATTACKS)])
    return folder


@pytest.fixture(scope="module")
def hostile_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data whose keys, prompts and kwargs are attacks, and a model that repeats them."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = []
    for number, attack in enumerate(ATTACKS[:6]):
        row = make_row(f"{number}{attack}")
        row["turn_1_prompt"] = json.dumps({"role": "user", "content": attack})
        row["turn_3_kwargs"] = json.dumps(["{}", "{}", json.dumps({"keywords": [attack.replace("(", "")]})])
        rows.append(row)
    data = write_csv(folder / "hostile.csv", rows)
    return evaluate(folder / "results", "org/hostile", lambda prompt: FOLLOWS, data=data, tasks=("multiif_en",))


def test_the_page_draws_every_chart_without_a_complaint_or_a_request(open_report: Any, results: Path) -> None:
    opened = open_report(results / "good", results / "evil")
    charts = opened.page.query_selector_all(".chart")
    assert (
        len(charts) == 9 + 2 * 4
    )  # lines for eight languages and their mean; per model two heat maps, flows, families
    assert all(chart.query_selector("svg path") for chart in charts)
    assert opened.complaints == []
    assert opened.requests == [opened.page.url]


def test_the_headline_holds_what_lm_eval_reported(open_report: Any, results: Path) -> None:
    (path,) = (results / "good").rglob("results_*.json")
    group = json.loads(path.read_text("utf-8"))["groups"]["multiif"]
    opened = open_report(results / "good")
    cells = opened.page.locator("#headline ~ .scroll tbody tr").first.locator("th, td").all_inner_texts()
    assert cells[0] == "●org/good"
    for turn in (1, 2, 3):
        value = 100 * group[f"turn{turn}_overall_acc,none"]
        assert re.match(rf"{value:.1f}\s*\[", cells[2 + turn])
    assert "multiif:1.0|langs:en+zh+fr+ru+hi+es+it+pt|n:48/48|data:sample@" in opened.page.inner_text("body")


def test_filters_find_what_the_verdicts_say(open_report: Any, results: Path) -> None:
    from turnswap.reports.reading import Reading, read_models
    from turnswap.reports.verdicts import published_verdicts

    (model,) = read_models([str(results / "good")], Reading())
    graded = published_verdicts(model)
    opened = open_report(results / "good", results / "evil")
    assert opened.found() == 96
    assert opened.choose(model="org/good") == 48
    assert opened.choose(language="fr", turn="2") == 6

    french = graded["fr"].values()
    passed = [turns for turns in french if all(v.strict for v in turns[1].verdicts[0])]
    assert opened.choose(verdict="passed") == len(passed)
    assert opened.choose(verdict="failed") == len(french) - len(passed)
    loose = [turns for turns in french if all(v.loose for v in turns[1].verdicts[0])]
    assert opened.choose(verdict="passed", kind="loose") == len(loose)

    titles = [
        [v.strict for i, v in zip(turn.turn.instruction_ids, turn.verdicts[0], strict=True) if i.endswith(":title")]
        for conversations in graded.values()
        for turn in (turns[2] for turns in conversations.values() if len(turns) > 2)
    ]
    opened.choose(language="all", turn="3", kind="strict", instruction="detectable_format:title")
    assert opened.choose(verdict="passed") == sum(any(held) for held in titles) > 0
    assert opened.choose(verdict="failed") == sum(not all(held) for held in titles if held) > 0


def test_a_conversation_shows_prompts_replies_and_both_verdicts(open_report: Any, results: Path) -> None:
    opened = open_report(results / "good")
    page = opened.page
    page.fill("[name=key]", "s1:1:es")
    assert opened.found() == 1
    page.click("#list button")
    page.wait_for_selector(".said.reply")
    (samples,) = (results / "good").rglob("samples_multiif_es_*.jsonl")
    sample = next(s for s in map(json.loads, samples.open(encoding="utf-8")) if s["doc"]["key"] == "s1:1:es")
    assert page.locator(".said.user").all_inner_texts() == [turn["prompt"] for turn in sample["doc"]["turns"]]
    assert page.locator(".said.reply").all_inner_texts() == sample["filtered_resps"]
    followed = [len(re.findall("✓ strict", text)) for text in page.locator(".verdicts").all_inner_texts()]
    assert followed == [sample[f"turn{turn}_inst_strict_acc"][0] for turn in (1, 2, 3)]
    loosely = [len(re.findall("✓ loose", text)) for text in page.locator(".verdicts").all_inner_texts()]
    assert loosely == [sample[f"turn{turn}_inst_loose_acc"][0] for turn in (1, 2, 3)]


def test_replies_are_text_whatever_they_hold(open_report: Any, results: Path) -> None:
    opened = open_report(f'<img src=x onerror="window.owned=1">={results / "evil"}')
    page = opened.page
    seen = set()
    for number in range(48):
        page.locator("#list button").nth(number).click()
        page.wait_for_selector(f'#list button[data-number="{number}"][aria-current=true]')
        seen |= set(page.locator(".said.reply").evaluate_all("nodes => nodes.map(node => node.textContent)"))
    # The runner replaces half a surrogate pair; what cannot be read of a stripped reply is its surrounding blanks.
    assert {attack.replace("\ud83d", "\ufffd") for attack in ATTACKS} <= seen
    assert page.evaluate("window.owned") is None
    assert page.locator("#conversation img, #conversation style, #conversation script").count() == 0
    assert page.locator("img").count() == 0
    assert page.is_visible("#transcripts")
    assert opened.complaints == []


def test_keys_prompts_and_kwargs_of_the_data_are_text_as_well(open_report: Any, hostile_data: Path) -> None:
    opened = open_report(hostile_data)
    page = opened.page
    for number in range(6):
        page.locator("#list button").nth(number).click()
        page.wait_for_selector(f'#list button[data-number="{number}"][aria-current=true]')
        assert page.locator(".said.user").first.text_content() in ATTACKS
    assert page.evaluate("window.owned") is None
    assert opened.complaints == []


def test_a_script_that_is_not_the_pages_own_does_not_run(open_report: Any, results: Path) -> None:
    opened = open_report(results / "good")
    opened.page.evaluate(
        """() => {
          const script = document.createElement("script");
          script.textContent = "window.owned = 1";
          const image = document.createElement("div");
          image.innerHTML = '<img src=x onerror="window.owned = 1">';
          document.body.append(script, image);
        }"""
    )
    opened.page.wait_for_timeout(200)
    assert opened.page.evaluate("window.owned") is None
    assert any("Content Security Policy" in complaint for complaint in opened.complaints)


def test_turns_stand_in_their_order_in_every_heat_map(open_report: Any, results: Path) -> None:
    opened = open_report(results / "good")
    for name in ("heat-0", "family-0", "instruction-0"):
        labels = opened.page.locator(f"#{name} .role-axis-label text").evaluate_all(
            "nodes => nodes.filter((node) => node.textContent.startsWith('turn '))"
            ".map((node) => [node.getBoundingClientRect().x, node.textContent])"
        )
        assert [text for _, text in sorted(labels)] == ["turn 1", "turn 2", "turn 3"]


def test_a_kind_of_warning_is_one_line_whatever_the_number_of_models(open_report: Any, results: Path) -> None:
    opened = open_report(results / "good", results / "evil")
    warnings = opened.page.locator(".warning").all_inner_texts()
    assert len(warnings) == 1
    assert "org/good, org/evil" in warnings[0]


def test_the_language_picker_changes_the_instruction_map(open_report: Any, results: Path) -> None:
    opened = open_report(results / "good")
    texts = "#family-0 svg .mark-text text"
    before = opened.page.locator(texts).all_text_contents()
    opened.page.select_option("#family-0 select", label="hi")
    differs = (
        "([texts, before]) => [...document.querySelectorAll(texts)].map(node => node.textContent).join() !== before"
    )
    opened.page.wait_for_function(differs, arg=[texts, ",".join(before)])
    assert opened.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling_and_text_has_contrast(
    open_report: Any, results: Path, scheme: str
) -> None:
    opened = open_report(results / "good", viewport={"width": 375, "height": 700}, color_scheme=scheme)
    page = opened.page
    page.click("#list button")
    page.wait_for_selector(".said.reply")
    assert page.evaluate("document.documentElement.scrollWidth") == 375

    def brightness(selector: str, name: str) -> float:
        colour = page.eval_on_selector(selector, f"node => getComputedStyle(node).{name}")
        return sum(map(float, re.findall(r"[\d.]+", colour)[:3])) / 3

    paper = brightness("body", "backgroundColor")
    assert paper < 60 if scheme == "dark" else paper > 200
    for selector, name in [("body", "color"), ("#lines-macro .role-axis-label text", "fill"), ("h2", "color")]:
        assert abs(brightness(selector, name) - paper) > 120


def test_on_paper_it_is_light_and_without_the_browser(open_report: Any, results: Path) -> None:
    opened = open_report(results / "good", color_scheme="dark")
    opened.page.emulate_media(media="print")
    assert not opened.page.is_visible("#browser")
    assert opened.page.is_visible("#lines-macro svg")
    assert (
        opened.page.eval_on_selector("body", "node => getComputedStyle(node).backgroundColor") == "rgb(255, 255, 255)"
    )
    assert len(opened.page.pdf()) > 10_000


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 conversations, more than two blocks; some replies hold words to search for, by conversation and turn."""
    folder = tmp_path_factory.mktemp("words")
    data = write_csv(folder / "many.csv", [make_row(f"{n:03}:1:en") for n in range(150)])
    special = {
        ("007", 1): "Le déjà-vu d'un ÉTÉ",
        ("007", 2): "<b>bold</b> & ﬁne <img src=x onerror=window.owned=1>",
        ("148", 3): "déja vu, Deja Vu and D\u0065\u0301j\u0061\u0300 vu",
        ("149", 1): "हिन्दी में, İstanbul, Σίσυφος",
    }

    def reply(prompt: str) -> str:
        found = re.search(r"about (\d+):1:", prompt)
        assert found
        return special.get((found[1], prompt.count("<user>")), "Well, no.")

    return evaluate(folder / "results", "org/words", reply, data=data, tasks=("multiif_en",))


def search(opened: Any, words: str) -> int:
    opened.page.fill("[name=text]", words)
    opened.page.wait_for_timeout(200)
    opened.page.wait_for_selector("#searching[hidden]", state="attached")
    return int(opened.found())


def test_words_are_found_in_prompts_and_replies_whatever_their_case_and_accents(open_report: Any, words: Path) -> None:
    opened = open_report(words)
    assert search(opened, "deja") == 2
    assert search(opened, "DÉJÀ VU") == 1
    assert search(opened, "fine") == 1  # written with a ligature
    assert search(opened, "write about 14") == 10
    assert search(opened, "istanbul") == 1
    assert search(opened, "ΣΊΣΥΦΟΣ") == 1
    assert search(opened, "हिन्दी") == 1
    assert search(opened, "हन्दी") == 0  # vowel signs are no accents
    assert search(opened, "nowhere") == 0
    assert opened.page.inner_text("#found").strip() == "No conversation matches."
    assert search(opened, "") == 150


def test_hits_are_marked_as_they_are_written(open_report: Any, words: Path) -> None:
    opened = open_report(words)
    search(opened, "deja")
    opened.page.locator("#list button").last.click()
    opened.page.wait_for_selector("mark")
    assert opened.page.locator("mark").all_inner_texts() == ["déja", "Deja", "De\u0301ja\u0300"]
    search(opened, "<IMG src")
    opened.page.locator("#list button").first.click()
    opened.page.wait_for_selector("#conversation h3:has-text('007')")
    assert opened.page.locator("mark").all_inner_texts() == ["<img src"]
    assert opened.page.locator("#conversation img, #conversation b").count() == 0
    search(opened, "")  # the marks go with the words
    opened.page.wait_for_selector("#conversation:not(:has(mark))")
    assert opened.complaints == []


def test_words_are_searched_where_the_other_filters_hold(open_report: Any, words: Path) -> None:
    opened = open_report(words)
    assert search(opened, "deja") == 2
    opened.choose(turn="1")
    assert search(opened, "deja, deja") == 0
    assert search(opened, "deja") == 1
    opened.choose(turn="any", verdict="passed", instruction="punctuation:no_comma")
    assert search(opened, "bold") == 1
    assert search(opened, "deja") == 0  # in a reply of turn 1, where it was not asked, and in one with a comma


def test_a_search_is_given_up_when_typing_goes_on(open_report: Any, words: Path) -> None:
    opened = open_report(words)
    opened.page.locator("[name=text]").press_sequentially("well, no. déjà", delay=5)
    opened.page.locator("[name=text]").fill("istanbul")
    opened.page.wait_for_timeout(200)
    opened.page.wait_for_selector("#searching[hidden]", state="attached")
    assert opened.found() == 1
    assert "149:1:en" in opened.page.inner_text("#list")


def test_long_lists_come_in_pages(open_report: Any, tmp_path: Path) -> None:
    data = write_csv(tmp_path / "many.csv", [make_row(f"{n:03}:1:en") for n in range(230)])
    made = evaluate(tmp_path / "many", "org/many", follows_share(0.5), data=data, tasks=("multiif_en",))
    opened = open_report(made)
    page = opened.page
    assert opened.found() == 230
    assert page.locator("#list li").count() == 100
    page.click("#next")
    page.click("#next")
    assert page.locator("#list li").count() == 30
    assert page.is_disabled("#next")
    page.locator("#list button").last.click()
    page.wait_for_selector(".said.reply")
    assert "229:1:en" in page.inner_text("#conversation")


def test_the_papers_models_stand_beside_a_whole_run_of_the_benchmark_only(
    open_report: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_csv(tmp_path / "english.csv", [make_row(f"{n}:1:en") for n in range(909)])
    made = evaluate(tmp_path / "whole", "org/whole", lambda prompt: FOLLOWS, data=data, tasks=("multiif_en",))
    # As many conversations as the benchmark has are not the benchmark.
    assert open_report(made).page.locator("tr.published").count() == 0
    (results,) = made.rglob("results_*.json")
    metadata = json.loads(results.read_text("utf-8"))["configs"]["multiif_en"]["metadata"]
    monkeypatch.setitem(BENCHMARK_SHA256, "en", metadata["content_sha256"])
    opened = open_report(made)
    row = opened.page.locator("tr.published", has_text="GPT-4o").inner_text().split()
    assert row == ["GPT-4o", "published", "78.6", "87.4", "78.4", "70.1", "-17.3"]
    assert opened.page.locator("tr.published", has_text="Claude").count() == 0  # the paper has no English cell for it


def test_results_without_samples_are_shown_without_transcripts(open_report: Any, tmp_path: Path) -> None:
    made = evaluate(tmp_path / "bare", "org/bare", follows_share(0.5), tasks=("multiif_en",), log_samples=False)
    opened = open_report(made)
    assert "--log_samples" in opened.page.inner_text("#browser")
    assert opened.page.locator("#lines-en svg").count() == 1
    assert opened.complaints == []
