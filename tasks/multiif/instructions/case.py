"""Upper and lower case, and the comma."""

from __future__ import annotations

from ..segmentation import base_language, count_words
from ..text import capital_word_bounds, detect_language, word_tokens
from .language import LATIN, main_script
from .spec import ANY_COUNT, RELATION, Asked, Relation, compares, corrects, instruction

_FEW_WORDS = 10

# Fullwidth, small and vertical forms; Arabic, Armenian, Ethiopic, N'Ko, Mongolian and Lisu.
_COMMAS = frozenset(",，﹐︐،՝፣߸᠂꓾")
# 、 is Japanese for a comma; in Chinese it is another mark, 顿号.
_COMMAS_IN_JAPANESE = _COMMAS | frozenset("、､﹑︑")


@instruction("change_case:capital_word_frequency", capital_frequency=ANY_COUNT, capital_relation=RELATION)
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


@corrects("change_case:english_capital", by="case-of-letters")
def _english_capital(reply: str, asked: Asked) -> bool:
    return reply.isupper() and _is_english(reply)


def _is_english(reply: str) -> bool:
    """English as far as it can be told: langdetect knows no capitals, and guesses from fewer than ten words."""
    if main_script(reply) not in (LATIN, None):
        return False
    small = reply.lower()
    return count_words(small, "en") < _FEW_WORDS or detect_language(small) in ("en", None)


@instruction("change_case:english_lowercase")
def english_lowercase(reply: str) -> bool:
    """In small letters throughout, and English or of no detectable language."""
    return reply.islower() and detect_language(reply) in ("en", None)


@corrects("change_case:english_lowercase", by="case-of-letters")
def _english_lowercase(reply: str, asked: Asked) -> bool:
    return reply.islower() and _is_english(reply)


@instruction("punctuation:no_comma")
def no_comma(reply: str) -> bool:
    """No ASCII comma. Other scripts' commas pass, as published."""
    return "," not in reply


@corrects("punctuation:no_comma", by="commas-of-all-scripts")
def _no_comma(reply: str, asked: Asked) -> bool:
    return (_COMMAS_IN_JAPANESE if base_language(asked.language) == "ja" else _COMMAS).isdisjoint(reply)
