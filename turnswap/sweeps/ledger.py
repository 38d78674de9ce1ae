"""``sweep.jsonl``: what was evaluated so far, one line each, kept whatever becomes of the process."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from turnswap.core.errors import UserError
from turnswap.core.journal import Journal, plain

from .identity import differences

FILE, LOCK = "sweep.jsonl", "sweep.lock"
FORMAT = 1


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation."""

    plan: str  # of the configuration, see ``Configuration``
    configuration: str  # its name when it was evaluated
    parameters: Mapping[str, Any]  # of its swap
    role: str  # ``select`` or ``report``
    documents: Mapping[str, str]  # of each task, as ``0-99``
    figure: float  # of the sweep's metric; NaN where there is none
    stderr: float  # of the figure
    results: Mapping[str, Any]  # all of lm-eval's metrics, by task and group
    seconds: Mapping[str, float]  # of ``evaluation``, and of ``composition`` before it

    @property
    def n(self) -> int:
        """How many documents it was on."""
        ends = [part.split("-") for numbers in self.documents.values() for part in numbers.split(",")]
        return sum(int(end[-1]) - int(end[0]) + 1 for end in ends)

    def __str__(self) -> str:
        """``0.4120 ± 0.0300``."""
        if math.isnan(self.figure):
            return "–"
        return f"{self.figure:.4f}" + ("" if math.isnan(self.stderr) else f" ± {self.stderr:.4f}")


class Ledger:
    """The file, open for one process at a time; use :func:`open_ledger`.

    Attributes:
        done: the evaluations in it.
        resumed: how many there were when it was opened.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self._journal = Journal(path)
        now = {"turnswap_sweep": FORMAT, "identity": json.loads(json.dumps(identity))}
        if not self._journal.lines:
            self._journal.start([now])
        before, *entries = self._journal.lines or [now]
        try:
            if before["turnswap_sweep"] != FORMAT:
                raise ValueError(before["turnswap_sweep"])
            self.done = [
                Evaluation(**entry | {name: math.nan for name in ("figure", "stderr") if entry[name] is None})
                for entry in entries
            ]
            changed = list(differences(before["identity"], now["identity"]))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{path} is no sweep that this version can go on with.", "Name another folder with -o."
            ) from error
        if changed:
            more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
            raise UserError(
                f"{path} is of another sweep: {'; '.join(changed[:4])}{more}.",
                "Figures of the two would not compare. Name another folder with -o, or undo the change.",
            )
        self.resumed = len(self.done)

    def find(self, plan: str, role: str, documents: Mapping[str, str]) -> Evaluation | None:
        """The evaluation of a plan on these documents; None where there is none yet."""
        wanted = (plan, role, documents)
        return next((each for each in self.done if (each.plan, each.role, each.documents) == wanted), None)

    def add(self, evaluation: Evaluation) -> None:
        """Keep an evaluation, on disk when this returns."""
        self._journal.append(plain(asdict(evaluation)))
        self.done.append(evaluation)


@contextmanager
def open_ledger(folder: Path, identity: Mapping[str, Any]) -> Iterator[Ledger]:
    """The ledger of a folder, which no other process may open meanwhile.

    Raises:
        UserError: the folder cannot be written, another sweep is at work in it, or was of something else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise UserError(f"Another sweep is at work in {folder}.", "Wait for it, or name another folder.") from None
    except OSError as error:
        raise UserError(f"{folder} cannot be written: {error.strerror or error}.", "Name another with -o.") from None
    try:
        yield Ledger(folder / FILE, identity)
    finally:
        lock.release()
