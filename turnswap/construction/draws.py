"""How words and closing phrases of the second and third turns relate to their conversations, beside the benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .instructions import ids
from .instructions.draw import OF_WORDS, strings
from .records import Conversations, DraftConversation
from .vocabulary import occurs


@dataclass(frozen=True)
class Drawn:
    """What the turns after the first add.

    Attributes:
        words: keywords, words to avoid and first words.
        new: those that no earlier turn says.
        closings: phrases to end with; ``distinct`` ones.
        without: conversations for which the LLM suggested nothing that could be used.
    """

    words: int
    new: int
    closings: int
    distinct: int
    without: int = 0

    def cells(self) -> list[Any]:
        """For a table: counts and shares."""
        new = f"{self.new / self.words:.0%}" if self.words else ""
        return [self.words, new, self.closings, self.distinct, self.without]


# Multi-IF's English data; a test counts them.
BENCHMARK = Drawn(1004, 975, 228, 182)
HEADER = ["words to use or avoid", "new to the conversation", "closing phrases", "distinct", "no suggestions"]


def count_drawn(conversations: Conversations) -> Drawn:
    """The figures of conversations, such as those of one language."""
    words = new = without = 0
    closings = []
    for each in conversations:
        without += "no_words" in each.note("extend")
        for number, id_, text in _added(each):
            if id_ == ids.END:
                closings.append(text.casefold())
            else:
                words += 1
                new += not occurs(text, " ".join(each.prompts[:number]))
    return Drawn(words, new, len(closings), len(set(closings)), without)


def _added(conversation: DraftConversation) -> Iterator[tuple[int, str, str]]:
    """Texts that a turn after the first adds, with their instruction and how many turns are before."""
    turns = conversation.turns
    for number in range(1, len(turns)):
        for id_, kwargs in turns[number].instructions[len(turns[number - 1].instruction_ids) :]:
            if id_ in (*OF_WORDS, ids.END):
                yield from ((number, id_, text) for text in strings(kwargs))
