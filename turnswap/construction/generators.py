"""What a further turn asks for: an instruction and its kwargs, drawn at random and yet the same every time.

A draw depends only on the seed, the conversation's key, the number of the turn and the conversation itself. Every
instruction has random numbers of its own, so that another weight or generator leaves the others' kwargs as they are.
Numbers are in the ranges of Multi-IF's English data; keywords are words of the conversation.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from turnswap.tasks.multiif.instructions import INSTRUCTIONS
from turnswap.tasks.multiif.text import known_languages

from .conflict_rules import find_conflicts
from .english_words import AVOIDABLE, CLOSINGS, KEYWORDS, NOT_KEYWORDS
from .records import Conversation
from .wording import strings

T = TypeVar("T")
Kwargs = dict[str, Any]

_TRIES = 8  # kwargs drawn per instruction before another one is taken
_LONGEST_REPEATED = 60  # words of a prompt that a reply may be asked to repeat
_LANGUAGES = ("ar", "de", "es", "fr", "hi", "id", "it", "ja", "ko", "pt", "ru", "sw", "te", "tr", "vi")
# Instructions that go with a reply in another language: their kwargs hold no words of the conversation's.
_WITHOUT_WORDS = frozenset(
    {
        "length_constraints:number_words",
        "length_constraints:number_sentences",
        "length_constraints:number_paragraphs",
        "detectable_content:number_placeholders",
        "detectable_content:postscript",
        "detectable_format:number_bullet_lists",
        "detectable_format:number_highlighted_sections",
        "detectable_format:json_format",
        "detectable_format:title",
        "combination:two_responses",
        "startend:quotation",
        "punctuation:no_comma",
        "language:response_language",
    }
)


class Draw:
    """Random numbers from a hash: the same on every machine and under every version of Python."""

    def __init__(self, *origin: object) -> None:
        self._origin, self._count = "\0".join(map(str, origin)), 0

    def number(self) -> float:
        """Evenly from 0 (included) to 1 (excluded)."""
        self._count += 1
        drawn = hashlib.sha256(f"{self._origin}\0{self._count}".encode()).digest()
        return int.from_bytes(drawn[:6], "big") / 2**48

    def one(self, options: Sequence[T]) -> T:
        """One of several."""
        return options[int(self.number() * len(options))]

    def some(self, options: Sequence[T], count: int) -> list[T]:
        """``count`` different ones, or all where there are fewer."""
        left = list(options)
        return [left.pop(int(self.number() * len(left))) for _ in range(min(count, len(left)))]


Generator = Callable[[Draw, Conversation], Kwargs | None]
GENERATORS: dict[str, Generator] = {}


def draw_instruction(seed: int, conversation: Conversation, weights: Mapping[str, float]) -> tuple[str, Kwargs] | None:
    """An instruction for the conversation's next turn: its id and kwargs, or None where none goes with those before.

    One that the conversation has already is not drawn, nor one in conflict or tension with those that it has.

    Args:
        seed: of all draws.
        conversation: its turns so far.
        weights: how often to draw each id, relative to the others; those without one are not drawn.
    """
    last, turn = conversation.turns[-1], len(conversation.turns) + 1
    for id_, draw in _in_drawn_order(seed, conversation.key, turn, weights):
        if id_ in last.instruction_ids or not _same_language(id_, conversation):
            continue
        for _ in range(_TRIES):
            kwargs = GENERATORS[id_](draw, conversation)
            if kwargs is None:
                break
            position = len(last.instruction_ids)
            conflicts = find_conflicts([*last.instruction_ids, id_], [*last.kwargs, kwargs])
            if not any(position in conflict.positions for conflict in conflicts):
                return id_, kwargs
    return None


def _in_drawn_order(seed: int, key: str, turn: int, weights: Mapping[str, float]) -> Iterator[tuple[str, Draw]]:
    """The ids in random order, heavier ones more often in front (Efraimidis and Spirakis, 2006), with their draws."""
    draws = {id_: Draw(seed, key, turn, id_) for id_ in sorted(weights) if weights[id_] > 0}
    rank = {id_: draw.number() ** (1 / weights[id_]) for id_, draw in draws.items()}
    for id_ in sorted(draws, key=lambda each: (-rank[each], each)):
        yield id_, draws[id_]


def _same_language(id_: str, conversation: Conversation) -> bool:
    """Whether the instruction's words would be of the language that the reply is asked to be in."""
    last = conversation.turns[-1]
    if id_ == "language:response_language":
        return _WITHOUT_WORDS.issuperset(last.instruction_ids)
    asked = [each["language"] for each in last.kwargs if "language" in each]
    return id_ in _WITHOUT_WORDS or all(code == conversation.language for code in asked)


