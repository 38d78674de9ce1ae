"""Instructions that no reply can follow, by their own kwargs: left out of the corrected figures, and counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import regex

# An exact number, or the least one, of what every reply that has any text has at least one of.
_AT_LEAST_ONE = {"length_constraints:number_paragraphs": "num_paragraphs"}
_BOUNDS = {
    "keywords:frequency": ("frequency", "relation"),
    "keywords:letter_frequency": ("let_frequency", "let_relation"),
    "length_constraints:number_words": ("num_words", "relation"),
    "length_constraints:number_sentences": ("num_sentences", "relation"),
    "change_case:capital_word_frequency": ("capital_frequency", "capital_relation"),
}
_WORDS = {
    "keywords:existence": "keywords",
    "keywords:forbidden_words": "forbidden_words",
    "keywords:frequency": "keyword",
    "keywords:letter_frequency": "letter",
    "detectable_content:postscript": "postscript_marker",
    "detectable_format:multiple_sections": "section_spliter",
    "startend:end_checker": "end_phrase",
    "length_constraints:nth_paragraph_first_word": "first_word",
}
_HAS_LETTER = regex.compile(r"[\p{L}\p{N}]")


def why_unsatisfiable(instruction_id: str, kwargs: Mapping[str, Any]) -> str | None:
    """Why no reply can follow this instruction, or what makes it ask for nothing; None where one can.

    ``kwargs`` are parsed ones (:func:`turnswap.tasks.multiif.instructions.parse_kwargs`).
    """
    if instruction_id in _WORDS:
        words = kwargs[_WORDS[instruction_id]]
        if any(not word.strip() for word in (words if isinstance(words, list) else [words])):
            return "it names an empty word (the published grader draws one at random)"
    if instruction_id in _BOUNDS:
        number, relation = (kwargs[name] for name in _BOUNDS[instruction_id])
        # A reply of fewer than one word or sentence is none.
        least = 1 if instruction_id.startswith("length_constraints:") else 0
        if relation == "less than" and number <= least:
            return f"it asks for fewer than {number}"
    if instruction_id in _AT_LEAST_ONE and kwargs[_AT_LEAST_ONE[instruction_id]] < 1:
        return "a reply has at least one paragraph"
    if instruction_id == "detectable_format:number_bullet_lists" and kwargs["num_bullets"] < 0:
        return "it asks for fewer than no bullet points"
    if instruction_id == "length_constraints:nth_paragraph_first_word":
        if not 1 <= kwargs["nth_paragraph"] <= kwargs["num_paragraphs"]:
            return "the paragraph that it speaks of is not among those it asks for"
        if not _HAS_LETTER.search(kwargs["first_word"]):
            return "its first word has no letter"
    return None
