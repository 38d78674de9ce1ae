"""Step 3, ``conflicts``: instructions that no reply can follow together; and the same rules on an existing CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from turnswap.core.files import write_whole
from turnswap.tasks.multiif.dataset import Source, load_every_language

from .asking import Asking, Question, answered
from .instructions import Conflict, find_conflicts
from .llm import LLM, read_finding
from .records import Conversations, DraftConversation, Outcome, json_text

VERSION = 1
_COLUMNS = ("key", "language", "turn", "rule", "severity", "instruction_ids", "kwargs", "reason", "loose")


@dataclass(frozen=True)
class ConflictSettings:
    """The section ``conflicts``.

    Attributes:
        llm_check: whether the LLM is asked about conversations in which the rules find nothing impossible.
        reject_tensions: whether instructions that can be followed together only in an odd way are rejected too.
    """

    llm_check: bool = True
    reject_tensions: bool = False


class Conflicts:
    """The step ``conflicts``; its note has the ``tensions`` found, by rule, and ``llm`` (whether it was asked)."""

    name = "conflicts"

    def __init__(self, settings: ConflictSettings, llm: LLM) -> None:
        self.settings, self.llm = settings, llm
        self.identity = [VERSION, asdict(settings), llm.identity if settings.llm_check else None]

    def run(self, conversations: Conversations) -> list[list[Outcome]]:
        """Each with its note, or rejected by a rule or for the LLM's reason."""
        return self.llm.run([self.askings(conversation) for conversation in conversations])

    def askings(self, conversation: DraftConversation) -> list[Asking[Outcome]]:
        """The question whether anybody can follow it, if there is one."""
        stages = [(_question, _read)] if self.settings.llm_check else []
        return [answered(self._by_rules(conversation), *stages)]

    def _by_rules(self, conversation: DraftConversation) -> Outcome:
        # A turn holds all instructions of the turns before, so the last turn has every conflict.
        last = conversation.last
        found = find_conflicts(last.instruction_ids, last.kwargs)
        tensions = [each.describe(last.instruction_ids) for each in found if each.rule.severity == "tension"]
        noted = conversation.with_note(self.name, {"tensions": tensions, "llm": self.settings.llm_check})
        for conflict in found:  # the impossible ones come first
            if conflict.rule.severity == "impossible" or self.settings.reject_tensions:
                return Outcome(noted, f"instructions exclude each other: {conflict.describe(last.instruction_ids)}")
        return Outcome(noted)


def _question(outcome: Outcome) -> Question:
    conversation = outcome.conversation
    payload = {"turns": conversation.prompts, "instructions": conversation.last.instructions_as_json()}
    return Question("find_conflict", payload, conversation.key)


_read = partial(read_finding, "conflict", "the LLM finds a conflict")


def audit_csv(path: Path) -> pd.DataFrame:
    """What the rules find in a CSV in the published format, a row per conversation, rule and place.

    A conflict lasts from the turn in which it comes up to the conversation's last; it is reported once. An instruction
    that is followed by position, as the published data are read, may occur twice in a turn.

    Returns:
        ``key``, ``language``, the ``turn`` (from 1) in which it comes up first, ``rule``, ``severity`` (of what is
        graded strictly), ``reason``, ``loose`` (whether a reply can pass loosely), and tuples of the
        ``instruction_ids`` and of their ``kwargs``.

    Raises:
        UserError: the file cannot be read, or a row is malformed.
    """
    conversations = load_every_language(Source("csv", str(path)))
    rows = [row for conversation in conversations for row in _findings(conversation)]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _findings(conversation: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for number, conflict in conflicts_of(conversation):
        rule, turn = conflict.rule, conversation["turns"][number - 1]
        ids, kwargs = (tuple(turn[part][at] for at in conflict.positions) for part in ("instruction_ids", "kwargs"))
        told = rule.name, rule.severity, ids, kwargs, rule.reason, rule.loose
        yield conversation["key"], conversation["language"], number, *told


def conflicts_of(conversation: Mapping[str, Any]) -> list[tuple[int, Conflict]]:
    """Each conflict of a conversation once, with the turn (from 1) in which it comes up."""
    found: dict[tuple[str, tuple[int, ...]], tuple[int, Conflict]] = {}
    for number, turn in enumerate(conversation["turns"], 1):
        for conflict in find_conflicts(turn["instruction_ids"], turn["kwargs"]):
            found.setdefault((conflict.rule.name, conflict.positions), (number, conflict))
    return list(found.values())


def summary(findings: pd.DataFrame) -> list[str]:
    """Lines for people: per severity how many conversations are concerned, and by how many each rule."""
    lines = []
    for severity, loose, meaning in (
        ("impossible", "impossible", "no reply passes, strictly or loosely"),
        ("impossible", "possible", "no reply passes all strictly; loosely one can, its first or last line set aside"),
        ("tension", "possible", "only an odd reply passes all"),
    ):
        here = findings[(findings["severity"] == severity) & (findings["loose"] == loose)]
        if here.empty and loose == "impossible":
            continue
        lines.append(f"{severity} ({meaning}), conversations: {here['key'].nunique()}")
        concerned = here.groupby("rule")["key"].nunique().to_dict()
        for rule in sorted(concerned, key=lambda name: (-concerned[name], name)):
            lines.append(f"  {concerned[rule]:5}  {rule}")
            pairs = Counter(here.loc[here["rule"] == rule, "instruction_ids"])
            lines += [f"         {count:5}  {' × '.join(ids)}" for ids, count in pairs.most_common()]
    return lines


def write_findings(findings: pd.DataFrame, path: Path) -> None:
    """The findings as CSV, one a line, ids and kwargs as JSON lists.

    Raises:
        UserError: the file cannot be written.
    """
    table = findings.assign(**{name: findings[name].map(json_text) for name in ("instruction_ids", "kwargs")})
    write_whole(path, table.to_csv(index=False, lineterminator="\r\n"))
