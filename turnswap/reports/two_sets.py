"""Where the published and the corrected verdicts differ: by instruction and language, and in every figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from turnswap.tasks.multiif.corrected import rules_in_use
from turnswap.tasks.multiif.metrics import CORRECTED, COUNTS, TURNS, combine_repeats, corrected_values
from turnswap.tasks.multiturn import Reply

from .runs import Model
from .samples import Conversation
from .sheets import SCOPES, Sheet, percent, points
from .table import Summary, tidy
from .verdicts import Graded, GradedTurn


@dataclass
class Change:
    """One instruction in one language, strict verdicts.

    Attributes:
        n: how many verdicts there are, over all turns and repeats; ``unsatisfiable`` of them are none by the
            corrected rules.
        gained: how many fail as published and pass as corrected; ``lost``: the other way round.
        published: how many pass as published; ``corrected``: as corrected.
    """

    n: int = 0
    gained: int = 0
    lost: int = 0
    unsatisfiable: int = 0
    published: int = 0
    corrected: int = 0

    @property
    def shares(self) -> tuple[float, float]:
        """Of the verdicts that there are, those that pass, as published and as corrected; NaN where there are none."""
        judged = self.n - self.unsatisfiable
        return self.published / self.n, self.corrected / judged if judged else float("nan")


def changes(published: Graded, corrected: Graded) -> dict[tuple[str, str], Change]:
    """By instruction id and language, those with most changes first; all there are, changed or not."""
    found: dict[tuple[str, str], Change] = defaultdict(Change)
    for language, conversations in published.items():
        for key, turns in conversations.items():
            for before, after in zip(turns, corrected[language][key], strict=True):
                for one, other in zip(before.verdicts, after.verdicts, strict=True):
                    for id_, was, now in zip(before.turn.instruction_ids, one, other, strict=True):
                        change = found[id_, language]
                        change.n += 1
                        change.published += was.strict
                        change.unsatisfiable += now.unsatisfiable
                        if not now.unsatisfiable:
                            change.corrected += now.strict
                            change.gained += now.strict and not was.strict
                            change.lost += was.strict and not now.strict
    most = sorted(found.items(), key=lambda item: (-item[1].gained - item[1].lost - item[1].unsatisfiable, item[0]))
    return dict(most)


def corrected_summary(summary: Summary, corrected: Graded) -> Summary:
    """The same model's figures by the corrected verdicts, whose rules are part of the signature."""
    languages = {}
    for code, run in summary.model.languages.items():
        conversations = [_corrected(c, corrected[code][c.key]) for c in run.conversations or ()]
        facts = {**run.facts, "corrected": rules_in_use()}
        languages[code] = replace(run, facts=facts, reported={}, conversations=conversations)
    return replace(summary, model=Model(summary.model.name, languages))


def tidy_corrected(summaries: Sequence[Summary], corrected: Mapping[str, Graded]) -> pd.DataFrame:
    """The rows of :func:`.table.tidy` for the figures by corrected verdicts, by the names with ``_corrected``."""
    frame = tidy([corrected_summary(summary, corrected[summary.model.name]) for summary in summaries])
    figures = frame[~frame["metric"].isin(COUNTS)].copy()
    figures["metric"] += CORRECTED
    return figures


def _corrected(conversation: Conversation, turns: Sequence[GradedTurn]) -> Conversation:
    repeats = [
        corrected_values([(Reply(turn.turn.replies[n]), turn.verdicts[n]) for turn in turns])
        for n in range(len(turns[0].verdicts) if turns else 0)
    ] or [corrected_values([])]
    values = {name.removesuffix(CORRECTED): combine_repeats([each[name] for each in repeats]) for name in repeats[0]}
    return replace(conversation, values={**conversation.values, **values})


def two_sets_sheets(summary: Summary, graded: Graded, corrected: Graded) -> list[Sheet]:
    """Two tables: overall accuracy by both sets of verdicts, and the instructions whose verdicts differ, if any.

    ``graded`` and ``corrected`` are the model's verdicts by the published and by the corrected rules.
    """
    name = summary.model.name
    by_corrected, changed = corrected_summary(summary, corrected), changes(graded, corrected)
    rows = []
    for scope in summary.scopes:
        row = [SCOPES.get(scope, scope)]
        for turn in TURNS:
            one, other = (each.figure(scope, f"turn{turn}_overall_acc").value for each in (summary, by_corrected))
            row += [percent(one), percent(other), points(other - one)]
        rows.append(row)
    header = ["language", *(text for turn in TURNS for text in (f"turn {turn}", "corrected", "±"))]
    total = sum(change.n for change in changed.values())
    differ = sum(change.gained + change.lost for change in changed.values())
    notes = [
        "Overall accuracy in per cent as published and by the corrected rules, and the change.",
        f"{differ} of {total} strict verdicts differ.",
    ]
    signatures = [f"{name}, corrected: {by_corrected.signature}"]
    sheets = [Sheet(f"{name}: published and corrected verdicts", header, rows, 1, notes, signatures)]
    rows = [
        [
            id_,
            language,
            *(str(count) for count in (change.n, change.gained, change.lost, change.unsatisfiable)),
            *map(percent, change.shares),
        ]
        for (id_, language), change in changed.items()
        if change.gained or change.lost or change.unsatisfiable
    ]
    header = ["instruction", "language", "n", "fail → pass", "pass → fail", "unsatisfiable", "published", "corrected"]
    notes = ["Strict verdicts; instructions without a difference are not listed."]
    return [*sheets, Sheet(f"{name}: verdicts that differ", header, rows, 2, notes)] if rows else sheets
