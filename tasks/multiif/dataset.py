"""Where the conversations come from, and the proof that each can be run and graded.

The published format (``multiIF_20241018.csv``): per conversation three user turns, each with its cumulative
list of instruction ids and their kwargs, a key, and the English name of its language. A row without a third
turn is a conversation of two turns. Data of one's own may be in any language that :mod:`.languages` knows, and may
say of each instruction which rule grades it: ``turn_1_graded_by`` is a list of ``published`` and ``corrected``.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError

from .instructions import MalformedInstruction, parse_kwargs
from .languages import NAMES, code_of, near_names

HUB_REPOSITORY = "facebook/Multi-IF"
HUB_REVISION = "0ab97ce0b45c7f57772e8ba2ac1616f4b00bd3aa"
# The benchmark's content by language, see content_sha256: what was at hand to be counted. The other languages are
# recognised where they come from the Hub at HUB_REVISION.
BENCHMARK_SHA256 = {"en": "8cb4eb526c5f0ab5e5f12e7b2f06966d0edca8d18bf1483f62b8c0025717cbbf"}
SAMPLE = Path(__file__).parent / "sample" / "sample.csv"
SOURCE_VARIABLE = "TURNSWAP_MULTIIF"
TURNS = (1, 2, 3)

# The benchmark's eight languages: task suffix -> the name in the data's column ``language``.
LANGUAGES = {code: NAMES[code] for code in ("en", "zh", "fr", "ru", "hi", "es", "it", "pt")}

_COLUMNS = ["key", "language"] + [
    f"turn_{t}_{column}" for t in TURNS for column in ("prompt", "instruction_id_list", "kwargs")
]


class DatasetError(UserError):
    """The data cannot be used: says which row, what was expected and what came."""


@dataclass(frozen=True)
class Source:
    """Where conversations are read from: ``description`` goes into the results."""

    kind: str  # "hub", "csv" or "sample"
    location: str
    revision: str | None = None

    @property
    def name(self) -> str:
        """The repository, the file's name, or ``sample``."""
        return {"hub": self.location, "csv": Path(self.location).name, "sample": "sample"}[self.kind]

    @property
    def description(self) -> str:
        """One line that identifies the data."""
        return {
            "hub": f"{self.location} at revision {self.revision}",
            "csv": f"CSV file {self.name}",
            "sample": "the conversations packaged with turnswap (not the benchmark)",
        }[self.kind]


def find_source(metadata: Mapping[str, Any], *, revision: str | None = None) -> Source:
    """The source asked for by ``--metadata '{"multiif_data": …}'``, else the task's own, else the benchmark's.

    Args:
        metadata: the task's. ``multiif_data`` is the path of a CSV file in the published format, or ``sample`` for the
            packaged conversations; ``data_file`` that of a task's own CSV file, relative to the YAML of the task,
            which lm-eval names as ``config_source``. A task without one has the benchmark: ``TURNSWAP_MULTIIF``, which
            takes what ``multiif_data`` does, else the Hub.
        revision: the Hub's commit, where a task pins its own.

    Raises:
        DatasetError: the file does not exist. There is never a fall-back from one source to another.
    """
    asked, where = metadata.get("multiif_data"), "--metadata multiif_data"
    if not asked and metadata.get("data_file"):
        asked = Path(str(metadata.get("config_source", ""))).parent / str(metadata["data_file"])
        where = "The task's data_file"
    if not asked:
        asked, where = os.environ.get(SOURCE_VARIABLE), SOURCE_VARIABLE
    if not asked:
        return Source("hub", HUB_REPOSITORY, revision or HUB_REVISION)
    if asked == "sample":
        return Source("sample", str(SAMPLE))
    if not Path(str(asked)).is_file():
        raise DatasetError(
            f"{where} names {str(asked)!r}, which is no file.",
            "Expected the path of a CSV file in the published Multi-IF format, or the word sample.",
        )
    return Source("csv", str(asked))


