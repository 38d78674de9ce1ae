"""All experts in memory, and a composition after another evaluated: those that the ledger does not have yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TypeAlias

from turnswap.core.errors import UserError

from .capacity import out_of_memory_explained
from .configurations import Configuration, Planner, average_of, merge_content, with_accepted
from .documents import Documents, count, describe
from .hf_layerswap import HFLayerSwap
from .ledger import Evaluation, Ledger
from .suite import Metric, Suite, evaluate

Say: TypeAlias = Callable[[str], None]
_OF_THE_MODEL = {"device", "lora_merge_cache", "transformers_cache", "trust_remote_code"}  # settings


class Evaluations:
    """Evaluates compositions that the ledger lacks, with all models in memory from the first of them on."""

    def __init__(self, planner: Planner, ledger: Ledger, suites: Mapping[str, Suite], metric: Metric, say: Say) -> None:
        self.planner, self.ledger, self.suites, self.metric, self.say = planner, ledger, suites, metric, say
        self.settings = planner.settings
        self._lm: HFLayerSwap | None = None

    def of(self, one: Configuration, role: str, documents: Documents | None = None) -> Evaluation:
        """A configuration's evaluation, on all documents of a role or on those given.

        Raises:
            UserError: memory ran out, or the models cannot be loaded; what was evaluated before is kept.
        """
        suite = self.suites[role]
        documents = suite.documents if documents is None else documents
        described = describe(documents)
        if done := self.ledger.find(one.plan, role, described):
            return done
        try:
            with out_of_memory_explained(self._lm and self._lm.device):
                self._lm = self._lm or self._load()
                begin = time.perf_counter()
                self._lm.compose(with_accepted(self.settings, one.parameters))
                composed = time.perf_counter()
                results = evaluate(self._lm, suite, documents, self.settings)
        except UserError as error:
            kept = f"The {len(self.ledger.done)} finished evaluations are kept: run the command again to go on."
            advice = f"{error.advice} {kept}" if self.ledger.done else error.advice
            raise UserError(f"{one.name}: {error.message}", advice) from error
        seconds = {"composition": composed - begin, "evaluation": time.perf_counter() - composed}
        figure, stderr = self.metric.of(suite, results)
        made = Evaluation(one.plan, one.name, dict(one.parameters), role, described, figure, stderr, results, seconds)
        self.ledger.add(made)
        what = "" if role == "select" else ", reported on"
        on = f"{count(documents)} documents, {sum(seconds.values()):.1f} s"
        self.say(f"{one.name}{what}: {self.metric.name} {made} on {on}")
        return made

    def _load(self) -> HFLayerSwap:
        settings = self.settings
        return HFLayerSwap(
            # No swap blends more than the average: if there is memory for it, there is for every one.
            swap=merge_content(settings, average_of(self.planner.recipe)),
            batch_size=settings.batch_size,
            **settings.model_dump(include=_OF_THE_MODEL, exclude_defaults=True),
            **settings.model_args,
        )
