"""Reviewers' edits: what they must keep beyond the words and spans of :mod:`.equivalent`, and when two of them agree.

An edit has no back-translation. It is held against the gates as if its own were perfect, against the word lists, and
against what its prompts now state of each instruction.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import regex

from .data_audit.findings import slot_finding
from .data_audit.slots import slots_of
from .data_audit.stated import sentences_of
from .equivalent import foreign_turns
from .filter import listed_word
from .gates import Thresholds, Translation, measure, problems
from .instructions.making import listed
from .meaning.demands import read
from .meaning.differences import own_words
from .meaning.instructions import turns_otherwise
from .plain_words import called
from .records import DraftConversation, Turn

# A reader knows better than a ratio, and may mean another pole than the source: a longer letter.
_WEAK = ("the length is odd", "the translation means something else")
_SPACES = r"[^\S\n\r]|[\u200b\ufeff]"
_FREE = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Hangul}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}\p{Tibetan}]"


@dataclass(frozen=True)
class EditChecks:
    """What other steps ask: the ``thresholds`` of translate, the ``words`` of filter by language.

    And whether prove is to try instructions on natural replies, ``falsifiable``: which rule grades a reviewer's proof.
    """

    thresholds: Thresholds = field(default_factory=Thresholds)
    words: Mapping[str, Sequence[str]] = field(default_factory=dict)
    falsifiable: bool = True

    @property
    def identity(self) -> Any:
        """What a review's outcome depends on, as JSON."""
        return [asdict(self.thresholds), dict(self.words), self.falsifiable]


def faults_of_edit(
    before: DraftConversation, turns: Sequence[Turn], source: DraftConversation | None, checks: EditChecks
) -> tuple[list[str], list[str]]:
    """Why an edit cannot be used, and what is odd about it: nothing that was so before the edit.

    Args:
        before: the conversation as the reviewer saw it.
        turns: as edited, put together by :func:`.equivalent`.
        source: what it was translated from; None where it is no translation.
        checks: of the earlier steps.
    """
    after = replace(before, turns=tuple(turns))
    found, inherited = (
        _by_gates(source, each, checks.thresholds) if source else foreign_turns(each.turns, each.language)
        for each in (after, before)
    )
    told = [reason for reason in found if reason not in inherited]
    told += _changed(source, before, after) if source else []
    stated, already = _misstated(after), _misstated(before)
    told += [reason for place, reason in stated.items() if place not in already]
    if word := listed_word(after, checks.words.get(after.language, ())):
        told.append(word)
    weak = [each for each in told if each.startswith(_WEAK)]
    odd = [text for text in _values(turns) if text != _tidied(text) and text not in _values(before.turns)]
    weak += [f"{text!r} is graded, but has spaces that a reply will hardly have" for text in odd]
    return [each for each in told if each not in weak], weak


def _by_gates(source: DraftConversation, made: DraftConversation, thresholds: Thresholds) -> list[str]:
    """The gates with the source itself as the back-translation: what is left are length, script and language."""
    judged = Translation(source.language, made.language, source.prompts, made.prompts, source.prompts)
    return problems(judged, measure(judged), thresholds)


def _changed(source: DraftConversation, before: DraftConversation, after: DraftConversation) -> Iterator[str]:
    """What the edit takes from the demands of its source, or adds: it stands beside the text before, in one language.

    That may be wrong itself, so only what the source has counts as lost, and what it lacks as added.
    """
    languages = source.language, after.language, after.language
    for number, texts in enumerate(zip(source.prompts, before.prompts, after.prompts, strict=True), 1):
        bases = [code.partition("-")[0] for code in languages]
        one, was, now = (read(own_words(text), base) for text, base in zip(texts, bases, strict=True))
        if lost := (one.numbers & was.numbers) - now.numbers:
            yield f"turn {number} no longer says {', '.join(map(str, sorted(lost)))}"
        if now.negated and not now.restricting <= was.restricting and not (was.negated or one.restricting):
            yield f"turn {number} negates what the source does not: {now.negated!r}"
        said, mine, theirs = (
            [read(own_words(each), base) for each in sentences_of(text)]
            for text, base in zip(texts, bases, strict=True)
        )
        negated = sum(bool(each.negated) for each in mine)
        left = sum(bool(each.restricting) for each in theirs)
        if len(mine) == len(theirs) and left < min(negated, sum(bool(each.negated) for each in said)):
            yield f"turn {number} negates less than the source"


def _misstated(conversation: DraftConversation) -> dict[tuple[int, int, str], str]:
    """What a prompt states otherwise than is graded: by turn, place and kind, in the languages whose words we have."""
    content = {**conversation.as_json(), "language": called(conversation.language)}
    found = ((slot, slot_finding(slot)) for slot in slots_of(content))
    told = {
        (slot.turn, slot.position, finding[0]): f"turn {slot.turn} says {finding[1]!r}, but {finding[2]} is graded"
        for slot, finding in found
        if finding
    }
    for (turn, place), (said, *_) in turns_otherwise(conversation.turns, conversation.language).items():
        told.setdefault((turn, place, "otherwise"), f"turn {turn}: {said}")
    return told


def tidied(text: str) -> str:
    """The text with letters in composed form, every run of spaces one plain space, and none at the ends of lines."""
    text = regex.sub(r"\r\n?", "\n", unicodedata.normalize("NFC", text))
    lines = (regex.sub(rf"(?:{_SPACES})+", " ", line).strip() for line in text.split("\n"))
    return regex.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()


def comparable(turns: Sequence[Turn]) -> list[Any]:
    """What two edits must have in common to agree: all but spaces.

    In prompts, spaces beside letters of scripts that part words freely (Korean, Japanese, Thai) count for nothing. In
    kwargs, which the grader compares with replies, it matters whether there is a space, and not which.
    """
    return [
        (
            regex.sub(rf"(?<={_FREE}) | (?={_FREE})", "", tidied(turn.prompt)),
            [{name: [*map(_tidied, listed(value))] for name, value in kwargs.items()} for kwargs in turn.kwargs],
        )
        for turn in turns
    ]


def untidy(turns: Sequence[Turn]) -> tuple[int, int]:
    """How many texts have odd spaces, in kwargs and in prompts: of edits that agree the least untidy one is taken."""
    in_kwargs, in_prompts = (
        sum(each != _tidied(each) for each in texts) for texts in (_values(turns), [turn.prompt for turn in turns])
    )
    return in_kwargs, in_prompts


def _values(turns: Sequence[Turn]) -> list[Any]:
    return [each for kwargs in turns[-1].kwargs for value in kwargs.values() for each in listed(value)]


def _tidied(value: Any) -> Any:
    return tidied(value) if isinstance(value, str) else value
