"""The YAML of a data set under construction, one section per step, and the eight steps put together from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

from turnswap.core.errors import UserError
from turnswap.core.journal import read_jsonl
from turnswap.core.settings import read_settings, read_yaml
from turnswap.tasks.multiif.instructions import load_instructions
from turnswap.tasks.multiif.languages import name_of

from . import LAST, STEPS
from .audit import Audit, AuditSettings
from .conflicts import Conflicts, ConflictSettings
from .edits import EditChecks
from .extend import Extend, ExtendSettings
from .filter import Filter, FilterSettings, read_words
from .licences import check_licences
from .llm import LLM, LLMSettings
from .pipeline import Pipeline, Step
from .prove import Prove, ProveSettings, returned
from .seeds import Seeds, SeedSettings
from .translate import Translate, TranslateSettings

_EXAMPLE = "See configs/build_sw_ko.yaml for a whole one."
_TAKEN = ("multiif", "leaderboard_multiif")
T = TypeVar("T")


@dataclass(frozen=True)
class BuildSettings:
    """What the YAML says. Relative paths are taken from the directory in which the command runs.

    Attributes:
        name: of the data set: the task is called ``NAME_LANGUAGE``.
        folder: of the steps' files.
        llm: the model that words, translates and checks.
        judge: (optional) a second model, which translates back and says whether translations say the same.
        languages: codes of the languages to make.
        instructions: a Python file with instructions of the data set's own. It is run, here and by whoever evaluates
            on the release, which has a copy.
        seeds, extend, conflicts, translate, filter, audit, prove, release: the steps' own sections, not read yet.
    """

    name: str
    folder: Path
    llm: LLMSettings
    languages: tuple[str, ...]
    judge: LLMSettings | None = None
    seeds: Mapping[str, Any] = field(default_factory=dict)
    extend: Mapping[str, Any] = field(default_factory=dict)
    conflicts: Mapping[str, Any] = field(default_factory=dict)
    translate: Mapping[str, Any] = field(default_factory=dict)
    filter: Mapping[str, Any] = field(default_factory=dict)
    audit: Mapping[str, Any] = field(default_factory=dict)
    prove: Mapping[str, Any] = field(default_factory=dict)
    release: Mapping[str, Any] = field(default_factory=dict)
    instructions: Path | None = None

    def section(self, kind: type[T], name: str) -> T:
        """A step's own section, checked; a UserError where it is not as expected."""
        if "chunk" in getattr(self, name):
            raise UserError(
                f"{name}.chunk is no setting any more: a step asks all its questions at once.",
                "Remove it. How many requests are in flight is num_concurrent in model_args of llm.",
            )
        return read_settings(kind, _given(getattr(self, name)), name, _EXAMPLE)


def read_build(path: Path) -> BuildSettings:
    """The YAML of a data set.

    Raises:
        UserError: it cannot be read, or a name is unknown, missing or of another kind.
    """
    content = {name: _given(section) for name, section in _given(read_yaml(path, _EXAMPLE)).items()}
    return read_settings(BuildSettings, content, path.name, _EXAMPLE)


def _given(content: Any) -> Any:
    """A section without the names that stand with nothing behind: they mean the defaults."""
    return {name: value for name, value in content.items() if value is not None} if type(content) is dict else content


@dataclass(frozen=True)
class ReleaseSettings:
    """The section ``release``.

    Attributes:
        seeds_licence: of the seeds, such as ``Apache-2.0`` for IFEval's prompts: an SPDX id, or with several sources
            one of each, with ``AND`` between them. What it does not allow is refused before work starts.
        licence: of the data set, which its makers decide.
        folder: where to write; ``release`` in the folder of the steps, where not given.
        version: of the tasks; to be raised whenever released conversations change.
        purpose: one sentence on what it was made for, for the datasheet.
        limits: what a user must know, for the datasheet.
        creators: groups or people that made it, for croissant.json, whose standard needs this and the next two.
        url: of its page.
        published: the day, such as 2026-11-26.
    """

    seeds_licence: str
    licence: str
    folder: Path | None = None
    version: float = 1.0
    purpose: str = ""
    limits: tuple[str, ...] = ()
    creators: tuple[str, ...] = ()
    url: str = ""
    published: date | None = None


