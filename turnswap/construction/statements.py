"""The sentences that state instructions, of the templates of each language (:mod:`.wording`).

A sentence of ours can be told from others, taken out of a prompt and replaced by that of another language. An LLM that
translates the rest cannot exchange what is asked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from turnswap.tasks.multiif.instructions import INSTRUCTIONS
from turnswap.tasks.multiif.instructions.language import LANGUAGE
from turnswap.tasks.multiif.instructions.patterns import PATTERNS
from turnswap.tasks.multiif.instructions.spec import RELATION

from .instructions import Draw
from .instructions.making import Kwargs, listed, text_kwargs
from .wording import Counted, wording_of

MARKER = re.compile(r"⟦\d+⟧")  # see Separated
_SPACES = re.compile(r"[^\S\n]+")


def sentences(id: str, kwargs: Kwargs, language: str, blanks: bool = False) -> list[str]:
    """All sentences that state an instruction in a language, in the order of its templates.

    Args:
        id: the instruction's.
        kwargs: its kwargs, parsed.
        language: a code; one without templates has no sentences, and an unknown instruction has none either.
        blanks: whether names of kwargs stand in braces in place of texts that a translation translates.
    """
    wording, instruction = wording_of(language), INSTRUCTIONS.get(id)
    if wording is None or instruction is None:
        return []
    texts = text_kwargs(id, kwargs) if blanks else []
    values: dict[str, Counted] = {}
    key = id
    for name, kwarg in instruction.kwargs.items():
        value = kwargs[name]
        shown = [f"{{{name}}}" if name in texts else str(each) for each in listed(value)]
        if kwarg is RELATION:
            key = f"{id} {value}"
        elif kwarg is LANGUAGE:
            code = "zh" if value == "zh-cn" else str(value)
            if code not in wording.languages:
                return []
            values[name] = Counted(1, wording.languages[code], wording.code)
        elif kwarg is PATTERNS:
            quoted = [wording.quoted.replace("#", each) for each in shown]
            values[name] = Counted(len(shown), wording.comma.join(quoted), wording.code)
        else:
            values[name] = Counted(value if isinstance(value, int) else 1, shown[0], wording.code)
    return [unicodedata.normalize("NFC", each.format(**values)) for each in wording.sentences.get(key, ())]


def sentence(id: str, kwargs: Kwargs, language: str, draw: Draw) -> str | None:
    """One of :func:`sentences`, drawn; None where there are none."""
    options = sentences(id, kwargs, language)
    return draw.one(options) if options else None


def stated(prompt: str, id: str, kwargs: Kwargs, language: str) -> bool:
    """Whether one of :func:`sentences` stands in a prompt verbatim, blanks aside."""
    return stating(prompt, id, kwargs, language) is not None


def stating(prompt: str, id: str, kwargs: Kwargs, language: str) -> str | None:
    """That sentence as it stands in the prompt; None where there is none."""
    text = unicodedata.normalize("NFC", prompt)
    found = [match[0] for each in sentences(id, kwargs, language) if (match := _finder(each).search(text))]
    return max(found, key=len, default=None)


def _finder(sentence: str) -> re.Pattern[str]:
    return re.compile(r"(?<!\w)" + r"[^\S\n]+".join(map(re.escape, _SPACES.split(sentence))))


@dataclass(frozen=True)
class Separated:
    """A sentence that a marker stands for.

    Attributes:
        position: the instruction's, from 0; its marker shows the number from 1.
        variant: the template's, from 0.
    """

    position: int
    variant: int

    @property
    def marker(self) -> str:
        """Such as ⟦1⟧."""
        return f"⟦{self.position + 1}⟧"


Instructions = Sequence[tuple[str, Kwargs]]


def separate(prompt: str, instructions: Instructions, language: str, into: str) -> tuple[str, list[Separated]]:
    """The prompt with a marker in place of each sentence that is verbatim a template's, and what the markers stand for.

    Only instructions that have sentences in the language ``into``, too, are looked for. Where nothing is found, the
    prompt is as it was.
    """
    text = unicodedata.normalize("NFC", prompt)
    found: list[Separated] = []
    options = [
        (each, Separated(position, variant))
        for position, instruction in enumerate(instructions)
        if sentences(*instruction, into)
        for variant, each in enumerate(sentences(*instruction, language))
    ]
    for each, separated in sorted(options, key=lambda option: -len(option[0])):
        if "⟦" in prompt or separated.position in (other.position for other in found):
            continue
        text, count = _finder(each).subn(separated.marker, text, count=1)
        found += [separated] * count
    return (text, found) if found else (prompt, [])


def put_back(
    text: str, instructions: Mapping[int, tuple[str, Kwargs]], language: str, separated: Sequence[Separated]
) -> str:
    """The text with the sentences of a language in place of their markers.

    Args:
        text: with markers.
        instructions: at least those that markers stand for, by position, with the kwargs of that language.
        language: a code.
        separated: what the markers stand for, see :func:`separate`.

    Raises:
        ValueError: a marker is not there once, or there is another one.
    """
    wanted = [each.marker for each in separated]
    for marker in [*wanted, *MARKER.findall(text)]:
        if (count := text.count(marker)) != wanted.count(marker):
            raise ValueError(f"a mark is lost or added: {marker} occurs {count} times, not {wanted.count(marker)}")
    for each in separated:
        options = sentences(*instructions[each.position], language)
        text = text.replace(each.marker, options[each.variant % len(options)])
    return text
