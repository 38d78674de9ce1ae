"""Upper and lower case, and the comma."""

from __future__ import annotations

from ..vocabulary import CASED
from . import ids
from .making import literal, making, nothing_to_draw
from .rules import ANY, Demand, impossible, tension


def _not_english(language: str, scripts: frozenset[str]) -> str | None:
    # langdetect must say that the reply is English.
    return None if language == "en" else "replies that are not English fail it"


making(
    ids.CAPITALS,
    draw=lambda draw: draw.relation("capital_relation", (1, 2, 3, 5, 8), (3, 4, 5, 10), "capital_frequency"),
    named=lambda kwargs: ["capital", "word", kwargs["capital_relation"], str(kwargs["capital_frequency"])],
    shape=lambda shape, kwargs: shape.capitals.narrow(kwargs["capital_relation"], kwargs["capital_frequency"]),
    unsuitable=lambda language, scripts: None if scripts & CASED else "the script has no capital letters",
)

making(
    ids.UPPER,
    draw=nothing_to_draw,
    weight=0.5,
    named=lambda kwargs: ["capital", "English"],
    shape=lambda shape, kwargs: shape.set(upper=True, language=shape.language or "en"),
    unsuitable=_not_english,
)

making(
    ids.LOWER,
    draw=nothing_to_draw,
    weight=0.5,
    named=lambda kwargs: ["lowercase", "English"],
    shape=lambda shape, kwargs: shape.set(lower=True, language=shape.language or "en"),
    unsuitable=_not_english,
)

making(
    ids.NO_COMMA,
    draw=nothing_to_draw,
    named=lambda kwargs: ["comma", "avoid"],
    shape=lambda shape, kwargs: shape.set(no_comma=True),
    warning=lambda scripts: (
        "the published rule knows the ASCII comma alone"
        if scripts & {"CJK", "HIRAGANA", "KATAKANA", "ARABIC", "THAANA"}
        else None
    ),
)


@impossible("all capitals, all small letters", ids.UPPER, ids.LOWER)
def _cases(one: Demand, other: Demand) -> bool:
    """a reply cannot be in capitals and in small letters throughout"""
    return True


@impossible("small letters, words in capitals", ids.LOWER, ids.CAPITALS)
def _small_letters_words_in_capitals(one: Demand, other: Demand) -> bool:
    """small letters throughout leave no word in capitals"""
    return other.at_least > 0


@impossible("capitals, no word in capitals", ids.UPPER, ids.CAPITALS)
def _capitals_no_word_in_capitals(one: Demand, other: Demand) -> bool:
    """capitals throughout make at least one word in capitals"""
    return other.below <= 1


@impossible("a splitter in the other case", (ids.UPPER, ids.LOWER), ids.SECTIONS)
def _splitter(one: Demand, other: Demand) -> bool:
    """the grader looks for the splitter in just this case"""
    splitter = literal(other.kwargs["section_spliter"].strip()) or ""
    wrong = str.islower if one.id == ids.UPPER else str.isupper
    return other.kwargs["num_sections"] > 0 and any(wrong(c) or (c.istitle() and not c.isupper()) for c in splitter)


@impossible("a fixed answer in the other case", (ids.UPPER, ids.LOWER), ids.ANSWER)
def _answer_case(one: Demand, other: Demand) -> bool:
    """the fixed answers hold capitals and small letters"""
    return True


@impossible("English letters, another language", (ids.UPPER, ids.LOWER), ids.LANGUAGE)
def _english_letters_another_language(one: Demand, other: Demand) -> bool:
    """English in one case and another language are asked for"""
    return bool(other.kwargs["language"] != "en")


@impossible("a comma that is asked for", ids.NO_COMMA, ANY)
def _a_comma_that_is_asked_for(one: Demand, other: Demand) -> bool:
    """text that the reply must hold has a comma"""
    return any(text.least(lambda each: each.count(",")) for text in other.forced)


@tension("text in the other case", (ids.UPPER, ids.LOWER), ANY)
def _other_case(one: Demand, other: Demand) -> bool:
    """text that the reply must hold is given in another case; it passes since the grader ignores case there"""
    if other.id == ids.POSTSCRIPT:
        return one.id == ids.LOWER
    changed = str.upper if one.id == ids.UPPER else str.lower
    return any(all(changed(each) != each for each in text.texts) for text in other.forced)


@tension("few capitals", ids.UPPER, ids.CAPITALS)
def _few_capitals(one: Demand, other: Demand) -> bool:
    """capitals throughout and only a few words in capitals leave no more than these words"""
    return other.below != float("inf")
