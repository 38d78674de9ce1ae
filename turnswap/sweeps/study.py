"""The Optuna study of a search: where it is stored, what draws and drops swaps, and what dead processes left undone."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from turnswap.core.errors import UserError, require_packages
from turnswap.core.files import write_whole

from .claims import Claims
from .configurations import Configuration
from .evaluations import Refused
from .settings import Settings

JOURNAL, NAME = "optuna.log", "study.txt"
ETA = 3  # each rung of a pruner has so many times as many documents as the one before
# Attributes of trials: the plan of the listed swap that it is, which trial of a dead process it repeats, and why it
# makes no swap.
SWAP, AGAIN, REFUSED = "swap", "again", "refused"


class Study:
    """A study that several processes may work on, each with the same settings: of listed swaps, or of drawn ones.

    One study of both would leave samplers nothing to go by: they look for dimensions that all trials have.
    """

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        objectives: Mapping[str, bool],
        constraints: Sequence[str],
        n_rungs: int,
        claims: Claims,
        draws: bool,
    ) -> None:
        """Open the study of a folder, or begin it.

        Args:
            settings: the sampler, the pruner, the budget, the storage.
            folder: of the search.
            objectives: whether the larger figure is the better one, by name, in the order of a trial's figures.
            constraints: in words, as trials have them.
            n_rungs: how often a swap is looked at, each time on more documents.
            claims: of the processes that share the folder.
            draws: whether trials are drawn from a space, up to the budget, or listed.

        Raises:
            UserError: the storage cannot be reached, or its study has other objectives, perhaps in another order, or
                draws by other constraints.
        """
        require_packages("A search needs", ("optuna", "cmaes"), "search")
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        self.optuna, self.settings, self.claims, self.draws = optuna, settings, claims, draws
        wanted: dict[str, Any] = {name: "maximize" if higher else "minimize" for name, higher in objectives.items()}
        goes_by = {"objectives": [" ".join(one) for one in zip(wanted.values(), wanted, strict=True)]}
        goes_by |= {"constraints": sorted(constraints)} if draws else {}  # of no matter to what is listed
        self._name = f"{_name(folder, claims)} {'drawn' if draws else 'listed'}"
        try:
            with claims.turn(NAME):  # of processes that make a database's tables at once, all but one fail
                self.study = optuna.create_study(
                    storage=self._storage(folder),
                    study_name=self._name,
                    directions=list(wanted.values()),
                    load_if_exists=True,
                    pruner=self._pruner(ETA ** (n_rungs - 1)),
                )
                for what in goes_by.keys() - self.study.user_attrs.keys():
                    self.study.set_user_attr(what, goes_by[what])
        except Exception as error:  # each storage has errors of its own
            said = re.sub(r"(://[^:/@\s]*:)[^@\s]*@", r"\1…@", " ".join(str(error).split()))  # no password is shown
            raise UserError(
                f"The storage cannot be used: {said[:300]}",
                "Write journal, sqlite, or an address as Optuna takes it, such as postgresql://user@host/database.",
            ) from error
        for what, now in goes_by.items():
            if (before := self.study.user_attrs[what]) != now:
                old, new = (", ".join(each) or "none" for each in (before, now))
                raise UserError(
                    f"{folder} holds a study with other {what}: {old}; now {new}.",
                    "Give the same, in the same order, or name another folder with -o.",
                )
        self._begun = math.inf

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

    def _sampler(self, number: int) -> Any:
        # Seeded for each trial: processes that begin at once draw different ones, and one that goes on, as before.
        samplers = self.optuna.samplers
        seed = int(np.random.SeedSequence([self.settings.seed, number]).generate_state(1)[0])
        return {
            "tpe": lambda: samplers.TPESampler(seed=seed),
            "cmaes": lambda: samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False),
            "nsgaii": lambda: samplers.NSGAIISampler(seed=seed),
        }.get(self.settings.sampler, lambda: samplers.RandomSampler(seed=seed))()

    def enqueue(self, listed: Sequence[Configuration]) -> None:
        """Make trials of the listed swaps that have none yet."""
        pruned = self.optuna.trial.TrialState.PRUNED
        with self.claims.turn(self._name):
            trials = self.study.get_trials(deepcopy=False)
            # One that was pruned at once was met by a process in whose list it was not.
            known = {t.user_attrs[SWAP] for t in trials if t.state != pruned or t.intermediate_values}
            for one in listed:
                if one.plan not in known:
                    self.study.enqueue_trial({}, user_attrs={SWAP: one.plan, "name": one.name})

    def work(self, evaluate: Callable[[Any], Sequence[float] | None]) -> None:
        """Work on trials until none is left, and until other processes have finished theirs.

        Args:
            evaluate: a trial's figures; None where it was dropped; may raise Refused, which is noted at the trial.
        """
        self._begun = time.monotonic()
        while True:
            with contextlib.ExitStack() as held:
                with self.claims.turn(self._name):
                    trial, others_work = self._next()
                    if trial is not None:
                        held.enter_context(self.claims.claim(self._key(trial.number)))
                if trial is not None:
                    # A process that was suspended may find that another took its trial up.
                    with contextlib.suppress(self.optuna.exceptions.UpdateFinishedTrialError):
                        self._tell(trial.number, self._figures(trial, evaluate))
                    continue
            if not others_work:
                return
            time.sleep(1)

    def _figures(self, trial: Any, evaluate: Callable[[Any], Sequence[float] | None]) -> Sequence[float] | None:
        try:
            return evaluate(trial)
        except Refused as error:
            trial.set_user_attr(REFUSED, error.message)
            return None

    def finished(self) -> list[Any]:
        """The trials that were evaluated, to the end or until a pruner dropped them, in their order."""
        trials = self.study.get_trials(deepcopy=False)
        given_up = _given_up(trials)
        return [trial for trial in trials if trial.state.is_finished() and trial.number not in given_up]

    def _next(self) -> tuple[Any, bool]:
        """The next trial, if there is one, and whether others are at work. One process at a time may ask."""
        states, trials = self.optuna.trial.TrialState, self._take_up()
        if any(trial.state == states.WAITING for trial in trials) or (self.draws and self._has_budget(trials)):
            self.study.sampler = self._sampler(len(trials) - len(_given_up(trials)))
            return self.study.ask(), True
        return None, any(trial.state == states.RUNNING for trial in trials)

    def _tell(self, number: int, values: Sequence[float] | None, gone: bool = False) -> None:
        states = self.optuna.trial.TrialState
        state = states.FAIL if gone else states.PRUNED if values is None else states.COMPLETE
        if values is not None and any(math.isnan(value) for value in values):
            values, state = None, states.FAIL  # NaN is no value for Optuna
        self.study.tell(number, values, state=state, skip_if_finished=True)

    def _key(self, number: int) -> str:
        return f"trial {number} of {self._name}"

    def _has_budget(self, trials: Sequence[Any]) -> bool:
        hours, most = self.settings.hours, self.settings.trials
        if hours is not None and time.monotonic() - self._begun > 3600 * hours:
            return False
        return most is None or len(trials) - len(_given_up(trials)) < most

    def _take_up(self) -> list[Any]:
        """All trials, after those of processes that are gone were put back into the queue."""
        running = self.optuna.trial.TrialState.RUNNING
        trials: list[Any] = self.study.get_trials(deepcopy=False)
        gone = [t.number for t in trials if t.state == running and not self.claims.lives(self._key(t.number))]
        if not gone:
            return trials
        trials = self.study.get_trials(deepcopy=False)  # one may have been finished before its claim was looked for
        for number in (number for number in gone if trials[number].state == running):
            self.study.enqueue_trial(trials[number].params, user_attrs=trials[number].user_attrs | {AGAIN: number})
            self._tell(number, None, gone=True)
        return self.study.get_trials(deepcopy=False)


def _given_up(trials: Sequence[Any]) -> set[int]:
    """The numbers of trials that were begun again."""
    return {trial.user_attrs[AGAIN] for trial in trials if AGAIN in trial.user_attrs}


def _name(folder: Path, claims: Claims) -> str:
    """A name that no other folder's study has in a shared storage, and that stays when the folder moves."""
    path = folder / NAME
    with claims.turn(NAME):
        if not path.exists():
            write_whole(path, f"turnswap {folder.resolve().name} {uuid.uuid4().hex[:8]}")
    return path.read_text("utf-8")
