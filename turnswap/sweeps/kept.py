"""What was evaluated so far: a parquet file per evaluation, in a folder that many processes share without a lock."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.tasks.multiif.task import MultiIF

from .documents import digest
from .identity import differences

FOLDER, IDENTITY = "evaluations", "identity.json"
FORMAT = 1
_OTHER = "Name another folder with -o."
_FACTS = b"turnswap_evaluation"
_TEXT, _NUMBER = pa.string(), pa.float64()
_SCHEMA = pa.schema(
    {"task": _TEXT, "document": pa.int64(), "cluster": _TEXT, "metric": _TEXT, "value": _NUMBER, "raw": _TEXT}
    | {"log_likelihood": _NUMBER}
)


@dataclass(frozen=True)
class Evaluation:
    """One finished evaluation."""

    plan: str  # of the configuration, see ``Configuration``
    configuration: str  # its name when it was evaluated
    parameters: Mapping[str, Any]  # of its swap
    role: str  # ``select`` or ``report``
    documents: Mapping[str, str]  # of each task, as ``0-99``
    results: Mapping[str, Any]  # all of lm-eval's metrics, by task and group
    seconds: Mapping[str, float]  # of ``evaluation``, and of ``composition`` before it
    documents_table: pd.DataFrame = field(compare=False, repr=False)  # see :func:`table_of`


def table_of(samples: Mapping[str, Sequence[Mapping[str, Any]]], tasks: Mapping[str, Any]) -> pd.DataFrame:
    """A row per document, filter and metric, from the samples that lm-eval logs, given its tasks by name.

    ``document`` is its number; ``cluster``, what documents of one source share; ``metric``, such as ``acc,none``;
    ``value``, a number, or else null and JSON in ``raw``; ``log_likelihood``, of the right answer (of several, the
    likeliest), null where answers are written.

    Raises:
        UserError: a task's metadata name a ``cluster_column`` that a document lacks.
    """
    table: pd.DataFrame = pa.Table.from_pylist(list(_rows(samples, tasks)), _SCHEMA).to_pandas()
    return table


def _rows(samples: Mapping[str, Sequence[Mapping[str, Any]]], tasks: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, logged in samples.items():
        for sample in logged:
            row = {"task": name, "document": sample["doc_id"]}
            row["cluster"] = cluster_of(name, tasks[name], sample["doc_id"], sample["doc"])
            row["log_likelihood"] = _log_likelihood(tasks[name], sample)
            for metric in sample["metrics"]:
                value = sample[metric]
                number = isinstance(value, (Real, np.bool_))
                held = {"value": float(value)} if number else {"raw": json.dumps(value, default=_plain)}
                yield row | {"metric": f"{metric},{sample['filter']}"} | held


def cluster_of(name: str, task: Any, number: int, doc: Mapping[str, Any]) -> str:
    """What a document shares with others of one source: the column that its task's metadata name, else its own number.

    Raises:
        UserError: the document has nothing in that column.
    """
    if isinstance(task, MultiIF):
        return str(doc["source"])
    column = (task.config.metadata or {}).get("cluster_column")
    if column is None:
        return f"{name}:{number}"
    if doc.get(column) is None:
        raise UserError(
            f"{name}: document {number} has nothing in the column {column!r}.",
            "The task's metadata name it as cluster_column: it must hold what documents of one source share.",
        )
    return str(doc[column])


def _log_likelihood(task: Any, sample: Mapping[str, Any]) -> float | None:
    if task.OUTPUT_TYPE not in ("loglikelihood", "loglikelihood_rolling", "multiple_choice"):
        return None
    answers = [float(np.ravel(each[0])[0]) for each in sample["resps"]]  # of a pair, or when rolling the number alone
    if task.OUTPUT_TYPE != "multiple_choice":
        return answers[0]
    choices = task.doc_to_choice(sample["doc"])
    right = task.doc_to_text(sample["doc"]) if task.multiple_input else sample["target"]
    several = right if isinstance(right, list) else [right]
    at = [choices.index(each) if each in choices else each for each in several]
    return max((answers[n] for n in at if isinstance(n, int) and 0 <= n < len(choices)), default=None)


def _plain(value: Any) -> Any:
    """Arrays and NumPy's numbers as JSON takes them, anything else as a text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


class Store:
    """The evaluations of a folder, which is made.

    Raises:
        UserError: the folder cannot be written, or holds evaluations that depend on something else.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder / FOLDER
        self._path = folder / IDENTITY
        self._identity = json.loads(json.dumps(identity, default=_plain))
        if not self._path.exists() or not any(self.folder.glob("*.parquet")):  # nothing depends on it yet
            write_whole(self._path, json.dumps({"format": FORMAT, "identity": self._identity}, indent=1), _OTHER)
        self._refuse_another()

    def _refuse_another(self) -> None:
        try:
            before = json.loads(self._path.read_text("utf-8"))
            if before["format"] != FORMAT:
                raise ValueError(before["format"])
            changed = list(differences(before["identity"], self._identity))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"{self._path} is of no search that this version can continue.", _OTHER) from error
        if changed:
            more = f"; and {len(changed) - 4} more" if len(changed) > 4 else ""
            raise UserError(
                f"{self._path} is of another search: {'; '.join(changed[:4])}{more}.",
                "Figures of the two could not be compared. Name another folder with -o, or undo the change.",
            )

    def _file(self, plan: str, role: str, documents: Mapping[str, str]) -> Path:
        return self.folder / f"{digest([plan, role, documents])[:32]}.parquet"

    def find(self, plan: str, role: str, documents: Mapping[str, str]) -> Evaluation | None:
        """The evaluation of a plan on these documents; None where there is none yet."""
        path = self._file(plan, role, documents)
        return read_evaluation(path) if path.exists() else None

    def add(self, evaluation: Evaluation) -> None:
        """Keep an evaluation, on disk and whole when this returns."""
        self._refuse_another()  # of two that began at once with different ones, the second to write has the folder
        facts = {each.name: getattr(evaluation, each.name) for each in fields(Evaluation)[:-1]}
        table = pa.Table.from_pandas(evaluation.documents_table, _SCHEMA, preserve_index=False)
        content = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({_FACTS: json.dumps(facts, default=_plain)}), content)
        path = self._file(evaluation.plan, evaluation.role, evaluation.documents)
        write_whole(path, content.getvalue().to_pybytes(), _OTHER)

    def all(self) -> list[Evaluation]:
        """Every evaluation there is now, in no order that means anything."""
        return [read_evaluation(path) for path in sorted(self.folder.glob("*.parquet"))]


def read_evaluation(path: Path) -> Evaluation:
    """The evaluation that a file holds.

    Raises:
        UserError: it is none, or only a part of one.
    """
    try:
        table = pq.read_table(path, partitioning=None)
        return Evaluation(**json.loads(table.schema.metadata[_FACTS]), documents_table=table.cast(_SCHEMA).to_pandas())
    except (OSError, pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no evaluation of this version of turnswap, or only a part of one.",
            "Delete it, and it is evaluated again; or name another folder with -o.",
        ) from error
