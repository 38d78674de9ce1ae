"""Tables of the keys that settings' classes have, for the pages that pages.py writes."""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_KINDS = {str: "text", int: "whole number", float: "number", bool: "true or false", Path: "path", Any: "anything"}
SECTION = "a section below"


@dataclasses.dataclass(frozen=True)
class Key:
    """One key of a YAML file."""

    name: str
    hint: Any
    default: str
    meaning: str


def table(keys: list[Key]) -> str:
    """A table of keys in Markdown."""
    rows = [f"| `{key.name}` | {kind_of(key.hint)} | {cell(key.default)} | {cell(key.meaning)} |" for key in keys]
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *rows]) + "\n"


def keys_of(kind: Any, said: Mapping[str, str] | None = None) -> Iterator[Key]:
    """The keys of a dataclass or a pydantic model.

    Args:
        kind: the class.
        said: what keys mean whose class does not say it under ``Attributes:``.

    Raises:
        KeyError: nothing says what a key means.
    """
    hints, told = typing.get_type_hints(kind), {**meanings(kind), **(said or {})}
    for field in dataclasses.fields(kind) if dataclasses.is_dataclass(kind) else kind.model_fields.items():
        name, default = (field[0], _of_model(field[1])) if isinstance(field, tuple) else (field.name, _of_class(field))
        if name not in told:
            raise KeyError(f"Nothing says what {name} of {kind.__name__} means.")
        yield Key(name, hints[name], default, told[name])


def meanings(kind: Any) -> dict[str, str]:
    """What the ``Attributes`` of a class and its parents say, by name; ``a, b: ...`` says it of both."""
    told: dict[str, str] = {}
    for each in reversed(kind.__mro__[:-1]):
        text = inspect.cleandoc(each.__doc__ or "").partition("Attributes:\n")[2]
        for names, meaning in re.findall(r"^    (\w[\w, ]*): (.*(?:\n     +.*)*)", text, re.MULTILINE):
            told |= dict.fromkeys(names.split(", "), plain(meaning))
    return told


def plain(text: str) -> str:
    """A docstring's text in one line of Markdown."""
    return re.sub(r":\w+:`[.~]*([^`]+)`", r"`\1`", " ".join(text.split())).replace("``", "`")


def cell(text: str) -> str:
    """A text that stands in a table's cell."""
    return re.sub(r"(?<!\\)\|", r"\\|", text)


def is_section(hint: Any) -> bool:
    """Whether a key holds keys of its own."""
    return dataclasses.is_dataclass(hint) or hasattr(hint, "model_fields")


def given(hint: Any) -> Any:
    """What a section that may be left out is where it is given."""
    sections = [each for each in typing.get_args(hint) if is_section(each)]
    return sections[0] if sections else hint


def kind_of(hint: Any) -> str:
    """A type in words."""
    if is_section(hint):
        return SECTION
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return kind_of(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return _either([*dict.fromkeys(kind_of(each) for each in arguments if each is not type(None))])
    if origin is typing.Literal:
        return _either([f"`{each}`" for each in arguments])
    if origin in (list, tuple, collections.abc.Sequence):
        parts = [kind_of(each) for each in arguments if each is not ...]
        one = "list" if arguments[0] is Any else f"list of {parts[0]}"
        return one if len(set(parts)) == 1 else f"list: {', '.join(parts)}"
    if origin in (dict, collections.abc.Mapping):
        return "mapping" if arguments[1] is Any else f"mapping to {kind_of(arguments[1])}"
    return _KINDS.get(hint) or hint.__name__.lower()


def _either(kinds: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(kinds[:-1]), kinds[-1]]))


def written(default: Any) -> str:
    """A default as YAML has it; empty where it says nothing."""
    if default in (None, (), "", [], {}) or is_section(type(default)):
        return ""
    if isinstance(default, list | tuple):
        return f"`{json.dumps(default)}`"
    return f"`{str(default).replace('True', 'true').replace('False', 'false')}`"


def _of_class(field: Any) -> str:
    if field.default is not dataclasses.MISSING:
        return written(field.default)
    return "**needed**" if field.default_factory is dataclasses.MISSING else ""


def _of_model(field: Any) -> str:
    return "**needed**" if field.is_required() else written(field.get_default(call_default_factory=True))