def content_words(conversation: Conversation) -> list[str]:
    """Words of the prompts fit to be keywords, in the order in which they come.

    English ones have four letters or more and are not of the kind found in every request; in other languages any
    word of three letters or more. Names, and words of the kwargs, are left out.
    """
    english = conversation.language == "en"
    taken = {word for each in conversation.turns[-1].kwargs for text in strings(each) for word in _words(text.lower())}
    words: dict[str, None] = {}
    for word in _words(conversation.turns[0].prompt):
        # A word in capitals or with a capital is a name or opens a sentence.
        if word.islower() == word.lower().islower() and len(word) > (3 if english else 2) and word not in taken:
            words[word] = None
    return [word for word in words if not (english and word in NOT_KEYWORDS)]


def _words(text: str) -> list[str]:
    return re.findall(r"(?<![\w'’-])[^\W\d_]+(?![\w'’-])", text)


def _keywords(conversation: Conversation, count: int, draw: Draw) -> list[str] | None:
    """Words of the conversation, filled up with neutral ones in English."""
    words = draw.some(content_words(conversation), count)
    if len(words) < count and conversation.language == "en":
        words += draw.some([word for word in KEYWORDS if word not in words], count - len(words))
    return words if len(words) == count else None


def _generates(id_: str) -> Callable[[Generator], Generator]:
    assert id_ in INSTRUCTIONS

    def register(generator: Generator) -> Generator:
        GENERATORS[id_] = generator
        return generator

    return register


def _relation(draw: Draw, name: str, at_least: Sequence[int], less_than: Sequence[int], number: str) -> Kwargs:
    relation = draw.one(("at least", "at least", "less than"))
    return {name: relation, number: draw.one(at_least if relation == "at least" else less_than)}


for _id in (
    "detectable_format:json_format",
    "detectable_format:title",
    "combination:two_responses",
    "startend:quotation",
    "change_case:english_capital",
    "change_case:english_lowercase",
    "punctuation:no_comma",
):
    GENERATORS[_id] = lambda draw, conversation: {}


@_generates("keywords:existence")
def _existence(draw: Draw, conversation: Conversation) -> Kwargs | None:
    words = _keywords(conversation, draw.one((1, 2, 3)), draw)
    return {"keywords": words} if words else None


@_generates("keywords:frequency")
def _frequency(draw: Draw, conversation: Conversation) -> Kwargs | None:
    words = _keywords(conversation, 1, draw)
    drawn = _relation(draw, "relation", (2, 2, 3, 4), (2, 3, 4), "frequency")
    return {"keyword": words[0], **drawn} if words else None


@_generates("keywords:forbidden_words")
def _forbidden(draw: Draw, conversation: Conversation) -> Kwargs | None:
    prompts = " ".join(turn.prompt for turn in conversation.turns).lower()
    words = [word for word in AVOIDABLE if word not in prompts] if conversation.language == "en" else []
    return {"forbidden_words": draw.some(words, draw.one((2, 3)))} if words else None


@_generates("keywords:letter_frequency")
def _letter(draw: Draw, conversation: Conversation) -> Kwargs | None:
    if conversation.language != "en":
        return None
    drawn = _relation(draw, "let_relation", (5, 8, 10, 15, 20), (3, 4, 5, 6), "let_frequency")
    return {"letter": draw.one("aeilnorst" if drawn["let_relation"] == "at least" else "jkqvwxz"), **drawn}


