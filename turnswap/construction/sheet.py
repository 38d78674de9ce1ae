"""The audit's sheets (:mod:`.forms`): what reviewers fill in of each conversation.

What was filled in is read back strictly: all of it fits the conversations as they are, or none is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from turnswap.tasks.multiif.dataset import TURNS
from turnswap.tasks.multiif.instructions import MalformedInstruction, parse_kwargs
from turnswap.tasks.multiif.languages import name_of

from .constructors import graded
from .equivalent import equivalent, questions_words
from .forms import Form, decision_of, read_filled_in, write_form
from .instructions.making import texts_of
from .records import Conversations, DraftConversation, Turn, digest, json_text

EDITED = (*(f"edited_{turn}" for turn in TURNS), "edited_kwargs")
FILLED_IN = ("decision", *EDITED, "satisfying_reply", "comment", "reviewer")
_TEXTS = [f"{text}_{turn}" for turn in TURNS for text in ("source", "translation", "back_translation")]
_LAST_TURN = ("instructions", "source_kwargs", "kwargs")
COLUMNS = ("key", "digest", "language", "returned", *_TEXTS, *_LAST_TURN, "scores", "problems", *FILLED_IN)
AUDIT = Form(
    "audit",
    "Audit of translated conversations",
    "audit.html.j2",
    COLUMNS,
    FILLED_IN,
    {"a": "accept", "e": "edit", "r": "reject"},
    {**{f"edited_{turn}": f"translation_{turn}" for turn in TURNS}, "edited_kwargs": "kwargs"},
)


def text_digest(conversation: DraftConversation) -> str:
    """Of what a reviewer judges: language, turns, and the source's."""
    content = conversation.as_json()
    return digest(content["key"], content["language"], content["turns"], source_of(conversation))


def source_of(conversation: DraftConversation) -> Mapping[str, Any] | None:
    """Language and turns of the source, as JSON; None for what is no translation."""
    source = conversation.note("translate").get("source")
    return source if isinstance(source, Mapping) else None


def row_of(conversation: DraftConversation, returned: str = "", problem: str = "") -> dict[str, str]:
    """The row of a conversation, nothing filled in; with why it came back, if it did, and what else to know."""
    note, last = conversation.note("translate"), conversation.last
    source = (source_of(conversation) or {}).get("turns", [])
    prompts = {
        "translation": conversation.prompts,
        "source": [turn["prompt"] for turn in source],
        "back_translation": note.get("back", ()),
    }
    row = dict.fromkeys(COLUMNS, "")
    row |= {f"{name}_{number}": prompt for name, each in prompts.items() for number, prompt in enumerate(each, 1)}
    return row | {
        "key": conversation.key,
        "digest": text_digest(conversation),
        "language": conversation.language,
        "returned": returned,
        "instructions": ", ".join(last.instruction_ids),
        "source_kwargs": json_text(source[-1]["kwargs"]) if source else "",
        "kwargs": json_text(last.kwargs),
        "scores": _scores(note.get("figures") or {}),
        "problems": "; ".join(filter(None, [problem, *note.get("warnings", ())])),
    }


def _scores(figures: Mapping[str, Any]) -> str:
    shown = ("chrf", "chrf_plus_plus", "bleu", "turn_chrf", "length_ratio", "language_check", "found")
    return ", ".join(f"{name}: {json_text(figures[name])}" for name in shown if figures.get(name) is not None)


def write_sheets(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """``audit.csv`` and ``audit.html`` of rows as :func:`row_of` makes them, unless there are the same already.

    Raises:
        UserError: the CSV that is there has other conversations and something filled in, or a file cannot be written.
    """
    names = {language: name_of(language) for language in sorted({row["language"] for row in rows})}
    advice = "Save it under another name, name that under audit.reviews, and delete audit.csv."
    write_form(AUDIT, folder, rows, advice, turns=TURNS, names=names)


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


def read_reviews(files: Mapping[str, bytes], conversations: Conversations) -> tuple[list[Review], list[str]]:
    """The reviews in these files (their contents by name), in order, and what is wrong with rows, a line for each.

    Rows with nothing filled in are left out. Wrong are an unknown key or decision, no reviewer, a text that changed
    since the sheet was written, edits that do not parse or no longer match, a reply that fails an instruction.

    Raises:
        UserError: a file is no sheet.
    """
    known = {conversation.key: conversation for conversation in conversations}
    return read_filled_in(AUDIT, files, lambda row, _: _read(row, known))


def _read(row: Mapping[str, str], known: Mapping[str, DraftConversation]) -> Review:
    conversation = known.get(row["key"])
    if conversation is None:
        raise ValueError("no conversation of this key is in the audit")
    if row["digest"].strip() != text_digest(conversation):
        raise ValueError("its texts changed since the sheet was written: review it again, on the new sheet")
    _refuse_changes(row, conversation)
    decision, reviewer = decision_of(AUDIT, row)
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
    for right, column in AUDIT.edits.items():
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
