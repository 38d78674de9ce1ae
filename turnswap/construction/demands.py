"""What a list of instructions asks of a reply, sorted by the part of the reply that it concerns."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from turnswap.tasks.multiif.instructions import parse_kwargs
from turnswap.tasks.multiif.instructions.patterns import compile_word


@dataclass
class Bounds:
    """At least ``low``, less than ``high``."""

    low: int = 0
    high: int | None = None

    def narrow(self, relation: str, number: int) -> None:
        """Hold one more relation."""
        if relation == "at least":
            self.low = max(self.low, number)
        else:
            self.high = number if self.high is None else min(self.high, number)

    def step_towards(self, count: int) -> int:
        """How many more are needed (fewer, where negative) to be within."""
        if self.high is not None and count >= self.high:
            return self.high - 1 - count
        return max(self.low - count, 0)


@dataclass
class Demands:
    """All that the instructions ask, gathered.

    Attributes:
        opening: what the reply must start with, ``ending`` end with.
        chunks: parts between ``***``; ``answers``: parts between ``******``; ``paragraphs``: between blank lines.
        first_words: of paragraphs, by number.
        strings: what must occur; ``repeated``: what must occur so often, by what.
        sections: how many, by splitter. ``postscripts``: their markers.
        unwanted: whether a word had better not be used; the more, the fewer are left to choose from.
        language: that the reply must be in.
    """

    opening: str = ""
    ending: str = ""
    json: bool = False
    quoted: bool = False
    upper: bool = False
    lower: bool = False
    no_comma: bool = False
    title: bool = False
    fixed_answer: bool = False
    answers: int = 1
    chunks: int = 1
    paragraphs: int = 1
    blank_lines: bool = False
    bullets: int | None = None
    first_words: dict[int, str] = field(default_factory=dict)
    strings: list[str] = field(default_factory=list)
    repeated: dict[str, int] = field(default_factory=dict)
    letters: dict[str, int] = field(default_factory=dict)
    sections: dict[str, int] = field(default_factory=dict)
    postscripts: list[str] = field(default_factory=list)
    placeholders: int = 0
    highlights: int = 0
    words: Bounds = field(default_factory=Bounds)
    sentences: Bounds = field(default_factory=Bounds)
    capitals: Bounds = field(default_factory=Bounds)
    language: str | None = None
    unwanted: list[Callable[[str], bool]] = field(default_factory=list)


def gather(instruction_ids: Sequence[str], kwargs: Sequence[Mapping[str, Any]]) -> Demands:
    """The demands of a turn's instructions. Where two exclude each other the later one stands: grading will tell.

    Raises:
        MalformedInstruction: an unknown id, or kwargs that do not fit it.
    """
    demands = Demands()
    for id_, raw in zip(instruction_ids, kwargs, strict=True):
        _GATHER[id_](demands, parse_kwargs(id_, raw))
    return demands


_GATHER: dict[str, Callable[[Demands, Any], None]] = {}


def _gathers(*ids: str) -> Callable[[Callable[[Demands, Any], None]], Callable[[Demands, Any], None]]:
    def register(function: Callable[[Demands, Any], None]) -> Callable[[Demands, Any], None]:
        _GATHER.update(dict.fromkeys(ids, function))
        return function

    return register


def _flag(name: str) -> Callable[[Demands, Any], None]:
    return lambda demands, kwargs: setattr(demands, name, True)


_GATHER |= {
    "detectable_format:json_format": _flag("json"),
    "detectable_format:title": _flag("title"),
    "detectable_format:constrained_response": _flag("fixed_answer"),
    "startend:quotation": _flag("quoted"),
    "punctuation:no_comma": _flag("no_comma"),
}


@_gathers("change_case:english_capital")
def _upper(demands: Demands, kwargs: Any) -> None:
    demands.upper, demands.language = True, demands.language or "en"


@_gathers("change_case:english_lowercase")
def _lower(demands: Demands, kwargs: Any) -> None:
    demands.lower, demands.language = True, demands.language or "en"


@_gathers("language:response_language")
def _language(demands: Demands, kwargs: Any) -> None:
    demands.language = kwargs["language"]


@_gathers("keywords:existence")
def _existence(demands: Demands, kwargs: Any) -> None:
    demands.strings += [word for word in kwargs["keywords"] if word not in demands.strings]


@_gathers("keywords:frequency")
def _frequency(demands: Demands, kwargs: Any) -> None:
    keyword = kwargs["keyword"].strip()
    if kwargs["relation"] == "at least":
        demands.repeated[keyword] = max(demands.repeated.get(keyword, 0), kwargs["frequency"])
    elif keyword:
        pattern = compile_word(keyword, flags=re.IGNORECASE)
        demands.unwanted.append(lambda word: pattern.search(word) is not None)


@_gathers("keywords:forbidden_words")
def _forbidden(demands: Demands, kwargs: Any) -> None:
    patterns = [compile_word(word, r"\b", r"\b", re.IGNORECASE) for word in kwargs["forbidden_words"]]
    # A forbidden phrase is kept out by its words: they might meet.
    parts = {part for word in kwargs["forbidden_words"] for part in word.lower().split()}
    demands.unwanted.append(lambda word: word in parts or any(pattern.search(word) for pattern in patterns))


@_gathers("keywords:letter_frequency")
def _letter(demands: Demands, kwargs: Any) -> None:
    letter = kwargs["letter"].lower()
    if kwargs["let_relation"] == "at least":
        demands.letters[letter] = max(demands.letters.get(letter, 0), kwargs["let_frequency"])
    elif letter:
        demands.unwanted.append(lambda word: letter in word)


@_gathers("length_constraints:number_words")
def _words(demands: Demands, kwargs: Any) -> None:
    demands.words.narrow(kwargs["relation"], kwargs["num_words"])


@_gathers("length_constraints:number_sentences")
def _sentences(demands: Demands, kwargs: Any) -> None:
    demands.sentences.narrow(kwargs["relation"], kwargs["num_sentences"])


@_gathers("change_case:capital_word_frequency")
def _capitals(demands: Demands, kwargs: Any) -> None:
    demands.capitals.narrow(kwargs["capital_relation"], kwargs["capital_frequency"])


@_gathers("length_constraints:number_paragraphs")
def _chunks(demands: Demands, kwargs: Any) -> None:
    demands.chunks = kwargs["num_paragraphs"]


@_gathers("length_constraints:nth_paragraph_first_word")
def _first_word(demands: Demands, kwargs: Any) -> None:
    demands.paragraphs, demands.blank_lines = kwargs["num_paragraphs"], True
    demands.first_words[kwargs["nth_paragraph"]] = kwargs["first_word"]


@_gathers("combination:two_responses")
def _two_responses(demands: Demands, kwargs: Any) -> None:
    demands.answers = 2


@_gathers("combination:repeat_prompt")
def _repeat(demands: Demands, kwargs: Any) -> None:
    demands.opening = max(demands.opening, kwargs["prompt_to_repeat"].strip(), key=len)


@_gathers("startend:end_checker")
def _ending(demands: Demands, kwargs: Any) -> None:
    demands.ending = max(demands.ending, kwargs["end_phrase"].strip(), key=len)


@_gathers("detectable_format:number_bullet_lists")
def _bullets(demands: Demands, kwargs: Any) -> None:
    demands.bullets = kwargs["num_bullets"]


@_gathers("detectable_format:multiple_sections")
def _sections(demands: Demands, kwargs: Any) -> None:
    splitter = kwargs["section_spliter"].strip()
    demands.sections[splitter] = max(demands.sections.get(splitter, 0), kwargs["num_sections"])


@_gathers("detectable_content:postscript")
def _postscript(demands: Demands, kwargs: Any) -> None:
    demands.postscripts.append(kwargs["postscript_marker"].strip())


@_gathers("detectable_content:number_placeholders")
def _placeholders(demands: Demands, kwargs: Any) -> None:
    demands.placeholders = max(demands.placeholders, kwargs["num_placeholders"])


@_gathers("detectable_format:number_highlighted_sections")
def _highlights(demands: Demands, kwargs: Any) -> None:
    demands.highlights = max(demands.highlights, kwargs["num_highlights"])
