"""What readers filled in, read back as labels: those replies of which all who read them say the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .data_audit.slots import Slot
from .forms import decision_of, read_filled_in, refusal
from .instructions import ids
from .kappa import Agreement, agreements
from .label_sheet import LABELS, Pair

_COUNT = re.compile(r"(\d+)\s*(?:[-–—]\s*(\d+))?")


@dataclass(frozen=True)
class Answer:
    """What one reader says of one pair; ``count`` is the least and the most that the reader counted."""

    key: str
    reader: str
    decision: str
    count: tuple[int, int] | None
    why: str


@dataclass(frozen=True)
class Labelled:
    """What came of a sheet.

    Attributes:
        labels: a line of the file of labels each, by the names of ``reader_labels``: n, source, language, and so on.
        disagreements: the key of each pair of which readers do not say the same, with what each says.
        undecided: keys of pairs of which all who read them cannot tell.
        unread: keys of pairs that nobody read.
        agreements: how far each two readers agree.
    """

    labels: Sequence[Mapping[str, Any]]
    disagreements: Mapping[str, Sequence[Answer]]
    undecided: Sequence[str]
    unread: Sequence[str]
    agreements: Sequence[Agreement]


def read_answers(pairs: Mapping[str, Pair], files: Mapping[str, bytes]) -> list[Answer]:
    """The answers in copies of a sheet, their contents by name; the same answer in two files is one.

    Raises:
        UserError: a file is no such sheet, rows do not fit, or a reader's files differ; it names each.
    """
    first: dict[tuple[str, str], tuple[Answer, str]] = {}
    answers, problems = read_filled_in(LABELS, files, lambda row, name: (_answer(row, pairs), name))
    differing = []
    for answer, name in answers:
        other, where = first.setdefault((answer.key, answer.reader), (answer, name))
        if (answer.decision, answer.count) != (other.decision, other.count):
            differing.append(f"{answer.reader} answers reply {answer.key} twice, differently: {where} and {name}")
    if problems:
        raise refusal(problems, "Correct these rows, or ask their reader.")
    if differing:
        raise refusal(differing, "Give each reader a name of their own; of one reader's files, name only the last.")
    return [answer for answer, _ in first.values()]


def _answer(row: Mapping[str, str], pairs: Mapping[str, Pair]) -> Answer:
    pair = pairs.get(row["key"])
    if pair is None:
        raise ValueError("the sheet has no such number")
    if row["digest"].strip() != pair.digest:
        raise ValueError("it is of another sheet")
    decision, reader = decision_of(LABELS, row)
    count = _count(row["count"].strip())
    if count and decision in ("yes", "no"):
        _require_consistent(pair, count, decision)
    return Answer(row["key"], reader, decision, count, row["comment"].strip())


def _count(text: str) -> tuple[int, int] | None:
    if not text:
        return None
    found = _COUNT.fullmatch(text)
    if not found or int(found[2] or found[1]) < int(found[1]):
        raise ValueError(f"the count is {text!r}; expected a number, or two such as 4-6")
    return int(found[1]), int(found[2] or found[1])


def _require_consistent(pair: Pair, count: tuple[int, int], decision: str) -> None:
    """Refuse a slip: a count by which the decision is another one."""
    slot = Slot("", pair.language, 1, 1, pair.instruction_id, pair.kwargs, "")
    if slot.number is None or (slot.id == ids.NTH and decision == "no"):  # that may be for the paragraph's first word
        return
    low, high = slot.sides
    if {(low is None or low <= each) and (high is None or each <= high) for each in count} == {decision == "no"}:
        counted = f"{count[0]}-{count[1]}" if count[0] < count[1] else count[0]
        raise ValueError(
            f"the decision is {decision}, but the instruction asks for {slot.bound} and the count is {counted}"
        )


def labelled(pairs: Mapping[str, Pair], answers: Sequence[Answer]) -> Labelled:
    """Put together what the readers of a sheet say."""
    of_each: dict[str, list[Answer]] = {key: [] for key in pairs}
    for answer in answers:
        of_each[answer.key].append(answer)
    decided = {key: {answer.decision for answer in given} for key, given in of_each.items()}
    by_reader: dict[str, dict[str, str]] = {}
    for answer in answers:
        by_reader.setdefault(answer.reader, {})[answer.key] = answer.decision
    return Labelled(
        labels=[_label(key, pairs[key], of_each[key]) for key in pairs if decided[key] in ({"yes"}, {"no"})],
        disagreements={key: given for key, given in of_each.items() if len(decided[key]) > 1},
        undecided=[key for key in pairs if decided[key] == {"cannot tell"}],
        unread=[key for key in pairs if not decided[key]],
        agreements=agreements(by_reader),
    )


def _label(key: str, pair: Pair, answers: Sequence[Answer]) -> dict[str, Any]:
    return {
        "n": int(key),
        "source": pair.source,
        "language": pair.language,
        "instruction_id": pair.instruction_id,
        "kwargs": dict(pair.kwargs),
        "reply": pair.reply,
        "reader": answers[0].decision == "yes",
        "counts": [answer.count and list(answer.count) for answer in answers],
        "why": [answer.why for answer in answers],
        "prompts": list(pair.prompts),
        "weight": pair.weight,
    }
