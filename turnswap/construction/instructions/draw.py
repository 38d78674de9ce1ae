"""Kwargs drawn at random and yet the same every time: numbers from a hash, keywords from the conversation's words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ..records import DraftConversation

T = TypeVar("T")

_IN_EVERY_REQUEST = """
able about above across after again against all along also although always among another answer any anything are
around asks bullet because been before begin being below between both bring capital comma could describe
does doing done double down during each either else english entire even ever every exactly example explain
few first following format from full give given gives goes going good have having help hers here highlighted
highlight himself into instead itself just keep know language later least less letter letters like line list
long look lowercase make making many markdown marker might mine more most much must name need needs never next
once only other others ought ours output over paragraph paragraphs part parts phrase placeholder placeholders
please point points postscript prompt quotation question quickly really repeat reply request response responses
same section sections sentence sentences separate should show since some someone something start start
still such suggest tell text than that their theirs them then there these they thing things think this those three
through time title together toward twice under until upon used uses using very want wants well were what when
where whether which while whole whom whose will with within without word words would wrap write wrapped written
your yours yourself
"""
_NOT_KEYWORDS = frozenset(_IN_EVERY_REQUEST.split())
# Words that fit almost any English request.
_NOUNS = (
    "beginning balance change corner detail effort example evening friend habit journey lesson light memory moment "
    "morning neighbour pattern patience place purpose reason season secret story surprise weather window"
)
_KEYWORDS = _NOUNS.split()


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

    def relation(self, name: str, at_least: Sequence[int], less_than: Sequence[int], number: str) -> dict[str, Any]:
        """A relation and its number, drawn of those that go with it; ``name`` and ``number`` are the kwargs' names."""
        relation = self.one(("at least", "at least", "less than"))
        return {name: relation, number: self.one(at_least if relation == "at least" else less_than)}

    def keywords(self, conversation: DraftConversation, count: int) -> list[str] | None:
        """Words of the conversation, filled up with neutral ones in English; None where there are not enough."""
        words = self.some(content_words(conversation), count)
        if len(words) < count and conversation.language == "en":
            words += self.some([word for word in _KEYWORDS if word not in words], count - len(words))
        return words if len(words) == count else None


def content_words(conversation: DraftConversation) -> list[str]:
    """Words of the prompts fit to be keywords, in the order in which they come.

    English ones have four letters or more and are not of the kind found in every request; in other languages any
    word of three letters or more. Names, and words of the kwargs, are left out.
    """
    english = conversation.language == "en"
    taken = {word for each in conversation.last.kwargs for text in strings(each) for word in _words(text.lower())}
    words: dict[str, None] = {}
    for word in _words(conversation.turns[0].prompt):
        # A word in capitals or with a capital is a name or opens a sentence.
        if word.islower() == word.lower().islower() and len(word) > (3 if english else 2) and word not in taken:
            words[word] = None
    return [word for word in words if not (english and word in _NOT_KEYWORDS)]


def strings(kwargs: Mapping[str, Any]) -> list[str]:
    """The words of kwargs that a reader must see as they are."""
    values = [value for name, value in kwargs.items() if not name.endswith("relation") and name != "language"]
    return [
        word for value in values for word in (value if isinstance(value, list) else [value]) if isinstance(word, str)
    ]


def _words(text: str) -> list[str]:
    return re.findall(r"(?<![\w'’-])[^\W\d_]+(?![\w'’-])", text)
