"""The words of a prompt that ask for a slot's instruction."""

from __future__ import annotations

import regex

from ..instructions import ids
from ..instructions.making import listed
from .numbers import WORDING, numbers_in
from .slots import COUNTED, Slot
from .stated import sentences_of

_LONGEST = 200  # characters


def cut(text: str, longest: int = _LONGEST) -> str:
    """A text of so many characters at most."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def quote_of(slot: Slot) -> str:
    """The sentence of the turn's prompt that names most of what the instruction is about; of several, the last."""
    sentences = [" ".join(sentence.split()) for sentence in sentences_of(slot.prompt)]
    best = max(reversed(sentences), key=lambda sentence: _names(sentence, slot), default="")
    return cut(best)


def _names(sentence: str, slot: Slot) -> int:
    """How much of it a sentence names."""
    wording = WORDING.get(slot.language, {})
    cues = [wording.get("asks", {}).get(slot.id.partition(":")[2]), wording.get("needs", {}).get(COUNTED.get(slot.id))]
    cues += [wording.get("units", {}).get(COUNTED.get(slot.id))]
    named = sum(1 for cue in cues if cue and regex.search(cue, sentence, regex.IGNORECASE))
    if slot.id != ids.REPEAT:  # what is to be repeated does not ask for it
        texts = [text for value in slot.kwargs.values() for text in listed(value) if isinstance(text, str)]
        whole = [rf"(?<![a-z]){regex.escape(text.strip())}" for text in texts]
        named += 2 * sum(1 for each in whole if regex.search(each, sentence, regex.IGNORECASE))
    return named + (slot.number in [each.value for each in numbers_in(sentence, slot.language)])
