"""Kwargs drawn at random and yet the same every time: numbers from a hash, words from those that suit the conversation.

Words by the topic, which the LLM suggested (:mod:`..suggestions`), come first; without them keywords are words of the
conversation, and other words and phrases those of ``english.toml``.
"""

from __future__ import annotations

import hashlib
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, TypeVar

from ..records import DraftConversation
from ..vocabulary import UNSPACED, scripts_of
from . import ids

T = TypeVar("T")
OF_WORDS = (ids.EXISTENCE, ids.FREQUENCY, ids.FORBIDDEN, ids.NTH)  # that name words to have, or not to have

# Words to draw from, and words that are no keywords.
ENGLISH: dict[str, Any] = tomllib.loads((files(__package__) / "english.toml").read_text("utf-8"))
_NOT_KEYWORDS, _KEYWORDS = frozenset(ENGLISH["in_every_request"].split()), ENGLISH["keywords"].split()


class Draw:
    """Random numbers for a turn of a conversation: from a hash, the same on every machine and version of Python.

    Attributes:
        lacked: whether words by the topic were looked for, and there were none.
    """

    def __init__(self, conversation: DraftConversation, *origin: object) -> None:
        self.conversation, self.lacked = conversation, False
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

    def keywords(self, count: int, single: bool = False) -> list[str] | None:
        """Words by the topic, new to the conversation; ``single`` ones hold no space. None where there are not enough.

        Without suggestions they are words of the conversation, filled up with neutral ones in English.
        """
        words = [word for word in self.suggested("words") if not (single and " " in word)]
        if len(words) >= count:
            return self.some(words, count)
        words = self.some(content_words(self.conversation), count)
        if len(words) < count and self.conversation.language == "en":
            words += self.some([word for word in _KEYWORDS if word not in words], count - len(words))
        return words if len(words) == count else None

    def suggested(self, name: str) -> list[str]:
        """What the LLM suggested for the conversation, less what occurs in it by now: words, avoid, or closings."""
        found = self.conversation.note("extend").get(name)
        self.lacked = self.lacked or not found
        said = " ".join([*self.conversation.prompts, *_texts(self.conversation)]).casefold()
        return [each for each in found or () if each.casefold() not in said]


def content_words(conversation: DraftConversation) -> list[str]:
    """Words of the prompts fit to be keywords, in the order in which they come; none where no spaces part words.

    English ones have four letters or more and are not of the kind found in every request; in other languages any
    word of three letters or more. Names, and words of the kwargs, are left out.
    """
    english = conversation.language == "en"
    if scripts_of(conversation.language) & UNSPACED:
        return []
    taken = {word for text in _texts(conversation) for word in _words(text.lower())}
    words: dict[str, None] = {}
    for word in _words(conversation.turns[0].prompt):
        # A word in capitals or with a capital is a name or opens a sentence.
        if word.islower() == word.lower().islower() and len(word) > (3 if english else 2) and word not in taken:
            words[word] = None
    return [word for word in words if not (english and word in _NOT_KEYWORDS)]


def _texts(conversation: DraftConversation) -> list[str]:
    return [text for each in conversation.last.kwargs for text in strings(each)]


def strings(kwargs: Mapping[str, Any]) -> list[str]:
    """The words of kwargs that a reader must see as they are."""
    values = [value for name, value in kwargs.items() if not name.endswith("relation") and name != "language"]
    words = [word for value in values for word in (value if isinstance(value, list) else [value])]
    return [word for word in words if isinstance(word, str)]


def _words(text: str) -> list[str]:
    """Its words of letters alone, vowel signs among them; none that is a part of one with a digit or hyphen."""
    joined = "".join(c if c.isalnum() or c in "_'’-" or _is_mark(c) else " " for c in text)
    return [word for word in joined.split() if all(c.isalpha() or _is_mark(c) for c in word)]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"
