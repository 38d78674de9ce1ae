"""A seed of the study: its experts trained, swaps chosen, every row evaluated. What is finished is not done again."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.cross_lingual.stages import finished

from . import evaluation, swaps, training
from .lines import Lines
from .mergekit_rows import METHODS, merge
from .settings import Settings, Training


def say(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


def one_thread() -> None:
    """For a process beside others: what it computes does not depend on how many there are."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)


def train_task(settings: Settings, seed: int, home: Path, base: Path) -> None:
    """Train the recipient, and the recipient further."""
    select = evaluation.drawn("select", seed, settings.select)
    task, further = settings.task, settings.further
    recipient = _trained(
        home / "recipient",
        base,
        task,
        seed,
        lambda tokenizer: training.task_examples(tokenizer, task.examples, str(seed)),
    )
    _trained(
        home / "further", recipient, further, seed,
        lambda tokenizer: training.further_examples(tokenizer, select, further.examples),
    )  # fmt: skip


def train_language(settings: Settings, seed: int, home: Path, base: Path) -> None:
    """Train the donor."""
    count = settings.language.examples
    _trained(
        home / "donor", base, settings.language, seed,
        lambda tokenizer: training.language_examples(tokenizer, count, str(seed)),
    )  # fmt: skip


def _trained(folder: Path, start: Path, figures: Training, seed: int, examples: Any) -> Path:
    begin, is_there = time.perf_counter(), folder.is_dir()
    finished(folder, lambda part: training.train(start, part, figures, f"{folder.name} {seed}", examples))
    if not is_there:
        say(f"seed {seed}: {folder.name} trained in {time.perf_counter() - begin:.0f} s")
    return folder


class Seed:
    """The evaluations of a seed, with both experts in memory from the first that needs them.

    Args:
        settings: of the study.
        seed: of the data.
        home: the seed's folder, with its trained models.
        base: the pretrained model.
    """

    def __init__(self, settings: Settings, seed: int, home: Path, base: Path) -> None:
        self.settings, self.seed, self.home, self.base = settings, seed, home, base
        self.choices = Lines(home / "choices.jsonl")
        self.swaps, self.models = Lines(home / "swaps.jsonl"), Lines(home / "models.jsonl")
        self._swaps: Any = None

    def composed(self, parameters: swaps.Parameters) -> tuple[Any, Any]:
        """The model of a swap and its tokenizer, by the product's own model in memory."""
        from turnswap.sweeps.hf_layerswap import HFLayerSwap

        if self._swaps is None:
            models = {"pretrained": str(self.home / "recipient"), "donor": str(self.home / "donor")}
            self._swaps = HFLayerSwap(**models, layers="none", dtype="float32", device="cpu", batch_size=1)
        self._swaps.compose(parameters)
        return self._swaps.model, self._swaps.tokenizer

    def scored(self, name: str, parameters: swaps.Parameters) -> dict[str, Any]:
        """A composition's figures on what swaps are chosen by."""

        def make() -> dict[str, Any]:
            return evaluation.objectives(*self.composed(parameters), self.settings, self.seed)

        return self.choices.of(name, parameters, make)

    def chosen(self, kind: str, several: Sequence[swaps.Parameters]) -> swaps.Parameters:
        """The one of several compositions that the rule takes."""
        recipient = self.scored("recipient", swaps.placed([]))
        scores = [self.scored(f"{kind} {at}", one) for at, one in enumerate(several)]
        taken = several[swaps.chosen(scores, recipient, self.settings.allowance)]
        say(f"seed {self.seed}: {kind} chosen: {taken}")
        return taken

    def swap(self, name: str, parameters: swaps.Parameters) -> None:
        """A row for a composition."""
        make = lambda: evaluation.row_of(*self.composed(parameters), self.settings, self.seed)  # noqa: E731
        self._say(self.swaps.of(name, parameters, make))

    def model(self, name: str, folder: Path) -> None:
        """A row for a model in a folder."""
        from transformers import AutoModelForCausalLM, AutoTokenizer

        def make() -> dict[str, Any]:
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            return evaluation.row_of(model, AutoTokenizer.from_pretrained(folder), self.settings, self.seed)

        self._say(self.models.of(name, None, make))

    def merged(self, name: str, method: str) -> None:
        """A row for a merge by mergekit, whose folder is deleted again."""
        folder = self.home / method
        models = {"base": self.base, "recipient": self.home / "recipient", "donor": self.home / "donor"}

        def make() -> dict[str, Any]:
            from transformers import AutoModelForCausalLM, AutoTokenizer

            shutil.rmtree(folder, ignore_errors=True)
            merge(method, self.settings, self.seed, models, folder)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(models["recipient"])
            return evaluation.row_of(model, tokenizer, self.settings, self.seed)

        self._say(self.models.of(name, {"method": method}, make))
        shutil.rmtree(folder, ignore_errors=True)

    def _say(self, row: dict[str, Any]) -> None:
        right = {
            language: sum(row[language]["right"]) / len(row[language]["right"]) for language in ("spanish", "english")
        }
        exact = sum(row["exact_match"]) / len(row["exact_match"])
        said = ", ".join(f"{language} {100 * value:.1f}" for language, value in right.items())
        perplexity = f"perplexity {row['perplexity']:.2f}"
        say(f"seed {self.seed}: {row['name']}: {said}, exact {100 * exact:.1f}, {perplexity} ({row['seconds']} s)")


def evaluate_swaps(settings: Settings, seed: int, home: Path, base: Path) -> None:
    """Choose among swaps, placements and averages, and evaluate the rows that are composed in memory."""
    from transformers import AutoConfig

    n_layers = AutoConfig.from_pretrained(base).num_hidden_layers
    run = Seed(settings, seed, home, base)
    several = swaps.candidates(settings)
    best = run.chosen("swap", several)
    width = swaps.width_of(best)
    placed = run.chosen("random placement", swaps.random_placements(width, n_layers, len(several), seed))
    shared = run.chosen("average", [swaps.average(share, n_layers) for share in settings.shares])
    run.swap("recipient", swaps.placed([]))
    run.swap("paper's swap", swaps.PAPER)
    run.swap("selected swap", best)
    run.swap("average", swaps.average(0.5, n_layers))
    run.swap("tuned average", shared)
    run.swap("selected random placement", placed)
    run.swap("middle swap", swaps.middle(width, n_layers))
    run.swap("donor", swaps.placed(range(n_layers)))


def evaluate_models(settings: Settings, seed: int, home: Path, base: Path) -> None:
    """Evaluate the rows that are models in folders."""
    run = Seed(settings, seed, home, base)
    run.model("base", base)
    run.model("trained further", home / "further")
    for name, method in METHODS.items():
        run.merged(name, method)


def rows_of(home: Path) -> dict[str, dict[str, Any]]:
    """All rows of a seed, by name."""
    return Lines(home / "swaps.jsonl").found | Lines(home / "models.jsonl").found
