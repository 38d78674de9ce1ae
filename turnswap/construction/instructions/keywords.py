"""Words and letters that must or must not occur."""

from __future__ import annotations

import re
from typing import Any

from turnswap.tasks.multiif.instructions.patterns import compile_word

from ..vocabulary import LATIN, UNSPACED, VOWEL_SIGNS
from . import ids
from .draw import ENGLISH, Draw
from .making import Kwargs, literal, literals, making
from .rules import ANY, Demand, impossible, tension
from .shape import Shape


def _draw_existence(draw: Draw) -> dict[str, Any] | None:
    words = draw.keywords(3 if draw.suggested("words") else draw.one((1, 2, 3)))  # the benchmark's are always three
    return {"keywords": words} if words else None


making(
    ids.EXISTENCE,
    draw=_draw_existence,
    weight=3.0,
    shape=lambda shape, kwargs: shape.strings.extend(
        [word for word in kwargs["keywords"] if word not in shape.strings]
    ),
    forces=lambda kwargs: literals(kwargs["keywords"]),
)


def _draw_frequency(draw: Draw) -> dict[str, Any] | None:
    words = draw.keywords(1)
    drawn = draw.relation("relation", (2, 2, 3, 4), (2, 3, 4), "frequency")
    return {"keyword": words[0], **drawn} if words else None


def _shape_frequency(shape: Shape, kwargs: Kwargs) -> None:
    keyword = kwargs["keyword"].strip()
    if kwargs["relation"] == "at least":
        shape.at_least("repeated", keyword, kwargs["frequency"])
    elif keyword:
        pattern = compile_word(keyword, flags=re.IGNORECASE)
        shape.unwanted.append(lambda word: pattern.search(word) is not None)


making(
    ids.FREQUENCY,
    draw=_draw_frequency,
    weight=2.0,
    named=lambda kwargs: [kwargs["keyword"], kwargs["relation"], str(kwargs["frequency"])],
    shape=_shape_frequency,
    forces=lambda kwargs: (
        literals([kwargs["keyword"].strip()], kwargs["frequency"])
        if kwargs["relation"] == "at least" and kwargs["frequency"] > 0
        else []
    ),
)


def _draw_forbidden(draw: Draw) -> dict[str, Any] | None:
    if len(topical := draw.suggested("avoid")) > 2:
        return {"forbidden_words": draw.some(topical, 3)}
    prompts = " ".join(draw.conversation.prompts).lower()
    fillers = ENGLISH["fillers"].split() if draw.conversation.language == "en" else []
    words = [word for word in fillers if word not in prompts]
    return {"forbidden_words": draw.some(words, draw.one((2, 3)))} if words else None


def _shape_forbidden(shape: Shape, kwargs: Kwargs) -> None:
    patterns = [compile_word(word, r"\b", r"\b", re.IGNORECASE) for word in kwargs["forbidden_words"]]
    # A forbidden phrase is kept out by its words: they might meet.
    parts = {part for word in kwargs["forbidden_words"] for part in word.lower().split()}
    shape.unwanted.append(lambda word: word in parts or any(pattern.search(word) for pattern in patterns))


def _warn_of_forbidden(scripts: frozenset[str]) -> str | None:
    if scripts & UNSPACED:
        return "the published rule finds words between spaces, and there are none"
    if scripts & VOWEL_SIGNS:
        return "the published rule finds no word that ends in a vowel sign"
    return "the published rule does not find a word with a particle behind it" if "HANGUL" in scripts else None


making(
    ids.FORBIDDEN,
    draw=_draw_forbidden,
    weight=2.0,
    named=lambda kwargs: [*kwargs["forbidden_words"], "avoid"],
    shape=_shape_forbidden,
    warning=_warn_of_forbidden,
)


def _draw_letter(draw: Draw) -> dict[str, Any] | None:
    if draw.conversation.language != "en":
        return None
    drawn = draw.relation("let_relation", (5, 8, 10, 15, 20), (3, 4, 5, 6), "let_frequency")
    return {"letter": draw.one("aeilnorst" if drawn["let_relation"] == "at least" else "jkqvwxz"), **drawn}


def _shape_letter(shape: Shape, kwargs: Kwargs) -> None:
    letter = kwargs["letter"].lower()
    if kwargs["let_relation"] == "at least":
        shape.at_least("letters", letter, kwargs["let_frequency"])
    elif letter:
        shape.unwanted.append(lambda word: letter in word)


making(
    ids.LETTER,
    draw=_draw_letter,
    named=lambda kwargs: ["letter", kwargs["letter"], kwargs["let_relation"], str(kwargs["let_frequency"])],
    shape=_shape_letter,
    # The published grader replaces any letter but a Latin one at random.
    unsuitable=lambda language, scripts: (
        None if LATIN in scripts else "it counts Latin letters, and the script has others"
    ),
)


@impossible("nothing to count", (ids.FREQUENCY, ids.LETTER), loose="impossible")
def _nothing_to_count(one: Demand) -> bool:
    """an empty keyword or letter is never found"""
    counted = one.kwargs["keyword"] if one.id == ids.FREQUENCY else one.kwargs["letter"]
    return not counted and one.at_least > 0


@impossible("a forbidden word that is asked for", ids.FORBIDDEN, ANY)
def _forbidden(one: Demand, other: Demand) -> bool:
    """a forbidden word occurs in text that the reply must hold, whatever stands beside it"""
    patterns = [compile_word(word, r"\b", r"\b", re.IGNORECASE) for word in one.kwargs["forbidden_words"]]
    return any(
        all(any(pattern.search(way) for pattern in patterns) for way in text.in_context()) for text in other.forced
    )


@impossible("a keyword too often", ids.FREQUENCY, ANY)
def _too_often(one: Demand, other: Demand) -> bool:
    """text that the reply must hold has the keyword too often"""
    word = (literal(one.kwargs["keyword"].strip()) or "").lower()
    return bool(word) and any(text.least(lambda each: each.lower().count(word)) >= one.below for text in other.forced)


@impossible("a letter too often", ids.LETTER, ANY)
def _letter_too_often(one: Demand, other: Demand) -> bool:
    """text that the reply must hold has the letter too often"""
    letter = one.kwargs["letter"].lower()
    return bool(letter) and any(
        text.least(lambda each: each.lower().count(letter)) >= one.below for text in other.forced
    )


@tension("a word forbidden and asked for", ids.FORBIDDEN, ANY)
def _only_inside_words(one: Demand, other: Demand) -> bool:
    """a forbidden word is asked for; it passes only as a part of longer words"""
    unwanted = {word.strip().lower() for word in one.kwargs["forbidden_words"]}
    return any(each.strip().lower() in unwanted for text in other.forced for each in text.texts)


@tension("keywords of one stem", ids.FREQUENCY, (ids.EXISTENCE, ids.FREQUENCY))
def _stem(one: Demand, other: Demand) -> bool:
    """a keyword that may occur only a few times is part of one that is asked for"""
    word = one.kwargs["keyword"].strip().lower()
    asked = {each.lower() for text in other.forced for each in text.texts}
    return bool(word) and one.below < float("inf") and any(word in each for each in asked - {word})
