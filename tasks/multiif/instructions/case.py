"""Upper and lower case, and the comma."""

from __future__ import annotations

from ..text import capital_word_bounds, detect_language, word_tokens
from .spec import COUNT, RELATION, Relation, compares, instruction


@instruction("change_case:capital_word_frequency", capital_frequency=COUNT, capital_relation=RELATION)
def capital_word_frequency(reply: str, capital_frequency: int, capital_relation: Relation) -> bool:
    """Enough or few enough words in capitals, as NLTK cuts words."""
    least, most = capital_word_bounds(reply)
    if compares(least, capital_relation, capital_frequency) == compares(most, capital_relation, capital_frequency):
        return compares(least, capital_relation, capital_frequency)
    return compares(sum(map(str.isupper, word_tokens(reply))), capital_relation, capital_frequency)


@instruction("change_case:english_capital")
def english_capital(reply: str) -> bool:
    """In capitals throughout, and English or of no detectable language."""
    return reply.isupper() and detect_language(reply) in ("en", None)


@instruction("change_case:english_lowercase")
def english_lowercase(reply: str) -> bool:
    """In small letters throughout, and English or of no detectable language."""
    return reply.islower() and detect_language(reply) in ("en", None)


@instruction("punctuation:no_comma")
def no_comma(reply: str) -> bool:
    """No ASCII comma. Other scripts' commas pass, as published."""
    return "," not in reply
