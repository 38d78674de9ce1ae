"""The page on which people label replies, in a real browser: keyboard, phone, right to left, and what it exports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from turnswap.construction.label_answers import labelled, read_answers
from turnswap.construction.label_sheet import Pair, read_sampling, write_label_sheet
from turnswap.construction.plain_words import plain_words

from .form_pages import choose, export

ATTACK = "</script><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"
ARABIC = "المطر جميل. ".strip()
PAIRS = [
    Pair(
        "ar", "length_constraints:number_sentences", {"num_sentences": 2, "relation": "at least"}, f"{ARABIC}\n\nنعم."
    ),
    Pair("ar", "keywords:existence", {"keywords": ["المطر"]}, ARABIC, ("اكتب عن المطر.",)),
    Pair("ar", "startend:end_checker", {"end_phrase": ATTACK}, ATTACK, (ATTACK,)),
]


def written(folder: Path) -> Path:
    write_label_sheet(folder, PAIRS, [], plain_words(), {})
    return folder / "labels.html"


def test_a_reader_fills_it_in_and_the_command_reads_it(open_form: Any, tmp_path: Path) -> None:
    page = open_form(written(tmp_path))
    assert "At least 2 sentences: does this reply follow it?" in page.inner_text("article h2 >> nth=0")
    choose(page, 0, "yes")
    page.locator("article").nth(0).locator("[name=count]").fill("2")
    choose(page, 1, "cannot tell")
    choose(page, 2, "no")
    page.locator("article").nth(2).locator("[name=comment]").fill('=no, "not" so\nsecond line')
    page.fill("#reviewer", "أحمد")
    page.reload()  # what is filled in stays
    assert page.inner_text("#progress") == "3 of 3 decided"
    assert page.locator("article").nth(0).locator("[name=count]").input_value() == "2"
    path = export(page, tmp_path / "ahmad.csv")
    pairs = read_sampling(tmp_path)
    made = labelled(pairs, read_answers(pairs, {"ahmad.csv": path.read_bytes()}))
    assert [(label["reader"], label["counts"], label["why"]) for label in made.labels] == [
        (True, [[2, 2]], [""]),
        (False, [None], ['=no, "not" so\nsecond line']),
    ]
    assert made.undecided == ["2"]


def test_the_keyboard_alone_is_enough(open_form: Any, tmp_path: Path) -> None:
    page = open_form(written(tmp_path))
    for key in ("j", "y", "j", "n", "j", "c"):
        page.keyboard.press(key)
    checked = page.eval_on_selector_all("[type=radio]:checked", "all => all.map((each) => each.value)")
    assert checked == ["yes", "no", "cannot tell"]
    page.locator("article").nth(0).locator("[name=count]").focus()
    page.keyboard.type("n")  # a letter, not a decision
    assert page.locator("article").nth(0).locator("[value=yes]").is_checked()


def test_replies_from_right_to_left_are_shown_as_such_and_texts_are_texts(open_form: Any, tmp_path: Path) -> None:
    page = open_form(written(tmp_path))
    assert page.eval_on_selector(".reply", "node => getComputedStyle(node).direction") == "rtl"
    assert page.get_attribute(".reply >> nth=0", "lang") == "ar"
    assert page.locator(".reply").nth(0).inner_text() == PAIRS[0].reply
    assert page.locator(".reply").nth(2).inner_text() == ATTACK
    assert page.locator("article img, article script").count() == 0
    assert not page.locator("details .words").nth(0).is_visible()
    page.click("summary >> nth=0")
    assert page.locator("details .words").nth(0).inner_text() == "اكتب عن المطر."


def test_on_a_phone_nothing_is_wider_than_the_screen_and_buttons_can_be_hit(open_form: Any, tmp_path: Path) -> None:
    page = open_form(written(tmp_path))
    page.set_viewport_size({"width": 360, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    heights = page.eval_on_selector_all(
        "fieldset label", "all => all.map((each) => each.getBoundingClientRect().height)"
    )
    assert min(heights) >= 24  # WCAG 2.2, target size
