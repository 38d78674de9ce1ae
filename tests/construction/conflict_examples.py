"""For every rule about what excludes what: instructions that conflict by it, and some near to them that do not."""

from __future__ import annotations

from typing import Any

from turnswap.construction.instructions.ids import (
    ANSWER,
    BULLETS,
    CAPITALS,
    END,
    EXISTENCE,
    FORBIDDEN,
    FREQUENCY,
    JSON,
    LANGUAGE,
    LETTER,
    LOWER,
    NO_COMMA,
    NTH,
    PARAGRAPHS,
    QUOTATION,
    REPEAT,
    SECTIONS,
    SENTENCES,
    TWO,
    UPPER,
    WORDS,
)

Example = tuple[str, dict[str, Any]]


def words(relation: str, number: int) -> Example:
    return WORDS, {"relation": relation, "num_words": number}


def sentences(relation: str, number: int) -> Example:
    return SENTENCES, {"relation": relation, "num_sentences": number}


def keyword(word: str, relation: str, number: int) -> Example:
    return FREQUENCY, {"keyword": word, "relation": relation, "frequency": number}


def capitals(relation: str, number: int) -> Example:
    return CAPITALS, {"capital_relation": relation, "capital_frequency": number}


def nth(number: int, place: int, word: str) -> Example:
    return NTH, {"num_paragraphs": number, "nth_paragraph": place, "first_word": word}


def letter(one: str, relation: str, number: int) -> Example:
    return LETTER, {"letter": one, "let_relation": relation, "let_frequency": number}


def repeat(prompt: str) -> Example:
    return REPEAT, {"prompt_to_repeat": prompt}


def end(phrase: str) -> Example:
    return END, {"end_phrase": phrase}


def exists(*keywords: str) -> Example:
    return EXISTENCE, {"keywords": list(keywords)}


def forbids(*keywords: str) -> Example:
    return FORBIDDEN, {"forbidden_words": list(keywords)}


def sections(splitter: str, number: int) -> Example:
    return SECTIONS, {"section_spliter": splitter, "num_sections": number}


