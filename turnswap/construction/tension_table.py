"""The rules of tension: a reply can pass both instructions, but hardly one that their user had in mind."""

from __future__ import annotations

from functools import partial

from .conflict_rules import Demand, rule
from .forced_text import forced
from .rule_terms import (
    BULLETS,
    CAPITALS,
    END,
    EXISTENCE,
    FORBIDDEN,
    FORCING,
    FREQUENCY,
    JSON,
    LETTER,
    LOWER,
    NO_COMMA,
    NTH,
    PARAGRAPHS,
    PLACEHOLDERS,
    QUOTATION,
    REPEAT,
    SECTIONS,
    SENTENCES,
    TWO,
    UPPER,
    WORDS,
    at_least,
    below,
    capitals,
    end,
    exists,
    forbids,
    keyword,
    nth,
    repeat,
    sections,
    sentences,
    words,
)

tension = partial(rule, severity="tension")

_SHORTEST_SENTENCE, _LONGEST_SENTENCE, _LEAST_WORDS = 3, 50, 3  # words


@tension(
    "shaped JSON",
    reason="only JSON of an odd shape passes, such as a single string, or numbers on lines of their own",
    first=JSON,
    second=(TWO, PARAGRAPHS, NTH, BULLETS, QUOTATION, END, REPEAT, NO_COMMA),
    conflicting=((JSON, {}), (TWO, {})),
    near=((JSON, {}), exists("rain")),
)
def _json(one: Demand, other: Demand) -> bool:
    return True


@tension(
    "a phrase before the closing mark",
    reason='the phrase is not the very end of a reply in quotation marks, and passes before a straight " alone',
    first=QUOTATION,
    second=END,
    conflicting=((QUOTATION, {}), end("Good night.")),
    near=((QUOTATION, {}), exists("Good night.")),
)
def _quoted_end(one: Demand, other: Demand) -> bool:
    return True


@tension(
    "two kinds of paragraph",
    reason="paragraphs are parted by blank lines for one and by *** for the other",
    first=PARAGRAPHS,
    second=NTH,
    conflicting=((PARAGRAPHS, {"num_paragraphs": 2}), nth(3, 1, "rain")),
    near=((PARAGRAPHS, {"num_paragraphs": 2}), exists("rain")),
)
def _paragraphs(one: Demand, other: Demand) -> bool:
    return True


@tension(
    "two kinds of section",
    reason="sections are opened by two different words",
    first=SECTIONS,
    second=SECTIONS,
    conflicting=(sections("Day", 2), sections("Part", 2)),
    near=(sections("Day", 2), sections("Day", 3)),
)
def _sections(one: Demand, other: Demand) -> bool:
    return bool(one.kwargs["section_spliter"].strip() != other.kwargs["section_spliter"].strip())


@tension(
    "text in the other case",
    reason="text that the reply must hold is given in another case; it passes since the grader ignores case there",
    first=(UPPER, LOWER),
    second=FORCING,
    conflicting=((LOWER, {}), end("That is all.")),
    near=((LOWER, {}), end("that is all.")),
)
def _case(one: Demand, other: Demand) -> bool:
    changed = str.upper if one.id == UPPER else str.lower
    if other.id == "detectable_content:postscript":
        return one.id == LOWER
    return any(all(changed(each) != each for each in text.texts) for text in forced(other))


@tension(
    "a word forbidden and asked for",
    reason="a forbidden word is asked for; it passes only as a part of longer words",
    first=FORBIDDEN,
    second=FORCING,
    conflicting=(forbids("rain"), exists("rain")),
    near=(forbids("rain"), exists("train")),
)
def _forbidden(one: Demand, other: Demand) -> bool:
    unwanted = {word.strip().lower() for word in one.kwargs["forbidden_words"]}
    return any(each.strip().lower() in unwanted for text in forced(other) for each in text.texts)


@tension(
    "few capitals",
    reason="capitals throughout and only a few words in capitals leave no more than these words",
    first=UPPER,
    second=CAPITALS,
    conflicting=((UPPER, {}), capitals("less than", 5)),
    near=((UPPER, {}), capitals("at least", 5)),
)
def _upper(one: Demand, other: Demand) -> bool:
    return below(other) != float("inf")


