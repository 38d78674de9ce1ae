"""The shape of the reply. Patterns are linear-time equivalents of the published ones, which tests compare."""

from __future__ import annotations

import json
import re

import regex

from ..layout import is_bullet
from ..matching import folded
from ..segmentation import base_language
from .patterns import PATTERN, compile_word, is_usable
from .spec import COUNT, Asked, corrects, counts, instruction

# Published: ``^\s*\*[^\*].*$`` and ``^\s*-.*$``. Blank lines before a bullet change neither where a match ends
# nor how many there are, so the indentation on its own line is enough.
_STAR_BULLET = re.compile(r"^[^\S\n]*+\*[^*].*$", re.MULTILINE)
_DASH_BULLET = re.compile(r"^[^\S\n]*+-.*$", re.MULTILINE)

_HIGHLIGHT = re.compile(r"\*([^\n*]*)\*")
_DOUBLE_HIGHLIGHT = re.compile(r"\*\*([^\n*]*)\*\*")

# Stars around something that touches them, however many: ***both*** is one. Japanese prompts ask for 《 》.
_EMPHASISED = re.compile(r"(?<!\*)(\*{1,3})(?![\s*])([^*\n]*[^*\s])\1(?!\*)")
_EMPHASISED_IN_JAPANESE = re.compile(r"《[^《》\n]*[^《》\s][^《》\n]*》")
_TITLE_IN_JAPANESE = re.compile(r"(?:タイトル[::：]\s*)?(?:『[^』]+』|《[^》]+》|≪[^≫]+≫)")

_SECTION_NUMBER = r"(?:\d+|[一二三四五六七八九十百]+)"
_UNSPACED_SPLITTER = regex.compile(r"\A[\p{Han}\p{Hiragana}\p{Katakana}]")

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


@corrects("detectable_format:number_bullet_lists", by="bullets")
def _number_bullet_lists(reply: str, asked: Asked, num_bullets: int) -> bool:
    lines = reply.splitlines()
    # Plus signs are bullets of a list inside another, unless they are all there is.
    return (sum(map(is_bullet, lines)) or sum(1 for line in lines if line.lstrip().startswith("+ "))) == num_bullets


@instruction("detectable_format:constrained_response")
def constrained_response(reply: str) -> bool:
    """Contains one of three fixed answers."""
    return any(answer in reply for answer in _ANSWERS)


@instruction("detectable_format:number_highlighted_sections", num_highlights=COUNT)
def number_highlighted_sections(reply: str, num_highlights: int) -> bool:
    """At least n stretches between single or double stars."""
    found = _HIGHLIGHT.findall(reply) + _DOUBLE_HIGHLIGHT.findall(reply)
    return sum(1 for inside in found if inside.strip()) >= num_highlights


@corrects("detectable_format:number_highlighted_sections", by="highlights")
def _number_highlighted_sections(reply: str, asked: Asked, num_highlights: int) -> bool:
    found = len(_EMPHASISED.findall(reply))
    if base_language(asked.language) == "ja":
        found += len(_EMPHASISED_IN_JAPANESE.findall(reply))
    return found >= num_highlights


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


@corrects("detectable_format:multiple_sections", by="literal-words")
def _multiple_sections(reply: str, asked: Asked, section_spliter: str, num_sections: int) -> bool:
    if not asked.by("section-numbers"):
        splitter = re.escape(folded(section_spliter).strip())
        return len(re.findall(rf"{splitter}\s?\d+", folded(reply))) >= num_sections
    return _sections(folded(reply), folded(section_spliter).strip()) >= num_sections


def _sections(text: str, splitter: str) -> int:
    """How many numbers go with the splitter: each once, so that a mention of section 2 opens no other one."""
    word, text = rf"(?i:{regex.escape(splitter)})", regex.sub(r"[*_]", "", text)
    sign = r"\s*(?:[-:#.]|Nº|№|No\.)?\s*"
    found = regex.findall(rf"(?<![\p{{L}}\p{{M}}]){word}{sign}(\d+|[一二三四五六七八九十百]+)", text)
    found += regex.findall(rf"第\s*({_SECTION_NUMBER})\s*{word}", text)  # 第1章
    # A letter may be a word ("Part I wrote"): it is a number at the start of a line, before its end or a mark.
    found += regex.findall(rf"(?m)^[^\w\n]*{word}{sign}([IVXLC]+|[A-Z])(?=\s*(?:$|[.:)–—-]))", text)
    if _UNSPACED_SPLITTER.search(splitter):  # 2章 at the start of a line
        found += regex.findall(rf"(?m)^[^\w\n]*({_SECTION_NUMBER})\s*{word}", text)
    return len(set(found))


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


@corrects("detectable_format:title")
def _title(reply: str, asked: Asked) -> bool:
    if title(reply) or not asked.by("titles-in-japanese") or base_language(asked.language) != "ja":
        return title(reply)
    return any(_TITLE_IN_JAPANESE.fullmatch(line.strip("#* \t\u3000")) for line in reply.splitlines())
