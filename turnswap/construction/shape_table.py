"""Impossible: text that the reply must hold against what it must not hold, and shapes that exclude each other."""

from __future__ import annotations

import re
from functools import partial

from turnswap.tasks.multiif import text as counting
from turnswap.tasks.multiif.instructions.patterns import compile_word

from .conflict_rules import Demand, rule
from .forced_text import forced, literal
from .rule_terms import (
    BULLETS,
    FORBIDDEN,
    FORCING,
    FREQUENCY,
    JSON,
    LETTER,
    NO_COMMA,
    NTH,
    PARAGRAPHS,
    QUOTATION,
    REPEAT,
    SENTENCES,
    TWO,
    WORDS,
    below,
    end,
    exists,
    forbids,
    keyword,
    letter,
    nth,
    repeat,
    sentences,
    words,
)

impossible = partial(rule, severity="impossible")


# ------------------------------------------------------------------------------------- text that is forced


@impossible(
    "a comma that is asked for",
    reason="text that the reply must hold has a comma",
    first=NO_COMMA,
    second=FORCING,
    conflicting=((NO_COMMA, {}), end("Thank you, friends.")),
    near=((NO_COMMA, {}), end("Thank you friends.")),
)
def _comma(one: Demand, other: Demand) -> bool:
    return any(text.least(lambda each: each.count(",")) for text in forced(other))


@impossible(
    "a forbidden word that is asked for",
    reason="a forbidden word occurs in text that the reply must hold, whatever stands beside it",
    first=FORBIDDEN,
    second=FORCING,
    conflicting=(forbids("rain"), end("Here comes the rain.")),
    near=(forbids("rain"), exists("rain")),
)
def _forbidden(one: Demand, other: Demand) -> bool:
    patterns = [compile_word(word, r"\b", r"\b", re.IGNORECASE) for word in one.kwargs["forbidden_words"]]
    return any(
        all(any(pattern.search(way) for pattern in patterns) for way in text.in_context()) for text in forced(other)
    )


@impossible(
    "a keyword too often",
    reason="text that the reply must hold has the keyword as often as is too often",
    first=FREQUENCY,
    second=FORCING,
    conflicting=(keyword("book", "less than", 3), keyword("books", "at least", 3)),
    near=(keyword("books", "less than", 3), keyword("book", "at least", 3)),
)
def _keyword(one: Demand, other: Demand) -> bool:
    word = literal(one.kwargs["keyword"].strip())
    if not word or below(one) == float("inf"):
        return False
    return any(text.least(lambda each: each.lower().count(word.lower())) >= below(one) for text in forced(other))


@impossible(
    "a letter too often",
    reason="text that the reply must hold has the letter as often as is too often",
    first=LETTER,
    second=FORCING,
    conflicting=(letter("e", "less than", 2), exists("evening")),
    near=(letter("e", "less than", 3), exists("evening")),
)
def _letter(one: Demand, other: Demand) -> bool:
    counted = one.kwargs["letter"].lower()
    return bool(counted) and any(
        text.least(lambda each: each.lower().count(counted)) >= below(one) for text in forced(other)
    )


@impossible(
    "too few words for what is asked for",
    reason="text that the reply must hold has too many words",
    first=WORDS,
    second=FORCING,
    conflicting=(words("less than", 4), end("See you all tomorrow.")),
    near=(words("less than", 5), end("See you all tomorrow.")),
)
def _words(one: Demand, other: Demand) -> bool:
    return any(text.least_words() >= below(one) for text in forced(other))


# --------------------------------------------------------------------------------------------------- shape


@impossible(
    "six stars hold three",
    reason="six stars are three and three with a blank paragraph between them, which fails",
    first=TWO,
    second=PARAGRAPHS,
    conflicting=((TWO, {}), (PARAGRAPHS, {"num_paragraphs": 2})),
    near=((TWO, {}), nth(2, 1, "rain")),
)
def _stars(one: Demand, other: Demand) -> bool:
    return True