@tension(
    "splitters are words in capitals",
    reason="each splitter in capitals is a word in capitals, unless it is written as the end of another word",
    first=SECTIONS,
    second=CAPITALS,
    conflicting=(sections("PART", 3), capitals("less than", 3)),
    near=(sections("PART", 3), capitals("less than", 4)),
)
def _splitters(one: Demand, other: Demand) -> bool:
    return bool(one.kwargs["section_spliter"].strip().isupper() and one.kwargs["num_sections"] >= below(other))


@tension(
    "sentences without words",
    reason="so many sentences leave fewer than three words for each",
    first=WORDS,
    second=SENTENCES,
    conflicting=(words("less than", 30), sentences("at least", 10)),
    near=(words("less than", 31), sentences("at least", 10)),
)
def _short_sentences(one: Demand, other: Demand) -> bool:
    return _SHORTEST_SENTENCE * at_least(other) > below(one) - 1


@tension(
    "endless sentences",
    reason="so few sentences need more than fifty words each",
    first=WORDS,
    second=SENTENCES,
    conflicting=(words("at least", 101), sentences("less than", 3)),
    near=(words("at least", 100), sentences("less than", 3)),
)
def _long_sentences(one: Demand, other: Demand) -> bool:
    return at_least(one) > _LONGEST_SENTENCE * (below(other) - 1)


@tension(
    "no words left",
    reason="the parts asked for are more than the words allowed",
    first=WORDS,
    second=(FREQUENCY, CAPITALS, SECTIONS, PARAGRAPHS, BULLETS, PLACEHOLDERS, UPPER, LOWER),
    conflicting=(words("less than", 10), keyword("rain", "at least", 10)),
    near=(words("less than", 11), keyword("rain", "at least", 10)),
)
def _few_words(one: Demand, other: Demand) -> bool:
    if other.id in (FREQUENCY, CAPITALS):
        parts = at_least(other)
    else:
        parts = max((value for value in other.kwargs.values() if isinstance(value, int)), default=1)
    return parts >= below(one)


@tension(
    "parts without sentences",
    reason="fewer sentences are allowed than parts asked for; it passes where sentences have no stop",
    first=SENTENCES,
    second=(TWO, PARAGRAPHS, NTH, SECTIONS),
    conflicting=(sentences("less than", 2), (TWO, {})),
    near=(sentences("less than", 3), (TWO, {})),
)
def _few_sentences(one: Demand, other: Demand) -> bool:
    parts = 2 if other.id == TWO else other.kwargs["num_sections" if other.id == SECTIONS else "num_paragraphs"]
    return bool(parts >= below(one))


@tension(
    "a prompt with a forbidden trait",
    reason="the prompt to repeat leaves little of what the reply may still hold",
    first=REPEAT,
    second=(WORDS, SENTENCES, LETTER),
    conflicting=(repeat("Name a river in Asia."), words("less than", 8)),
    near=(repeat("Name a river in Asia."), words("less than", 20)),
)
def _prompt(one: Demand, other: Demand) -> bool:
    text = forced(one)
    if not text or below(other) == float("inf"):
        return False
    if other.id == LETTER:
        used = text[0].texts[0].lower().count(other.kwargs["letter"].lower())
    elif other.id == WORDS:
        used = text[0].least_words()
    else:
        used = sum(map(text[0].texts[0].count, ".?!"))
    return used * 2 > below(other)


@tension(
    "a word that is too seldom allowed",
    reason="fewer words are allowed than the end asks for twice over",
    first=WORDS,
    second=END,
    conflicting=(words("less than", 10), end("I hope to see you again soon.")),
    near=(words("less than", 30), end("I hope to see you again soon.")),
)
def _short_end(one: Demand, other: Demand) -> bool:
    return any(2 * text.least_words() > below(one) for text in forced(other))


@tension(
    "keywords of one stem",
    reason="a keyword that must stay seldom is part of one that is asked for",
    first=FREQUENCY,
    second=(EXISTENCE, FREQUENCY),
    conflicting=(keyword("rain", "less than", 2), exists("train")),
    near=(keyword("rain", "less than", 2), exists("snow")),
)
def _stem(one: Demand, other: Demand) -> bool:
    word = one.kwargs["keyword"].strip().lower()
    if not word or below(one) == float("inf"):
        return False
    asked = {each.lower() for text in forced(other) for each in text.texts}
    return any(word in each for each in asked - {word})


@tension(
    "hardly a word",
    reason="a reply of so few words says nothing",
    first=WORDS,
    conflicting=(words("less than", 2),),
    near=(words("less than", 10),),
)
def _hardly(one: Demand) -> bool:
    return below(one) <= _LEAST_WORDS
