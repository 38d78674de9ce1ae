"""How many words, sentences and paragraphs."""

from __future__ import annotations

import re
from typing import Any

from turnswap.tasks.multiif import text as counting

from ..vocabulary import UNSPACED, VOWEL_SIGNS
from . import ids
from .draw import Draw
from .making import Kwargs, making, phrase
from .rules import ANY, Demand, impossible, tension
from .shape import Shape

_SHORTEST_SENTENCE, _LONGEST_SENTENCE, _LEAST_WORDS = 3, 50, 3  # words
_CUT = VOWEL_SIGNS - {"THAI"}  # whose words the published rule has parted by pythainlp
_ENDS_A_FIRST_WORD = re.compile(r"[\s.,?!'\"]")

making(
    ids.WORDS,
    draw=lambda draw: draw.relation(
        "relation", (50, 80, 100, 120, 150, 200), (60, 80, 100, 150, 200, 300), "num_words"
    ),
    weight=3.0,
    named=lambda kwargs: ["word", kwargs["relation"], str(kwargs["num_words"])],
    shape=lambda shape, kwargs: shape.words.narrow(kwargs["relation"], kwargs["num_words"]),
    warning=lambda scripts: "the published rule cuts words at vowel signs" if scripts & _CUT else None,
)

making(
    ids.SENTENCES,
    draw=lambda draw: draw.relation("relation", (3, 4, 5, 6, 8, 10), (4, 5, 6, 8, 10, 12), "num_sentences"),
    weight=2.0,
    named=lambda kwargs: ["sentence", kwargs["relation"], str(kwargs["num_sentences"])],
    shape=lambda shape, kwargs: shape.sentences.narrow(kwargs["relation"], kwargs["num_sentences"]),
)

making(
    ids.PARAGRAPHS,
    draw=lambda draw: {"num_paragraphs": draw.one((2, 3, 3, 4, 5))},
    weight=2.0,
    named=lambda kwargs: ["paragraph", str(kwargs["num_paragraphs"]), "***"],
    own_numbers=frozenset((3,)),
    exact=True,
    shape=lambda shape, kwargs: shape.set(chunks=kwargs["num_paragraphs"]),
)


def _draw_first_word(draw: Draw) -> dict[str, Any] | None:
    words, number = draw.keywords(1, single=True), draw.one((2, 3, 3, 4))
    place = draw.one(range(1, number + 1))
    return {"num_paragraphs": number, "nth_paragraph": place, "first_word": words[0]} if words else None


def _name_first_word(kwargs: Kwargs) -> list[str]:
    place = kwargs["nth_paragraph"]
    ending = "th" if place % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(place % 10, "th")
    number = str(kwargs["num_paragraphs"])
    return ["paragraph", number, f"{place}{ending}", "start", kwargs["first_word"], "blank line"]


def _shape_first_word(shape: Shape, kwargs: Kwargs) -> None:
    shape.paragraphs, shape.blank_lines = kwargs["num_paragraphs"], True
    shape.first_words[kwargs["nth_paragraph"]] = kwargs["first_word"]


making(
    ids.NTH,
    draw=_draw_first_word,
    named=_name_first_word,
    own_numbers=frozenset((1, 2)),
    shape=_shape_first_word,
    warning=lambda scripts: "the published rule ends a word at a space alone" if scripts & UNSPACED else None,
    forces=lambda kwargs: phrase(kwargs["first_word"], left=("", " ", '"'), right=("", " ", ".")),
    wrong_text=lambda word: "is more than a word to the grader" if _ENDS_A_FIRST_WORD.search(word) else None,
)


@impossible("a number below zero", (ids.BULLETS, ids.PARAGRAPHS), loose="impossible")
def _a_number_below_zero(one: Demand) -> bool:
    """an exact number of parts cannot be negative"""
    return any(value < 0 for value in one.kwargs.values())


@impossible("a paragraph beyond the last", ids.NTH, loose="impossible")
def _a_paragraph_beyond_the_last(one: Demand) -> bool:
    """the paragraph whose first word is given is not among those that there must be"""
    return bool(one.kwargs["num_paragraphs"] < max(one.kwargs["nth_paragraph"], 1))


