"""The results files below a path: which are lm-eval's, and what the others are."""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Generator, Iterator
from glob import escape
from itertools import islice
from pathlib import Path
from typing import Any

from turnswap.core.errors import UserError
from turnswap.core.files import similar

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}\.\d+$")
_LARGEST = 64 << 20  # bytes; lm-eval's results of all its tasks together take a few million
_TOLD_BY = {
    "written by lighteval": {"config_general"},
    "written by lm-eval 0.3, which has no `configs`": {"results", "versions", "config"},
    "written by evalplus": {"eval", "hash"},
    "written by turnswap export, for a leaderboard": {"results", "signature"},
}
_OURS = (b'"turn1_', b'"instruction_ids"')  # in the first lines of results and samples of Multi-IF


class NotResults(Exception):
    """A file is no results file of lm-eval; the text says what it is."""


class CutOff(NotResults):
    """What is left of a results file of Multi-IF."""


def results_files(path: Path) -> list[Path]:
    """A results file, or those in a folder and in the folders that it links to.

    lm-eval names them ``results_<date>.json``, or after an ``--output_path`` that ends in ``.json``.
    """
    if not os.path.exists(path):
        raise UserError(
            f"{path} does not exist.{similar(path)}",
            "Expected a folder that lm_eval wrote (--output_path), or a results file in it.",
        )
    if path.is_file():
        return [path]
    there = sorted(_files(path))
    jsons = [file for file in there if file.suffix == ".json"]
    files = [file for file in jsons if file.name.startswith("results_") or _DATE.search(file.stem)]
    if not files:
        orphans = [file for file in there if re.match(r"samples_.*\.jsonl(\.gz)?$", file.name)]
        raise UserError(
            f"{path} holds no results_*.json" + (f", only samples such as {orphans[0].name}." if orphans else "."),
            "Expected a folder that lm_eval wrote (--output_path); without its results file, a run did not finish: "
            "repeat the command (with --use_cache it asks only for what is missing).",
        )
    return files


def _files(path: Path) -> Iterator[Path]:
    """Every file below, through links too; a folder once, so that links in a circle end."""
    seen = set()
    for folder, folders, files in os.walk(path, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(folder, file) for file in files)


def read_results(file: Path) -> dict[str, Any]:
    """What lm-eval wrote; :class:`NotResults` for anything else."""
    try:
        if (size := file.stat().st_size) > _LARGEST:
            raise NotResults(f"of {size >> 20} MB, too large for results")
        content = json.loads(file.read_bytes())
    except OSError as error:
        raise NotResults(f"that cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError):
        for each in (file, *samples_beside(file, "*")):
            if any(mark in line for line in islice(whole_lines(each), 40) for mark in _OURS):
                raise CutOff("cut off or damaged") from None
        raise NotResults("of broken JSON") from None
    if not isinstance(content, dict):
        raise NotResults("of JSON that is no object")
    parts = [content.get("results"), content.get("configs")]
    if not all(isinstance(part, dict) and all(isinstance(each, dict) for each in part.values()) for part in parts):
        raise NotResults(next((told for told, names in _TOLD_BY.items() if names <= content.keys()), "of another tool"))
    return content


def samples_beside(file: Path, task: str) -> list[Path]:
    """A task's samples (``*``: of all) of the same run, plain before compressed; also beside what a link leads to."""
    dated = _DATE.search(file.stem)
    date = dated.group() if dated else file.stem.removeprefix("results_")
    names = [f"samples_{task}_{escape(date)}.{ending}" for ending in ("jsonl", "jsonl.gz")]
    folders = (file.parent, Path(os.path.realpath(file)).parent)
    return [found for name in names for folder in folders for found in sorted(folder.glob(name))]


def whole_lines(path: Path) -> Generator[bytes]:
    """The lines of a samples file, decompressed; where a compressed one was cut off or damaged, the last is no JSON."""
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            yield from file
    except (EOFError, zlib.error, gzip.BadGzipFile):
        yield b"(here the compressed file ends)"
