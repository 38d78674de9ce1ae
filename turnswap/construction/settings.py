"""The YAML of a data set under construction: one section per step, read strictly."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from turnswap.core.errors import UserError
from turnswap.core.settings import read_settings, read_yaml
from turnswap.tasks.multiif.languages import name_of

from .llm import LLMSettings

EXAMPLE = "See configs/build_sw_ko.yaml for a whole one."
Positive = Annotated[int, Field(ge=1)]
_TAKEN = ("multiif", "leaderboard_multiif")


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


def read_build(path: Path) -> BuildSettings:
    """The YAML of a data set.

    Raises:
        UserError: it cannot be read, or a name is unknown, missing or of another kind.
    """
    return read_settings(BuildSettings, read_yaml(path, EXAMPLE), path.name, EXAMPLE)


@dataclass(frozen=True)
class ReleaseSettings:
    """The section ``release``.

    Attributes:
        seeds_licence: of the seeds, such as ``Apache-2.0`` for IFEval's prompts.
        licence: of the data set, which its makers decide.
        folder: where to write; ``release`` in the folder of the steps, where not given.
        version: of the tasks; to be raised whenever released conversations change.
        purpose: one sentence on what it was made for, for the datasheet.
        limits: what a user must know, for the datasheet.
    """

    seeds_licence: str
    licence: str
    folder: Path | None = None
    version: float = 1.0
    purpose: str = ""
    limits: tuple[str, ...] = ()


def read_release(build: BuildSettings) -> ReleaseSettings:
    """The section ``release``, checked; to be called before anything is built.

    Raises:
        UserError: a licence is missing, the name cannot be one of tasks, or a language is unknown.
    """
    settings = read_settings(ReleaseSettings, build.release, "release", EXAMPLE)
    for key in ("seeds_licence", "licence"):
        if not getattr(settings, key).strip():
            raise UserError(f"release.{key} is empty.", "Name a licence, such as Apache-2.0 or CC-BY-4.0.")
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", build.name) or build.name in _TAKEN:
        raise UserError(
            f"name cannot be {build.name!r}: its tasks are called {build.name}_{build.languages[0]} and the like.",
            f"Expected letters, digits, '_', '-' and '.', and none of {', '.join(_TAKEN)}.",
        )
    for code in build.languages:
        name_of(code)
    return settings
