"""The replies that a run has: those in lm-eval's cache, with what was said beside them, and those of this run.

A text lies in lm-eval's own table, under lm-eval's own key, so that lm-eval finds it too. What its answer said beside
it (finish reason, tokens, reasoning) lies under the same key in a table of ours. Sampled replies have no key: lm-eval
never caches them.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from lm_eval.api.model import LM, CachingLM, hash_args

from turnswap.core.errors import UserError

from .answers import Answer
from .conversation import Conversation
from .identity import identity

log = logging.getLogger(f"lm_eval.{__name__}")  # a child of lm-eval's logger: shown as its own messages are

Arguments = tuple[Any, dict[str, Any]]
_METHOD = "generate_until"
_MODEL = "the model"
_TABLE = "turnswap"
# Rows of our table for whoever watches the run (turnswap.reports.watch): each conversation's document by the
# conversation's name; and per conversation, turn and repeat the key of its reply.
DOCUMENTS, PLACE = "documents", "place "
_CONFIRM_EVERY = 64  # entries between two looks at whether they are on the disk
_PAUSE = 10.0  # seconds between two attempts to write where the disk is full


class Replies:
    """What has been answered; the same request is found again, whoever asks.

    It takes what a model hands to lm-eval's cache hook, too: see :meth:`add_partial`.

    Args:
        lm: the outer model. With ``--use_cache`` replies are written as they come in.
        adopt: take over a cache that another model made.

    Raises:
        UserError: the cache is of another model or endpoint.
    """

    def __init__(self, lm: LM | CachingLM, adopt: bool = False) -> None:
        self._store = lm.dbdict if isinstance(lm, CachingLM) else None
        self._answers: dict[str, Answer] = {}  # of this run
        self._unwritten: dict[tuple[str, bool], Any] = {}  # by key, and whether it is in lm-eval's table
        self._failed_at: float | None = None
        self._expected: defaultdict[str, list[str | None]] = defaultdict(list)
        if self._store is not None:
            logging.getLogger("sqlitedict").setLevel(logging.CRITICAL)  # it logs a stack per entry it cannot write
            self._store.conn.execute(f"CREATE TABLE IF NOT EXISTS {_TABLE} (key TEXT PRIMARY KEY, value TEXT)")
            self._require_own(lm, adopt)
            found = self._store.conn.select(f"SELECT key, value FROM {_TABLE} WHERE key LIKE '{PLACE}%'")
            self._places = {key: json.loads(value) for key, value in found}

    @property
    def lasting(self) -> bool:
        """Whether replies outlive the process."""
        return self._store is not None

    def _require_own(self, lm: LM | CachingLM, adopt: bool) -> None:
        now, before = identity(lm), self._read(_MODEL, theirs=False)
        if before not in (None, now) and not adopt:
            raise UserError(
                f"The cache {lm.cache_db} was made by {before}, and now {now} is asked: their replies differ.",
                "Choose another --use_cache path. If both are the same model, for example at a new address, "
                """take the cache over: --metadata '{"cache": "adopt"}'.""",
            )
        if before != now:
            self._write({(_MODEL, False): now})

    def key(self, arguments: Arguments, conversation: Conversation) -> str | None:
        """Under which key an answer is found again; it is noted whose turn it is.

        The first repeat's is lm-eval's own, the others have their own.
        Where a temperature alone asks for sampling, as API models take it, each conversation has its own.

        Returns:
            None where lm-eval knows that a request is sampled, and so caches no answer.
        """
        if arguments[1].get("do_sample", False):
            return None
        own = [conversation.script.name] if arguments[1].get("temperature") else []
        own += [f"repeat {conversation.repeat + 1}"] if conversation.repeat else []
        key: str = hash_args(_METHOD, (*arguments, *own))
        place = PLACE + json.dumps([conversation.script.name, conversation.turn, conversation.repeat])
        if self._store is not None and self._places.get(place) != key:
            self._places[place] = key
            self._write({(place, False): key})
        return key

    def note_documents(self, documents: Mapping[str, Any]) -> None:
        """Write what the run's conversations are, for whoever watches it; where there is no room, nobody can."""
        if self._store is not None:
            text = zlib.compress(json.dumps(documents, default=str, skipkeys=True).encode())
            with suppress(sqlite3.Error):
                self._store.conn.execute(f"REPLACE INTO {_TABLE} VALUES (?, ?)", (DOCUMENTS, text))
                self._store.commit(blocking=True)

    def expect(self, requests: Iterable[tuple[Arguments, str | None]]) -> None:
        """What is about to be asked, and under which keys: a model hands :meth:`add_partial` the arguments alone."""
        self._expected.clear()
        for arguments, key in requests:
            self._expected[hash_args(_METHOD, arguments)].append(key)

    def get(self, key: str | None) -> Answer | None:
        """The answer with this key, from this run or from the cache."""
        if key is None:
            return None
        if key not in self._answers and (text := self._read(key)) is not None:
            self._answers[key] = Answer(text, **(self._read(key, theirs=False) or {}))
        return self._answers.get(key)

    def put(self, key: str | None, answer: Answer) -> Answer:
        """Keep an answer; returns the one that holds, which is the first of its key."""
        if key is None:
            return answer
        if key not in self._answers:
            self._answers[key] = answer
            # What is beside the text first: a text in the cache is a whole answer.
            beside = answer.beside()
            self._write(({(key, False): beside} if beside else {}) | {(key, True): answer.text})
        return self._answers[key]

    def add_partial(self, method: str, arguments: Arguments, answer: str | Answer) -> None:
        """lm-eval's cache hook, to which a model gives each reply as soon as it has it."""
        keys = self._expected[hash_args(method, arguments)]
        if keys:
            self.put(keys.pop(0), answer if isinstance(answer, Answer) else Answer(answer))

    def finish(self) -> None:
        """See to it that everything is on the disk, or say what is not."""
        if self._store is None:
            return
        self._confirm()
        if self._unwritten:
            log.warning("%d entries are not in the cache: it could not be written to the end.", len(self._unwritten))

    # ------------------------------------------------------------------------------------------- the disk

    def _read(self, key: str, theirs: bool = True) -> Any:
        """What a table holds under a key; None where it holds nothing."""
        if self._store is None or (key, theirs) in self._unwritten:
            return self._unwritten.get((key, theirs))
        for _ in range(2):
            try:
                if theirs:
                    return self._store.get(key)
                row = self._store.conn.select_one(f"SELECT value FROM {_TABLE} WHERE key = ?", (key,))
                return json.loads(row[0]) if row else None
            except sqlite3.Error as error:  # of an earlier entry, which sqlitedict raises at the next call
                self._complain(error)
        return None

    def _write(self, entries: dict[tuple[str, bool], Any]) -> None:
        if self._store is None:
            return
        self._unwritten |= entries
        if self._failed_at is not None:
            if time.monotonic() - self._failed_at > _PAUSE:
                self._confirm()
            return
        try:
            self._put_in(entries.items())
        except sqlite3.Error as error:
            self._complain(error)
        if self._failed_at is None and len(self._unwritten) >= _CONFIRM_EVERY:
            self._confirm()

    def _put_in(self, entries: Iterable[tuple[tuple[str, bool], Any]]) -> None:
        assert self._store is not None
        for (key, theirs), value in entries:
            if theirs:
                self._store[key] = value
            else:
                self._store.conn.execute(f"REPLACE INTO {_TABLE} VALUES (?, ?)", (key, json.dumps(value)))

    def _confirm(self) -> None:
        """Wait until all entries are on the disk; where some are known not to be, write those in doubt again."""
        assert self._store is not None
        try:
            if self._failed_at is not None:
                self._put_in(self._unwritten.items())
            self._store.commit(blocking=True)
        except sqlite3.Error as error:
            self._complain(error)
            return
        if self._failed_at is not None:
            log.warning("The cache can be written again: no reply is missing in it.")
        self._failed_at = None
        self._unwritten.clear()

    def _complain(self, error: sqlite3.Error) -> None:
        if self._failed_at is None:
            log.warning(
                "The cache cannot be written (%s). The run goes on and keeps its replies in memory. Free space on "
                "the disk, and it writes them too.", error,
            )  # fmt: skip
        self._failed_at = time.monotonic()
