"""How many words, sentences and paragraphs."""

from __future__ import annotations

import re

from .. import text
from .spec import COUNT, RELATION, TEXT, Relation, compares, instruction


@instruction(
    "length_constraints:number_words",
    unreproducible=text.counted_without_pythainlp,
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


@instruction(
    "length_constraints:number_sentences",
    unreproducible=text.counted_without_pythainlp,
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


@instruction("length_constraints:number_paragraphs", num_paragraphs=COUNT)
def number_paragraphs(reply: str, num_paragraphs: int) -> bool:
    """Exactly n parts between ``***``; a blank part is allowed, and not counted, only at either end."""
    parts = re.split(r"\s?\*\*\*\s?", reply)
    if any(not part.strip() for part in parts[1:-1]):
        return False
    blank_ends = (not parts[0].strip()) + (len(parts) > 1 and not parts[-1].strip())
    return len(parts) - blank_ends == num_paragraphs


@instruction("length_constraints:nth_paragraph_first_word", num_paragraphs=COUNT, nth_paragraph=COUNT, first_word=TEXT)
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
