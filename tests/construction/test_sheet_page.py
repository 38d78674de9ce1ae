"""The audit's page in a real browser: what it exports is what the command reads, and nothing in a text can act."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from turnswap.construction.audit import Audit, AuditSettings
from turnswap.construction.forms import as_csv, read_csv
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.sheet import AUDIT, COLUMNS, DISAGREE, row_of, write_sheets

from .auditing import SW, translated
from .form_pages import choose, export
from .test_audit import PROOF

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}<!--<script>"


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[DraftConversation]:
    return translated(tmp_path_factory.mktemp("translated"), "a", "b", "c")


@pytest.fixture
def open_sheet(open_form: Any, tmp_path: Path) -> Any:
    """Opens the page of some conversations."""

    def open_(conversations: list[DraftConversation], returned: dict[str, str] | None = None) -> Page:
        rows = [row_of(each, (returned or {}).get(each.key, "")) for each in conversations]
        write_sheets(tmp_path / "audit", rows)
        page: Page = open_form(tmp_path / "audit" / "audit.html")
        return page

    return open_


def test_what_is_filled_in_is_exported_as_the_command_reads_it(
    open_sheet: Any, tmp_path: Path, three: list[DraftConversation]
) -> None:
    returned = {"c:sw": "no reply follows startend:end_checker"}
    page = open_sheet(three, returned)
    articles = page.locator("article")
    choose(page, 0, "edit")
    edited = SW[0].replace("fupi", 'ndefu, "nzuri"\n-')
    articles.nth(0).locator("[name=edited_1]").fill(edited)
    articles.nth(0).locator("[name=comment]").fill("=HYPERLINK(1)\nsecond line")
    choose(page, 1, "reject")
    choose(page, 2, "accept")
    articles.nth(2).locator("[name=satisfying_reply]").fill(PROOF)
    page.click("#export")
    assert "Enter your name" in page.inner_text("#trouble")
    page.fill("#reviewer", "Asha M.")
    path = export(page, tmp_path / "asha.csv")
    assert page.inner_text("#progress") == "3 of 3 decided"
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    rows = read_csv(AUDIT, path.read_bytes(), "asha.csv")
    assert [row["decision"] for row in rows] == ["edit", "reject", "accept"]
    assert rows[0]["comment"] == "=HYPERLINK(1)\nsecond line"
    assert b"'=HYPERLINK" in path.read_bytes()
    assert (rows[0]["edited_2"], rows[0]["edited_kwargs"], rows[1]["edited_1"]) == ("", "", "")
    step = Audit(AuditSettings(reviews=(path,)), tmp_path / "audit", returned)
    first, second, third = (outcomes[0] for outcomes in step.run(three) if outcomes)
    assert first.conversation.turns[0].prompt == edited
    assert second.reason == "reviewers reject it: without a comment"
    assert third.conversation.notes["audit"]["satisfying_reply"] == PROOF


def test_an_export_with_nothing_filled_in_is_the_sheet_itself(
    open_sheet: Any, tmp_path: Path, three: list[DraftConversation]
) -> None:
    page = open_sheet(three)
    page.fill("#reviewer", "A")
    path = export(page, tmp_path / "a.csv")
    assert path.read_bytes() == (tmp_path / "audit" / "audit.csv").read_bytes()


def test_what_is_filled_in_survives_a_reload_and_belongs_to_this_sheet(
    open_sheet: Any, three: list[DraftConversation]
) -> None:
    page = open_sheet(three)
    choose(page, 1, "edit")
    page.locator("article").nth(1).locator("[name=edited_2]").fill("kitu")
    page.fill("#reviewer", "A")
    page.reload()
    assert page.locator("article").nth(1).locator("[value=edit]").is_checked()
    assert page.locator("article").nth(1).locator("[name=edited_2]").input_value() == "kitu"
    assert page.input_value("#reviewer") == "A"
    page.locator("article").nth(1).locator(".undo").click()
    assert page.inner_text("#progress") == "0 of 3 decided"
    assert page.locator("article").nth(1).locator("[name=edited_2]").is_hidden()
    other = open_sheet(three[:2])
    assert other.input_value("#reviewer") == ""


def test_the_keyboard_alone_is_enough(open_sheet: Any, three: list[DraftConversation]) -> None:
    page = open_sheet(three)
    for key in ("j", "a", "j", "e", "j", "r", "k", "k", "r"):
        page.keyboard.press(key)
    checked = page.eval_on_selector_all("[type=radio]:checked", "all => all.map((each) => each.value)")
    assert checked == ["reject", "edit", "reject"]
    page.locator("article").nth(0).locator("[name=comment]").focus()
    page.keyboard.type("are je")  # letters, not decisions
    assert page.locator("article").nth(0).locator("[value=reject]").is_checked()
    assert page.locator("article").nth(0).locator("[name=comment]").input_value() == "are je"


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


def test_a_checked_word_is_edited_in_a_field_of_its_own(
    open_sheet: Any, tmp_path: Path, three: list[DraftConversation]
) -> None:
    page = open_sheet(three)
    choose(page, 0, "edit")
    choose(page, 1, "edit")
    article = page.locator("article").nth(0)
    article.locator("[name=edited_1]").fill(SW[0].replace("mvua", "manyunyu"))
    article.get_by_label("checked words for “rain”").fill("manyunyu")
    other = page.locator("article").nth(1)
    other.get_by_label("checked words for “See you tomorrow”").fill("x")
    page.reload()
    assert article.get_by_label("checked words for “rain”").input_value() == "manyunyu"
    other.get_by_label("checked words for “See you tomorrow”").fill("Tutaonana kesho")  # as it was: no edit
    page.fill("#reviewer", "A")
    path = export(page, tmp_path / "a.csv")
    rows = read_csv(AUDIT, path.read_bytes(), "a.csv")
    assert json.loads(rows[0]["edited_kwargs"])[0] == {"keywords": ["manyunyu"]}
    assert rows[1]["edited_kwargs"] == ""
    choose(page, 1, "accept")
    step = Audit(AuditSettings(reviews=(export(page, path),)), tmp_path / "audit", {})
    outcomes = step.run(three)[0]
    assert outcomes is not None
    assert outcomes[0].conversation.last.kwargs[0] == {"keywords": ["manyunyu"]}


def test_keys_are_found_by_their_place_on_a_keyboard_of_another_script(
    open_sheet: Any, three: list[DraftConversation]
) -> None:
    page = open_sheet(three)
    for key, code in (("ㅓ", "KeyJ"), ("ㅁ", "KeyA"), ("ㅓ", "KeyJ"), ("ق", "KeyR")):
        page.evaluate(
            """([key, code]) => (document.activeElement ?? document.body).dispatchEvent(
                 new KeyboardEvent("keydown", { key, code, bubbles: true, cancelable: true }))""",
            [key, code],
        )
    checked = page.eval_on_selector_all("[type=radio]:checked", "all => all.map((each) => each.value)")
    assert checked == ["accept", "reject"]


def test_the_keyboard_comes_into_every_field_and_out_again(open_sheet: Any, three: list[DraftConversation]) -> None:
    page = open_sheet(three)
    page.keyboard.press("j")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("e")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "edited_1"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.row") == "0"
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.dataset.row") == "1"
    for _ in range(60):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('article')") is None  # nothing holds it


def test_what_is_decided_can_be_left_out_and_the_next_open_one_is_a_button_away(
    open_sheet: Any, three: list[DraftConversation]
) -> None:
    page = open_sheet(three)
    choose(page, 1, "accept")
    page.check("#open")
    visible = "all => all.filter((each) => each.offsetParent !== null).map((each) => each.dataset.row)"
    assert page.eval_on_selector_all("article", visible) == ["0", "2"]
    page.click("#next")
    assert page.evaluate("document.activeElement.dataset.row") == "2"  # it comes after the one decided last
    page.keyboard.press("a")
    assert page.eval_on_selector_all("article", visible) == ["0", "2"]  # it stays while somebody is in it
    page.click("#next")
    assert page.eval_on_selector_all("article", visible) == ["0"]
    assert page.inner_text("#progress") == "2 of 3 decided"


def test_what_the_command_would_refuse_is_counted_before_it_is_sent(
    open_sheet: Any, three: list[DraftConversation]
) -> None:
    page = open_sheet(three)
    choose(page, 0, "edit")
    page.locator("article").nth(1).locator("[name=comment]").fill("hm")
    assert page.inner_text("#progress") == "1 of 3 decided, 2 unfinished"
    page.locator("article").nth(0).get_by_label("checked words for “rain”").fill("manyunyu")
    choose(page, 1, "accept")
    assert page.inner_text("#progress") == "2 of 3 decided"


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


def test_the_pages_columns_are_the_csvs(three: list[DraftConversation]) -> None:
    row = row_of(three[0])
    assert tuple(row) == COLUMNS
    assert read_csv(AUDIT, as_csv([row], COLUMNS).encode(), "x") == [row]
