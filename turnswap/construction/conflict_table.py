"""Impossible: an instruction that excludes itself, two bounds of the same count, two cases, two languages."""

from __future__ import annotations

import re
from functools import partial

from .conflict_rules import Demand, rule
from .forced_text import literal
from .rule_terms import (
    ANSWER,
    BOUNDS,
    BULLETS,
    CAPITALS,
    END,
    FREQUENCY,
    LANGUAGE,
    LETTER,
    LOWER,
    NTH,
    PARAGRAPHS,
    REPEAT,
    SECTIONS,
    SENTENCES,
    UPPER,
    at_least,
    below,
    capitals,
    end,
    keyword,
    nth,
    repeat,
    sections,
    sentences,
    words,
)

impossible = partial(rule, severity="impossible")


# ----------------------------------------------------------------------------------- one instruction alone


@impossible(
    "fewer than none",
    reason="no count is below zero, and a reply has at least one sentence",
    first=tuple(BOUNDS),
    conflicting=(sentences("less than", 1),),
    near=(words("less than", 1),),
)
def _fewer_than_none(one: Demand) -> bool:
    return below(one) <= (1 if one.id == SENTENCES else 0)


@impossible(
    "nothing to count",
    reason="an empty keyword or letter is never found",
    first=(FREQUENCY, LETTER),
    conflicting=(keyword(" ", "at least", 1),),
    near=(keyword(" ", "less than", 1),),
)
def _nothing_to_count(one: Demand) -> bool:
    counted = one.kwargs["keyword"].strip() if one.id == FREQUENCY else one.kwargs["letter"]
    return not counted and at_least(one) > 0


@impossible(
    "a number below zero",
    reason="an exact number of parts cannot be negative",
    first=(BULLETS, PARAGRAPHS),
    conflicting=((BULLETS, {"num_bullets": -1}),),
    near=((BULLETS, {"num_bullets": 0}),),
)
def _below_zero(one: Demand) -> bool:
    return any(value < 0 for value in one.kwargs.values())


@impossible(
    "a paragraph beyond the last",
    reason="the paragraph whose first word is given is not among those that there must be",
    first=NTH,
    conflicting=(nth(2, 3, "rain"),),
    near=(nth(2, 2, "rain"),),
)
def _beyond(one: Demand) -> bool:
    return bool(one.kwargs["num_paragraphs"] < max(one.kwargs["nth_paragraph"], 1))


@impossible(
    "a first word that is no word",
    reason="the grader cuts the first word at white space and at . , ? ! ' and \"",
    first=NTH,
    conflicting=(nth(1, 1, "don't"),),
    near=(nth(1, 1, "well-known"),),
)
def _no_word(one: Demand) -> bool:
    return re.search(r"[\s.,?!'\"]", one.kwargs["first_word"]) is not None


@impossible(
    "an end in quotation marks",
    reason='the grader removes every " at the end of the reply before it looks for the phrase',
    first=END,
    conflicting=(end('He said "yes"'),),
    near=(end('He said "yes".'),),
)
def _quoted_end(one: Demand) -> bool:
    return bool(one.kwargs["end_phrase"].strip().endswith('"'))


# ----------------------------------------------------------------------------------------- the same thing


@impossible(
    "bounds that exclude each other",
    reason="one asks for at least as many as the other forbids",
    first=tuple(BOUNDS),
    second=tuple(BOUNDS),
    conflicting=(words("at least", 100), words("less than", 100)),
    near=(words("at least", 4), words("less than", 5)),
)
def _bounds(one: Demand, other: Demand) -> bool:
    if one.id != other.id:
        return False
    if one.id == LETTER and one.kwargs["letter"].lower() != other.kwargs["letter"].lower():
        return False
    if one.id == FREQUENCY and one.kwargs["keyword"].strip().lower() != other.kwargs["keyword"].strip().lower():
        return False
    return at_least(one) >= below(other)


@impossible(
    "two exact numbers",
    reason="the same parts are to be of two exact numbers",
    first=(BULLETS, PARAGRAPHS, NTH),
    second=(BULLETS, PARAGRAPHS, NTH),
    conflicting=(nth(2, 1, "rain"), nth(3, 3, "sun")),
    near=(nth(2, 1, "rain"), nth(2, 2, "sun")),
)
def _exact(one: Demand, other: Demand) -> bool:
    number = "num_bullets" if one.id == BULLETS else "num_paragraphs"
    return one.id == other.id and one.kwargs[number] != other.kwargs[number]