def load_conversations(source: Source, language: str, cluster_column: str | None = None) -> list[dict[str, Any]]:
    """All conversations of one language, validated, in the order of the data.

    Args:
        source: see :func:`find_source`.
        language: the English name in the data, such as ``Chinese``.
        cluster_column: the column that names each conversation's source prompt, where the key does not.

    Returns:
        One dict per conversation: ``key``, ``language``, ``source`` (its source prompt, see :func:`source_prompt`),
        and ``turns``, two or three dicts of ``prompt``, ``instruction_ids`` and ``kwargs`` (one dict per id).

    Raises:
        DatasetError: a row of any language is malformed, or the language has no rows.
    """
    conversations = load_every_language(source, cluster_column)
    selected = [conversation for conversation in conversations if conversation["language"] == language]
    if not selected:
        present = ", ".join(sorted({str(c["language"]) for c in conversations}))
        raise DatasetError(
            f"No conversation in {language} in {source.description}.",
            f"It holds {present}. Choose the task of one of these languages, or other data.",
        )
    return selected


def load_every_language(source: Source, cluster_column: str | None = None) -> list[dict[str, Any]]:
    """All conversations of all languages; arguments, result and errors as of :func:`load_conversations`."""
    try:
        changed = os.stat(source.location).st_mtime_ns if source.kind != "hub" else 0
        return _load_all(source, changed, cluster_column)
    except OSError as error:
        raise DatasetError(f"{source.location} cannot be read: {error.strerror}.", "Check the path.") from error


def source_prompt(key: str) -> str:
    """The source prompt that a key names: the first field of ``1019:16:en`` (source, variant, language).

    Conversations with one source prompt are variants and translations of each other, and not independent. A key of
    another form names none, and stands for itself.
    """
    fields = key.split(":")
    return fields[0] if len(fields) == 3 and all(fields) else key


def count_corrected(conversations: Iterable[Mapping[str, Any]]) -> str:
    """How many slots the data have graded by the corrected rules: ``corrected in 3 of 40 slots``; empty for none."""
    turns = [turn for conversation in conversations for turn in conversation["turns"]]
    corrected = sum(list(turn.get("graded_by", ())).count("corrected") for turn in turns)
    return f"corrected in {corrected} of {sum(len(turn['kwargs']) for turn in turns)} slots" if corrected else ""


