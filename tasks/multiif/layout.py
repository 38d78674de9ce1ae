"""What a reply is made of, as a reader sees it: prose, list items, headings, code, and what frames a letter.

Replies of chat models are Markdown more or less; this reads them line by line and never fails. Greetings, sign-offs and
the verbs of direct speech, in the languages where they are known, are in ``letters.toml``.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Literal

import regex

# A rule is a line of stars or dashes; a letter's lines are its subject, greeting, sign-off and signature.
Kind = Literal["prose", "item", "heading", "rule", "table", "code", "letter"]

# Marks that end a sentence, and what may close behind them.
STOPS = r".!?…‽⸮\p{Sentence_Terminal}"
CLOSING = r"[\p{Pe}\p{Pf}\p{Pi}\"'*_`\u00a0\u202f]"

EMPHASIS = regex.compile(r"\*{1,3}|(?<![\p{L}\p{N}])_{1,3}|_{1,3}(?![\p{L}\p{N}])|`")
_NARROW = str.maketrans("－＊･", "-*・")
_FENCE = regex.compile(r"\s*(?:```+|~~~+)")
_NO_CODE = frozenset(("", "text", "txt", "plaintext", "plain", "markdown", "md"))
_CODE = regex.compile(r"[;{}=#]|\w\(|//")
_RULE = regex.compile(r"\s*(?:[*_=~-]\s*){3,}|\s*[*_=~—–-]{3,}\s*")
_TABLE = regex.compile(r"\s*\|.*\|\s*")
_MARKED_HEADING = regex.compile(
    r"\s*(?:#{1,6}(?!#)\s*\S.*|(?:\*\*)?(?:<<.*>>|≪.*≫)(?:\*\*)?|[【《『][^】》』]*[】》』])\s*"
)
_BOLD_LINE = regex.compile(r"\s*(?:\*\*\*[^*\n]+\*\*\*|\*\*[^*\n]+\*\*|__[^_\n]+__)\s*[:：]?\s*")
_HAN_NUMBER = "[〇零一二三四五六七八九十百]"
_NUMBER = rf"(?:\p{{N}}{{1,3}}|[IVX]{{1,5}}|\p{{L}}(?=[)）])|{_HAN_NUMBER}{{1,4}}(?=[、．)）]))"
# 1. 1) (1) （一） 一、 ① 1.字; a dash or star needs a blank behind it, or a letter for what was typed in haste.
_ITEM = regex.compile(
    rf"\s*(?:[-*+•·・‣◦▪●○–]\s+|[-•·・‣◦▪●](?=[\p{{L}}*\[\"“«「])|[(（]{_NUMBER}[)）]\s*|[①-⑳]\s*"
    rf"|(?:\*\*)?{_NUMBER}(?:[.)．]\s+|[、．）.](?=[\p{{Han}}\p{{Hiragana}}\p{{Katakana}}])\s*|[、）]\s*))"
)
# A star needs a blank behind it unless no other star follows: *note* is emphasis.
_BULLET = regex.compile(r"\s*(?:[-*•・‣◦▪▫●○–·➢]\s+\S|[-•・‣◦▪●·](?=[^\s>-])|\*(?=[^*\s])(?!.*\*))")
_TO_FILL_IN = regex.compile(r"\s*(?:\[[^\[\]]{1,60}\][\s,]*)+")
_ENDS_WITH_STOP = regex.compile(rf"[{STOPS}]{CLOSING}*\s*\Z")
_WORD = regex.compile(r"[\p{L}\p{N}][\p{L}\p{M}\p{N}'’-]*")


@dataclass(frozen=True)
class Block:
    """A stretch of a reply: one or more lines of prose, or one list item, heading, … with its mark taken off."""

    kind: Kind
    text: str


@cache
def words_of_letters() -> dict[str, dict[str, list[str]]]:
    """``letters.toml``: what frames letters, and verbs of speech."""
    return tomllib.loads((files(__package__ or "") / "letters.toml").read_text("utf-8"))


@cache
def _letter_patterns() -> tuple[regex.Pattern[str], ...]:
    data = words_of_letters()
    subject, greeting, farewell = (
        "|".join(regex.escape(word) for words in data[part].values() for word in words)
        for part in ("subject", "greeting", "farewell")
    )
    bare = r"[*_\s]*"
    name = r"(?:,\s*(?-i:(?:\p{Lu}[\p{L}.'’-]*\s*){1,3}))?"  # Здравствуйте, Анна Сергеевна!
    return (
        regex.compile(rf"{bare}(?:{subject})\s*{bare}[:：].*", regex.I),
        regex.compile(
            rf"{bare}(?:{greeting})(?![\p{{L}}\p{{M}}])[^,，、!！?？:：;]{{0,40}}{name}[,，、:：!！]{bare}", regex.I
        ),
        regex.compile(rf"{bare}(?:{farewell})(?![\p{{L}}\p{{M}}])(?:[^.!?。！？।]{{0,40}}|[.!！。।]){bare}", regex.I),
        # Japanese and Chinese write the reader's name first: 田中様, 尊敬的王先生：
        regex.compile(r"\s*.{1,20}(?:様|さま|殿|御中|先生[：:，,]|女士[：:，,]|小姐[：:，,])[、，：:]?\s*"),
    )


def plain(text: str) -> str:
    """A text without Markdown's marks of emphasis, headings and quotations, its white space in single blanks."""
    text = EMPHASIS.sub("", regex.sub(r"(?m)^[^\S\n]*+(?:#{1,6}|>)[^\S\n]++", "", text))
    return " ".join(text.split())


