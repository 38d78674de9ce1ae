"""The shape of the reply. Patterns are linear-time equivalents of the published ones, which tests compare."""

from __future__ import annotations

import json
import re

from ..matching import folded
from .patterns import PATTERN, compile_word, is_usable
from .spec import COUNT, Asked, corrects, counts, instruction

# Published: ``^\s*\*[^\*].*$`` and ``^\s*-.*$``. Blank lines before a bullet change neither where a match ends
# nor how many there are, so the indentation on its own line is enough.
_STAR_BULLET = re.compile(r"^[^\S\n]*+\*[^*].*$", re.MULTILINE)
_DASH_BULLET = re.compile(r"^[^\S\n]*+-.*$", re.MULTILINE)

_HIGHLIGHT = re.compile(r"\*([^\n*]*)\*")
_DOUBLE_HIGHLIGHT = re.compile(r"\*\*([^\n*]*)\*\*")

_ANSWERS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


@instruction(
    "detectable_format:number_bullet_lists",
    hopeless=lambda num_bullets: None if num_bullets >= 0 else "it asks for fewer than no bullet points",
    num_bullets=COUNT,
)
def number_bullet_lists(reply: str, num_bullets: int) -> bool:
    """Exactly n lines that start with a star or a dash."""
    return _bullets(reply) == num_bullets


@counts("detectable_format:number_bullet_lists")
def _bullets(reply: str, *_: object, **__: object) -> int:
    return len(_STAR_BULLET.findall(reply)) + len(_DASH_BULLET.findall(reply))


@instruction("detectable_format:constrained_response")
def constrained_response(reply: str) -> bool:
    """Contains one of three fixed answers."""
    return any(answer in reply for answer in _ANSWERS)


@instruction("detectable_format:number_highlighted_sections", num_highlights=COUNT)
def number_highlighted_sections(reply: str, num_highlights: int) -> bool:
    """At least n stretches between single or double stars."""
    found = _HIGHLIGHT.findall(reply) + _DOUBLE_HIGHLIGHT.findall(reply)
    return sum(1 for inside in found if inside.strip()) >= num_highlights


# What the published pattern has around the splitter.
_AROUND_SPLITTER = (r"\s?", r"\s?\d+\s?")


@instruction(
    "detectable_format:multiple_sections",
    published=lambda section_spliter, **_: is_usable(section_spliter.strip(), *_AROUND_SPLITTER),
    section_spliter=PATTERN,
    num_sections=COUNT,
)
def multiple_sections(reply: str, section_spliter: str, num_sections: int) -> bool:
    """At least n sections, each opened by the splitter and a number."""
    return len(compile_word(section_spliter.strip(), *_AROUND_SPLITTER).split(reply)) - 1 >= num_sections


@corrects("detectable_format:multiple_sections")
def _multiple_sections(reply: str, asked: Asked, section_spliter: str, num_sections: int) -> bool:
    splitter = re.escape(folded(section_spliter).strip())
    return len(re.findall(rf"{splitter}\s?\d+", folded(reply))) >= num_sections


@instruction("detectable_format:json_format")
def json_format(reply: str) -> bool:
    """The whole reply is JSON, in a Markdown fence or not."""
    reply = reply.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        reply = reply.removeprefix(fence)
    try:
        json.loads(reply.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


@instruction("detectable_format:title")
def title(reply: str) -> bool:
    r"""A line holds a title in double angular brackets. Published: ``<<[^\n]+>>`` with something inside."""
    for line in reply.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if start >= 0 and start + 3 <= end and line[start : end + 2].lstrip("<").rstrip(">").strip():
            return True
    return False