@_generates("language:response_language")
def _language(draw: Draw, conversation: Conversation) -> Kwargs | None:
    codes = [code for code in _LANGUAGES if code in known_languages() and code != conversation.language]
    return {"language": draw.one(codes)}


@_generates("length_constraints:number_words")
def _number_words(draw: Draw, conversation: Conversation) -> Kwargs | None:
    return _relation(draw, "relation", (50, 80, 100, 120, 150, 200), (60, 80, 100, 150, 200, 300), "num_words")


@_generates("length_constraints:number_sentences")
def _number_sentences(draw: Draw, conversation: Conversation) -> Kwargs | None:
    return _relation(draw, "relation", (3, 4, 5, 6, 8, 10), (4, 5, 6, 8, 10, 12), "num_sentences")


@_generates("length_constraints:number_paragraphs")
def _number_paragraphs(draw: Draw, conversation: Conversation) -> Kwargs | None:
    return {"num_paragraphs": draw.one((2, 3, 3, 4, 5))}


@_generates("length_constraints:nth_paragraph_first_word")
def _first_word(draw: Draw, conversation: Conversation) -> Kwargs | None:
    words, number = _keywords(conversation, 1, draw), draw.one((2, 3, 3, 4))
    place = draw.one(range(1, number + 1))
    return {"num_paragraphs": number, "nth_paragraph": place, "first_word": words[0]} if words else None


@_generates("detectable_content:number_placeholders")
def _placeholders(draw: Draw, conversation: Conversation) -> Kwargs | None:
    return {"num_placeholders": draw.one((1, 2, 3, 4))}


@_generates("detectable_content:postscript")
def _postscript(draw: Draw, conversation: Conversation) -> Kwargs | None:
    return {"postscript_marker": draw.one(("P.S.", "P.S.", "P.P.S"))}


@_generates("detectable_format:number_bullet_lists")
def _bullets(draw: Draw, conversation: Conversation) -> Kwargs | None:
    return {"num_bullets": draw.one((2, 3, 4, 5, 6))}


@_generates("detectable_format:number_highlighted_sections")
def _highlights(draw: Draw, conversation: Conversation) -> Kwargs | None:
    return {"num_highlights": draw.one((1, 2, 3, 4, 5))}


@_generates("detectable_format:multiple_sections")
def _sections(draw: Draw, conversation: Conversation) -> Kwargs | None:
    if conversation.language != "en":
        return None
    splitter = draw.one(("Section", "SECTION", "Part", "PART", "Chapter", "Day", "Step"))
    return {"section_spliter": splitter, "num_sections": draw.one((2, 2, 3, 4))}


@_generates("combination:repeat_prompt")
def _repeat(draw: Draw, conversation: Conversation) -> Kwargs | None:
    prompt = conversation.turns[0].prompt.strip()
    return {"prompt_to_repeat": prompt} if len(prompt.split()) <= _LONGEST_REPEATED else None


@_generates("startend:end_checker")
def _end(draw: Draw, conversation: Conversation) -> Kwargs | None:
    return {"end_phrase": draw.one(CLOSINGS)} if conversation.language == "en" else None


@_generates("change_case:capital_word_frequency")
def _capitals(draw: Draw, conversation: Conversation) -> Kwargs | None:
    return _relation(draw, "capital_relation", (1, 2, 3, 5, 8), (3, 4, 5, 10), "capital_frequency")


# Relative to each other; in Multi-IF's English data title and ends are drawn ten times as often as small letters.
WEIGHTS: Mapping[str, float] = dict.fromkeys(GENERATORS, 1.0) | {
    "detectable_format:title": 3.0,
    "startend:end_checker": 3.0,
    "length_constraints:number_words": 3.0,
    "keywords:existence": 3.0,
    "keywords:forbidden_words": 2.0,
    "keywords:frequency": 2.0,
    "length_constraints:number_paragraphs": 2.0,
    "length_constraints:number_sentences": 2.0,
    "combination:repeat_prompt": 0.5,
    "language:response_language": 0.5,
    "change_case:english_capital": 0.5,
    "change_case:english_lowercase": 0.5,
}