@impossible(
    "JSON that starts with a word",
    reason="the first of three or more paragraphs is JSON's opening bracket, not the word asked for",
    first=JSON,
    second=NTH,
    conflicting=((JSON, {}), nth(3, 1, "rain")),
    near=((JSON, {}), nth(3, 2, "rain")),
)
def _json_first_word(one: Demand, other: Demand) -> bool:
    # Two paragraphs are possible: a JSON string, and the closing fence that the grader removes.
    place, number, word = (other.kwargs[name] for name in ("nth_paragraph", "num_paragraphs", "first_word"))
    return bool(place == 1 and number > 2 and word[:1].isalnum())


@impossible(
    "JSON that starts with the prompt",
    reason="no JSON starts with the prompt",
    first=JSON,
    second=REPEAT,
    conflicting=((JSON, {}), repeat("Name a river.")),
    near=((JSON, {}), repeat("12")),
)
def _json_prompt(one: Demand, other: Demand) -> bool:
    prompt = other.kwargs["prompt_to_repeat"].strip().lower()
    constants = ("true", "false", "null", "nan", "infinity")
    return prompt[:1] not in set('{["-`0123456789') and not any(each.startswith(prompt) for each in constants)


@impossible(
    "a quotation that starts with the prompt",
    reason="the reply is to start with a quotation mark and with the prompt, which starts with none",
    first=QUOTATION,
    second=REPEAT,
    conflicting=((QUOTATION, {}), repeat("Name a river.")),
    near=((QUOTATION, {}), repeat("“Name” a river.")),
)
def _quoted_prompt(one: Demand, other: Demand) -> bool:
    prompt = other.kwargs["prompt_to_repeat"].strip()
    return bool(prompt) and prompt[0] not in '"“「'


@impossible(
    "a prompt of too many parts",
    reason="the prompt to repeat alone has more parts than the reply may have",
    first=REPEAT,
    second=(BULLETS, PARAGRAPHS, TWO, NTH),
    conflicting=(repeat("Rhyme:\n- rain\n- plane"), (BULLETS, {"num_bullets": 1})),
    near=(repeat("Rhyme:\n- rain\n- plane"), (BULLETS, {"num_bullets": 2})),
)
def _prompt_parts(one: Demand, other: Demand) -> bool:
    prompt = one.kwargs["prompt_to_repeat"].strip()
    if other.id == BULLETS:
        lines = re.findall(r"^[^\S\n]*(?:\*[^*]|-).*$", prompt, re.MULTILINE)
        return len(lines) > int(other.kwargs["num_bullets"])
    splitter = {PARAGRAPHS: r"\*\*\*", TWO: r"\*{6}", NTH: "\n\n"}[other.id]
    # Parts of stars alone might become a divider with what follows the prompt.
    parts = [part for part in re.split(splitter, prompt) if part.strip(" \t\n*")]
    return len(parts) > (2 if other.id == TWO else int(other.kwargs["num_paragraphs"]))


@impossible(
    "a prompt that starts with another word",
    reason="the first paragraph starts with the prompt to repeat, not with the word asked for",
    first=REPEAT,
    second=NTH,
    conflicting=(repeat("Name a river."), nth(1, 1, "rain")),
    near=(repeat("Rain is what? Explain."), nth(1, 1, "rain")),
)
def _prompt_word(one: Demand, other: Demand) -> bool:
    tokens = one.kwargs["prompt_to_repeat"].split()
    if other.kwargs["nth_paragraph"] != 1 or len(tokens) < 2:  # a single word may go on behind the prompt
        return False
    word = re.split(r"[.,?!'\"]", tokens[0].lstrip("'").lstrip('"'), maxsplit=1)[0]
    return bool(word.lower() != other.kwargs["first_word"].lower())


@impossible(
    "too few sentences for the prompt",
    reason="the prompt to repeat alone has more sentences than the reply may have",
    first=SENTENCES,
    second=REPEAT,
    conflicting=(sentences("less than", 3), repeat("Is it raining? Is it cold? Is it late? Tell me.")),
    near=(sentences("less than", 3), repeat("Is it raining? Tell me.")),
)
def _prompt_sentences(one: Demand, other: Demand) -> bool:
    prompt = other.kwargs["prompt_to_repeat"].strip()
    # What follows the prompt may go on with its last sentence, and may be of a language whose stops are others.
    fewest = min(len(counting.split_sentences(prompt)), counting.count_sentences_hindi(prompt)) - 1
    return fewest >= below(one)
