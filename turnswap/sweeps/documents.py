"""Which documents a search selects on and which it reports on: never the same."""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from turnswap.core.errors import UserError
from turnswap.merge_methods.zones import ranges

Documents: TypeAlias = Mapping[str, Sequence[int]]  # by task: ascending numbers of documents, from 0


class Named(NamedTuple):
    """``TASK`` or ``TASK:0-99``: a task, group, tag or glob, and the documents of each of its tasks."""

    name: str
    first: int = 0
    last: int | None = None


def parse_named(text: str) -> Named:
    """A name with its documents.

    Raises:
        UserError: the range runs backwards.
    """
    match = re.fullmatch(r"(.+?)(?::(\d+)(?:-(\d+))?)?", text)
    if not match:
        raise UserError("A task has no name.", "Write TASK, or TASK:0-99 for its first hundred documents.")
    if match[2] is None:
        return Named(match[1])
    first, last = int(match[2]), int(match[3] or match[2])
    if last < first:
        raise UserError(f"{text}: the range runs backwards.", f"Write {match[1]}:{last}-{first}.")
    return Named(match[1], first, last)


def documents_of(named: Named, sizes: Mapping[str, int], limit: int | None) -> dict[str, Sequence[int]]:
    """The documents of each of the tasks that a name stands for, given how many each task has.

    ``limit`` keeps the first of those named.

    Raises:
        UserError: a task has fewer documents than the range says.
    """
    found: dict[str, Sequence[int]] = {}
    for task, n in sizes.items():
        if named.last is not None and named.last >= n:
            raise UserError(
                f"{named.name}:{named.first}-{named.last}: {task} has {n} documents, 0-{n - 1}.",
                "Both ends of a range belong to it.",
            )
        found[task] = range(named.first, n if named.last is None else named.last + 1)[:limit]
    return found


def join(sets: Sequence[Documents]) -> dict[str, Sequence[int]]:
    """The documents of several names together, per task each document once."""
    found: dict[str, Sequence[int]] = {}
    for documents in sets:
        for task, numbers in documents.items():
            found[task] = sorted({*found[task], *numbers}) if task in found else numbers
    return found


def describe(documents: Documents) -> dict[str, str]:
    """The documents of each task as ``0-99``."""
    return {task: ranges(list(numbers)) for task, numbers in documents.items()}


def in_words(described: Mapping[str, str]) -> str:
    """What :func:`describe` gave, on one line: ``a:0-99, b:0-4``."""
    return ", ".join(f"{task}:{numbers}" for task, numbers in described.items())


def count(documents: Documents) -> int:
    """How many documents there are in all tasks."""
    return sum(map(len, documents.values()))


def refuse_overlap(select: Documents, report: Documents) -> None:
    """Refuse documents that would be selected on and reported on.

    Raises:
        UserError: it names the task and the documents.
    """
    for task in select.keys() & report.keys():
        if both := sorted(set(select[task]) & set(report[task])):
            named = sorted({*select[task], *report[task]})
            half = len(named) // 2
            halves = f"such as {task}:{ranges(named[:half])} and {task}:{ranges(named[half:])}, " if half else ""
            raise UserError(
                f"--select-on and --report-on share documents of {task}: {ranges(both)}. A figure for documents that "
                "the swap was chosen by is too good.",
                f"Name disjoint documents, {halves}or other tasks.",
            )


def hold_out(
    documents: Documents, clusters: Mapping[str, Sequence[str]], share: float, seed: int
) -> tuple[dict[str, Sequence[int]], dict[str, Sequence[int]]]:
    """The documents to select on, and a share of them kept for figures to quote; documents of one source stay together.

    Args:
        documents: all of them.
        clusters: per task, what each of its documents comes from, in the same order; equal in two tasks for documents
            of one source.
        share: that is held out of each task, at least one document.
        seed: of the draw, since data sets are often sorted.

    Raises:
        UserError: a task has too few documents, or sources, for both.
    """
    held: dict[str, bool] = {}
    for task, sources in clusters.items():
        new = sorted({source for source in sources if source not in held})
        random.Random(f"held out {seed} {task}").shuffle(new)
        kept = max(1, round(share * len(new))) if new else 0
        held |= {source: number < kept for number, source in enumerate(new)}
    sides: tuple[dict[str, Sequence[int]], dict[str, Sequence[int]]] = ({}, {})
    for task, numbers in documents.items():
        for is_held, side in enumerate(sides):
            side[task] = [n for n, source in zip(numbers, clusters[task], strict=True) if held[source] == bool(is_held)]
            if not side[task]:
                raise UserError(
                    f"{task} has too few documents to choose by some of them and report on others: {len(numbers)}.",
                    "Name more documents, other ones with --report-on, or --held-out 0.",
                )
    return sides


FEWEST = 10  # documents in the first rung: fewer tell swaps apart by chance alone


def rungs(documents: Documents, eta: int, seed: int) -> list[dict[str, Sequence[int]]]:
    """Ever more documents, each time eta times as many, all of the time before among them; the last are all.

    Each task's are drawn in an order shuffled by the seed, and at least one of each task.
    """
    n_before = 0
    while count(documents) // eta ** (n_before + 1) >= FEWEST:
        n_before += 1
    found: list[dict[str, Sequence[int]]] = [{} for _ in range(n_before)]
    for task, numbers in documents.items():
        shuffled = list(numbers)
        random.Random(f"rungs {seed} {task}").shuffle(shuffled)
        for number, rung in enumerate(found):
            rung[task] = sorted(shuffled[: math.ceil(len(shuffled) / eta ** (n_before - number))])
    return [*found, dict(documents)]


def hashes(tasks: Mapping[str, Any], documents: Documents) -> dict[str, list[str]]:
    """A digest per document and task, of what the document holds."""
    found = {}
    for task, numbers in documents.items():
        docs = tasks[task].eval_docs  # a task may make them each time
        found[task] = [digest(docs[n]) for n in numbers]
    return found


def digest(content: Any) -> str:
    """The SHA-256 of what JSON can hold, in whatever order its keys are; of other things, of their representation."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, default=repr)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
