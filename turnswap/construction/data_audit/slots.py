"""The slots of a conversation: each instruction in the turn that brings it, and what its kwargs grade, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnswap.tasks.multiif.instructions import get_instruction
from turnswap.tasks.multiif.languages import NAMES, code_of

from ..instructions import ids
from ..instructions.making import listed

# What is counted, as wording.toml calls it; those without a relation are exact or "at least".
COUNTED = {
    ids.WORDS: "words",
    ids.SENTENCES: "sentences",
    ids.PARAGRAPHS: "paragraphs",
    ids.NTH: "nth",
    ids.PLACEHOLDERS: "placeholders",
    ids.BULLETS: "bullets",
    ids.HIGHLIGHTS: "highlights",
    ids.SECTIONS: "sections",
    ids.CAPITALS: "capitals",
    ids.FREQUENCY: "times",
    ids.LETTER: "times",
}
EXACT = frozenset({ids.PARAGRAPHS, ids.NTH, ids.BULLETS})
_NUMBERS = {
    ids.PARAGRAPHS: "num_paragraphs",
    ids.NTH: "num_paragraphs",
    ids.BULLETS: "num_bullets",
    ids.PLACEHOLDERS: "num_placeholders",
    ids.HIGHLIGHTS: "num_highlights",
    ids.SECTIONS: "num_sections",
}
_GRADED = {
    ids.WORDS: "{count} words",
    ids.SENTENCES: "{count} sentences",
    ids.PARAGRAPHS: "{count} paragraphs, separated by ***",
    ids.NTH: "{count} paragraphs, separated by blank lines; the first word of number {nth_paragraph} is {first_word!r}",
    ids.PLACEHOLDERS: "{count} placeholders in square brackets",
    ids.BULLETS: "{count} bullets",
    ids.HIGHLIGHTS: "{count} highlights in asterisks",
    ids.SECTIONS: "{count} sections, each opened by {section_spliter!r} and a number",
    ids.CAPITALS: "{count} words in capitals",
    ids.FREQUENCY: "{keyword!r} {count} times",
    ids.LETTER: "the letter {letter!r} {count} times",
    ids.EXISTENCE: "every one of these words: {words}",
    ids.FORBIDDEN: "none of these words: {words}",
    ids.LANGUAGE: "the language is {language}",
    ids.END: "the reply ends with {end_phrase!r}",
    ids.POSTSCRIPT: "a postscript that starts with {postscript_marker!r}",
    ids.REPEAT: "the reply starts with {prompt_to_repeat!r}",
    ids.TITLE: "a title in <<>> somewhere in the reply",
    ids.QUOTATION: "the whole reply stands in double quotation marks",
    ids.JSON: "the whole reply is JSON",
    ids.TWO: "two different answers, separated by ******",
    ids.UPPER: "English, in capitals throughout",
    ids.LOWER: "English, in small letters throughout",
    ids.NO_COMMA: "no comma",
    ids.ANSWER: "one of the three fixed answers",
}


@dataclass(frozen=True)
class Slot:
    """One instruction of a conversation.

    Attributes:
        key: the conversation's.
        language: the code of the conversation's.
        turn: the turn that brings it, from 1.
        position: its place in the list of that turn and of those after, from 1.
        id, kwargs: the instruction's, parsed.
        prompt: that turn's.
        beside: the other instructions that the turn brings, id and kwargs.
    """

    key: str
    language: str
    turn: int
    position: int
    id: str
    kwargs: Mapping[str, Any]
    prompt: str
    beside: Sequence[tuple[str, Mapping[str, Any]]] = ()

    @property
    def number(self) -> int | None:
        """The number in the kwargs that bounds a count; None where none does."""
        if bound := get_instruction(self.id).bound:
            return int(self.kwargs[bound[0]])
        return int(self.kwargs[_NUMBERS[self.id]]) if self.id in _NUMBERS else None

    @property
    def relation(self) -> str | None:
        """The relation in the kwargs; None where they have none."""
        bound = get_instruction(self.id).bound
        return str(self.kwargs[bound[1]]) if bound else None

    @property
    def sides(self) -> tuple[int | None, int | None]:
        """The least and the most that the kwargs let pass."""
        number = self.number
        if number is None or self.relation == "at least" or (self.relation is None and self.id not in EXACT):
            return number, None
        return (None, number - 1) if self.relation == "less than" else (number, number)

    @property
    def bound(self) -> str:
        """What the kwargs let pass, in words: ``at least 3``."""
        return f"{self.relation or ('exactly' if self.id in EXACT else 'at least')} {self.number}"

    @property
    def graded(self) -> str:
        """What the kwargs grade, for people."""
        words = ", ".join(map(str, listed(self.kwargs.get("keywords", self.kwargs.get("forbidden_words", ())))))
        told = {**self.kwargs, "count": self.bound, "words": words}
        if self.id == ids.LANGUAGE:
            told["language"] = NAMES.get(self.kwargs["language"], self.kwargs["language"])
        return _GRADED[self.id].format(**told) if self.id in _GRADED else f"{self.id} {dict(self.kwargs)}"


def slots_of(conversation: Mapping[str, Any]) -> Iterator[Slot]:
    """Each instruction once, in the turn that brings it: where its place is first filled by this id with these kwargs.

    Args:
        conversation: as :func:`turnswap.tasks.multiif.dataset.load_conversations` gives it.
    """
    language = (code_of(str(conversation["language"])) or "").partition("-")[0]
    before: list[tuple[str, Any]] = []
    for number, turn in enumerate(conversation["turns"], 1):
        here = list(zip(turn["instruction_ids"], turn["kwargs"], strict=True))
        new = [at for at, each in enumerate(here) if at >= len(before) or before[at] != each]
        for at in new:
            beside = [here[other] for other in new if other != at]
            yield Slot(conversation["key"], language, number, at + 1, *here[at], turn["prompt"], beside)
        before = here