def content_sha256(conversations: Iterable[Mapping[str, Any]]) -> str:
    """What is asked in these conversations and how it is graded, in any order: keys, prompts, ids and kwargs."""
    told = sorted([c["key"], c["turns"]] for c in conversations)
    return hashlib.sha256(json.dumps(told, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


@lru_cache(maxsize=4)
def _load_all(source: Source, changed: int, cluster_column: str | None) -> list[dict[str, Any]]:
    """Every language's conversations: the eight tasks of a run read and validate them once."""
    rows = _read_hub(source) if source.kind == "hub" else _read_csv(Path(source.location))
    conversations = []
    for line, row in rows:
        conversation = parse_row(row, line)
        if cluster_column:
            conversation["source"] = str(row.get(cluster_column) or "").strip()
            if not conversation["source"]:
                lacks = "empty" if cluster_column in row else "missing"
                raise DatasetError(
                    f"Row {conversation['key']}: the column {cluster_column!r} is {lacks}.",
                    "The task's metadata name it as cluster_column: it must hold the source prompt of every "
                    "conversation.",
                )
        conversations.append(conversation)
    if not conversations:
        raise DatasetError(f"No conversations in {source.description}.", "Expected at least one row below the header.")
    keys = Counter(conversation["key"] for conversation in conversations)
    if twice := [key for key, times in keys.items() if times > 1]:
        raise DatasetError(
            f"Row {twice[0]}: this key occurs twice in {source.description}.",
            "Expected every conversation to have a key of its own.",
        )
    return conversations


def parse_row(row: Mapping[str, Any], line: int) -> dict[str, Any]:
    """One row of the published format as a conversation; see :func:`load_conversations`.

    Raises:
        DatasetError: with the row's key, or its line number where it has none.
    """
    key = str(row.get("key") or "").strip() or f"on line {line} (without a key)"
    try:
        language = row["language"]
        if code_of(str(language)) is None:
            near = " or ".join(near_names(str(language)))
            raise ValueError(
                f"unknown language {language!r}; expected one of {', '.join(LANGUAGES.values())}, or another's English "
                f"name{f', such as {near}' if near else ''}"
            )
        if not row.get("key"):
            raise ValueError("the column 'key' is empty; expected a key of its own for every conversation")
        turns = [_parse_turn(row, t) for t in TURNS]
        if turns[0] is None or turns[1] is None:
            raise ValueError("turn 1 or turn 2 has no prompt; only the third turn may be missing")
        key = str(row["key"])
        asked = [turn for turn in turns if turn is not None]
        return {"key": key, "language": language, "source": source_prompt(key), "turns": asked}
    except ValueError as error:
        raise DatasetError(f"Row {key}: {error}.") from None


def _parse_turn(row: Mapping[str, Any], turn: int) -> dict[str, Any] | None:
    """The turn's prompt, ids and kwargs; None where the conversation has no such turn."""
    column = f"turn_{turn}_prompt"
    raw = row.get(column)
    # pandas writes a missing turn as NaN, the published script as the text "None".
    if raw is None or raw != raw or str(raw).strip() in ("", "None", "nan"):
        return None
    prompt = _from_json(raw, column)
    if not isinstance(prompt, dict) or prompt.get("role") != "user" or not isinstance(prompt.get("content"), str):
        raise ValueError(f'{column} is not {{"role": "user", "content": "…"}}')
    ids_column, kwargs_column = f"turn_{turn}_instruction_id_list", f"turn_{turn}_kwargs"
    ids, kwargs = _from_json(row.get(ids_column), ids_column), _from_json(row.get(kwargs_column), kwargs_column)
    if not isinstance(ids, list) or not all(isinstance(id_, str) for id_ in ids):
        raise ValueError(f"{ids_column} is not a list of instruction ids")
    if not isinstance(kwargs, list):
        raise ValueError(f"{kwargs_column} is not a list")
    if not ids or len(ids) != len(kwargs):
        raise ValueError(f"turn {turn} has {len(ids)} instruction ids and {len(kwargs)} kwargs; expected one for each")
    parsed = []
    for number, (id_, item) in enumerate(zip(ids, kwargs, strict=True), 1):
        value = _from_json(item, f"{kwargs_column}, item {number}") if isinstance(item, str) else item
        if not isinstance(value, dict):
            raise ValueError(f"{kwargs_column}, item {number} is not an object")
        try:
            parsed.append(parse_kwargs(id_, value))
        except MalformedInstruction as error:
            raise ValueError(f"turn {turn}, instruction {number}: {error}") from None
    asked = {"prompt": prompt["content"], "instruction_ids": ids, "kwargs": parsed}
    rules_column = f"turn_{turn}_graded_by"
    if row.get(rules_column) in (None, ""):
        return asked
    rules = _from_json(row[rules_column], rules_column)
    if not isinstance(rules, list) or len(rules) != len(ids) or not {*map(str, rules)} <= {"published", "corrected"}:
        raise ValueError(f"{rules_column} is {rules!r}; expected published or corrected for each of {len(ids)} ids")
    return asked | {"graded_by": rules}


def _from_json(text: Any, column: str) -> Any:
    if not isinstance(text, str):
        return text
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{column} is broken JSON ({error})") from None


def _read_csv(path: Path) -> Iterable[tuple[int, dict[str, Any]]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = [column for column in _COLUMNS if column not in (reader.fieldnames or [])]
            if missing:
                raise DatasetError(
                    f"{path.name} has no column {missing[0]!r}.", "Expected the columns of multiIF_20241018.csv."
                )
            return [(reader.line_num, dict(row)) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path.name} cannot be read as CSV in UTF-8: {error}.") from None


def _read_hub(source: Source) -> Iterable[tuple[int, dict[str, Any]]]:
    import datasets

    try:
        rows = datasets.load_dataset(source.location, revision=source.revision, split="train")
    except Exception as error:  # the Hub's client has many ways to fail, none of which is about our data
        raise DatasetError(
            f"Multi-IF could not be loaded from the Hugging Face Hub: {type(error).__name__}: {error}",
            f"Check the connection, or name a local copy: {SOURCE_VARIABLE}=/path/to/multiIF_20241018.csv "
            f"(or {SOURCE_VARIABLE}=sample for a few conversations packaged with turnswap).",
        ) from error
    return [(number, dict(row)) for number, row in enumerate(rows, 2)]
