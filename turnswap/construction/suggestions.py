"""Words and closing phrases by the topic of a conversation: what the LLM suggests, and what of it can be used.

The benchmark's second and third turns name words that the conversation has not had yet, and ends that suit its text.
So they are asked for once per conversation, before a draw needs them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import partial
from typing import Any

from .asking import Asking, NoAnswer, Question, checked
from .instructions.draw import ENGLISH
from .llm import read_answer
from .records import DraftConversation
from .vocabulary import UNSPACED, scripts_of, share_in

_ASKED = {"words": 8, "avoid": 6, "closings": 3}
_LEAST = {"words": 5, "avoid": 3, "closings": 1}  # two turns draw four keywords and a first word at most
_LONGEST_WORD, _LONGEST_CLOSING = 20, 120  # characters
_CAPITAL_NOUNS = ("de", "lb")
_NOT_IN_CLOSINGS = re.compile(r"[\d\"“”「」«»<>\[\]{}*#_`\\\n]")
_NOT_KEYWORDS = frozenset(ENGLISH["in_every_request"].split())


def with_suggestions(conversation: DraftConversation, more: int) -> Asking[DraftConversation]:
    """The conversation with the LLM's suggestions in the note ``extend``, or why there are none that can be used.

    ``more`` is how many questions follow.

    Raises:
        NoAnswer: the request failed for good.
    """
    payload = {"language": conversation.language, "turns": conversation.prompts, "numbers": _ASKED}
    question = Question("suggest_words", payload, f"{conversation.key} (words by the topic)", more=more)
    try:
        note: dict[str, Any] = yield from checked(question, partial(usable, conversation))
    except NoAnswer:
        raise
    except ValueError as problem:
        note = {"no_words": str(problem)}
    return conversation.with_note("extend", note)


def usable(conversation: DraftConversation, answer: str) -> dict[str, list[str]]:
    """What can be used of an answer.

    Raises:
        ValueError: it is too little, in words for the LLM.
    """
    content = read_answer(answer, **dict.fromkeys(_ASKED, list))
    problems: list[str] = []
    taken: list[str] = []
    found: dict[str, list[str]] = {}
    for name in _ASKED:
        found[name] = []
        for each in content[name]:
            text = unicodedata.normalize("NFC", " ".join(each.split())) if isinstance(each, str) else ""
            wrong = _wrong_closing if name == "closings" else _wrong_word
            if problem := _wrong(text, conversation, taken) or wrong(text, conversation.language):
                problems.append(f"{text!r} {problem}")
            else:
                found[name].append(text)
                taken.append(text.casefold())
    for name, least in _LEAST.items():
        if len(found[name]) < least:
            told = f": {'; '.join(problems[:5])}" if problems else ""
            raise ValueError(f"too few {name} can be used, {len(found[name])} of at least {least}{told}")
    return found


def _wrong(text: str, conversation: DraftConversation, taken: Sequence[str]) -> str | None:
    folded = text.casefold()
    if not folded:
        return "is no text"
    if folded in " ".join(conversation.prompts).casefold():
        return "is in the conversation already"
    if any(folded in other or other in folded for other in taken):
        return "is part of another one, or holds another one"
    scripts = scripts_of(conversation.language)
    return None if share_in(text, scripts) == 1 else "is not in the script of the language"


def _wrong_word(word: str, language: str) -> str | None:
    if not all(c.isalpha() or c == " " or unicodedata.category(c)[0] == "M" for c in word) or word.count(" ") > 1:
        return "is not one word of letters alone"
    if not (2 if scripts_of(language) & UNSPACED else 3) <= len(word) <= _LONGEST_WORD:
        return "is too short or too long"
    if word != word.lower() and language.partition("-")[0] not in _CAPITAL_NOUNS:
        return "has a capital letter: names are no keywords"
    if language == "en" and not _NOT_KEYWORDS.isdisjoint(word.split()):
        return "is a word that stands in requests of every kind"
    return None


def _wrong_closing(text: str, language: str) -> str | None:
    if found := _NOT_IN_CLOSINGS.search(text):
        return f"has {found[0]!r}, which a closing phrase must not have"
    letters = sum(map(str.isalpha, text))
    if len(text) > _LONGEST_CLOSING or letters < 4 or (not scripts_of(language) & UNSPACED and " " not in text):
        return "is no phrase of a few words"
    return None
