"""The audit's sheets (:mod:`.forms`): what reviewers fill in of each conversation.

What was filled in is read back strictly: all of it fits the conversations as they are, or none is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from turnswap.core.files import write_whole
from turnswap.core.pages import render_page
from turnswap.tasks.multiif.dataset import TURNS
from turnswap.tasks.multiif.instructions import MalformedInstruction, parse_kwargs

from .edits import EditChecks, comparable, faults_of_edit
from .equivalent import equivalent, questions_words
from .falsify import fits, graded_in_force
from .forms import Form, csv_file, decision_of, read_filled_in, stays, write_form
from .instructions.making import texts_of
from .plain_words import called, plain_words
from .records import Conversations, DraftConversation, Turn, digest, json_text
from .sheet_page import checks_of, shown

EDITED = (*(f"edited_{turn}" for turn in TURNS), "edited_kwargs")
FILLED_IN = ("decision", *EDITED, "satisfying_reply", "comment", "reviewer")
DISAGREE = "reviewers disagree"
_OF_TURNS = ("source", "translation", "back_translation", "checks")
_TEXTS = [f"{text}_{turn}" for turn in TURNS for text in _OF_TURNS]
_plain = cache(plain_words)
_LAST_TURN = ("instructions", "source_kwargs", "kwargs")
COLUMNS = (
    "key",
    "digest",
    "language",
    "source_language",
    "returned",
    *_TEXTS,
    *_LAST_TURN,
    "scores",
    "problems",
    *FILLED_IN,
)
AUDIT = Form(
    "audit",
    "Review of conversations",
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
    of = source_of(conversation) or {}
    source = of.get("turns", [])
    texts = {
        "translation": conversation.prompts,
        "source": [turn["prompt"] for turn in source],
        "back_translation": note.get("back", ()),
        "checks": checks_of(conversation, _plain()),
    }
    row = dict.fromkeys(COLUMNS, "")
    row |= {f"{name}_{number}": text for name, each in texts.items() for number, text in enumerate(each, 1)}
    return row | {
        "key": conversation.key,
        "digest": text_digest(conversation),
        "language": conversation.language,
        "source_language": of.get("language", ""),
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

    Rows in several languages get a sheet each, ``audit_sw.csv`` and ``audit_sw.html``; ``audit.csv`` then has all rows,
    and ``audit.html`` leads to the pages.

    Raises:
        UserError: a CSV that is there has other conversations and something filled in, or a file cannot be written.
    """
    languages = sorted({row["language"] for row in rows})
    alone = len(languages) == 1
    sheets = [
        (
            replace(AUDIT, name=AUDIT.name if alone else f"audit_{code}", title=f"{AUDIT.title} in {called(code)}"),
            [row for row in rows if row["language"] == code],
        )
        for code in languages
    ]
    advice = "Save it under another name, name that under audit.reviews, and delete the one that is there."
    kept = [stays(form, folder, own, advice) for form, own in [(AUDIT, rows), *sheets]]  # all, before one is written
    for form, own in sheets:
        write_form(form, folder, own, advice, shown=[shown(row, _plain()) for row in own], disagree=DISAGREE)
    if not alone and not kept[0]:
        pages = {f"{form.name}.html": f"{form.title}: {len(own)}" for form, own in sheets}
        page = render_page("turnswap.construction", "audit_pages.html.j2", AUDIT.title, [], pages=pages)
        write_whole(folder / f"{AUDIT.name}.csv", csv_file(AUDIT, rows))
        write_whole(folder / f"{AUDIT.name}.html", page)


@dataclass(frozen=True)
class Review:
    """What a reviewer decided.

    Attributes:
        decision: ``accept``, ``edit`` or ``reject``.
        turns: the conversation's, edited where the decision is to edit.
        after_return: given on a sheet that said why the conversation came back from the proof.
        doubts: what is odd about the edit, and no reason to refuse it.
    """

    key: str
    reviewer: str
    decision: str
    turns: tuple[Turn, ...]
    comment: str = ""
    satisfying_reply: str = ""
    after_return: bool = False
    doubts: tuple[str, ...] = ()

    @property
    def verdict(self) -> tuple[bool, list[Any]]:
        """What reviewers must have in common to agree: to keep it or not, and the texts but for spaces."""
        return self.decision != "reject", comparable(self.turns)


def read_reviews(
    files: Mapping[str, bytes], conversations: Conversations, checks: EditChecks
) -> tuple[list[Review], list[str]]:
    """The reviews in these files (their contents by name), in order, and what is wrong with rows, a line for each.

    Rows with nothing filled in are left out. Wrong are an unknown key or decision, no reviewer, a text that changed
    since the sheet was written, edits that do not parse, no longer match or fail the ``checks`` of a translation, a
    reply that fails an instruction.

    Raises:
        UserError: a file is no sheet.
    """
    known = {conversation.key: conversation for conversation in conversations}
    return read_filled_in(AUDIT, files, lambda row, _: _read(row, known, checks))


def _read(row: Mapping[str, str], known: Mapping[str, DraftConversation], checks: EditChecks) -> Review:
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
    turns, doubts = _edited(row, conversation, checks) if decision == "edit" else (conversation.turns, [])
    reply, after_return = row["satisfying_reply"].strip(), bool(row["returned"].strip())
    if reply and decision != "reject":
        found = fits(turns, conversation.language) if checks.falsifiable else []
        attempt = graded_in_force(reply, turns, conversation.language, found)
        if attempt.failed:
            raise ValueError(f"the satisfying_reply does not follow {attempt.failed_ids}")
    if decision == "accept" and after_return and not reply:
        raise ValueError("it came back from the proof: to accept it, give a satisfying_reply")
    comment = row["comment"].strip()
    return Review(row["key"], reviewer, decision, turns, comment, reply, after_return, tuple(doubts))


def _refuse_changes(row: Mapping[str, str], conversation: DraftConversation) -> None:
    """An edit in the wrong column would be lost without a word."""
    written = row_of(conversation)
    for right, column in AUDIT.edits.items():
        if row[column] != written[column]:
            raise ValueError(f"{column} was changed; write edits into {right}")


def _edited(
    row: Mapping[str, str], conversation: DraftConversation, checks: EditChecks
) -> tuple[tuple[Turn, ...], list[str]]:
    """The turns with the edits, checked as a translation is, and what is odd about them."""
    last = conversation.last
    for number in TURNS[len(conversation.turns) :]:
        if row[f"edited_{number}"].strip():
            raise ValueError(f"edited_{number} is filled in, and there is no turn {number}")
    prompts = [row[f"edited_{number}"].strip() or turn.prompt for number, turn in enumerate(conversation.turns, 1)]
    kwargs = _edited_kwargs(row["edited_kwargs"], last) if row["edited_kwargs"].strip() else None
    of = source_of(conversation)
    source = None if of is None else DraftConversation.from_json({"key": conversation.key, **of})
    before = source.turns if source else conversation.turns
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
    faults, doubts = faults_of_edit(conversation, turns, source, checks)
    if faults:
        raise ValueError(f"the edit does not pass what a translation must: {'; '.join(faults)}")
    return turns, doubts


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
