"""The audit's page filled in, in a real browser: what it exports is what the command reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from turnswap.construction.audit import Audit, AuditSettings
from turnswap.construction.forms import read_csv
from turnswap.construction.records import DraftConversation
from turnswap.construction.sheet import AUDIT

from .auditing import SW
from .form_pages import choose, export
from .reviewing import PROOF


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
