"""Every model and swap of a seed, evaluated by lm-eval, one row each; swaps are composed in memory."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lm_eval import evaluator
from lm_eval.models.huggingface import HFLM

from turnswap.core.files import write_whole
from turnswap.sweeps.hf_layerswap import HFLayerSwap
from turnswap.sweeps.settings import Settings as SweepSettings
from turnswap.sweeps.settings import read_settings
from turnswap.sweeps.suite import Suite, open_manager

from .settings import Settings

TASKS = Path(__file__).parent / "tasks"
SKILL_A, SKILL_B, TEXT_B = "cross_lingual_skill_a", "cross_lingual_skill_b", "cross_lingual_text_b"
METRIC = "exact_match"


def selected_on(settings: Settings) -> str:
    """The documents that swaps are chosen by."""
    return f"{SKILL_B}:0-{settings.select - 1}"


def reported_on(settings: Settings, task: str = SKILL_B) -> str:
    """The documents that the table is about: other sets of numbers than those selected on."""
    return f"{task}:{settings.select}-{settings.select + settings.report - 1}"


def sweep_settings(settings: Settings, folder: Path, seed: int) -> SweepSettings:
    """The seed's sweep: a grid of bottom by top, chosen on the documents for it, with random placements."""
    return read_settings(
        None,
        {
            "recipient": str(folder / "recipient"),
            "donor": str(folder / "donor"),
            "base": str(folder / "base"),
            # Kinship is looked at in the analysis: a small model trained at a high rate moves far from its ancestor.
            "unrelated_because": "this study fine-tuned both from the base",
            "grid": {"bottom": f"0-{settings.bottom}", "top": f"0-{settings.top}", "transition": "0"},
            "select_on": [selected_on(settings)],
            "report_on": [reported_on(settings)],
            "metric": METRIC,
            "controls": settings.controls,
            "seed": seed,
            "batch_size": settings.select,
            "device": "cpu",
            "model_args": {"dtype": "float32"},
            "include_path": str(TASKS),
            "metadata": {"study_data": str(folder / "data")},
        },
    )


class Rows:
    """Evaluates rows on the documents reported on, each kept in a file of its own once it is finished.

    Args:
        settings: of the study.
        folder: of the seed.
        seed: of the seed.
    """

    def __init__(self, settings: Settings, folder: Path, seed: int) -> None:
        self.folder, self.settings = folder, settings
        self._of_sweep = sweep_settings(settings, folder, seed)
        self._suite: Suite | None = None
        self._swaps: HFLayerSwap | None = None

    def model(self, name: str, role: str) -> dict[str, Any]:
        """A row for a trained model."""
        return self._row(name, None, lambda: HFLM(pretrained=str(self.folder / role), **self._arguments()))

    def swap(self, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """A row for a swap of the recipient and the donor; ``parameters`` as in a layerswap.yml."""
        return self._row(name, dict(parameters), lambda: self._composed(parameters))

    def _arguments(self) -> dict[str, Any]:
        return {"dtype": "float32", "device": "cpu", "batch_size": self.settings.select}

    def _composed(self, parameters: Mapping[str, Any]) -> HFLayerSwap:
        if self._swaps is None:
            models = {"pretrained": str(self.folder / "recipient"), "donor": str(self.folder / "donor")}
            self._swaps = HFLayerSwap(**models, layers="none", **self._arguments())
        self._swaps.compose(parameters)
        return self._swaps

    def _row(self, name: str, parameters: dict[str, Any] | None, load: Any) -> dict[str, Any]:
        path = self.folder / "rows" / f"{name.replace(' ', '_')}.json"
        if path.is_file():
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
            if found["parameters"] == parameters:
                return found
        row = {"row": name, "parameters": parameters, **self._evaluate(load())}
        write_whole(path, json.dumps(row) + "\n")
        return row

    def _evaluate(self, lm: Any) -> dict[str, Any]:
        if self._suite is None:
            named = [reported_on(self.settings), reported_on(self.settings, SKILL_A), TEXT_B]
            self._suite = Suite(open_manager(self._of_sweep), named, None)
        suite = self._suite
        results = evaluator.simple_evaluate(
            model=lm,
            tasks=suite.names,
            task_manager=suite,
            samples={task: list(suite.documents[task]) for task in (SKILL_A, SKILL_B)},
            batch_size=self.settings.select,
            log_samples=True,
            bootstrap_iters=0,
        )
        skill_b = sorted(results["samples"][SKILL_B], key=lambda sample: sample["doc_id"])
        of = results["results"]
        return {
            "skill_b": of[SKILL_B]["exact_match,none"],
            "right_numbers_b": of[SKILL_B]["right_numbers,none"],
            "own_language_b": of[SKILL_B]["own_language,none"],
            "skill_a": of[SKILL_A]["exact_match,none"],
            "perplexity_b": of[TEXT_B]["word_perplexity,none"],
            "documents": [int(sample["exact_match"]) for sample in skill_b],
        }
