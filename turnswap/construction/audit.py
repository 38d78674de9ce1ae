"""Step 6: people read every conversation, and decide.

The step writes sheets into ``FOLDER/audit`` and waits. Reviewers fill copies in; these are named in the YAML, read
back, and applied where enough reviewers agree. Where they do not, ``conflicts.csv`` tells and an adjudicator decides.
How far they agree, by Cohen's kappa, is in ``agreement.json``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import numpy as np

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole

from .gates import worst_first
from .records import Conversations, DraftConversation, Outcome, digest, json_text
from .sheet import Review, as_csv, read_reviews, row_of, write_sheets

VERSION = 1
RESAMPLES, SEED = 10_000, 0  # of the interval of kappa
_SHOWN = 20  # problems in a message
_CONFLICT_COLUMNS = ("key", "language", "reviewer", "decision", "turns", "kwargs", "comment")


@dataclass(frozen=True)
class AuditSettings:
    """The section ``audit``.

    Attributes:
        enabled: without it every conversation passes, and its note says that nobody read it.
        reviews: filled-in sheets, in the order in which they were filled in: of two rows of a reviewer's for a
            conversation, in different files, the later counts.
        required: reviewers who must have decided, and agree.
        adjudicator: the reviewer who decides where the others do not agree.
    """

    enabled: bool = True
    reviews: tuple[Path, ...] = ()
    required: Literal[1, 2] = 1
    adjudicator: str | None = None


class Audit:
    """The step ``audit``; its note has the decision, who made it, comments, and a reply that they gave as proof."""

    name = "audit"
    chunk = sys.maxsize
    whole = True  # the sheets are of all conversations, and so are the reviews

    def __init__(self, settings: AuditSettings, folder: Path, returned: Mapping[str, str]) -> None:
        self.settings, self.folder, self.returned = settings, folder, dict(returned)
        self.files = {str(path): _content(path) for path in settings.reviews}
        if len(self.files) < len(settings.reviews):
            raise UserError("audit.reviews names a file twice.", "Name each once.")
        contents = [digest(content.decode("utf-8", "replace")) for content in self.files.values()]
        enabled = [settings.required, settings.adjudicator, contents, self.returned]
        self.identity: list[Any] = [VERSION, *(enabled if settings.enabled else [False])]

    def run(self, conversations: Conversations) -> list[list[Outcome] | None]:
        """What the reviewers decided; None for what waits for them. Writes the files of ``FOLDER/audit``.

        Raises:
            UserError: reviews cannot be used, or a sheet with something filled in would be written over.
        """
        if not self.settings.enabled:
            return [[Outcome(each.with_note(self.name, {"decision": None, "reviewers": []}))] for each in conversations]
        reviews = self._read(conversations)
        by_key: dict[str, dict[str, Review]] = {each.key: {} for each in conversations}
        for review in reviews:  # of a reviewer's own, the last one counts
            by_key[review.key][review.reviewer] = review
        decided = [self._decided(each, by_key[each.key]) for each in conversations]
        outcomes = [outcome for outcome, _ in decided]
        conflicts = {each.key: at_odds for each, (_, at_odds) in zip(conversations, decided, strict=True) if at_odds}
        self._write_agreement(reviews)
        self._write_conflicts(conversations, conflicts)
        if None in outcomes or not (self.folder / "audit.csv").exists():
            write_sheets(self.folder, self._rows(conversations, conflicts))
        return outcomes

    def _read(self, conversations: Conversations) -> list[Review]:
        reviews, problems = read_reviews(self.files, conversations)
        report = self.folder / "problems.txt"
        if problems:
            write_whole(report, "".join(f"{problem}\n" for problem in problems))
            more = [f"... and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
            raise UserError(
                f"{len(problems)} rows of the reviews cannot be used:\n" + "\n".join([*problems[:_SHOWN], *more]),
                f"Correct these rows: until then no row is applied. All of them are in {report}.",
            )
        report.unlink(missing_ok=True)
        return reviews

    def _decided(
        self, conversation: DraftConversation, reviews: Mapping[str, Review]
    ) -> tuple[list[Outcome] | None, list[Review]]:
        """The outcome, and the reviews that keep it from being one."""
        # What was decided before the conversation came back from the proof did not help. That it came back shows in a
        # later review too: once it is rejected, the proof's file no longer tells.
        came_back = conversation.key in self.returned or any(review.after_return for review in reviews.values())
        valid = {name: review for name, review in reviews.items() if review.after_return or not came_back}
        last_word = valid.pop(self.settings.adjudicator, None) if self.settings.adjudicator else None
        given = list(valid.values())
        if len(given) < self.settings.required:
            return None, []
        if last_word is None and any(review.verdict != given[0].verdict for review in given):
            return None, given
        return [self._outcome(conversation, [last_word] if last_word else given, last_word is not None)], []

    def _outcome(self, conversation: DraftConversation, reviews: Sequence[Review], adjudicated: bool) -> Outcome:
        review = reviews[0]
        comments = {each.reviewer: each.comment for each in reviews if each.comment}
        names = sorted(each.reviewer for each in reviews)
        note = {"decision": review.decision, "reviewers": names, "adjudicated": adjudicated, "comments": comments}
        if review.decision == "edit":
            note["scores"] = "of the translation before the edit"
        if reply := next((each.satisfying_reply for each in reviews if each.satisfying_reply), ""):
            note["satisfying_reply"] = reply
        made = replace(conversation, turns=review.turns).with_note(self.name, note)
        if review.decision != "reject":
            return Outcome(made)
        said = "; ".join(f"{name}: {comment}" for name, comment in comments.items())
        return Outcome(made, f"reviewers reject it: {said or 'without a comment'}")

    def _rows(self, conversations: Conversations, conflicts: Mapping[str, Sequence[Review]]) -> list[dict[str, str]]:
        """What came back first, then what reviewers disagree about, then by scores."""
        told = {key: ", ".join(f"{each.reviewer} {each.decision}" for each in it) for key, it in conflicts.items()}
        rows = []
        worst = worst_first(conversations)
        for each in sorted(worst, key=lambda each: (each.key not in self.returned, each.key not in told)):
            problem = f"reviewers disagree: {told[each.key]}" if each.key in told else ""
            rows.append(row_of(each, self.returned.get(each.key, ""), problem))
        return rows

    def _write_agreement(self, reviews: Sequence[Review]) -> None:
        first: dict[str, dict[str, str]] = {}  # before they could know of each other
        for review in reviews:
            if review.reviewer != self.settings.adjudicator:
                first.setdefault(review.reviewer, {}).setdefault(review.key, review.decision)
        content = {
            "of": "each reviewer's first decision per conversation: accept, edit or reject",
            "kappa": "Cohen 1960",
            "interval": f"95 %, percentile bootstrap over conversations, {RESAMPLES} resamples, seed {SEED}",
            "pairs": [asdict(each) for each in agreements(first)],
        }
        write_whole(self.folder / "agreement.json", json_text(content, indent=1) + "\n")

    def _write_conflicts(self, conversations: Conversations, conflicts: Mapping[str, Sequence[Review]]) -> None:
        path = self.folder / "conflicts.csv"
        rows = [
            {
                **{name: getattr(review, name) for name in ("key", "reviewer", "decision", "comment")},
                "language": each.language,
                "turns": "\n---\n".join(turn.prompt for turn in review.turns),
                "kwargs": json_text(review.turns[-1].kwargs),
            }
            for each in conversations
            for review in conflicts.get(each.key, ())
        ]
        if rows:
            write_whole(path, as_csv(rows, _CONFLICT_COLUMNS).encode("utf-8-sig"))
        else:
            path.unlink(missing_ok=True)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(
            f"audit.reviews: {path} cannot be read: {error}.", "Name only sheets that reviewers have filled in."
        ) from error


@dataclass(frozen=True)
class Agreement:
    """How far two reviewers agree on what both have decided.

    Attributes:
        reviewers: the two.
        n: conversations that both have decided.
        agreed: of these, the share with the same decision; None for none.
        kappa: Cohen's; None where it is undefined, for the ``reason``.
        interval: 95 %, percentile bootstrap over conversations (seeded); None where kappa is undefined in more than
            5 % of the resamples, for the ``reason``. Other undefined resamples are left out.
    """

    reviewers: tuple[str, str]
    n: int
    agreed: float | None
    kappa: float | None
    interval: tuple[float, float] | None
    reason: str | None = None


def cohen_kappa(pairs: Sequence[tuple[str, str]]) -> float | None:
    """Agreement beyond chance, ``(p_o - p_e) / (1 - p_e)`` (Cohen 1960, A coefficient of agreement for nominal scales).

    ``p_o`` is the share of equal pairs, ``p_e`` the sum over categories of the product of both raters' shares. None
    where there are no pairs, or where both raters used one and the same category throughout: ``p_e`` is 1.
    """
    (kappa,) = _kappas(_table(pairs)[None])
    return None if np.isnan(kappa) else float(kappa)


def agreements(decisions: Mapping[str, Mapping[str, str]]) -> list[Agreement]:
    """Every pair of reviewers, by what each has decided per key."""
    found = []
    for one, other in combinations(sorted(decisions), 2):
        keys = [key for key in decisions[one] if key in decisions[other]]
        found.append(_between((one, other), [(decisions[one][key], decisions[other][key]) for key in keys]))
    return found


def _between(reviewers: tuple[str, str], pairs: Sequence[tuple[str, str]]) -> Agreement:
    n, kappa = len(pairs), cohen_kappa(pairs)
    if not n:
        return Agreement(reviewers, 0, None, None, None, "no conversation was decided by both")
    agreed = sum(one == other for one, other in pairs) / n
    if kappa is None:
        return Agreement(reviewers, n, agreed, None, None, "both used one and the same decision throughout")
    # Resampling pairs is drawing how often each kind of pair comes.
    table = _table(pairs)
    drawn = np.random.default_rng(SEED).multinomial(n, table.ravel() / n, RESAMPLES)
    kappas = _kappas(drawn.reshape(RESAMPLES, *table.shape))
    if np.isnan(kappas).mean() > 0.05:
        reason = "no interval: kappa is undefined in more than 5 % of the resamples"
        return Agreement(reviewers, n, agreed, kappa, None, reason)
    low, high = np.nanpercentile(kappas, [2.5, 97.5])
    return Agreement(reviewers, n, agreed, kappa, (float(low), float(high)))


def _table(pairs: Sequence[tuple[str, str]]) -> np.ndarray:
    """How often each decision of the first met each of the second."""
    categories = sorted({decision for pair in pairs for decision in pair})
    table = np.zeros((len(categories), len(categories)))
    for one, other in pairs:
        table[categories.index(one), categories.index(other)] += 1
    return table


def _kappas(tables: np.ndarray) -> np.ndarray:
    """Kappa of each table, NaN where it is undefined."""
    n = tables.sum(axis=(1, 2))
    observed = n * np.einsum("rii->r", tables)
    by_chance = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1)
    possible = n * n - by_chance
    with np.errstate(invalid="ignore"):
        return np.where(possible > 0, (observed - by_chance) / possible, np.nan)
