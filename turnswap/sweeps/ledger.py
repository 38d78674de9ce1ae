"""``sweep.jsonl``: what was evaluated so far, one line each, kept whatever becomes of the process."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from turnswap.core.errors import UserError

from .identity import differences

FILE, LOCK = "sweep.jsonl", "sweep.lock"
FORMAT = 1


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation.

    Attributes:
        plan: of the configuration (see ``Configuration``).
        configuration: its name when it was evaluated.
        parameters: of its swap.
        role: ``select`` or ``report``.
        documents: of each task, as ``0-99``.
        figure: of the sweep's metric; NaN where there is none.
        stderr: of the figure.
        results: all of lm-eval's metrics, by task and group.
        seconds: of ``evaluation``, and of ``overhead`` beside it.
    """

    plan: str
    configuration: str
    parameters: Mapping[str, Any]
    role: str
    documents: Mapping[str, str]
    figure: float
    stderr: float
    results: Mapping[str, Any]
    seconds: Mapping[str, float]

    @property
    def key(self) -> str:
        """What was evaluated on what."""
        return key_of(self.plan, self.role, self.documents)


def key_of(plan: str, role: str, documents: Mapping[str, str]) -> str:
    """The identity of an evaluation within a sweep."""
    return json.dumps([plan, role, dict(documents)], sort_keys=True)


class Ledger:
    """The file, open for one process at a time; use :func:`open_ledger`.

    Attributes:
        done: the evaluations in it, by key.
        resumed: how many there were when it was opened.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        self.done: dict[str, Evaluation] = {}
        lines = _whole_lines(path)
        if lines:
            self._read(lines, identity)
        else:
            self._append({"turnswap_sweep": FORMAT, "identity": identity})
        self.resumed = len(self.done)

    def _read(self, lines: list[str], identity: Mapping[str, Any]) -> None:
        try:
            head, *entries = [json.loads(line) for line in lines]
            if head["turnswap_sweep"] != FORMAT:
                raise ValueError(head["turnswap_sweep"])
            found = [Evaluation(**_with_nan(entry)) for entry in entries]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"{self.path} is no sweep that this version can go on with.", "Name another folder with -o."
            ) from error
        changed = list(differences(head["identity"], json.loads(json.dumps(identity))))
        if changed:
            more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
            raise UserError(
                f"{self.path} is of another sweep: {'; '.join(changed[:4])}{more}.",
                "Figures of the two would not compare. Name another folder with -o, or undo the change.",
            )
        self.done = {evaluation.key: evaluation for evaluation in found}

    def add(self, evaluation: Evaluation) -> None:
        """Keep an evaluation, on disk when this returns."""
        self._append(asdict(evaluation))
        self.done[evaluation.key] = evaluation

    def _append(self, content: Mapping[str, Any]) -> None:
        line = json.dumps(_without_nan(content), ensure_ascii=False, allow_nan=False, default=str)
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"{self.path} cannot be written: {error.strerror or error}.") from None


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


def _whole_lines(path: Path) -> list[str]:
    """The lines of a file; half a line at its end, left by a process that was killed, is cut off."""
    if not path.exists():
        return []
    try:
        content = path.read_bytes()
        end = content.rfind(b"\n") + 1
        if end < len(content):
            os.truncate(path, end)
        return (
            content[:end].decode("utf-8").split("\n")[:-1]
        )  # splitlines would also split at separators within a string
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}.", "Name another folder with -o.") from None


def _without_nan(value: Any) -> Any:
    """NaN as null, which every reader of JSON takes."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {name: math.nan if entry[name] is None else entry[name] for name in ("figure", "stderr")}
