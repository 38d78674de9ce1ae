"""The eight steps of a data set, put together from its YAML."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from turnswap.core.errors import UserError

from . import audit, conflicts, extend, prove, seeds, sensitive, translate
from .llm import LLM
from .pipeline import Pipeline, Step
from .prove import returned
from .records import read_jsonl
from .release import read_release
from .settings import BuildSettings, read_settings

LAST = "release"  # made of what all steps left, not conversation by conversation
NAMES = ("seeds", "extend", "conflicts", "translate", "filter", "audit", "prove", LAST)


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
    settings = read_settings(config)
    read_release(settings)  # a missing licence is told before work starts
    llm = LLM(settings.llm, settings.folder / "llm-answers")
    steps: list[Step] = [
        extend.make(settings, llm),
        conflicts.make(settings, llm),
        translate.make(settings, llm),
        sensitive.make(settings, llm),
    ]
    # What could not be proved goes back to the audit: the proof's file of the run before tells.
    proof = settings.folder / f"{NAMES.index('prove') + 1}-prove.jsonl"
    steps += [audit.make(settings, llm, returned(read_jsonl(proof))), prove.make(settings, llm)]
    names = ("seeds", *(step.name for step in steps), LAST)
    assert names == NAMES
    return Build(settings, Pipeline(settings.folder, seeds.make(settings), steps))


def require_step(name: str) -> str:
    """The name of a step.

    Raises:
        UserError: there is none of this name.
    """
    if name not in NAMES:
        raise UserError(f"{name} is no step.", f"There are: {', '.join(NAMES)}.")
    return name
