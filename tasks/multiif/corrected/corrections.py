"""The corrections by name, as ``corrections.toml`` has them: what each is for, why, and replies on which rules differ.

A test grades every example by both sets of rules, so what stands there is what the code does;
docs/reference/corrected.md is the same list for readers.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Annotated, Any

from pydantic import AfterValidator, TypeAdapter

ALL = "all"
OneLine = Annotated[str, AfterValidator(lambda text: " ".join(text.split()))]


@dataclass(frozen=True)
class Example:
    """A reply on which the two sets of rules differ.

    Attributes:
        instruction_id: of the instruction, such as ``keywords:existence``, with its ``kwargs``.
        reply: the whole of it.
        language: the code of the conversation's language.
        published: the published strict verdict.
        corrected: the corrected one; None for an instruction that no reply can follow, and that has none.
        prompt: what the user asked, where it matters.
    """

    instruction_id: str
    kwargs: Mapping[str, Any]
    reply: str
    language: str
    published: bool
    corrected: bool | None = None
    prompt: str = ""


@dataclass(frozen=True)
class Correction:
    """One rule in which the corrected verdicts differ from the published ones.

    Attributes:
        name: what it goes by.
        instructions: the ids it concerns.
        languages: the codes of the languages it concerns first of all, or ``["all"]``.
        rule: what holds now.
        reason: where the published rule errs, and why a reader of the language would judge otherwise.
        examples: at least one.
        needs_segmenter: whether it takes ``turnswap[cjk]``, without which the published rule stays.
        needs_morphology: whether it takes ``turnswap[morphology]``, without which the published rule stays.
    """

    name: str
    instructions: tuple[str, ...]
    languages: tuple[str, ...]
    rule: OneLine
    reason: OneLine
    examples: tuple[Example, ...] = field(repr=False)
    needs_segmenter: bool = False
    needs_morphology: bool = False


@cache
def corrections() -> tuple[Correction, ...]:
    """All of them, in the order in which readers are shown them."""
    content = tomllib.loads((files(__package__) / "corrections.toml").read_text("utf-8"))
    return TypeAdapter(tuple[Correction, ...]).validate_python(content["correction"])