@impossible(
    "two first words",
    reason="the same paragraph is to start with two words",
    first=NTH,
    second=NTH,
    conflicting=(nth(2, 1, "rain"), nth(2, 1, "sun")),
    near=(nth(2, 1, "rain"), nth(2, 1, "Rain")),
)
def _first_words(one: Demand, other: Demand) -> bool:
    if one.kwargs["nth_paragraph"] != other.kwargs["nth_paragraph"]:
        return False
    return bool(one.kwargs["first_word"].lower() != other.kwargs["first_word"].lower())


@impossible(
    "two ends",
    reason="the reply is to end with two phrases, neither of which ends with the other",
    first=END,
    second=END,
    conflicting=(end("Good night."), end("Good day.")),
    near=(end("Good night."), end("night.")),
)
def _ends(one: Demand, other: Demand) -> bool:
    first, second = (each.kwargs["end_phrase"].strip().lower() for each in (one, other))
    return not first.endswith(second) and not second.endswith(first)


@impossible(
    "two beginnings",
    reason="the reply is to start with two prompts, neither of which starts with the other",
    first=REPEAT,
    second=REPEAT,
    conflicting=(repeat("Name a river."), repeat("Name a lake.")),
    near=(repeat("Name a river."), repeat("Name a river")),
)
def _beginnings(one: Demand, other: Demand) -> bool:
    first, second = (each.kwargs["prompt_to_repeat"].strip().lower() for each in (one, other))
    return not first.startswith(second) and not second.startswith(first)


# -------------------------------------------------------------------------------------- case and language


@impossible(
    "all capitals, all small letters",
    reason="a reply cannot be in capitals and in small letters throughout",
    first=UPPER,
    second=LOWER,
    conflicting=((UPPER, {}), (LOWER, {})),
    near=((UPPER, {}), capitals("at least", 3)),
)
def _cases(one: Demand, other: Demand) -> bool:
    return True


@impossible(
    "small letters, words in capitals",
    reason="small letters throughout leave no word in capitals",
    first=LOWER,
    second=CAPITALS,
    conflicting=((LOWER, {}), capitals("at least", 1)),
    near=((LOWER, {}), capitals("less than", 1)),
)
def _lower_capitals(one: Demand, other: Demand) -> bool:
    return at_least(other) > 0


@impossible(
    "capitals, no word in capitals",
    reason="capitals throughout make at least one word in capitals",
    first=UPPER,
    second=CAPITALS,
    conflicting=((UPPER, {}), capitals("less than", 1)),
    near=((UPPER, {}), capitals("less than", 2)),
)
def _upper_capitals(one: Demand, other: Demand) -> bool:
    return below(other) <= 1


@impossible(
    "a splitter in the other case",
    reason="the grader looks for the splitter in just this case",
    first=(UPPER, LOWER),
    second=SECTIONS,
    conflicting=((UPPER, {}), sections("Part", 2)),
    near=((UPPER, {}), sections("PART", 2)),
)
def _splitter(one: Demand, other: Demand) -> bool:
    splitter = literal(other.kwargs["section_spliter"].strip()) or ""
    wrong = str.islower if one.id == UPPER else str.isupper
    return other.kwargs["num_sections"] > 0 and any(wrong(c) or (c.istitle() and not c.isupper()) for c in splitter)


@impossible(
    "a fixed answer in the other case",
    reason="the fixed answers hold capitals and small letters",
    first=(UPPER, LOWER),
    second=ANSWER,
    conflicting=((LOWER, {}), (ANSWER, {})),
    near=(capitals("less than", 1), (ANSWER, {})),
)
def _answer_case(one: Demand, other: Demand) -> bool:
    return True


@impossible(
    "English letters, another language",
    reason="English in one case and another language are asked for",
    first=(UPPER, LOWER),
    second=LANGUAGE,
    conflicting=((LOWER, {}), (LANGUAGE, {"language": "fr"})),
    near=((LOWER, {}), (LANGUAGE, {"language": "en"})),
)
def _english(one: Demand, other: Demand) -> bool:
    return bool(other.kwargs["language"] != "en")


@impossible(
    "two languages",
    reason="the reply is to be in two languages",
    first=LANGUAGE,
    second=LANGUAGE,
    conflicting=((LANGUAGE, {"language": "fr"}), (LANGUAGE, {"language": "it"})),
    near=((LANGUAGE, {"language": "zh"}), (LANGUAGE, {"language": "zh-cn"})),
)
def _languages(one: Demand, other: Demand) -> bool:
    codes = {one.kwargs["language"], other.kwargs["language"]}
    return len(codes) == 2 and not ("zh" in codes and codes & {"zh-cn", "zh-tw"})
