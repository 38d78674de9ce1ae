"""Step 6: people read every conversation, and decide.

The step writes sheets into ``FOLDER/audit``, one per language, and waits. Reviewers fill copies in; these are named in
the YAML, read back, and applied where enough reviewers agree. Where they do not, ``conflicts.csv`` tells and an
adjudicator decides. How far they agree, by Cohen's kappa, is in ``agreement.json``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from turnswap.core.errors import UserError, reason_of
from turnswap.core.files import write_whole

from .edits import EditChecks, untidy
from .forms import as_csv, refusal
from .gates import worst_first
from .kappa import RESAMPLES, SEED, agreements
from .records import Conversations, DraftConversation, Outcome, digest, json_text
from .sheet import DISAGREE, Review, read_reviews, row_of, write_sheets

VERSION = 2
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
    whole = True  # the sheets are of all conversations, and so are the reviews

    def __init__(
        self, settings: AuditSettings, folder: Path, returned: Mapping[str, str], checks: EditChecks | None = None
    ) -> None:
        self.settings, self.folder, self.returned = settings, folder, dict(returned)
        self.checks = checks or EditChecks()
        self.files = {str(path): _content(path) for path in settings.reviews}
        if len(self.files) < len(settings.reviews):
            raise UserError("audit.reviews names a file twice.", "Name each once.")
        contents = [digest(content.decode("utf-8", "replace")) for content in self.files.values()]
        enabled = [settings.required, settings.adjudicator, contents, self.returned, self.checks.identity]
        self.awaited: list[str] = []  # what the last run waits for, in words
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
        waiting = [each.key for each, outcome in zip(conversations, outcomes, strict=True) if outcome is None]
        self.awaited = self._awaited({key: by_key[key] for key in waiting}, conflicts)
        self._write_agreement(reviews)
        self._write_conflicts(conversations, conflicts)
        if None in outcomes or not (self.folder / "audit.csv").exists():
            write_sheets(self.folder, self._rows(conversations, conflicts, by_key))
        return outcomes

    def _read(self, conversations: Conversations) -> list[Review]:
        reviews, problems = read_reviews(self.files, conversations, self.checks)
        report = self.folder / "problems.txt"
        if problems:
            write_whole(report, "".join(f"{problem}\n" for problem in problems))
            raise refusal(problems, f"Correct these rows: until then no row is applied. All of them are in {report}.")
        report.unlink(missing_ok=True)
        name = self.settings.adjudicator or ""
        same = [each.reviewer.casefold() == name.casefold() for each in reviews]
        return [replace(each, reviewer=name) if it else each for each, it in zip(reviews, same, strict=True)]

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

    def _awaited(
        self, waiting: Mapping[str, Mapping[str, Review]], conflicts: Mapping[str, Sequence[Review]]
    ) -> list[str]:
        """What conversations wait for, and how many, by their reviews so far."""
        at_odds = f"because reviewers disagree ({self.folder / 'conflicts.csv'}): "
        if self.settings.adjudicator:
            at_odds += f"{self.settings.adjudicator}, who is the adjudicator, decides on the new sheet"
        else:
            at_odds += "name one who decides under audit.adjudicator"
        kinds = {
            "first": "for a first review",
            "second": f"for a second review (audit.required is {self.settings.required})",
            "at odds": at_odds,
            "back": "back from the proof: for another review, on the new sheet",
        }
        number: Counter[str] = Counter()
        for key, reviews in waiting.items():
            back = key in self.returned or any(review.after_return for review in reviews.values())
            reviewed = any(name != self.settings.adjudicator for name in reviews)
            number["at odds" if key in conflicts else "back" if back else "second" if reviewed else "first"] += 1
        return [f"{number[kind]} {told}" for kind, told in kinds.items() if number[kind]]

    def _outcome(self, conversation: DraftConversation, reviews: Sequence[Review], adjudicated: bool) -> Outcome:
        review = min(reviews, key=lambda each: untidy(each.turns))  # they are the same but for spaces
        comments = {each.reviewer: each.comment for each in reviews if each.comment}
        names = sorted(each.reviewer for each in reviews)
        note = {"decision": review.decision, "reviewers": names, "adjudicated": adjudicated, "comments": comments}
        if review.decision == "edit":
            note["scores"] = "of the translation before the edit"
        if review.doubts:
            note["doubts"] = list(review.doubts)
        if reply := next((each.satisfying_reply for each in reviews if each.satisfying_reply), ""):
            note["satisfying_reply"] = reply
        made = replace(conversation, turns=review.turns).with_note(self.name, note)
        if review.decision != "reject":
            return Outcome(made)
        said = "; ".join(f"{name}: {comment}" for name, comment in comments.items())
        return Outcome(made, f"reviewers reject it: {said or 'without a comment'}")

    def _rows(
        self,
        conversations: Conversations,
        conflicts: Mapping[str, Sequence[Review]],
        reviews: Mapping[str, Mapping[str, Review]],
    ) -> list[dict[str, str]]:
        """What came back first, then what reviewers disagree about, then by scores."""
        rows = []
        worst = worst_first(conversations)
        for each in sorted(worst, key=lambda each: (each.key not in self.returned, each.key not in conflicts)):
            at_odds = ", ".join(f"{review.reviewer} {review.decision}" for review in conflicts.get(each.key, ()))
            told = [f"{DISAGREE}: {at_odds}"] if at_odds else []
            told += [f"{name}'s edit: {doubt}" for name, it in reviews[each.key].items() for doubt in it.doubts]
            rows.append(row_of(each, self.returned.get(each.key, ""), "; ".join(told)))
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
            f"audit.reviews: {path} cannot be read: {reason_of(error)}.",
            "Name only sheets that reviewers have filled in.",
        ) from error
