"""What the tests of ``turnswap export`` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

from huggingface_hub import EvalResult, ModelCard

from tests.conftest import read_results

TURNS = (1, 2, 3)
SHA = "0123456789abcdef0123456789abcdef01234567"
STARTED = 1767323045.25  # 2026-01-02T03:04:05.25Z


Edited = Callable[..., Path]


CARD = """\
---
# Read by the Hub.
language:
- "no"   # quoted
- no
license: null
model-index:
- name: theirs
  results:
  - task: {type: text-generation}
    dataset: {type: norwegian, name: Norwegian, config: no, args: {num_few_shot: 5}}
    metrics:
    - {type: accuracy, value: 0.25, name: their accuracy, extra: kept}
    source: {url: https://example.org, name: Theirs}
# Between the keys.
tags: [b, a, b]
---

# Modell

---
Ein Satz.  \nÅ være.
"""


def reported(results: Path, language: str, turn: int) -> float:
    """Overall accuracy as lm-eval wrote it."""
    return float(read_results(results)["results"][f"multiif_{language}"][f"turn{turn}_overall_acc,none"])


def results_in(card: Path) -> list[EvalResult]:
    return list(ModelCard.load(card).data.eval_results)


def by_config(card: Path) -> dict[str, list[EvalResult]]:
    found: dict[str, list[EvalResult]] = {}
    for result in results_in(card):
        found.setdefault(result.dataset_config, []).append(result)
    return found


class Hub:
    """Stands in for the Hub's client: one repository's card, and what was uploaded to it."""

    made: ClassVar[list[Hub]] = []
    card: ClassVar[Path | Exception]
    refusal: ClassVar[Exception | None]

    def __init__(self) -> None:
        self.made.append(self)
        self.uploads: list[dict[str, Any]] = []

    def hf_hub_download(self, repo_id: str, filename: str, *, force_download: bool) -> str:
        assert (repo_id, filename, force_download) == ("org/model", "README.md", True)
        if isinstance(self.card, Exception):
            raise self.card
        return str(self.card)

    def upload_file(self, **arguments: Any) -> SimpleNamespace:
        if self.refusal is not None:
            raise self.refusal
        self.uploads.append(arguments)
        return SimpleNamespace(pr_url="https://huggingface.co/org/model/discussions/7")
