"""The YAML of a data set under construction: one section per step, read strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from turnswap.core.errors import UserError

from .llm import LLMSettings

T = TypeVar("T")


def read_section(kind: type[T], content: object, where: str) -> T:
    """A section of the YAML as a dataclass; keys that it does not have are refused.

    Raises:
        UserError: it names the key, what it holds, and what was expected.
    """
    strict = with_config(ConfigDict(extra="forbid", strict=False))(kind)
    try:
        return TypeAdapter(strict).validate_python({} if content is None else content)
    except ValidationError as error:
        # A misspelt key is also a missing one: the misspelling says more.
        first = min(error.errors(), key=lambda each: each["type"] != "unexpected_keyword_argument")
        key = ".".join([where, *map(str, first["loc"])])
        if first["type"] == "unexpected_keyword_argument":
            known = ", ".join(getattr(kind, "__dataclass_fields__", {}))
            raise UserError(f"{key} is no key of the section {where}.", f"There are: {known}.") from None
        if first["type"] in ("missing", "missing_argument"):
            raise UserError(f"{key} is missing.", "See configs/build_sw_ko.yaml for a whole one.") from None
        raise UserError(f"{key} cannot be {first['input']!r}: {first['msg']}.") from None


@dataclass(frozen=True)
class BuildSettings:
    """What the YAML says. Relative paths are taken from the directory in which the command runs.

    Attributes:
        name: of the data set: the task is called ``NAME_LANGUAGE``.
        folder: of the steps' files.
        llm: the model that words, translates and checks.
        languages: codes of the languages to make.
        seeds, extend, conflicts, translate, filter, audit, prove, release: the steps' own sections, not read yet.
    """

    name: str
    folder: Path
    llm: LLMSettings
    languages: tuple[str, ...]
    seeds: Mapping[str, Any] = field(default_factory=dict)
    extend: Mapping[str, Any] = field(default_factory=dict)
    conflicts: Mapping[str, Any] = field(default_factory=dict)
    translate: Mapping[str, Any] = field(default_factory=dict)
    filter: Mapping[str, Any] = field(default_factory=dict)
    audit: Mapping[str, Any] = field(default_factory=dict)
    prove: Mapping[str, Any] = field(default_factory=dict)
    release: Mapping[str, Any] = field(default_factory=dict)


def read_settings(path: Path) -> BuildSettings:
    """The YAML of a data set.

    Raises:
        UserError: it cannot be read, or a key is unknown, missing or of another kind.
    """
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path} cannot be read: {' '.join(str(error).split())}.") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no settings.", "See configs/build_sw_ko.yaml for a whole one.")
    return read_section(BuildSettings, content, path.name)
