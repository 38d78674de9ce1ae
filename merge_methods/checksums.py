"""The SHA-256 of every file of a folder, in the form of ``sha256sum``, and what has changed since."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from turnswap.core.errors import UserError
from turnswap.core.files import cache_folder, write_whole

from .checkpoint import read_json, sha256
from .folder import CARD, CHECKSUMS, PROVENANCE, files_of

REMEMBERED = 1 << 20  # bytes from which on a file's hash is worth remembering
SETTLED = 5 * 10**9  # nanoseconds after a change


def hashes_of(files: Iterable[Path], of: Callable[[Path], str] = sha256) -> dict[Path, str]:
    """The SHA-256 of each file; ``of``: what gives it, such as :func:`remembered`."""
    once = list(dict.fromkeys(files))  # a file may serve two roles
    with ThreadPoolExecutor() as pool:  # hashlib works outside Python's lock
        return dict(zip(once, pool.map(of, once), strict=True))


def remembered(path: Path) -> str:
    """The SHA-256 of a file's content; of a large one that is as it was, from the user's cache folder.

    As it was: in its place, with the size and times that it had. The time when its inode changed is among them, which
    tools that keep a file's other times cannot set. Processes share the folder without a lock, machines too.
    """
    before = _facts(path)
    size, *times = before[:3]
    if size < REMEMBERED:
        return sha256(path)
    kept = cache_folder() / "sha256" / hashlib.sha256(repr((str(path.resolve()), before)).encode()).hexdigest()
    with suppress(OSError, ValueError):
        if re.fullmatch("[0-9a-f]{64}", known := kept.read_text("ascii")):
            return known
    digest = sha256(path)
    # A clock's tick may hide a change that follows at once.
    if before == _facts(path) and time.time_ns() - max(times) > SETTLED:
        with suppress(UserError):
            write_whole(kept, digest)
    return digest


def _facts(path: Path) -> tuple[int, int, int, int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, found.st_dev


def write_checksums(folder: Path) -> Path:
    """Write ``SHA256SUMS``, which names every other file: ``sha256sum -c SHA256SUMS`` checks it from the folder."""
    files = {name: path for name, path in files_of(folder).items() if name != CHECKSUMS}
    hashes = hashes_of(files.values())
    return write_whole(folder / CHECKSUMS, "".join(f"{_line(name, hashes[path])}\n" for name, path in files.items()))


def _line(name: str, digest: str) -> str:
    # As sha256sum itself writes names that hold a line's end.
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}"


def check_recorded(folder: Path) -> tuple[list[str], list[str]]:
    """What is not as ``SHA256SUMS`` and ``layer_swap.json`` have recorded it, where they are: problems and notes."""
    recorded = [(CHECKSUMS, name, digest) for name, digest in read_checksums(folder).items()]
    problems: list[str] = []
    if (folder / PROVENANCE).is_file():
        try:
            outputs = read_json(folder / PROVENANCE)["output"]["sha256"]
            recorded += [(PROVENANCE, str(name), str(digest)) for name, digest in outputs.items()]
        except (AttributeError, KeyError, TypeError):
            problems.append(f"{PROVENANCE}: not written by turnswap, or damaged: it names no output")
    files = files_of(folder)
    hashes = hashes_of(files[name] for _, name, _ in recorded if name in files and files[name].is_file())
    notes: list[str] = []
    for by, name, digest in recorded:
        found = hashes.get(files[name], "missing") if name in files else "missing"
        if found != digest:
            said = f"{by}: {name} is {found[:16]}, recorded {digest[:16]}"
            if name == CARD:  # people edit it, and nothing loads it
                said = f"{name} was edited after its hash was recorded, which is allowed"
            (notes if name == CARD else problems).append(said)
    return problems, notes


def read_checksums(folder: Path) -> dict[str, str]:
    """What ``SHA256SUMS`` says of each file that it names; nothing where it is not there."""
    path = folder / CHECKSUMS
    if not path.is_file():
        return {}
    found: dict[str, str] = {}
    for line in path.read_text("utf-8", "replace").rstrip("\n").split("\n"):
        match = re.fullmatch(r"(\\?)([0-9a-f]{64}) [ *](.+)", line)
        name = match[3] if match else f"the line {line[:80]!r}"
        if match and match[1]:
            name = re.sub(r"\\(.)", lambda escaped: {"n": "\n", "r": "\r"}.get(escaped[1], escaped[1]), name)
        found[name] = match[2] if match else "unreadable"
    return found
