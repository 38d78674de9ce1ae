"""How many words, sentences and paragraphs."""

from __future__ import annotations

import re

import regex

from .. import matching, text
from ..segmentation import asks_for_words, count_sentences, count_words
from .spec import COUNT, PHRASE, RELATION, Asked, Relation, compares, corrects, instruction

_HAS_LETTER = regex.compile(r"[\p{L}\p{N}]")


@instruction(
    "length_constraints:number_words",
    unreproducible=text.counted_without_pythainlp,
    least=1,
    num_words=COUNT,
    relation=RELATION,
)
def number_words(reply: str, num_words: int, relation: Relation) -> bool:
    """Enough or few enough words, counted in the way of the language found in the reply."""
    return text.decide_by_method(
        reply,
        {
            text.GENERAL: lambda: compares(text.count_words(reply), relation, num_words),
            text.CJK: lambda: compares(text.count_words_cjk(reply), relation, num_words),
            text.THAI: lambda: compares(text.count_words_thai(reply), relation, num_words),
        },
    )


@corrects("length_constraints:number_words")
def _number_words(reply: str, asked: Asked, num_words: int, relation: Relation) -> bool:
    in_words = asks_for_words(asked.prompts, num_words)
    return compares(count_words(reply, asked.language, in_words), relation, num_words)


@instruction(
    "length_constraints:number_sentences",
    unreproducible=text.counted_without_pythainlp,
    least=1,
    num_sentences=COUNT,
    relation=RELATION,
)
def number_sentences(reply: str, num_sentences: int, relation: Relation) -> bool:
    """Enough or few enough sentences, counted in the way of the language found in the reply."""
    return text.decide_by_method(
        reply,
        {
            text.GENERAL: lambda: _enough_sentences(reply, relation, num_sentences),
            text.CJK: lambda: compares(text.count_sentences_cjk(reply), relation, num_sentences),
            text.HINDI: lambda: compares(text.count_sentences_hindi(reply), relation, num_sentences),
            text.THAI: lambda: compares(text.count_sentences_thai(reply), relation, num_sentences),
        },
    )


def _enough_sentences(reply: str, relation: Relation, num_sentences: int) -> bool:
    count = text.most_sentences(reply)
    if count >= num_sentences:
        count = len(text.split_sentences(reply))
    return compares(count, relation, num_sentences)


@corrects("length_constraints:number_sentences")
def _number_sentences(reply: str, asked: Asked, num_sentences: int, relation: Relation) -> bool:
    return compares(count_sentences(reply, asked.language), relation, num_sentences)


@instruction(
    "length_constraints:number_paragraphs",
    hopeless=lambda num_paragraphs: None if num_paragraphs >= 1 else "a reply has at least one paragraph",
    num_paragraphs=COUNT,
)
def number_paragraphs(reply: str, num_paragraphs: int) -> bool:
    """Exactly n parts between ``***``; a blank part is allowed, and not counted, only at either end."""
    parts = re.split(r"\s?\*\*\*\s?", reply)
    if any(not part.strip() for part in parts[1:-1]):
        return False
    blank_ends = (not parts[0].strip()) + (len(parts) > 1 and not parts[-1].strip())
    return len(parts) - blank_ends == num_paragraphs


def _no_first_word(num_paragraphs: int, nth_paragraph: int, first_word: str) -> str | None:
    if not 1 <= nth_paragraph <= num_paragraphs:
        return "the paragraph that it speaks of is not among those it asks for"
    return None if _HAS_LETTER.search(first_word) else "its first word has no letter"


@instruction(
    "length_constraints:nth_paragraph_first_word",
    hopeless=_no_first_word,
    num_paragraphs=COUNT,
    nth_paragraph=COUNT,
    first_word=PHRASE,
)
def nth_paragraph_first_word(reply: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Exactly n paragraphs between blank lines, the nth of which starts with a word.

    Blank parts are not counted, but they are when the nth is looked up, as in the published grader.
    """
    parts = reply.split("\n\n")
    counted = sum(1 for part in parts if part.strip())
    if counted != num_paragraphs or nth_paragraph > counted:
        return False
    words = parts[nth_paragraph - 1].split()
    if not words:
        return False
    word = words[0].lstrip("'").lstrip('"')
    return re.split(r"[.,?!'\"]", word, maxsplit=1)[0].lower() == first_word.lower()


@corrects("length_constraints:nth_paragraph_first_word")
def _nth_paragraph_first_word(
    reply: str, asked: Asked, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    paragraphs = [part for part in re.split(r"\n\s*\n", reply) if _HAS_LETTER.search(part)]
    if len(paragraphs) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    return matching.starts_with(paragraphs[nth_paragraph - 1], first_word, asked.language)
