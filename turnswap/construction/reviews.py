"""What reviewers filled in, read back strictly: all of it fits the conversations as they are, or none is used."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from turnswap.tasks.multiif.instructions import MalformedInstruction, parse_kwargs

from .constructors import graded
from .equivalent import equivalent, questions_words
from .instructions.making import texts_of
from .records import DraftConversation, Turn, json_text
from .sheet import DECISIONS, EDITED, FILLED_IN, TURNS, read_csv, row_of, source_of, text_digest


@dataclass(frozen=True)
class Review:
    """What a reviewer decided.

    Attributes:
        decision: ``accept``, ``edit`` or ``reject``.
        turns: the conversation's, edited where the decision is to edit.
        after_return: given on a sheet that said why the conversation came back from the proof.
    """

    key: str
    reviewer: str
    decision: str
    turns: tuple[Turn, ...]
    comment: str = ""
    satisfying_reply: str = ""
    after_return: bool = False

    @property
    def verdict(self) -> tuple[str, tuple[Turn, ...]]:
        """What reviewers must have in common to agree."""
        return self.decision, self.turns


def read_reviews(
    files: Mapping[str, bytes], conversations: Sequence[DraftConversation]
) -> tuple[list[Review], list[str]]:
    """The reviews in these files (their contents by name), in order, and what is wrong with rows, a line for each.

    Rows with nothing filled in are left out. Wrong are an unknown key or decision, no reviewer, a text that changed
    since the sheet was written, edits that do not parse or no longer match, a reply that fails an instruction.

    Raises:
        UserError: a file is no sheet.
    """
    known = {conversation.key: conversation for conversation in conversations}
    reviews: list[Review] = []
    problems: list[str] = []
    for name, content in files.items():
        seen: dict[tuple[str, str], int] = {}
        for number, row in enumerate(read_csv(content, name), 1):
            if not any(row[column].strip() for column in FILLED_IN if column != "reviewer"):
                continue
            try:
                review = _read(row, known)
                earlier = seen.setdefault((review.key, review.reviewer), number)
                if earlier != number:
                    raise ValueError(f"{review.reviewer} decided it in row {earlier} already")
                reviews.append(review)
            except ValueError as problem:
                problems.append(f"{name}, row {number}, {row['key'] or '(no key)'}: {problem}")
    return reviews, problems


def _read(row: Mapping[str, str], known: Mapping[str, DraftConversation]) -> Review:
    conversation = known.get(row["key"])
    if conversation is None:
        raise ValueError("no conversation of this key is in the audit")
    if row["digest"].strip() != text_digest(conversation):
        raise ValueError("its texts changed since the sheet was written: review it again, on the new sheet")
    _refuse_changes(row, conversation)
    decision, reviewer = row["decision"].strip().lower(), " ".join(row["reviewer"].split())
    if decision not in DECISIONS:
        came = f"{row['decision']!r} is no decision" if decision else "something is filled in, but no decision"
        raise ValueError(f"{came}; expected {', '.join(DECISIONS)}")
    if not reviewer:
        raise ValueError("the column reviewer is empty")
    edited = [column for column in EDITED if row[column].strip()]
    if edited and decision != "edit":
        raise ValueError(f"{edited[0]} is filled in, and the decision is {decision}; expected edit")
    turns = _edited(row, conversation) if decision == "edit" else conversation.turns
    reply, after_return = row["satisfying_reply"].strip(), bool(row["returned"].strip())
    if reply and decision != "reject":
        attempt = graded(reply, turns[-1].instruction_ids, turns[-1].kwargs)
        if attempt.failed:
            raise ValueError(f"the satisfying_reply does not follow {attempt.failed_ids}")
    if decision == "accept" and after_return and not reply:
        raise ValueError("it came back from the proof: to accept it, give a satisfying_reply")
    return Review(row["key"], reviewer, decision, turns, row["comment"].strip(), reply, after_return)


def _refuse_changes(row: Mapping[str, str], conversation: DraftConversation) -> None:
    """An edit in the wrong column would be lost without a word."""
    written = row_of(conversation)
    for column, right in zip((*(f"translation_{turn}" for turn in TURNS), "kwargs"), EDITED, strict=True):
        if row[column] != written[column]:
            raise ValueError(f"{column} was changed; write edits into {right}")


def _edited(row: Mapping[str, str], conversation: DraftConversation) -> tuple[Turn, ...]:
    """The turns with the edits, checked as a translation is."""
    last = conversation.last
    for number in TURNS[len(conversation.turns) :]:
        if row[f"edited_{number}"].strip():
            raise ValueError(f"edited_{number} is filled in, and there is no turn {number}")
    prompts = [row[f"edited_{number}"].strip() or turn.prompt for number, turn in enumerate(conversation.turns, 1)]
    kwargs = _edited_kwargs(row["edited_kwargs"], last) if row["edited_kwargs"].strip() else None
    source = source_of(conversation)
    before = conversation.turns if source is None else [Turn.from_json(content) for content in source["turns"]]
    values = [
        texts_of(id_, each) if asked else []
        for id_, each, asked in zip(last.instruction_ids, kwargs or last.kwargs, questions_words(before), strict=True)
    ]
    turns = equivalent(before, prompts, values)
    if kwargs is not None and [dict(each) for each in turns[-1].kwargs] != kwargs:
        raise ValueError(
            f"edited_kwargs change what must stay: only words may be edited; expected {json_text(turns[-1].kwargs)}"
        )
    if turns == conversation.turns:
        raise ValueError("the decision is edit, and nothing is edited")
    return turns


def _edited_kwargs(text: str, last: Turn) -> list[dict[str, Any]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise ValueError(f"edited_kwargs are no JSON ({error})") from None
    if not isinstance(content, list) or [type(each) for each in content] != [dict] * len(last.kwargs):
        raise ValueError(f"edited_kwargs are no list of {len(last.kwargs)} objects")
    try:
        return [parse_kwargs(id_, each) for id_, each in zip(last.instruction_ids, content, strict=True)]
    except MalformedInstruction as error:
        raise ValueError(f"edited_kwargs do not fit: {error}") from None
