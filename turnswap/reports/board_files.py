"""The two files per model that Spaces made from the official leaderboard template read.

Facts of these Spaces' reader: it takes ``config.model_name`` apart at the slash, multiplies ``results[task][metric]``
by 100, and looks for a finished request of the same model and precision. Unknown is ``?`` to it, and 0 for
the number of parameters (the table has a bin for that; without a number it would hide the model).
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import PurePosixPath

from turnswap.core.errors import UserError

from .figures import FIGURES, MACRO
from .table import Summary

GROUP = "multiif"
UNKNOWN = "?"
_LONGEST = 96  # of a repository's name on the Hub


def board_files(summary: Summary) -> dict[PurePosixPath, str]:
    """Path -> content of the request and the results, below a folder for boards.

    Raises:
        UserError: the model has no name that could be a path.
    """
    name, identity = board_name(summary.model.name), summary.model.identity
    precision = identity["dtype"] or UNKNOWN
    started = datetime.fromtimestamp(summary.model.when, UTC)
    parameters = max(identity["parameters"] or 0, 0)  # lm-eval writes -1 where it cannot count
    request = {
        "model": name,
        "base_model": "",
        "revision": identity["revision"] or "main",
        "private": False,
        "precision": precision,
        "params": round(parameters / 1e9, 3),
        "architectures": UNKNOWN,
        "weight_type": "Original",
        "status": "FINISHED",
        "submitted_time": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "model_type": UNKNOWN,
        "license": UNKNOWN,
        "likes": None,
    }
    # The group's mean stands for all of its languages or is not there.
    scopes = {GROUP: MACRO} if summary.model.in_all_languages else {}
    scopes |= {f"{GROUP}_{code}": code for code in summary.model.languages}
    results = {
        "config": {"model_name": name, "model_dtype": precision, "model_sha": identity["sha"] or None},
        "results": {
            task: {metric: value for metric in FIGURES if (value := summary.figure(scope, metric).value) == value}
            for task, scope in scopes.items()
        },
        "date": summary.model.when,
        "signature": summary.signature,
    }
    in_names = _cleaned(precision) or "unknown"
    contents = {
        PurePosixPath("requests", f"{name}_eval_request_False_{in_names}_Original.json"): request,
        # To the microsecond: the reader sorts a model's results by name, less the last digits.
        PurePosixPath("results", name, f"results_{started:%Y-%m-%dT%H-%M-%S.%f}.json"): results,
    }
    return {
        path: json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        for path, content in contents.items()
    }


def board_name(name: str) -> str:
    """``org/model`` as it is; of any other path its last part; only characters that the Hub allows in names.

    Raises:
        UserError: nothing is left of it.
    """
    parts = re.split(r"[/\\]", name)
    is_repository = len(parts) == 2 and parts[0] not in ("", ".", "..", "~") and not parts[0].endswith(":")
    cleaned = [part for part in map(_cleaned, parts) if part]
    if not cleaned:
        raise UserError(f"{name!r} is no name for a model on a board.", "Give it one: NAME=RESULT.")
    return "/".join(cleaned) if is_repository else cleaned[-1]


def _cleaned(part: str) -> str:
    """Without what a file name or the Hub would not take; never ``.`` or ``..``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip(".-")[:_LONGEST].rstrip(".-")