def read_release(build: BuildSettings) -> ReleaseSettings:
    """The section ``release``, checked; to be called before anything is built.

    Raises:
        UserError: a licence is missing or not allowed by the seeds', the name cannot be one of tasks, or a language is
            unknown.
    """
    settings = build.section(ReleaseSettings, LAST)
    for key in ("seeds_licence", "licence"):
        if not getattr(settings, key).strip():
            raise UserError(f"release.{key} is empty.", "Name a licence, such as Apache-2.0 or CC-BY-4.0.")
    check_licences(settings.seeds_licence, settings.licence)
    if not is_name(build.name):
        raise UserError(
            f"name cannot be {build.name!r}: its tasks are called {build.name}_LANGUAGE.",
            f"Expected letters, digits, '_', '-' and '.', and none of {', '.join(_TAKEN)}.",
        )
    for code in build.languages:
        name_of(code)
    return settings


def is_name(name: object) -> bool:
    """Whether it can be a data set's, of which tasks and files get theirs."""
    return isinstance(name, str) and name not in _TAKEN and bool(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name))


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
    own = load_instructions(build.instructions) if build.instructions else None
    read_release(build)  # a missing licence is told before work starts
    _check_names(build)
    # What could not be proved goes back to the audit: the proof's file of the run before tells.
    proof = build.folder / f"{STEPS.index('prove') + 1}-prove.jsonl"
    llm, back = LLM(build.llm, build.folder / "llm-answers"), returned(read_jsonl(proof))
    steps = [make_step(name, build, llm, back) for name in STEPS[1:-1]]
    for step in steps if own else ():  # another check or draw may make other outcomes
        step.identity = [step.identity, own]
    return Build(build, Pipeline(build.folder, Seeds(build.section(SeedSettings, "seeds")), steps))


def _check_names(build: BuildSettings) -> None:
    """A UserError where a language is none, or the adjudicator has no name."""
    seeds, translate = build.section(SeedSettings, "seeds"), build.section(TranslateSettings, "translate")
    languages = {"seeds.language": [seeds.language], "translate.sources": translate.sources or ()}
    for key, codes in languages.items():
        for code in codes:
            try:
                name_of(code)
            except UserError as error:
                raise UserError(f"{key}: {error.message}", error.advice) from None
    if (name := build.section(AuditSettings, "audit").adjudicator) is not None and not name.strip():
        raise UserError("audit.adjudicator is empty.", "Name the reviewer who decides, or leave it out.")


def make_step(name: str, build: BuildSettings, llm: LLM, returned: Mapping[str, str] | None = None) -> Step:
    """A step between the seeds and the release; ``returned`` tells the audit what the proof sent back, and why.

    Raises:
        UserError: the step's section, or a file that it names, is not as expected.
    """
    section, folder = build.section, build.folder / "audit"
    judge = LLM(build.judge, build.folder / "judge-answers", name, "judge") if build.judge else None
    tried = section(ProveSettings, "prove").falsifiable
    steps: dict[str, Callable[[], Step]] = {
        "extend": lambda: Extend(section(ExtendSettings, name), llm.of(name)),
        "conflicts": lambda: Conflicts(section(ConflictSettings, name), llm.of(name)),
        "translate": lambda: Translate(section(TranslateSettings, name), build.languages, llm.of(name), judge, tried),
        "filter": lambda: Filter(section(FilterSettings, name), build.languages, llm.of(name)),
        "audit": lambda: Audit(section(AuditSettings, name), folder, returned or {}, _of_edits(build)),
        "prove": lambda: Prove(section(ProveSettings, name), llm.of(name), build.languages),
    }
    return steps[name]()


def _of_edits(build: BuildSettings) -> EditChecks:
    """What reviewers' edits must keep: what the steps before the audit ask."""
    lists = build.section(FilterSettings, "filter").word_lists
    words = {language: read_words(path) for language, path in lists.items()}
    tried = build.section(ProveSettings, "prove").falsifiable
    return EditChecks(build.section(TranslateSettings, "translate"), words, tried)