def has_stop(text: str) -> bool:
    """Whether a text ends with a mark that ends sentences, closing quotation marks and brackets aside."""
    return _ENDS_WITH_STOP.search(text) is not None


def count_plain_words(text: str) -> int:
    """Words between spaces and marks; a character of a script without spaces counts as half a word."""
    unspaced = len(regex.findall(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]", text))
    return len(_WORD.findall(regex.sub(r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]", " ", text))) + (unspaced + 1) // 2


def is_heading(line: str) -> bool:
    """Whether a line is marked as a heading or title; a bold line that ends with a stop is a sentence in bold."""
    if _MARKED_HEADING.fullmatch(line):
        return True
    return bool(_BOLD_LINE.fullmatch(line)) and not has_stop(line)


def is_rule(line: str) -> bool:
    """Whether a line is a rule, such as ``---`` or ``***``."""
    return bool(_RULE.fullmatch(line))


def without_item_mark(line: str) -> str | None:
    """What stands behind the mark of a list item; None where the line is none."""
    match = _ITEM.match(line)
    return line[match.end() :] if match and not is_rule(line) else None


def is_bullet(line: str) -> bool:
    """Whether a line is a list item without a number. A rule is none, nor a line that starts with *emphasis*."""
    line = line.translate(_NARROW)
    return bool(_BULLET.match(line)) and not is_rule(line)


def _frames_a_letter(line: str) -> bool:
    """Whether a line frames a letter: its subject, greeting or sign-off."""
    subject, greeting, farewell, name_first = _letter_patterns()
    if count_plain_words(line) <= 12 and (subject.fullmatch(line) or name_first.fullmatch(line)):
        return True
    if _TO_FILL_IN.fullmatch(line) or farewell.fullmatch(line):  # [Your Name], [City, State]
        return True
    return count_plain_words(line) <= 6 and greeting.fullmatch(line) is not None


def _is_prose(fence: str, lines: list[str]) -> bool:
    """Whether what stands between fences is text for readers: it names no language, and most lines end as sentences."""
    filled = [line for line in lines if line.strip()]
    sentences = sum(1 for line in filled if has_stop(line) and not _CODE.search(line))
    return fence.strip("`~ \t").lower() in _NO_CODE and sentences * 2 > len(filled)


def _without_code(lines: list[str]) -> Iterator[tuple[str, bool]]:
    """The lines without those of fences, each with whether it is code."""
    filled = [number for number, line in enumerate(lines) if line.strip()]
    at = 0
    while at < len(lines):
        if not _FENCE.match(lines[at]):
            yield lines[at], False
            at += 1
            continue
        end = next((i for i in range(at + 1, len(lines)) if _FENCE.match(lines[i])), len(lines))
        inside = lines[at + 1 : end]
        # A reply that is all in one fence is a text in the fence.
        whole = filled[0] == at and filled[-1] <= end
        named = lines[at].strip("`~ \t").lower()
        code = not (whole and named in _NO_CODE) and not _is_prose(lines[at], inside)
        yield "", False
        yield from ((line, code) for line in inside)
        yield "", False
        at = end + 1


def _texts_of_json(reply: str) -> Iterator[str]:
    """The strings among the values of a reply that is JSON, in a fence or not; none where it is none."""
    inside = regex.sub(r"\A```(?:json)?", "", reply.strip(), flags=regex.I).removesuffix("```").strip()
    if not inside.startswith(("{", "[")):
        return
    try:
        waiting = [json.loads(inside)]
    except (ValueError, RecursionError):
        return
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        else:
            waiting += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    yield ""  # JSON it is, even without a text


@lru_cache(maxsize=64)
def blocks(reply: str) -> tuple[Block, ...]:
    """The reply's blocks, in order. Blank lines part prose; a line of any other kind is a block by itself."""
    if texts := list(_texts_of_json(reply)):
        return tuple(Block("item", text) for text in texts)
    found: list[Block] = []
    prose: list[str] = []

    def close() -> None:
        if prose:
            found.append(Block("prose", "\n".join(prose)))
            prose.clear()

    lines = list(_without_code(reply.splitlines()))
    for at, (line, code) in enumerate(lines):
        if not line.strip():
            close()
            continue
        kind: Kind
        inside = without_item_mark(line)
        if code:
            kind = "code"
        elif is_rule(line):
            kind = "rule"
        elif is_heading(line):
            kind = "heading"
        elif _TABLE.fullmatch(line):
            kind = "table"
        elif inside is not None:
            kind, line = "item", inside
        elif _frames_a_letter(line) or _is_lone_line(lines, at) or _is_signature(line, found, prose):
            kind = "letter"
        else:
            prose.append(line)
            continue
        close()
        found.append(Block(kind, line))
    close()
    return tuple(found)


def _is_signature(line: str, found: list[Block], prose: list[str]) -> bool:
    """Whether a line is a name, office or address below another line of a letter."""
    short = count_plain_words(line) <= 5 and ("," in line or not has_stop(line))
    return short and not prose and bool(found) and found[-1].kind == "letter"


def _is_lone_line(lines: list[tuple[str, bool]], at: int) -> bool:
    """Whether a line between blank ones is a greeting, heading or signature by its looks: short, and without a stop."""
    line = lines[at][0]
    alone = (at == 0 or not lines[at - 1][0].strip()) and (at + 1 == len(lines) or not lines[at + 1][0].strip())
    clause = regex.search(r"[,，、;；]\s*\S", line)
    return alone and len(lines) > 1 and not has_stop(line) and not clause and count_plain_words(line) <= 5
