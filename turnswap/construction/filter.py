"""Step 5, ``filter``: sensitive content, by word lists of the user's and by asking the LLM.

There are no word lists of ours: what must not be in a data set depends on its language and its purpose, and a short
list would look like a check that it is not.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError

from .llm import LLM
from .questions import Question, read_answer
from .records import DraftConversation, Outcome, digest
from .scripts import UNSPACED, script_of_character
from .settings import Positive

VERSION = 1
WORDING = (
    "Below is what a user says in a conversation, turn by turn, in the language of this code. Is it sensitive: does it "
    "hold or ask for sexual content, violence, hate, self-harm, crime, personal data, or advice on medicine, law or "
    'politics that may harm? Answer {"sensitive": true or false, "reason": "..."}, the reason in English.'
)


@dataclass(frozen=True)
class FilterSettings:
    """The section ``filter``.

    Attributes:
        word_lists: a file per language, see :func:`read_words`.
        llm_check: whether the LLM is asked too.
        chunk: conversations that are asked about at once.
    """

    word_lists: Mapping[str, Path] = field(default_factory=dict)
    llm_check: bool = True
    chunk: Positive = 32


class Filter:
    """The step ``filter``; its note has ``word_list`` (how many words were looked for) and ``llm`` (whether asked)."""

    name = "filter"

    def __init__(self, settings: FilterSettings, languages: Sequence[str], llm: LLM) -> None:
        for language in settings.word_lists:
            if language not in languages:
                raise UserError(
                    f"filter.word_lists.{language}: {language} is not among languages.",
                    f"There are: {', '.join(languages)}.",
                )
        self.settings, self.llm, self.chunk = settings, llm, settings.chunk
        self.words = {language: read_words(path) for language, path in settings.word_lists.items()}

    @property
    def identity(self) -> Any:
        """Version, the words themselves, and the LLM where it is asked."""
        return [VERSION, digest(self.words), self.llm.identity if self.settings.llm_check else None]

    def run(self, conversations: Sequence[DraftConversation]) -> list[list[Outcome] | None]:
        """Each with its note, or rejected with the word or the LLM's reason."""
        reasons = [self._by_words(conversation) for conversation in conversations]
        left = [number for number, reason in enumerate(reasons) if reason is None and self.settings.llm_check]
        questions = [_question(conversations[number]) for number in left]
        for number, answer in zip(left, self.llm.ask_checked(questions, [_read] * len(left)), strict=True):
            reasons[number] = str(answer) if isinstance(answer, ValueError) else answer
        outcomes: list[list[Outcome] | None] = []
        for conversation, reason in zip(conversations, reasons, strict=True):
            words = self.words.get(conversation.language)
            note = {"word_list": None if words is None else len(words), "llm": self.settings.llm_check}
            outcomes.append([Outcome(conversation.with_note(self.name, note), reason)])
        return outcomes

    def _by_words(self, conversation: DraftConversation) -> str | None:
        for number, text in _texts(conversation):
            for word in self.words.get(conversation.language, ()):
                if occurs(word, text):
                    return f"a word of the list: {word!r} in {number}"
        return None


def read_words(path: Path) -> list[str]:
    """The words or phrases of a list: one a line; blank lines and lines that start with ``#`` are left out.

    Raises:
        UserError: the file cannot be read, or holds no word.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The word list {path} cannot be read: {error}.") from error
    words = [line for line in lines if line and not line.startswith("#")]
    if not words:
        raise UserError(f"The word list {path} holds no words.", "Write one a line, or leave the list out.")
    return words


def occurs(word: str, text: str) -> bool:
    """Whether a word or phrase stands in a text, case and width ignored.

    It must begin and end where a word does. In Korean it need only begin there, as particles follow without a space;
    in scripts without spaces it may stand anywhere. Vowel signs belong to the letter that they follow.
    """
    word, text = _folded(word), _folded(text)
    start = text.find(word)
    while start >= 0:
        end = start + len(word)
        if _is_edge(text[start - 1 : start], word[0]) and (
            _is_hangul(word[-1]) or _is_edge(text[end : end + 1], word[-1])
        ):
            return True
        start = text.find(word, start + 1)
    return False


def _folded(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _is_edge(neighbour: str, own: str) -> bool:
    return not neighbour or unicodedata.category(neighbour)[0] not in "LMN" or script_of_character(own) in UNSPACED


def _is_hangul(character: str) -> bool:
    return script_of_character(character) == "HANGUL"


def _texts(conversation: DraftConversation) -> Iterator[tuple[str, str]]:
    for number, turn in enumerate(conversation.turns, 1):
        yield f"turn {number}", turn.prompt
    last = conversation.turns[-1]
    for id_, kwargs in zip(last.instruction_ids, last.kwargs, strict=True):
        for value in kwargs.values():
            for text in value if isinstance(value, list | tuple) else [value]:
                if isinstance(text, str):
                    yield f"the kwargs of {id_}", text


def _question(conversation: DraftConversation) -> Question:
    payload = {"language": conversation.language, "turns": [turn.prompt for turn in conversation.turns]}
    return Question("find_sensitive", WORDING, payload, conversation.key)


def _read(answer: str) -> str | None:
    content = read_answer(answer, sensitive=bool, reason=str)
    return f"the LLM finds it sensitive: {content['reason']}" if content["sensitive"] else None
