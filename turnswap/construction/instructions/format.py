"""The shape of the reply."""

from __future__ import annotations

from typing import Any

from . import ids
from .draw import Draw
from .making import Forced, literals, making, nothing_to_draw
from .rules import Demand, impossible, tension

_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def _draw_sections(draw: Draw) -> dict[str, Any] | None:
    if draw.conversation.language != "en":
        return None
    splitter = draw.one(("Section", "SECTION", "Part", "PART", "Chapter", "Day", "Step"))
    return {"section_spliter": splitter, "num_sections": draw.one((2, 2, 3, 4))}


making(
    ids.BULLETS,
    draw=lambda draw: {"num_bullets": draw.one((2, 3, 4, 5, 6))},
    named=lambda kwargs: ["bullet", str(kwargs["num_bullets"])],
    exact=True,
    shape=lambda shape, kwargs: shape.set(bullets=kwargs["num_bullets"]),
)

making(  # not drawn: its answers fit few requests
    ids.ANSWER,
    named=lambda kwargs: _ANSWERS,
    shape=lambda shape, kwargs: shape.set(fixed_answer=True),
    forces=lambda kwargs: [Forced(_ANSWERS)],
    unsuitable=lambda language, scripts: None if language == "en" else "its answers are English",
)

making(
    ids.HIGHLIGHTS,
    draw=lambda draw: {"num_highlights": draw.one((1, 2, 3, 4, 5))},
    named=lambda kwargs: ["highlight", str(kwargs["num_highlights"]), "*"],
    shape=lambda shape, kwargs: shape.set(highlights=max(shape.highlights, kwargs["num_highlights"])),
)

making(
    ids.SECTIONS,
    draw=_draw_sections,
    shape=lambda shape, kwargs: shape.at_least("sections", kwargs["section_spliter"].strip(), kwargs["num_sections"]),
    forces=lambda kwargs: (
        literals([kwargs["section_spliter"].strip()], kwargs["num_sections"], right=("1", " 1"))
        if kwargs["num_sections"] > 0
        else []
    ),
)

making(ids.JSON, draw=nothing_to_draw, named=lambda kwargs: ["json"], shape=lambda shape, kwargs: shape.set(json=True))

making(
    ids.TITLE,
    draw=nothing_to_draw,
    weight=3.0,
    named=lambda kwargs: ["title", "<<", ">>"],
    shape=lambda shape, kwargs: shape.set(title=True),
)


@impossible("JSON that starts with a word", ids.JSON, ids.NTH)
def _json_first_word(one: Demand, other: Demand) -> bool:
    """the first of three or more paragraphs is JSON's opening bracket, not the word asked for"""
    # Two paragraphs are possible: a JSON string, and the closing fence that the grader removes.
    place, number, word = (other.kwargs[name] for name in ("nth_paragraph", "num_paragraphs", "first_word"))
    return bool(place == 1 and number > 2 and word[:1].isalnum())


@impossible("JSON that starts with the prompt", ids.JSON, ids.REPEAT)
def _json_prompt(one: Demand, other: Demand) -> bool:
    """no JSON starts with the prompt"""
    prompt = other.kwargs["prompt_to_repeat"].strip().lower()
    constants = ("true", "false", "null", "nan", "infinity")
    return prompt[:1] not in set('{["-`0123456789') and not any(each.startswith(prompt) for each in constants)


# A JSON string holds no line break, so that parts on lines of their own are those of an array or object, behind whose
# closing bracket nothing but a fence may stand.


@impossible("JSON of several paragraphs that ends with a phrase", ids.JSON, ids.NTH, ids.END)
def _json_paragraphs_end(one: Demand, nth: Demand, end: Demand) -> bool:
    """JSON of three or more paragraphs is an array or object and ends with a bracket or a fence, not with the phrase"""
    return nth.kwargs["num_paragraphs"] > 2 and _ends_behind_json(end)


@impossible("JSON with bullets that ends with a phrase", ids.JSON, ids.BULLETS, ids.END)
def _json_bullets_end(one: Demand, bullets: Demand, end: Demand) -> bool:
    """JSON with a bullet is an array, an object or a number, and ends with a bracket, a digit or a fence"""
    phrase = end.kwargs["end_phrase"].strip()
    return bullets.kwargs["num_bullets"] > 0 and _ends_behind_json(end) and phrase.lower()[-1:] not in "0123456789y"


@impossible("quoted JSON of several lines", ids.JSON, ids.QUOTATION, (ids.NTH, ids.BULLETS))
def _quoted_json_lines(one: Demand, quotation: Demand, lines: Demand) -> bool:
    """JSON in quotation marks is a string, which has one line, and so one paragraph and no bullet"""
    return bool(lines.kwargs.get("num_paragraphs", 0) > 1 or lines.kwargs.get("num_bullets", 0) > 0)


def _ends_behind_json(end: Demand) -> bool:
    phrase = end.kwargs["end_phrase"].strip()
    return bool(phrase) and phrase[-1] not in "]}`"


@tension(
    "shaped JSON",
    ids.JSON,
    (ids.TWO, ids.PARAGRAPHS, ids.NTH, ids.BULLETS, ids.QUOTATION, ids.END, ids.REPEAT, ids.NO_COMMA),
)
def _shaped_json(one: Demand, other: Demand) -> bool:
    """only JSON of an odd shape passes, such as a single string, or numbers on lines of their own"""
    return True


@tension("two kinds of section", ids.SECTIONS, ids.SECTIONS)
def _two_kinds_of_section(one: Demand, other: Demand) -> bool:
    """sections are opened by two different words"""
    return bool(one.kwargs["section_spliter"].strip() != other.kwargs["section_spliter"].strip())


@tension("splitters are words in capitals", ids.SECTIONS, ids.CAPITALS)
def _splitters_are_words_in_capitals(one: Demand, other: Demand) -> bool:
    """each splitter in capitals is a word in capitals, unless it is written as the end of another word"""
    return bool(one.kwargs["section_spliter"].strip().isupper() and one.kwargs["num_sections"] >= other.below)