EXAMPLES: dict[str, tuple[tuple[Example, ...], tuple[Example, ...]]] = {
    "fewer than none": ((sentences("less than", 1),), (words("less than", 1),)),
    "nothing to count": ((keyword("", "at least", 1),), (keyword("", "less than", 1),)),
    "a number below zero": (((BULLETS, {"num_bullets": -1}),), ((BULLETS, {"num_bullets": 0}),)),
    "a paragraph beyond the last": ((nth(2, 3, "rain"),), (nth(2, 2, "rain"),)),
    "a first word that is no word": ((nth(1, 1, "don't"),), (nth(1, 1, "well-known"),)),
    "an end in quotation marks": ((end('He said "yes"'),), (end('He said "yes".'),)),
    "bounds that exclude each other": (
        (words("at least", 100), words("less than", 100)),
        (words("at least", 4), words("less than", 5)),
    ),
    "two exact numbers": ((nth(2, 1, "rain"), nth(3, 3, "sun")), (nth(2, 1, "rain"), nth(2, 2, "sun"))),
    "two first words": ((nth(2, 1, "rain"), nth(2, 1, "sun")), (nth(2, 1, "rain"), nth(2, 1, "Rain"))),
    "two ends": ((end("Good night."), end("Good day.")), (end("Good night."), end("night."))),
    "two beginnings": (
        (repeat("Name a river."), repeat("Name a lake.")),
        (repeat("Name a river."), repeat("Name a river")),
    ),
    "all capitals, all small letters": (((UPPER, {}), (LOWER, {})), ((UPPER, {}), capitals("at least", 3))),
    "small letters, words in capitals": (
        ((LOWER, {}), capitals("at least", 1)),
        ((LOWER, {}), capitals("less than", 1)),
    ),
    "capitals, no word in capitals": (((UPPER, {}), capitals("less than", 1)), ((UPPER, {}), capitals("less than", 2))),
    "a splitter in the other case": (((UPPER, {}), sections("Part", 2)), ((UPPER, {}), sections("PART", 2))),
    "a fixed answer in the other case": (((LOWER, {}), (ANSWER, {})), (capitals("less than", 1), (ANSWER, {}))),
    "English letters, another language": (
        ((LOWER, {}), (LANGUAGE, {"language": "fr"})),
        ((LOWER, {}), (LANGUAGE, {"language": "en"})),
    ),
    "two languages": (
        ((LANGUAGE, {"language": "fr"}), (LANGUAGE, {"language": "it"})),
        ((LANGUAGE, {"language": "zh"}), (LANGUAGE, {"language": "zh-cn"})),
    ),
    "a comma that is asked for": (
        ((NO_COMMA, {}), end("Thank you, friends.")),
        ((NO_COMMA, {}), end("Thank you friends.")),
    ),
    "a forbidden word that is asked for": (
        (forbids("rain"), end("Here comes the rain.")),
        (forbids("rain"), exists("rain")),
    ),
    "a keyword too often": (
        (keyword("book", "less than", 3), keyword("books", "at least", 3)),
        (keyword("books", "less than", 3), keyword("book", "at least", 3)),
    ),
    "a letter too often": (
        (letter("e", "less than", 2), exists("evening")),
        (letter("e", "less than", 3), exists("evening")),
    ),
    "too few words for what is asked for": (
        (words("less than", 4), end("See you all tomorrow.")),
        (words("less than", 5), end("See you all tomorrow.")),
    ),
    "six stars hold three": (((TWO, {}), (PARAGRAPHS, {"num_paragraphs": 2})), ((TWO, {}), nth(2, 1, "rain"))),
    "JSON that starts with a word": (((JSON, {}), nth(3, 1, "rain")), ((JSON, {}), nth(3, 2, "rain"))),
    "JSON that starts with the prompt": (((JSON, {}), repeat("Name a river.")), ((JSON, {}), repeat("12"))),
    "a quotation that starts with the prompt": (
        ((QUOTATION, {}), repeat("Name a river.")),
        ((QUOTATION, {}), repeat("“Name” a river.")),
    ),
    "a prompt of too many parts": (
        (repeat("Rhyme:\n- rain\n- plane"), (BULLETS, {"num_bullets": 1})),
        (repeat("Rhyme:\n- rain\n- plane"), (BULLETS, {"num_bullets": 2})),
    ),
    "a prompt that starts with another word": (
        (repeat("Name a river."), nth(1, 1, "rain")),
        (repeat("Rain is what? Explain."), nth(1, 1, "rain")),
    ),
    "too few sentences for the prompt": (
        (sentences("less than", 3), repeat("Is it raining? Is it cold? Is it late? Tell me.")),
        (sentences("less than", 3), repeat("Is it raining? Tell me.")),
    ),
    "JSON of several paragraphs that ends with a phrase": (
        ((JSON, {}), nth(3, 2, "rain"), end("Good night.")),
        ((JSON, {}), nth(2, 2, "rain"), end("Good night.")),
    ),
    "JSON with bullets that ends with a phrase": (
        ((JSON, {}), (BULLETS, {"num_bullets": 1}), end("Good night.")),
        ((JSON, {}), (BULLETS, {"num_bullets": 1}), end("5")),
    ),
    "quoted JSON of several lines": (
        ((JSON, {}), (QUOTATION, {}), (BULLETS, {"num_bullets": 1})),
        ((JSON, {}), (QUOTATION, {}), (BULLETS, {"num_bullets": 0})),
    ),
    "shaped JSON": (((JSON, {}), (TWO, {})), ((JSON, {}), exists("rain"))),
    "a phrase before the closing mark": (
        ((QUOTATION, {}), end("Good night.")),
        ((QUOTATION, {}), exists("Good night.")),
    ),
    "two kinds of paragraph": (
        ((PARAGRAPHS, {"num_paragraphs": 2}), nth(3, 1, "rain")),
        ((PARAGRAPHS, {"num_paragraphs": 2}), exists("rain")),
    ),
    "two kinds of section": ((sections("Day", 2), sections("Part", 2)), (sections("Day", 2), sections("Day", 3))),
    "text in the other case": (((LOWER, {}), end("That is all.")), ((LOWER, {}), end("that is all."))),
    "a word forbidden and asked for": ((forbids("rain"), exists("rain")), (forbids("rain"), exists("train"))),
    "few capitals": (((UPPER, {}), capitals("less than", 5)), ((UPPER, {}), capitals("at least", 5))),
    "splitters are words in capitals": (
        (sections("PART", 3), capitals("less than", 3)),
        (sections("PART", 3), capitals("less than", 4)),
    ),
    "sentences without words": (
        (words("less than", 30), sentences("at least", 10)),
        (words("less than", 31), sentences("at least", 10)),
    ),
    "endless sentences": (
        (words("at least", 101), sentences("less than", 3)),
        (words("at least", 100), sentences("less than", 3)),
    ),
    "no words left": (
        (words("less than", 10), keyword("rain", "at least", 10)),
        (words("less than", 11), keyword("rain", "at least", 10)),
    ),
    "parts without sentences": ((sentences("less than", 2), (TWO, {})), (sentences("less than", 3), (TWO, {}))),
    "a prompt with a forbidden trait": (
        (repeat("Name a river in Asia."), words("less than", 8)),
        (repeat("Name a river in Asia."), words("less than", 20)),
    ),
    "a word that is too seldom allowed": (
        (words("less than", 10), end("I hope to see you again soon.")),
        (words("less than", 30), end("I hope to see you again soon.")),
    ),
    "keywords of one stem": (
        (keyword("rain", "less than", 2), exists("train")),
        (keyword("rain", "less than", 2), exists("snow")),
    ),
    "hardly a word": ((words("less than", 2),), (words("less than", 10),)),
}
