"""Words that the tables of conflicts are written in: ids, bounds, and instructions for examples."""

from __future__ import annotations

from .conflict_rules import Demand

WORDS, SENTENCES = "length_constraints:number_words", "length_constraints:number_sentences"
PARAGRAPHS, NTH = "length_constraints:number_paragraphs", "length_constraints:nth_paragraph_first_word"
EXISTENCE, FREQUENCY = "keywords:existence", "keywords:frequency"
FORBIDDEN, LETTER = "keywords:forbidden_words", "keywords:letter_frequency"
LANGUAGE = "language:response_language"
PLACEHOLDERS, POSTSCRIPT = "detectable_content:number_placeholders", "detectable_content:postscript"
BULLETS, ANSWER = "detectable_format:number_bullet_lists", "detectable_format:constrained_response"
SECTIONS, JSON = "detectable_format:multiple_sections", "detectable_format:json_format"
TWO, REPEAT = "combination:two_responses", "combination:repeat_prompt"
END, QUOTATION = "startend:end_checker", "startend:quotation"
CAPITALS = "change_case:capital_word_frequency"
UPPER, LOWER = "change_case:english_capital", "change_case:english_lowercase"
NO_COMMA = "punctuation:no_comma"
FORCING = (EXISTENCE, FREQUENCY, END, REPEAT, NTH, SECTIONS, POSTSCRIPT, ANSWER)

# Per id that bounds a count: the kwargs of the bound and of its relation.
BOUNDS = {
    WORDS: ("num_words", "relation"),
    SENTENCES: ("num_sentences", "relation"),
    FREQUENCY: ("frequency", "relation"),
    LETTER: ("let_frequency", "let_relation"),
    CAPITALS: ("capital_frequency", "capital_relation"),
}


def at_least(demand: Demand) -> int:
    """The least count that it allows."""
    number, relation = BOUNDS[demand.id]
    return max(demand.kwargs[number], 0) if demand.kwargs[relation] == "at least" else 0


def below(demand: Demand) -> float:
    """The count that it no longer allows; infinite where it allows any."""
    number, relation = BOUNDS[demand.id]
    return float(demand.kwargs[number]) if demand.kwargs[relation] == "less than" else float("inf")


def words(relation: str, number: int) -> tuple[str, dict[str, object]]:
    """For an example."""
    return WORDS, {"relation": relation, "num_words": number}


def sentences(relation: str, number: int) -> tuple[str, dict[str, object]]:
    """For an example."""
    return SENTENCES, {"relation": relation, "num_sentences": number}


def keyword(word: str, relation: str, number: int) -> tuple[str, dict[str, object]]:
    """For an example."""
    return FREQUENCY, {"keyword": word, "relation": relation, "frequency": number}


def capitals(relation: str, number: int) -> tuple[str, dict[str, object]]:
    """For an example."""
    return CAPITALS, {"capital_relation": relation, "capital_frequency": number}


def nth(number: int, place: int, word: str) -> tuple[str, dict[str, object]]:
    """For an example."""
    return NTH, {"num_paragraphs": number, "nth_paragraph": place, "first_word": word}


def letter(one: str, relation: str, number: int) -> tuple[str, dict[str, object]]:
    """For an example."""
    return LETTER, {"letter": one, "let_relation": relation, "let_frequency": number}


def repeat(prompt: str) -> tuple[str, dict[str, object]]:
    """For an example."""
    return REPEAT, {"prompt_to_repeat": prompt}


def end(phrase: str) -> tuple[str, dict[str, object]]:
    """For an example."""
    return END, {"end_phrase": phrase}


def exists(*keywords: str) -> tuple[str, dict[str, object]]:
    """For an example."""
    return EXISTENCE, {"keywords": list(keywords)}


def forbids(*keywords: str) -> tuple[str, dict[str, object]]:
    """For an example."""
    return FORBIDDEN, {"forbidden_words": list(keywords)}


def sections(splitter: str, number: int) -> tuple[str, dict[str, object]]:
    """For an example."""
    return SECTIONS, {"section_spliter": splitter, "num_sections": number}
