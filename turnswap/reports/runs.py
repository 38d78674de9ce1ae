"""Who was measured, on what, how, and each conversation: what :mod:`.reading` finds in lm-eval's result files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnswap.tasks.multiif.dataset import LANGUAGES

from .samples import LoggedConversation


@dataclass(frozen=True)
class LanguageRun:
    """One model's results in one language.

    Attributes:
        model: the name it goes by in what we show.
        language: its code, such as ``zh``.
        task: lm-eval's name of it, such as ``multiif_zh``.
        facts: what identifies the run, see :mod:`.signature`.
        identity: what is told of the model itself: ``name``, ``dtype``, ``sha``, ``revision``, ``parameters``.
        files: the results files it was read from.
        n: how many conversations were run, and ``of`` how many that the data holds.
        reported: metric -> lm-eval's value and standard error; empty where parts were put together.
        conversations: by key, sorted; None without samples.
        when: when the evaluation started, in Unix seconds.
    """

    model: str
    language: str
    task: str
    facts: Mapping[str, str]
    identity: Mapping[str, Any]
    files: tuple[Path, ...]
    n: int
    of: int
    reported: Mapping[str, tuple[float, float | None]]
    conversations: Sequence[LoggedConversation] | None
    when: float


@dataclass(frozen=True)
class Model:
    """One model's results in all its languages, in the benchmark's order of languages."""

    name: str
    languages: Mapping[str, LanguageRun]

    @property
    def facts(self) -> Mapping[str, str]:
        """What identifies its runs: the same in every language."""
        return next(iter(self.languages.values())).facts

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the results tell of the model itself."""
        return next(iter(self.languages.values())).identity

    @property
    def in_all_languages(self) -> bool:
        """Whether there are results in each of the benchmark's languages, and in no other."""
        return set(self.languages) == set(LANGUAGES)

    @property
    def when(self) -> float:
        """When its last evaluation started, in Unix seconds."""
        return max(run.when for run in self.languages.values())

    @property
    def has_samples(self) -> bool:
        """Whether every language's conversations are at hand."""
        return all(run.conversations is not None for run in self.languages.values())


def in_order(codes: Iterable[str]) -> list[str]:
    """Codes of languages, the benchmark's eight first and in its order."""
    found = set(codes)
    return [code for code in LANGUAGES if code in found] + sorted(found - set(LANGUAGES))
