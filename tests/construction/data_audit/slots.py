"""Slots and CSV files of prompts made for the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.conftest import write_csv
from turnswap.construction.data_audit.slots import Slot

Asked = tuple[str, dict[str, Any]]


def slot(prompt: str, asked: Asked, *beside: Asked, language: str = "en") -> Slot:
    return Slot(f"1:1:{language}", language, 1, 1, *asked, prompt, beside)


def words(relation: str, number: int) -> Asked:
    return "length_constraints:number_words", {"relation": relation, "num_words": number}


def sentences(relation: str, number: int) -> Asked:
    return "length_constraints:number_sentences", {"relation": relation, "num_sentences": number}


def times(word: str, relation: str, number: int) -> Asked:
    return "keywords:frequency", {"keyword": word, "relation": relation, "frequency": number}


def letters(letter: str, relation: str, number: int) -> Asked:
    return "keywords:letter_frequency", {"letter": letter, "let_relation": relation, "let_frequency": number}


def capitals(relation: str, number: int) -> Asked:
    return "change_case:capital_word_frequency", {"capital_relation": relation, "capital_frequency": number}


def bullets(number: int) -> Asked:
    return "detectable_format:number_bullet_lists", {"num_bullets": number}


def paragraphs(number: int) -> Asked:
    return "length_constraints:number_paragraphs", {"num_paragraphs": number}


def placeholders(number: int) -> Asked:
    return "detectable_content:number_placeholders", {"num_placeholders": number}


def highlights(number: int) -> Asked:
    return "detectable_format:number_highlighted_sections", {"num_highlights": number}


def sections(splitter: str, number: int) -> Asked:
    return "detectable_format:multiple_sections", {"section_spliter": splitter, "num_sections": number}


def nth(number: int, place: int, word: str) -> Asked:
    return (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": number, "nth_paragraph": place, "first_word": word},
    )


def exists(*keywords: str) -> Asked:
    return "keywords:existence", {"keywords": list(keywords)}


def forbids(*keywords: str) -> Asked:
    return "keywords:forbidden_words", {"forbidden_words": list(keywords)}


def end(phrase: str) -> Asked:
    return "startend:end_checker", {"end_phrase": phrase}


def answer_in(language: str) -> Asked:
    return "language:response_language", {"language": language}


TITLE: Asked = ("detectable_format:title", {})
JSON: Asked = ("detectable_format:json_format", {})
QUOTATION: Asked = ("startend:quotation", {})
LOWER: Asked = ("change_case:english_lowercase", {})


def row(key: str, *turns: tuple[str, list[Asked]], language: str = "English") -> dict[str, str]:
    """A row whose turns bring these instructions, each with its prompt."""
    made = {"key": key, "language": language, "turns": "", "responses": "", "turn_index": "0"}
    so_far: list[Asked] = []
    for number in (1, 2, 3):
        prompt, new = turns[number - 1] if number <= len(turns) else ("", [])
        so_far += new
        content = json.dumps({"role": "user", "content": prompt}, ensure_ascii=False) if prompt else ""
        made[f"turn_{number}_prompt"] = content
        made[f"turn_{number}_instruction_id_list"] = json.dumps([id_ for id_, _ in so_far])
        made[f"turn_{number}_kwargs"] = json.dumps([json.dumps(kwargs) for _, kwargs in so_far])
    return made


def data(path: Path, *rows: dict[str, str]) -> Path:
    return write_csv(path, list(rows))