@impossible("a first word that is no word", ids.NTH, loose="impossible")
def _a_first_word_that_is_no_word(one: Demand) -> bool:
    """the grader cuts the first word at white space and at " . , ? ! '"""
    return _ENDS_A_FIRST_WORD.search(one.kwargs["first_word"]) is not None


@impossible("two exact numbers", (ids.BULLETS, ids.PARAGRAPHS, ids.NTH), (ids.BULLETS, ids.PARAGRAPHS, ids.NTH))
def _exact(one: Demand, other: Demand) -> bool:
    """the same parts are to be of two exact numbers"""
    number = "num_bullets" if one.id == ids.BULLETS else "num_paragraphs"
    return one.id == other.id and one.kwargs[number] != other.kwargs[number]


@impossible("two first words", ids.NTH, ids.NTH)
def _first_words(one: Demand, other: Demand) -> bool:
    """the same paragraph is to start with two words"""
    if one.kwargs["nth_paragraph"] != other.kwargs["nth_paragraph"]:
        return False
    return bool(one.kwargs["first_word"].lower() != other.kwargs["first_word"].lower())


@impossible("too few words for what is asked for", ids.WORDS, ANY)
def _too_few_words_for_what_is_asked_for(one: Demand, other: Demand) -> bool:
    """text that the reply must hold has too many words"""
    return any(text.least_words() >= one.below for text in other.forced)


@impossible("too few sentences for the prompt", ids.SENTENCES, ids.REPEAT)
def _prompt_sentences(one: Demand, other: Demand) -> bool:
    """the prompt to repeat alone has more sentences than the reply may have"""
    prompt = other.kwargs["prompt_to_repeat"].strip()
    # What follows the prompt may go on with its last sentence, and may be of a language whose stops are others.
    fewest = min(len(counting.split_sentences(prompt)), counting.count_sentences_hindi(prompt)) - 1
    return fewest >= one.below


@tension("two kinds of paragraph", ids.PARAGRAPHS, ids.NTH)
def _paragraphs(one: Demand, other: Demand) -> bool:
    """one instruction separates paragraphs by blank lines, the other by ***"""
    return True


@tension("sentences without words", ids.WORDS, ids.SENTENCES)
def _sentences_without_words(one: Demand, other: Demand) -> bool:
    """so many sentences leave fewer than three words for each"""
    return _SHORTEST_SENTENCE * other.at_least > one.below - 1


@tension("endless sentences", ids.WORDS, ids.SENTENCES)
def _endless_sentences(one: Demand, other: Demand) -> bool:
    """so few sentences need more than fifty words each"""
    return one.at_least > _LONGEST_SENTENCE * (other.below - 1)


@tension(
    "no words left",
    ids.WORDS,
    (ids.FREQUENCY, ids.CAPITALS, ids.SECTIONS, ids.PARAGRAPHS, ids.BULLETS, ids.PLACEHOLDERS, ids.UPPER, ids.LOWER),
)
def _few_words(one: Demand, other: Demand) -> bool:
    """the parts asked for are more than the words allowed"""
    if other.id in (ids.FREQUENCY, ids.CAPITALS):
        parts = other.at_least
    else:
        parts = max((value for value in other.kwargs.values() if isinstance(value, int)), default=1)
    return parts >= one.below


@tension("parts without sentences", ids.SENTENCES, (ids.TWO, ids.PARAGRAPHS, ids.NTH, ids.SECTIONS))
def _few_sentences(one: Demand, other: Demand) -> bool:
    """fewer sentences are allowed than parts asked for; it passes where sentences have no stop"""
    parts = 2 if other.id == ids.TWO else other.kwargs["num_sections" if other.id == ids.SECTIONS else "num_paragraphs"]
    return bool(parts >= one.below)


@tension("a word that is too seldom allowed", ids.WORDS, ids.END)
def _a_word_that_is_too_seldom_allowed(one: Demand, other: Demand) -> bool:
    """fewer words are allowed than the end asks for twice over"""
    return any(2 * text.least_words() > one.below for text in other.forced)


@tension("hardly a word", ids.WORDS)
def _hardly_a_word(one: Demand) -> bool:
    """a reply of so few words says nothing"""
    return one.below <= _LEAST_WORDS
