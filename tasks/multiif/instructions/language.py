"""The language of the reply."""

from __future__ import annotations

from typing import Any

from ..text import detect_language, known_languages
from .spec import Kwarg, instruction


def _is_language(value: Any) -> bool:
    return value == "zh" or value in known_languages()


# The published grader raises on ``zh``, which langdetect never returns: Chinese is ``zh-cn`` or ``zh-tw``.
LANGUAGE = Kwarg("a language code of langdetect", _is_language, published=lambda value: value != "zh")


@instruction("language:response_language", language=LANGUAGE)
def response_language(reply: str, language: str) -> bool:
    """Langdetect finds this language, or none at all."""
    found = detect_language(reply)
    return found is None or found == language or (language == "zh" and found in ("zh-cn", "zh-tw"))
