"""Step 5, ``filter``: sensitive content, by word lists of the user's and by asking the LLM.

There are no word lists of ours: what must not be in a data set depends on its language and its purpose, and a short
list would look like a check that it is not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from turnswap.core.errors import UserError, reason_of

from .asking import Asking, Question, answered
from .instructions.making import listed
from .llm import LLM, read_finding
from .records import Conversations, DraftConversation, Outcome, digest
from .vocabulary import occurs

VERSION = 1


@dataclass(frozen=True)
class FilterSettings:
    """The section ``filter``.

    Attributes:
        word_lists: a file per language, see :func:`read_words`.
        llm_check: whether the LLM is asked too.
    """

    word_lists: Mapping[str, Path] = field(default_factory=dict)
    llm_check: bool = True


class Filter:
    """The step ``filter``; its note has ``word_list`` (how many words were looked for) and ``llm`` (whether asked)."""

    name = "filter"

    def __init__(self, settings: FilterSettings, languages: Sequence[str], llm: LLM) -> None:
        if others := [language for language in settings.word_lists if language not in languages]:
            problem = f"filter.word_lists.{others[0]}: {others[0]} is not among languages."
            raise UserError(problem, f"There are: {', '.join(languages)}.")
        self.settings, self.llm = settings, llm
        self.words = {language: read_words(path) for language, path in settings.word_lists.items()}
        self.identity = [VERSION, digest(self.words), llm.identity if settings.llm_check else None]

    def run(self, conversations: Conversations) -> list[list[Outcome]]:
        """Each with its note, or rejected with the word or the LLM's reason."""
        return self.llm.run([self.askings(conversation) for conversation in conversations])

    def askings(self, conversation: DraftConversation) -> list[Asking[Outcome]]:
        """The question whether it is sensitive, if there is one."""
        stages = [(_question, _read)] if self.settings.llm_check else []
        return [answered(self._by_words(conversation), *stages)]

    def _by_words(self, conversation: DraftConversation) -> Outcome:
        words = self.words.get(conversation.language)
        noted = conversation.with_note(
            self.name, {"word_list": None if words is None else len(words), "llm": self.settings.llm_check}
        )
        return Outcome(noted, listed_word(conversation, words or ()))


def read_words(path: Path) -> list[str]:
    """The words or phrases of a list: one a line; blank lines and lines that start with ``#`` are left out.

    Raises:
        UserError: the file cannot be read, or holds no word.
    """
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The word list {path} cannot be read: {reason_of(error)}.") from error
    words = [line for line in lines if line and not line.startswith("#")]
    if not words:
        raise UserError(f"The word list {path} holds no words.", "Write one a line, or leave the list out.")
    return words


def listed_word(conversation: DraftConversation, words: Sequence[str]) -> str | None:
    """Which word of a list stands in the prompts or kwargs, and where; None where none does."""
    found = (
        f"a word of the list: {word!r} in {place}"
        for place, text in _texts(conversation)
        for word in words
        if occurs(word, text)
    )
    return next(found, None)


def _texts(conversation: DraftConversation) -> Iterator[tuple[str, str]]:
    for number, prompt in enumerate(conversation.prompts, 1):
        yield f"turn {number}", prompt
    for id_, kwargs in conversation.last.instructions:
        values = [each for value in kwargs.values() for each in listed(value)]
        yield from ((f"the kwargs of {id_}", each) for each in values if isinstance(each, str))


def _question(outcome: Outcome) -> Question:
    conversation = outcome.conversation
    payload = {"language": conversation.language, "turns": conversation.prompts}
    return Question("find_sensitive", payload, conversation.key)


_read = partial(read_finding, "sensitive", "the LLM finds it sensitive")
