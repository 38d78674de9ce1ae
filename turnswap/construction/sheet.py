"""The audit's sheets: what reviewers fill in, as CSV for spreadsheets and as one page for a browser.

Both have the same columns. The page needs no network, keeps what is filled in in the browser, and exports it as CSV.
What was filled in is read back strictly: all of it fits the conversations as they are, or none is used.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.core.pages import json_for_script, render_page
from turnswap.tasks.multiif.dataset import TURNS
from turnswap.tasks.multiif.instructions import MalformedInstruction, parse_kwargs
from turnswap.tasks.multiif.languages import name_of

from .constructors import graded
from .equivalent import equivalent, questions_words
from .instructions.making import texts_of
from .records import Conversations, DraftConversation, Turn, digest, json_text

EDITED = (*(f"edited_{turn}" for turn in TURNS), "edited_kwargs")
FILLED_IN = ("decision", *EDITED, "satisfying_reply", "comment", "reviewer")
_TEXTS = [f"{text}_{turn}" for turn in TURNS for text in ("source", "translation", "back_translation")]
_LAST_TURN = ("instructions", "source_kwargs", "kwargs")
COLUMNS = ("key", "digest", "language", "returned", *_TEXTS, *_LAST_TURN, "scores", "problems", *FILLED_IN)
DECISIONS = ("accept", "edit", "reject")

# What spreadsheets take for a formula; behind an apostrophe they show it as text.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")


def neutral(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula; :func:`original` is its inverse."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def original(cell: str) -> str:
    """What :func:`neutral` was given; also of a cell typed with a leading apostrophe, as spreadsheets have it."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


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


def as_csv(rows: Sequence[Mapping[str, str]], columns: Sequence[str] = COLUMNS) -> str:
    """Rows as CSV, no cell a formula."""
    cells = [[neutral(row.get(column, "")) for column in columns] for row in rows]
    return str(pd.DataFrame(cells, columns=list(columns)).to_csv(index=False, lineterminator="\r\n"))


def read_csv(content: bytes, name: str) -> list[dict[str, str]]:
    """The rows of a sheet that was filled in, as they were before :func:`as_csv`. Line breaks are LF.

    Spreadsheets part columns by semicolons or tabs where commas are decimal: the first line tells.

    Raises:
        UserError: it is no CSV in UTF-8, or a column is missing, unknown, or there twice.
    """
    try:
        text = content.decode("utf-8-sig")
        first = text.split("\n", 1)[0]
        csv.field_size_limit(10**9)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=first.count), strict=True)
        header, *lines = [line for line in reader if any(line)] or [[]]
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not in UTF-8: {error}.", 'Save it as "CSV UTF-8".') from error
    except csv.Error as error:
        raise UserError(f"{name} is no CSV: {error}.", "Save it again, or export it from the page.") from error
    if missing := [column for column in COLUMNS if column not in header]:
        raise UserError(
            f"{name} lacks the columns {', '.join(missing)}.", "Fill in a copy of audit.csv, all columns kept."
        )
    if unknown := [column for column in header if column not in COLUMNS]:
        raise UserError(f"{name} has columns that no sheet has: {', '.join(map(repr, unknown))}.", "Remove them.")
    if len(header) > len(COLUMNS):
        raise UserError(f"{name} has a column twice.", "Remove one of them.")
    for number, line in enumerate(lines, 1):
        if len(line) != len(header):
            raise UserError(
                f"{name}, row {number}, has {len(line)} cells; expected {len(header)}.", "Save it again as CSV."
            )
    return [
        {column: original(cell.replace("\r\n", "\n")) for column, cell in zip(header, line, strict=True)}
        for line in lines
    ]


def write_sheets(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    """``audit.csv`` and ``audit.html`` of rows as :func:`row_of` makes them, unless there are the same already.

    Raises:
        UserError: the CSV that is there has other conversations and something filled in, or a file cannot be written.
    """
    path, content = folder / "audit.csv", as_csv(rows).encode("utf-8-sig")
    if path.exists():
        there = read_csv(path.read_bytes(), str(path))
        filled = any(row[column].strip() for row in there for column in FILLED_IN)
        if filled and list(map(_fixed, there)) == list(map(_fixed, read_csv(content, str(path)))):
            return
        if filled:
            raise UserError(
                f"{path} has decisions filled in, and the sheet would change: other conversations or texts.",
                "Save it under another name, name that under audit.reviews, and delete audit.csv.",
            )
    write_whole(path, content)
    write_whole(folder / "audit.html", as_page(rows))


def _fixed(row: Mapping[str, str]) -> dict[str, str]:
    return {column: row[column] for column in COLUMNS if column not in FILLED_IN}


def as_page(rows: Sequence[Mapping[str, str]]) -> str:
    """The page. Texts reach it through the template, which escapes them, and as JSON that cannot end its element."""
    fixed = list(map(_fixed, rows))
    return render_page(
        "turnswap.construction",
        "sheet.html.j2",
        "Audit of translated conversations",
        ["sheet.css", "sheet.js"],
        rows=rows,
        turns=TURNS,
        decisions=DECISIONS,
        names={language: name_of(language) for language in sorted({row["language"] for row in rows})},
        data=json_for_script({"columns": COLUMNS, "sheet": digest(fixed), "rows": fixed}),
    )


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
