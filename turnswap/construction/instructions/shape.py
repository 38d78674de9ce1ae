"""The shape of a reply: what a list of instructions asks of it, sorted by the part of the reply that it concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field


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

    @property
    def bounded(self) -> bool:
        """Whether anything is asked."""
        return bool(self.low) or self.high is not None

    def step_towards(self, count: int) -> int:
        """How many more are needed (fewer, where negative) to be within."""
        if self.high is not None and count >= self.high:
            return self.high - 1 - count
        return max(self.low - count, 0)


@dataclass
class Shape:
    """All that the instructions ask, gathered. Where two exclude each other the later one stands: grading will tell.

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

    def set(self, **parts: object) -> None:
        """Set parts, by name: for records of one line."""
        for name, value in parts.items():
            assert hasattr(self, name), name
            setattr(self, name, value)

    def wanted(self, words: Iterable[str]) -> list[str]:
        """The words that may be used."""
        return [word for word in words if not any(test(word) for test in self.unwanted)]

    def at_least(self, part: str, of: str, number: int) -> None:
        """Ask for so many of something in a part that counts by name, such as ``letters``."""
        counts: dict[str, int] = getattr(self, part)
        counts[of] = max(counts.get(of, 0), number)
