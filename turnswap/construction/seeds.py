"""Step 1, ``seeds``: conversations to start from, in a file of the user's own or IFEval's prompts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import PositiveInt

from turnswap.core.errors import UserError, reason_of
from turnswap.core.journal import parse_lines
from turnswap.tasks.multiif.instructions import get_instruction
from turnswap.tasks.multiif.languages import name_of

from .records import DraftConversation, Outcome, Turn, check_extension, digest

VERSION = 1
_MOST_TURNS = 3


@dataclass(frozen=True)
class SeedSettings:
    """The section ``seeds``: a file or a data set on the Hub.

    Attributes:
        file: JSONL. A line is a conversation (key, language, and turns with prompt, instruction_ids and kwargs; a
            later turn repeats all ids and kwargs of the one before), or a row of IFEval's (key, prompt,
            instruction_id_list, kwargs). The first turn is enough: ``extend`` makes the missing ones. Conversations may
            be in any language, and of several: those in one that is to be made are not translated into it.
        hub: the name of a data set in IFEval's format, such as ``google/IFEval``; its split ``train`` is read.
        revision: the commit to read; without one a data set may change under its name.
        language: the code of the language of IFEval's rows.
        limit: how many seeds to take, drawn at random; all where there is none.
        seed: of that draw.
    """

    file: Path | None = None
    hub: str | None = None
    revision: str | None = None
    language: str = "en"
    limit: PositiveInt | None = None
    seed: int = 0


class Seeds:
    """The step ``seeds``. Malformed seeds are rejected, with what was given in their note."""

    name = "seeds"

    def __init__(self, settings: SeedSettings) -> None:
        if (settings.file is None) == (settings.hub is None):
            raise UserError("seeds: expected either file or hub.", "For IFEval's own prompts: hub: google/IFEval.")
        if settings.hub is not None and not settings.revision:
            raise UserError(
                "seeds.revision is missing: a data set on the Hub may change under its name.",
                "Name the commit to read, as the Hub shows it in the data set's history.",
            )
        self.settings = settings
        # The file's place is left out: its content counts.
        self.identity: list[Any] = [VERSION, {**asdict(settings), "file": None}]

    def load(self) -> list[Outcome]:
        """The seeds in the order of the data, those that are malformed rejected with the reason.

        Raises:
            UserError: the file or data set cannot be read, or holds no seed.
        """
        file, limit = self.settings.file, self.settings.limit
        outcomes = list(self._taken(_read_file(file) if file is not None else self._read_hub()))
        if not outcomes:
            raise UserError(f"{file or self.settings.hub} holds no seeds.", "Expected one a line.")
        if limit is None:
            return outcomes
        # Those that are not rejected are drawn: a seed's chance does not hang on its place among the others.
        keys = [outcome.conversation.key for outcome in outcomes if outcome.reason is None]
        drawn = set(sorted(keys, key=lambda key: digest(self.settings.seed, key))[:limit])
        return [outcome for outcome in outcomes if outcome.reason is not None or outcome.conversation.key in drawn]

    def _taken(self, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> Iterator[Outcome]:
        language, seen = self.settings.language, set[str]()
        for number, row in rows:
            try:
                content = _from_ifeval(row, language) if "instruction_id_list" in row else row
                conversation = DraftConversation.from_json(content)
                _require_gradeable(conversation)
            except (ValueError, UserError) as error:
                reason = error.message if isinstance(error, UserError) else str(error)
                yield _rejected(row, number, language, f"malformed: {reason}")
                continue
            if conversation.key in seen:
                yield _rejected(row, number, language, f"the key occurs twice: {conversation.key}")
            else:
                yield Outcome(conversation)
            seen.add(conversation.key)

    def _read_hub(self) -> Iterator[tuple[int, dict[str, Any]]]:
        import datasets

        try:
            rows = datasets.load_dataset(self.settings.hub, revision=self.settings.revision, split="train")
        except Exception as error:  # the Hub's client has many ways to fail, none of which is about our data
            raise UserError(
                f"{self.settings.hub} could not be loaded from the Hub: {type(error).__name__}: {error}",
                "Check name, revision and connection, or download the JSONL file and name it: seeds: {file: PATH}.",
            ) from error
        return ((number, dict(row)) for number, row in enumerate(rows, 1))


def _read_file(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file with their line numbers. Unlike a step's file it may lack its last newline."""
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The seeds {path} cannot be read: {reason_of(error)}.") from error
    return parse_lines(lines, path)


def _from_ifeval(row: Mapping[str, Any], language: str) -> dict[str, Any]:
    """A row of IFEval's as a conversation of one turn: its kwargs are null where an instruction does not use them."""
    ids, kwargs = row["instruction_id_list"], row.get("kwargs")
    if "key" not in row:
        raise ValueError("key is missing")
    if not isinstance(kwargs, list) or not all(isinstance(each, Mapping) for each in kwargs):
        raise ValueError("kwargs is no list of objects")
    used = [{name: value for name, value in each.items() if value is not None} for each in kwargs]
    turn = {"prompt": row.get("prompt"), "instruction_ids": ids, "kwargs": used}
    return {"key": f"ifeval-{row['key']}", "language": language, "turns": [turn]}


def _require_gradeable(conversation: DraftConversation) -> None:
    """A ValueError where the turns do not follow from each other, or a kwarg is none that the published grader uses."""
    if ":" in conversation.key:
        raise ValueError("the key has a colon, behind which a translation names its language")
    if len(conversation.turns) > _MOST_TURNS:
        raise ValueError(f"there are {len(conversation.turns)} turns; expected at most {_MOST_TURNS}")
    name_of(conversation.language)  # refuses what is no language
    check_extension(conversation.turns)
    if not conversation.turns[0].instruction_ids:
        raise ValueError("turn 1 has no instruction")
    for id_, kwargs in conversation.last.instructions:
        if not get_instruction(id_).as_published(dict(kwargs)):
            raise ValueError(f"the published grader cannot use the kwargs of {id_} as they are: {dict(kwargs)}")


def _rejected(row: Mapping[str, Any], number: int, language: str, reason: str) -> Outcome:
    """What is left of a seed that is none: its first prompt, if any, and all that was given in the note."""
    turns = row.get("turns")
    first = turns[0] if isinstance(turns, list) and turns and isinstance(turns[0], Mapping) else row
    prompt = first.get("prompt")
    turn = Turn(prompt if isinstance(prompt, str) and prompt.strip() else "(no prompt)", (), ())
    key = f"line-{number}" if row.get("key") is None else f"{row['key']} (line {number})"
    given = json.loads(json.dumps(dict(row)), parse_constant=lambda _: None)  # a step's file is JSON, which has no NaN
    return Outcome(DraftConversation(key, language, (turn,), {Seeds.name: {"given": given}}), reason)
