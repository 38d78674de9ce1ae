"""The Optuna study of a search: where it is stored, what draws and drops swaps, and what dead processes left undone."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError, require_packages

from .claims import Claims
from .configurations import Configuration
from .settings import Settings

NAME, JOURNAL = "turnswap", "optuna.log"
ETA = 3  # each rung of a pruner has so many times as many documents as the one before
GRACE = 3.0  # seconds from a trial's beginning to its claim, at most
# Attributes of trials: the plan of the listed swap that it is, and which trial of a dead process it repeats.
SWAP, AGAIN = "swap", "again"


class Study:
    """A study that several processes may work on, each with the same settings."""

    def __init__(
        self, settings: Settings, folder: Path, directions: Sequence[bool], n_rungs: int, claims: Claims
    ) -> None:
        """Open the study of a folder, or begin it.

        Args:
            settings: the sampler, the pruner, the budget, the storage.
            folder: of the search.
            directions: whether the larger figure is the better one, per objective.
            n_rungs: how often a swap is looked at, each time on more documents.
            claims: of the processes that share the folder.

        Raises:
            UserError: the storage cannot be reached, or its study has other objectives.
        """
        require_packages("A search needs", ("optuna", "cmaes"), "search")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self.optuna, self.settings, self.claims = optuna, settings, claims
        wanted: list[Any] = ["maximize" if higher else "minimize" for higher in directions]
        name = f"{NAME} {folder.resolve().name}"
        try:
            storage = self._storage(folder)
            self.study = optuna.create_study(
                storage=storage,
                study_name=name,
                directions=wanted,
                load_if_exists=True,
                pruner=self._pruner(ETA ** (n_rungs - 1)),
            )
            self.study.sampler = self._sampler(len(self.study.trials))
        except UserError:
            raise
        except Exception as error:  # each storage has errors of its own
            raise UserError(
                f"The storage {settings.storage} cannot be used: {' '.join(str(error).split())[:300]}",
                "Write journal, sqlite, or an address as Optuna takes it, such as postgresql://user@host/database.",
            ) from error
        if [direction.name.lower() for direction in self.study.directions] != wanted:
            raise UserError(f"{settings.storage} holds a study with other objectives.", "Name another folder with -o.")
        self._begun = time.monotonic()
        self._missing: dict[int, float] = {}

    def _storage(self, folder: Path) -> Any:
        said = self.settings.storage
        if said == "journal" or said.endswith(".log"):
            path = folder / JOURNAL if said == "journal" else Path(said)
            path.parent.mkdir(parents=True, exist_ok=True)
            from optuna.storages import journal

            return self.optuna.storages.JournalStorage(journal.JournalFileBackend(str(path)))
        return f"sqlite:///{folder / 'optuna.db'}" if said == "sqlite" else said

    def _pruner(self, most: int) -> Any:
        pruners = self.optuna.pruners
        return {
            "none": lambda: pruners.NopPruner(),
            "halving": lambda: pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=ETA),
            "hyperband": lambda: pruners.HyperbandPruner(min_resource=1, max_resource=most, reduction_factor=ETA),
            "median": lambda: pruners.MedianPruner(),
        }[self.settings.pruner]()

    def _sampler(self, n_trials: int) -> Any:
        samplers, seed = self.optuna.samplers, self.settings.seed + n_trials  # a process that goes on draws anew
        return {
            "tpe": lambda: samplers.TPESampler(seed=seed),
            "cmaes": lambda: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
            "nsgaii": lambda: samplers.NSGAIISampler(seed=seed),
        }.get(self.settings.sampler, lambda: samplers.RandomSampler(seed=seed))()

    def enqueue(self, listed: Sequence[Configuration]) -> None:
        """Make trials of the listed swaps that have none yet."""
        known = {trial.user_attrs.get(SWAP) for trial in self.study.get_trials(deepcopy=False)}
        for one in listed:
            if one.plan not in known:
                # Processes that start at once may both do so: the second trial finds the first one's evaluation.
                self.study.enqueue_trial({}, user_attrs={SWAP: one.plan, "name": one.name})

    def work(self, draws: bool, evaluate: Callable[[Any], Sequence[float] | None]) -> None:
        """Work on trials until none is left, and until other processes have finished theirs.

        Args:
            draws: whether trials are drawn from a space, up to the budget, after those that wait.
            evaluate: a trial's figures; None where it was dropped, or cannot be.
        """
        states = self.optuna.trial.TrialState
        while True:
            trials = self._take_up()
            waiting = [trial for trial in trials if trial.state == states.WAITING]
            running = [trial for trial in trials if trial.state == states.RUNNING]
            if waiting or (draws and self._has_budget(trials)):
                self._one(self.study.ask(), draws, evaluate)
            elif running:
                time.sleep(1)
            else:
                return

    def finished(self) -> list[Any]:
        """The trials that were evaluated, to the end or until a pruner dropped them."""
        states = self.optuna.trial.TrialState
        return list(self.study.get_trials(states=(states.COMPLETE, states.PRUNED, states.FAIL)))

    def _one(self, trial: Any, draws: bool, evaluate: Callable[[Any], Sequence[float] | None]) -> None:
        states = self.optuna.trial.TrialState
        with self.claims.claim(self._key(trial.number)):
            if not draws and SWAP not in trial.user_attrs:
                self._tell(trial.number, None, states.FAIL)  # another process took the last one that waited
                return
            values = evaluate(trial)
            self._tell(trial.number, values, states.PRUNED if values is None else states.COMPLETE)

    def _tell(self, number: int, values: Sequence[float] | None, state: Any) -> None:
        if values is not None and any(math.isnan(value) for value in values):
            values, state = None, self.optuna.trial.TrialState.FAIL  # NaN is no value for Optuna
        self.study.tell(number, values, state=state, skip_if_finished=True)

    def _key(self, number: int) -> str:
        return f"trial {self.study.study_name} {number}"

    def _has_budget(self, trials: Sequence[Any]) -> bool:
        hours, most = self.settings.hours, self.settings.trials
        if hours is not None and time.monotonic() - self._begun > 3600 * hours:
            return False
        given_up = {trial.user_attrs.get(AGAIN) for trial in trials}
        drawn = [trial for trial in trials if SWAP not in trial.user_attrs and trial.number not in given_up]
        return most is None or len(drawn) < most

    def _take_up(self) -> list[Any]:
        """All trials, after those of processes that are gone were put back into the queue."""
        running = self.optuna.trial.TrialState.RUNNING
        trials: list[Any] = self.study.get_trials(deepcopy=False)
        gone = {t.number for t in trials if t.state == running and not self.claims.lives(self._key(t.number))}
        # A trial that has just begun is not claimed yet: it is given a moment.
        self._missing = {number: self._missing.get(number, time.monotonic()) for number in gone}
        overdue = [number for number, since in self._missing.items() if time.monotonic() - since > GRACE]
        for number in overdue:
            with self.claims.claim(f"again {self._key(number)}") as mine:
                if mine and (trial := self.study.get_trials(deepcopy=False)[number]).state == running:
                    self.study.enqueue_trial(trial.params, user_attrs=trial.user_attrs | {AGAIN: number})
                    self._tell(number, None, self.optuna.trial.TrialState.FAIL)
        return self.study.get_trials(deepcopy=False) if overdue else trials
