"""Compositions evaluated one after another with all models in memory: those that the store does not have yet."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from turnswap.core.errors import UserError

from .capacity import TooLittleMemory, out_of_memory_explained
from .claims import Claims
from .configurations import Configuration, Planner, average_of, merge_content, with_accepted
from .documents import Documents, count, describe
from .kept import Evaluation, Store, table_of
from .objectives import Objective
from .suite import Suite, evaluate

Say: TypeAlias = Callable[[str], None]
POLL = 1.0  # seconds between looks at what other processes have finished
_OF_THE_MODEL = {"device", "lora_merge_cache", "transformers_cache", "trust_remote_code"}  # settings


class Refused(UserError):
    """A composition that cannot be made: a blend is not finite, or parts of several models are one tensor in memory."""


class Role:
    """What one set of documents is for: ``select`` or ``report``, with the figures that are taken on it."""

    def __init__(self, name: str, suite: Suite, documents: Documents, objectives: Mapping[str, Objective]) -> None:
        self.name, self.suite, self.documents, self.objectives = name, suite, documents, objectives

    def figures(self, evaluation: Evaluation) -> dict[str, tuple[float, float]]:
        """Each objective's figure and its standard error."""
        return {name: one.figure(self.suite, evaluation.results) for name, one in self.objectives.items()}


class Evaluations:
    """Evaluates compositions that the store lacks, with all models in memory from the first of them on."""

    def __init__(self, planner: Planner, store: Store, claims: Claims, say: Say) -> None:
        self.planner, self.store, self.claims, self.say = planner, store, claims, say
        self.settings = planner.settings
        self._lm: Any = None

    def find(self, one: Configuration, role: Role, documents: Documents | None = None) -> Evaluation | None:
        """A configuration's evaluation on these documents (all of the role's), if there is one."""
        return self.store.find(one.plan, role.name, describe(role.documents if documents is None else documents))

    def of(self, one: Configuration, role: Role, documents: Documents | None = None) -> Evaluation:
        """A configuration's evaluation: found, made, or waited for where another process is making it.

        Raises:
            Refused: it cannot be composed, though others can.
            UserError: memory ran out, or the models cannot be loaded; what was evaluated before is kept.
        """
        documents = role.documents if documents is None else documents
        while True:
            if done := self.find(one, role, documents):
                return done
            with self.claims.claim(f"{one.plan} {role.name} {describe(documents)}") as mine:
                if mine:
                    # Another process may have finished it since we looked.
                    return self.find(one, role, documents) or self._make(one, role, documents)
            time.sleep(POLL)

    def of_all(self, configurations: list[Configuration], role: Role) -> dict[str, str]:
        """Evaluate all that are missing, in any order: those first that no other process is at work on.

        Returns:
            Why some cannot be composed, by their plans.
        """
        left = list(configurations)
        refused: dict[str, str] = {}
        while left:
            for one in list(left):
                if self.find(one, role):
                    left.remove(one)
                elif not self.claims.lives(f"{one.plan} {role.name} {describe(role.documents)}"):
                    left.remove(one)
                    try:
                        self.of(one, role)
                    except Refused as error:
                        refused[one.plan] = error.message
            if left:
                time.sleep(POLL)
        return refused

    def _make(self, one: Configuration, role: Role, documents: Documents) -> Evaluation:
        try:
            with out_of_memory_explained(self._lm and self._lm.device):
                self._lm = self._lm or self._load()
                begin = time.perf_counter()
                self._compose(one)
                composed = time.perf_counter()
                results, samples = evaluate(self._lm, role.suite, documents, self.settings)
        except UserError as error:
            kept = "What is finished is kept: run the command again to go on."
            raise type(error)(f"{one.name}: {error.message}", f"{error.advice} {kept}") from error
        seconds = {"composition": composed - begin, "evaluation": time.perf_counter() - composed}
        made = Evaluation(
            one.plan, one.name, dict(one.parameters), role.name, describe(documents), results, seconds,
            table_of(samples, role.suite.tasks),
        )  # fmt: skip
        self.store.add(made)
        figures = ", ".join(f"{name} {figure_text(*figure)}" for name, figure in role.figures(made).items())
        what = "" if role.name == "select" else ", reported on"
        self.say(f"{one.name}{what}: {figures} on {count(documents)} documents, {sum(seconds.values()):.1f} s")
        return made

    def _compose(self, one: Configuration) -> None:
        try:
            self._lm.compose(with_accepted(self.settings, one.parameters))
        except TooLittleMemory:
            raise
        except UserError as error:
            if error.__cause__ is not None:  # a file or an engine failed, which is no matter of this swap
                raise
            raise Refused(error.message, error.advice) from error

    def _load(self) -> Any:
        settings = self.settings
        arguments = settings.model_dump(include=_OF_THE_MODEL, exclude_defaults=True) | settings.model_args
        # No swap blends more than the average: if there is memory for it, there is for every one.
        swap = merge_content(settings, average_of(self.planner.recipe))
        if settings.evaluator == "vllm":
            from .vllm_layerswap import VLLMLayerSwap

            return VLLMLayerSwap(swap=swap, batch_size=settings.batch_size, **arguments)
        from .hf_layerswap import HFLayerSwap

        return HFLayerSwap(swap=swap, batch_size=settings.batch_size, **arguments)


def figure_text(value: float, stderr: float) -> str:
    """``0.4120 ± 0.0300``.

    >>> figure_text(0.5, float("nan")), figure_text(float("nan"), 0.1)
    ('0.5000', '–')
    """
    if value != value:
        return "–"
    return f"{value:.4f}" + ("" if stderr != stderr else f" ± {stderr:.4f}")
