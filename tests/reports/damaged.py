"""Result folders that are read back, and damaged; what is said to them, and their figures."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from click.testing import Result

from tests.conftest import make_row, write_csv

from .evaluations import evaluate


def by_turn(prompt: str) -> str:
    return ("<<T>> no, comma", "<<T>> none", "rain")[prompt.count("<user>") - 1]


def whole_and_in_parts(folder: Path) -> dict[str, Any]:
    """Let a model answer all English conversations, and again in two parts; what it has to be asked in English.

    English: 8 conversations, of which 4 has two turns. French: 3.
    """
    rows = [make_row(f"{n}:1:en", turns=2 if n == 4 else 3) for n in range(1, 9)]
    rows += [make_row(f"{n}:1:fr", "French") for n in range(1, 4)]
    english: dict[str, Any] = {"data": write_csv(folder / "data.csv", rows), "tasks": ("multiif_en",)}
    evaluate(folder / "m", "org/m", by_turn, **english)
    for name, chosen in (("part-a", [0, 1, 2]), ("part-b", [3, 4, 5, 6, 7])):
        evaluate(folder / name, "org/m", by_turn, **english, samples={"multiif_en": chosen})
    return english


class Damaged:
    """A copy of a result folder, to be damaged."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = shutil.copytree(source, folder)
        (self.results,) = self.folder.rglob("results_*.json")
        self.samples = next(self.folder.rglob("samples_*.jsonl"), self.results)

    def edit_results(self, change: Callable[[dict[str, Any]], object]) -> Damaged:
        content = json.loads(self.results.read_text("utf-8"))
        change(content)
        self.results.write_text(json.dumps(content), "utf-8")
        return self

    def edit_lines(self, change: Callable[[list[bytes]], list[bytes]]) -> Damaged:
        self.samples.write_bytes(b"".join(change(self.samples.read_bytes().splitlines(keepends=True))))
        return self

    def edit_sample(self, line: int, change: Callable[[dict[str, Any]], object]) -> Damaged:
        def edit(lines: list[bytes]) -> list[bytes]:
            sample = json.loads(lines[line - 1])
            change(sample)
            return [*lines[: line - 1], json.dumps(sample).encode() + b"\n", *lines[line:]]

        return self.edit_lines(edit)


def refused(result: Result, *words: object) -> str:
    """The message of an error that was foreseen; every word must be in it, whatever the lines were broken at."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert (result.exit_code, result.stdout) == (1, "")
    message = re.sub(r"\s+", "", result.stderr)
    for word in words:
        assert re.sub(r"\s+", "", str(word)) in message, result.stderr
    return message


def value(language: str = "en", turn: int = 1, metric: str = "overall_acc") -> float:
    rows = pd.read_csv("t.csv").query("language == @language and turn == @turn and metric == @metric")
    return float(rows.value.item())
