"""Instructions in plain words, in English or in words of one's own: ``instructions/plain.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

from turnswap.core.errors import UserError, reason_of
from turnswap.tasks.multiif.instructions import INSTRUCTIONS, get_instruction
from turnswap.tasks.multiif.instructions.spec import ANY_COUNT, COUNT, RELATION
from turnswap.tasks.multiif.languages import name_of

from .instructions.making import listed, making_of
from .records import json_text

_ENGLISH = (files(__package__) / "instructions" / "plain.toml").read_text("utf-8")


class _Number(int):
    """A number with what it counts: ``{n:word|words}`` is ``1 word`` or ``3 words``."""

    def __format__(self, forms: str) -> str:
        one, _, more = forms.partition("|")
        return f"{int(self)} {one if self == 1 else more}" if forms else str(int(self))


@dataclass(frozen=True)
class PlainWords:
    """What to say of each instruction, by the names of ``plain.toml``."""

    sayings: Mapping[str, str]
    instructions: Mapping[str, str]

    def question(self, id_: str, kwargs: Mapping[str, Any]) -> str:
        """Whether a reply follows an instruction, as one asks people; raises as :meth:`statement`."""
        return self.sayings["question"].format(instruction=self.statement(id_, kwargs))

    def statement(self, id_: str, kwargs: Mapping[str, Any]) -> str:
        """What an instruction asks of a reply.

        Raises:
            MalformedInstruction: there is no such instruction.
        """
        instruction = get_instruction(id_)
        values: dict[str, Any] = {}
        for name, kwarg in instruction.kwargs.items():
            value = kwargs[name]
            if kwarg in (COUNT, ANY_COUNT):
                values[name] = _Number(value)
            elif kwarg is RELATION:
                values[name] = self.sayings[value]
            elif id_ == "language:response_language":
                values[name] = called(value)
            else:
                values[name] = ", ".join(self.sayings["quoted"].format(each) for each in listed(value))
        # An instruction of one's own goes by its id where nobody described it.
        saying = self.instructions.get(id_) or making_of(id_).plain
        said = saying.format(**values) or f"{id_} {json_text(kwargs)}"
        return said[:1].upper() + said[1:]


def called(code: str) -> str:
    """The English name of a language; what has none goes by its code."""
    try:
        return name_of({"zh-cn": "zh", "zh-tw": "zh"}.get(code, code))
    except UserError:
        return code


def plain_words(path: Path | None = None) -> PlainWords:
    """The words of ``plain.toml``, with those of a file of one's own in their place.

    Raises:
        UserError: the file cannot be read, or says something of what there is not.
    """
    english = tomllib.loads(_ENGLISH)
    own: dict[str, Any] = {}
    if path is not None:
        advice = "See turnswap/construction/instructions/plain.toml for a whole one."
        try:
            own = tomllib.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read: {reason_of(error)}.", advice) from None
        own_ids = own.get("instructions", {})
        if not isinstance(own_ids, dict):
            raise UserError(f"{path}: instructions is {own_ids!r}; expected a table of texts.", advice)
        unknown = [name for name in own if name not in english] + [id_ for id_ in own_ids if id_ not in INSTRUCTIONS]
        if unknown:
            raise UserError(f"{path} has a text for {unknown[0]}, which is not known.", advice)
        for id_, saying in own_ids.items():
            kinds = get_instruction(id_).kwargs.items()
            _require_fillable(
                path,
                saying,
                {name: _Number(1) if kwarg in (COUNT, ANY_COUNT) else "x" for name, kwarg in kinds},
                advice,
            )
        for name, saying in own.items():
            if name != "instructions":
                fields = {"question": {"instruction": "x"}, "quoted": {"": "x"}}.get(name, {})
                _require_fillable(path, saying, fields, advice)
    instructions = english.pop("instructions") | own.pop("instructions", {})
    return PlainWords({**english, **own}, instructions)


def _require_fillable(path: Path, saying: object, values: Mapping[str, Any], advice: str) -> None:
    """Refuse what is no text, or what the calls above could not fill in: fields by these names alone, whole."""
    if not isinstance(saying, str):
        raise UserError(f"{path}: {saying!r} is no text; expected one in quotation marks.", advice)
    try:
        if unknown := [name for _, name, *_ in Formatter().parse(saying) if name is not None and name not in values]:
            raise LookupError(f"there is no {{{unknown[0]}}}")
        saying.format(*(value for name, value in values.items() if not name), **{k: v for k, v in values.items() if k})
    except (LookupError, ValueError, AttributeError) as error:
        known = ", ".join(f"{{{name}}}" for name in values) or "nothing in braces"
        raise UserError(f"{path}: {saying!r} cannot be filled in: {error}.", f"Expected {known}. {advice}") from None
