"""Who works on what, among processes that share a folder: a claim lives as long as its process does.

A claim is a file that its process touches every few seconds. Works on network file systems, where locks may not: times
are compared with those of a file that this process touches, so that clocks of machines do not matter.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped] # it has no types

BEAT, DEAD = 5.0, 60.0  # seconds between touches; without one, after which a process counts as dead


class Claims:
    """The claims in a folder, and those that this process holds; a thread keeps them alive."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(parents=True, exist_ok=True)
        self._held: set[Path] = set()
        self._own = folder / f"worker-{uuid.uuid4().hex}"
        self._own.touch()
        self._stop = threading.Event()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._stop.wait(BEAT):
            for path in (self._own, *self._held):
                with contextlib.suppress(OSError):
                    os.utime(path)

    def close(self) -> None:
        """Give everything up."""
        self._stop.set()
        for path in (self._own, *self._held):
            path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def claim(self, key: str) -> Iterator[bool]:
        """Claim a piece of work; False where a living process holds it. Given up at the end."""
        path = self._path(key)
        got = self._create(path) or (not self._lives(path) and self._take_over(path))
        if got:
            self._held.add(path)
        try:
            yield got
        finally:
            if got:
                self._held.discard(path)
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def turn(self, key: str) -> Iterator[None]:
        """Wait until this process holds a claim, for what takes a moment and one process at a time may do."""
        while True:
            with self.claim(key) as mine:
                if mine:
                    yield
                    return
            time.sleep(0.05)

    def lives(self, key: str) -> bool:
        """Whether a living process holds this claim."""
        return self._lives(self._path(key))

    def _path(self, key: str) -> Path:
        return self._folder / f"claim-{hashlib.sha256(key.encode()).hexdigest()[:32]}"

    def _create(self, path: Path) -> bool:
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump({"machine": _machine(), "process": os.getpid()}, file)
        except FileExistsError:
            return False
        return True

    def _take_over(self, path: Path) -> bool:
        # Two may do so at the same moment, and then both work on one thing: the results are the same.
        gone = path.with_name(f"{path.name}-{uuid.uuid4().hex}")
        with contextlib.suppress(FileNotFoundError):
            path.rename(gone)
        gone.unlink(missing_ok=True)
        return self._create(path)

    def _lives(self, path: Path) -> bool:
        try:
            holder, touched = path.read_text("utf-8"), path.stat().st_mtime
        except FileNotFoundError:
            return False
        with contextlib.suppress(ValueError, KeyError):  # half-written: its age tells
            said = json.loads(holder)
            if said["machine"] == _machine() and not psutil.pid_exists(int(said["process"])):
                return False
        self._own.touch()  # the number may be another process's by now: the age tells
        return self._own.stat().st_mtime - touched < DEAD


def _machine() -> str:
    """A name for what numbers processes here: containers of one machine each number their own."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}"
