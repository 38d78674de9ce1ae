"""The audit's page as it is shown, in a real browser: on any screen, in any script, and nothing in a text can act."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from turnswap.construction.forms import read_csv
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.sheet import AUDIT, DISAGREE, row_of, write_sheets

from .auditing import SW
from .form_pages import choose, export

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}<!--<script>"


def test_what_is_checked_is_said_in_plain_words_and_figures_and_ids_are_behind_a_fold(
    open_sheet: Any, three: list[DraftConversation]
) -> None:
    page = open_sheet(three)
    article = page.locator("article").nth(0)
    seen = article.inner_text()
    for said in (
        "All of these words occur: “rain”",
        "All of these words occur: “mvua”",
        "At least 2 highlighted parts",
    ):
        assert said in seen
    for hidden in ("chrf", "keywords:existence", "num_highlights", "End your reply"):
        assert hidden not in seen
    article.locator("summary").click()
    for told in ("chrf: ", "keywords:existence", '"num_highlights": 2', "End your reply"):
        assert told in article.inner_text()


def test_a_conversation_that_is_no_translation_has_one_column(open_sheet: Any, three: list[DraftConversation]) -> None:
    page = open_sheet([dataclasses.replace(three[0], notes={})])
    assert page.eval_on_selector_all(".words", "all => all.map((each) => each.lang)") == ["sw"] * 3
    assert "translated" not in page.inner_text("header")
    choose(page, 0, "edit")
    assert page.get_by_label("checked words for “mvua”").input_value() == "mvua"


def test_what_came_back_and_what_reviewers_disagree_about_is_told_in_words(
    open_form: Any, tmp_path: Path, three: list[DraftConversation]
) -> None:
    rows = [row_of(three[0], "no reply follows startend:end_checker"), row_of(three[1], "", f"{DISAGREE}: A accept")]
    write_sheets(tmp_path, rows)
    page = open_form(tmp_path / "audit.html")
    told = page.eval_on_selector_all("article .warning", "all => all.map((each) => each.innerText)")
    assert told == [
        "No reply was found that passes all that is checked here. To accept it, write such a reply below.",
        "Reviewers disagree: A accept",
    ]
    assert "startend:end_checker" not in page.inner_text("main")


@pytest.mark.parametrize("language", ["ar", "ko"])
@pytest.mark.parametrize("size", [(360, 740), (1280, 800)])
def test_nothing_is_wider_than_the_screen_and_all_that_is_touched_is_large_enough(
    open_sheet: Any, three: list[DraftConversation], language: str, size: tuple[int, int]
) -> None:
    long = dataclasses.replace(three[0], language=language, key=f"{'k' * 80}:{language}")
    page = open_sheet([long], {long.key: "no reply"})
    page.set_viewport_size({"width": size[0], "height": size[1]})
    choose(page, 0, "edit")
    page.click("summary")
    page.fill("#reviewer", "")
    page.click("#export")  # its complaint takes room too
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    boxes = page.eval_on_selector_all(
        "button, input:not([type=radio], [type=checkbox]), textarea, summary, label:has([type=radio], [type=checkbox])",
        "all => all.map((each) => each.getBoundingClientRect()).map((box) => [box.width, box.height])",
    )
    assert min(min(box) for box in boxes) >= 44
    page.locator("article").focus()
    bar, title = (page.locator(name).bounding_box() for name in (".bar", "article h2"))
    assert title["y"] >= bar["y"] + bar["height"]  # the bar hides nothing of it


def test_a_text_runs_as_its_language_does_whatever_its_first_word_is(
    open_sheet: Any, three: list[DraftConversation]
) -> None:
    words = {"keywords": ["مطر", "شمس"]}
    arabic = Turn('JSON: اكتب رسالة. استخدم "مطر" و"شمس".', ("keywords:existence",), (words,))
    english = Turn("مطر is rain: say so.", ("keywords:existence",), (words,))
    note = {"source": {"language": "en", "turns": [dataclasses.asdict(english)]}}
    page = open_sheet([dataclasses.replace(three[0], language="ar", turns=(arabic,), notes={"translate": note})])
    directions = page.eval_on_selector_all(".words", "all => all.map((each) => [each.lang, each.dir])")
    assert directions == [["en", "ltr"], ["ar", "rtl"]]
    assert page.get_attribute("html", "lang") == "en"
    # Two quoted words in an English sentence stay in their order: the first is left of the second.
    left = page.evaluate(
        """() => {
          const text = document.querySelectorAll(".checks li")[1].firstChild, range = document.createRange();
          return ["مطر", "شمس"].map((word) => {
            const at = text.data.indexOf(word);
            range.setStart(text, at);
            range.setEnd(text, at + word.length);
            return range.getBoundingClientRect().left;
          });
        }"""
    )
    assert left[0] < left[1]


def test_a_page_leads_to_the_page_of_each_language(
    open_form: Any, tmp_path: Path, three: list[DraftConversation]
) -> None:
    write_sheets(tmp_path, [row_of(each) for each in (three[0], dataclasses.replace(three[1], language="ar"))])
    page = open_form(tmp_path / "audit.html")
    links = page.eval_on_selector_all("a[href$='.html']", "all => all.map((each) => [each.innerText, each.href])")
    assert links == [
        ["Review of conversations in Arabic: 1", (tmp_path / "audit_ar.html").as_uri()],
        ["Review of conversations in Swahili: 1", (tmp_path / "audit_sw.html").as_uri()],
    ]
    assert open_form(tmp_path / "audit_ar.html").locator("article").count() == 1


def test_scripts_from_right_to_left_are_shown_as_such(open_sheet: Any, three: list[DraftConversation]) -> None:
    arabic = dataclasses.replace(
        three[0], language="ar", turns=(Turn("اكتب رسالة قصيرة عن المطر.", ("punctuation:no_comma",), ({},)),)
    )
    page = open_sheet([arabic])
    directions = page.eval_on_selector_all(".words", "all => all.map((each) => getComputedStyle(each).direction)")
    assert directions == ["ltr", "rtl", "ltr"]
    assert page.get_attribute("article .words >> nth=1", "lang") == "ar"
    choose(page, 0, "edit")
    assert page.eval_on_selector("[name=edited_1]", "area => getComputedStyle(area).direction") == "rtl"


def test_on_a_phone_the_columns_stack_and_without_javascript_the_texts_are_there(
    open_sheet: Any, browser: Browser, tmp_path: Path, three: list[DraftConversation]
) -> None:
    page = open_sheet(three)
    page.set_viewport_size({"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    context = browser.new_context(java_script_enabled=False)
    without = context.new_page()
    without.goto((tmp_path / "audit" / "audit.html").as_uri())
    assert without.locator(".words").nth(1).inner_text() == SW[0]
    assert "fill in audit.csv instead" in without.inner_text("header")
    context.close()


def attacked(conversation: DraftConversation) -> DraftConversation:
    turns = tuple(dataclasses.replace(turn, prompt=ATTACK + turn.prompt) for turn in conversation.turns)
    note = {**conversation.notes["translate"], "back": [ATTACK] * 3, "warnings": [ATTACK]}
    return dataclasses.replace(conversation, key=f"{ATTACK}:sw", turns=turns, notes={"translate": note})


def test_texts_are_text(open_sheet: Any, tmp_path: Path, three: list[DraftConversation]) -> None:
    conversation = attacked(three[0])
    page = open_sheet([conversation], {conversation.key: ATTACK})
    assert page.inner_text("article h2 bdi") == conversation.key
    assert page.locator("article .words").nth(1).inner_text() == conversation.turns[0].prompt
    assert page.locator("article img, article script").count() == 0
    choose(page, 0, "edit")
    page.fill("#reviewer", ATTACK)
    (row,) = read_csv(AUDIT, export(page, tmp_path / "x.csv").read_bytes(), "x.csv")
    assert row["translation_1"] == conversation.turns[0].prompt
    assert row["reviewer"] == ATTACK
