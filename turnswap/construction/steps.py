"""The eight steps of a data set, put together from its YAML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from turnswap.core.errors import UserError
from turnswap.core.journal import read_jsonl
from turnswap.core.settings import read_settings

from .audit import Audit, AuditSettings
from .conflicts import Conflicts, ConflictSettings
from .extend import Extend, ExtendSettings
from .filter import Filter, FilterSettings
from .llm import LLM
from .pipeline import Pipeline, Step
from .prove import Prove, ProveSettings, returned
from .seeds import Seeds, SeedSettings
from .settings import EXAMPLE, BuildSettings, read_build, read_release
from .translate import Translate, TranslateSettings

LAST = "release"  # made of what all steps left, not conversation by conversation
NAMES = ("seeds", "extend", "conflicts", "translate", "filter", "audit", "prove", LAST)

T = TypeVar("T")


@dataclass(frozen=True)
class Build:
    """A data set under construction: what its YAML says, and its pipeline."""

    settings: BuildSettings
    pipeline: Pipeline


def assemble(config: Path) -> Build:
    """The pipeline of a YAML. Reads and checks every section; asks no LLM, loads no model.

    Raises:
        UserError: the YAML or one of its files is not as expected.
    """
    build = read_build(config)
    read_release(build)  # a missing licence is told before work starts
    # What could not be proved goes back to the audit: the proof's file of the run before tells.
    proof = build.folder / f"{NAMES.index('prove') + 1}-prove.jsonl"
    llm, back = LLM(build.llm, build.folder / "llm-answers"), returned(read_jsonl(proof))
    steps = [make_step(name, build, llm, back) for name in NAMES[1:-1]]
    return Build(build, Pipeline(build.folder, Seeds(_section(SeedSettings, build, "seeds")), steps))


def make_step(name: str, build: BuildSettings, llm: LLM, returned: Mapping[str, str] | None = None) -> Step:
    """A step between the seeds and the release, with the settings of its section.

    Args:
        name: of the step and the section.
        build: what the YAML says.
        llm: whom it asks.
        returned: for the audit, what the proof sent back: reasons by key.

    Raises:
        UserError: the section, or a file that it names, is not as expected.
    """
    match name:
        case "extend":
            return Extend(_section(ExtendSettings, build, name), llm)
        case "conflicts":
            return Conflicts(_section(ConflictSettings, build, name), llm)
        case "translate":
            return Translate(_section(TranslateSettings, build, name), build.languages, llm)
        case "filter":
            return Filter(_section(FilterSettings, build, name), build.languages, llm)
        case "audit":
            return Audit(_section(AuditSettings, build, name), build.folder / "audit", returned or {})
        case "prove":
            return Prove(_section(ProveSettings, build, name), llm)
    raise AssertionError(name)


def _section(kind: type[T], build: BuildSettings, name: str) -> T:
    return read_settings(kind, getattr(build, name), name, EXAMPLE)


def require_step(name: str) -> str:
    """The name of a step.

    Raises:
        UserError: there is none of this name.
    """
    if name not in NAMES:
        raise UserError(f"{name} is no step.", f"There are: {', '.join(NAMES)}.")
    return name
