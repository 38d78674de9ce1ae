"""The figures so far of a run in progress, from its ``--use_cache``, which is only ever read, and from what is through.

Each look takes milliseconds: the run, which waits up to five seconds for its turn to write, is never kept from it.
"""

from __future__ import annotations

import glob
import io
import json
import pickle
import sqlite3
import zlib
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError
from turnswap.core.progress import progress
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.metrics import ACCURACIES, TURNS, accuracy_pairs, mean_of_four
from turnswap.tasks.multiturn.answers import Answer
from turnswap.tasks.multiturn.cache import DOCUMENTS, PLACE
from turnswap.tasks.multiturn.reasoning import KNOWN, set_reasoning_aside

from .figures import Resampling
from .folders import results_files
from .reading import Reading, read_models
from .sheets import TURN_NAMES, Sheet, notes_of, percent
from .table import summarise
from .terminal import accuracy_sheet

_AT_ONCE = 500  # rows of one look
_Place = tuple[str, int, int]  # name of the conversation, turn from 0, repeat from 0


class _Text(pickle.Unpickler):
    """What lm-eval's cache holds is a pickled string; nothing else is made from it."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no reply")


class Watch:
    """A run in progress.

    Args:
        paths: of ``--use_cache``, as lm_eval got it, or the files themselves; and folders of results, whose finished
            runs are shown beside it, those too that come meanwhile.

    Raises:
        UserError: there is no cache.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        self.folders = [Path(path) for path in paths if Path(path).is_dir()]
        paths = [path for path in paths if Path(path) not in self.folders]
        found = [[path] if Path(path).is_file() else glob.glob(f"{glob.escape(path)}_rank*.db") for path in paths]
        self.caches = dict.fromkeys((Path(file) for files in found for file in files), 0)  # with the last row seen
        if not all(found):
            raise UserError(
                f"There is no cache {paths[found.index([])]}_rank0.db.",
                "Expected what lm_eval got as --use_cache; a run makes its file when it begins to ask.",
            )
        self._finished: tuple[list[Path], list[Sheet]] = ([], [])
        self.documents: dict[str, Any] = {}
        self.waiting: dict[str, set[_Place]] = {}  # by the key of the reply
        self.replies: dict[_Place, tuple[Any, bool | None]] = {}  # the four accuracies, and whether it was truncated

    def refresh(self) -> None:
        """Grade what has come since the last look; a cache that cannot be read right now is left for the next."""
        for cache in self.caches:
            try:
                with closing(sqlite3.connect(f"{cache.resolve().as_uri()}?mode=ro", uri=True, timeout=1)) as opened:
                    tables = {name for (name,) in opened.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
                    if "turnswap" in tables:
                        self._look(cache, opened)
                    elif tables - {"unnamed"}:  # lm-eval's own alone: the run has not begun to ask
                        raise sqlite3.DatabaseError("it holds other tables")
            except sqlite3.Error as error:
                if getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
                    continue
                raise UserError(
                    f"{cache} is no cache that a run of turnswap writes ({error}).",
                    "Expected what lm_eval got as --use_cache for a task such as multiif_en.",
                ) from None

    def _look(self, cache: Path, opened: sqlite3.Connection) -> None:
        query = "SELECT rowid, key, value FROM turnswap WHERE rowid > ? AND (key = ? OR key LIKE ?) ORDER BY 1 LIMIT ?"
        while rows := opened.execute(query, (self.caches[cache], DOCUMENTS, f"{PLACE}%", _AT_ONCE)).fetchall():
            self.caches[cache] = rows[-1][0]
            for _, name, value in rows:
                if name == DOCUMENTS:
                    documents = json.loads(zlib.decompress(value))
                    self.documents |= {name: doc for name, doc in documents.items() if _is_ours(doc)}
                else:
                    self.waiting.setdefault(json.loads(value), set()).add(tuple(json.loads(name.removeprefix(PLACE))))
        keys = list(self.waiting)
        starts = range(0, len(keys), _AT_ONCE)
        for start in progress(starts, "Grading what has come") if len(starts) > 1 else starts:
            some = keys[start : start + _AT_ONCE]
            query = (
                "SELECT u.key, u.value, t.value FROM unnamed u LEFT JOIN turnswap t ON t.key = u.key "
                f"WHERE u.key IN ({','.join('?' * len(some))})"
            )
            for key, text, beside in opened.execute(query, some).fetchall():
                self._grade(self.waiting.pop(key), Answer(_Text(io.BytesIO(text)).load(), **json.loads(beside or "{}")))

    def _grade(self, places: set[_Place], answer: Answer) -> None:
        reply = set_reasoning_aside(answer.text, KNOWN).text
        for place in places:
            name, number, _ = place
            if name in self.documents:
                turn = self.documents[name]["turns"][number]
                pairs = accuracy_pairs(grade_reply(reply, turn["instruction_ids"], turn["kwargs"]))
                self.replies[place] = (tuple(pairs[kind] for kind in ACCURACIES), answer.truncated(None))

    @property
    def expected(self) -> list[_Place]:
        """The places of all replies that there will be."""
        turns = [(name, turn) for name, doc in self.documents.items() for turn in range(len(doc["turns"]))]
        repeats = 1 + max((repeat for _, _, repeat in self.replies), default=0)
        return [(*each, repeat) for each in turns for repeat in range(repeats)]

    def finished(self) -> list[Sheet]:
        """Overall accuracy of the runs that are through, by model; read again where there are more."""
        with suppress(UserError):  # nothing is there yet, or just being written: the next look finds it
            files = [file for folder in self.folders for file in results_files(folder)]
            if files != self._finished[0]:
                models = read_models([*map(str, self.folders)], Reading(latest=True))
                self._finished = (files, [accuracy_sheet(each) for each in summarise(models, Resampling(1_000))])
        return self._finished[1]

    def sheet(self) -> Sheet:
        """The figures so far: per task and turn, overall accuracy, of how many of how many replies."""
        rows, expected = [], self.expected
        for task in dict.fromkeys(name.split(" ")[0] for name, _, _ in expected):
            row, cut = [task], 0
            for turn in range(len(TURNS)):
                places = [place for place in expected if place[0].split(" ")[0] == task and place[1] == turn]
                come = [self.replies[place] for place in places if place in self.replies]
                value = mean_of_four([pairs for pairs, _ in come])[0] if come else float("nan")
                row.append(f"{percent(value)} ({len(come)} of {len(places)})")
                cut += sum(bool(truncated) for _, truncated in come)
            rows.append([*row, str(cut)])
        done = sum(place in self.replies for place in expected)
        title = f"Run in progress: {done} of {len(expected)} replies, overall accuracy so far"
        return Sheet(title, ["task", *TURN_NAMES, "truncated"], rows, notes=notes_of("watched"))


def _is_ours(doc: Any) -> bool:
    turns = doc.get("turns") if isinstance(doc, dict) else None
    return isinstance(turns, list) and all(isinstance(turn, dict) and "instruction_ids" in turn for turn in turns)
