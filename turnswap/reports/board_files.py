"""The two files per model that Spaces made from the official leaderboard template read.

Their reader takes ``config.model_name`` apart at the slash, multiplies ``results[task][metric]`` by 100, and looks for
a finished request of the same model and precision. Unknown is ``?`` to it, and 0 for the number of parameters.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from turnswap.core.errors import UserError

from .figures import FIGURES, MACRO
from .runs import Model
from .signature import describe_difference, published_identity
from .table import Summary

GROUP = "multiif"
UNKNOWN = "?"
OWNER = "told_apart_by"
_LONGEST = 96  # of a repository's name on the Hub


def board_files(summary: Summary, output: Path) -> dict[PurePosixPath, str]:
    """Path -> content of the request and the results, below a folder for boards.

    Raises:
        UserError: the model has no name that could be a path, or another model has it there.
    """
    name, identity = name_on_board(summary.model), summary.model.identity
    own = published_identity(identity)
    # A board tells a model's types apart by itself.
    require_own(output / "results" / name, own, lambda content: {**content[OWNER], "dtype": own.get("dtype")})
    precision = identity["dtype"] or UNKNOWN
    settings = identity.get("settings", {}).keys()
    weights = "Adapter" if {"peft", "lora_local_path"} & settings else "Original"
    weights = "Delta" if "delta" in settings else weights
    started = datetime.fromtimestamp(summary.model.when, UTC)
    parameters = max(identity["parameters"] or 0, 0)  # lm-eval writes -1 where it cannot count
    request = {
        "model": name,
        "base_model": identity.get("base") or "",
        "revision": identity["revision"] or "main",
        "private": False,
        "precision": precision,
        "params": round(parameters / 1e9, 3),
        "architectures": UNKNOWN,
        "weight_type": weights,
        "status": "FINISHED",
        "submitted_time": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "model_type": UNKNOWN,
        "license": UNKNOWN,
        "likes": None,
    }
    scopes = {GROUP if scope == MACRO else f"{GROUP}_{scope}": scope for scope in summary.published_scopes}
    results = {
        "config": {"model_name": name, "model_dtype": precision, "model_sha": identity["sha"] or None},
        "results": {
            task: {metric: value for metric in FIGURES if (value := summary.figure(scope, metric).value) == value}
            for task, scope in scopes.items()
        },
        "date": summary.model.when,
        "signature": summary.signature,
        OWNER: own,
    }
    in_names = _cleaned(precision) or "unknown"
    contents = {
        PurePosixPath("requests", f"{name}_eval_request_False_{in_names}_{weights}.json"): request,
        # To the microsecond: the reader sorts a model's results by name, less the last digits.
        PurePosixPath("results", name, f"results_{started:%Y-%m-%dT%H-%M-%S.%f}.json"): results,
    }
    return {
        path: json.dumps(each, indent=1, ensure_ascii=False, allow_nan=False) + "\n" for path, each in contents.items()
    }


def require_own(folder: Path, own: Mapping[str, Any], theirs_of: Callable[[Any], Mapping[str, Any]]) -> None:
    """Refuse a folder that holds another model's results: names that end alike do not make two models one.

    Args:
        folder: where files named after the model lie, or will.
        own: what it is told apart by.
        theirs_of: the same from the content of a file there; it may fail for files of others, which stay.
    """
    for file in sorted(folder.glob("*.json")):
        try:
            difference = describe_difference(own, theirs_of(json.loads(file.read_text("utf-8"))))
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            continue
        if difference:
            raise UserError(
                f"{file} holds results of another model that goes by the same name there: {difference}.",
                "Give this one a name of its own, NAME=RESULT, or choose another folder.",
            )


def name_on_board(model: Model) -> str:
    """Of an adapter or a delta that has no name of the user's, its own; else see :func:`board_name`."""
    base = model.identity.get("base")
    return board_name(str(model.identity["name"]) if base and model.name.startswith(f"{base} (") else model.name)


def board_name(name: str) -> str:
    """``org/model`` as it is; of any other path its last part; only characters that the Hub allows in names.

    What stands in brackets, as in ``org/model (dtype=float16)``, goes into the last part, whatever slashes it holds.

    Raises:
        UserError: nothing is left of it.
    """
    known_as, bracket, settings = name.partition(" (")
    parts = re.split(r"[/\\]", known_as)
    parts[-1] += bracket + settings
    is_repository = len(parts) == 2 and parts[0] not in ("", ".", "..", "~") and not parts[0].endswith(":")
    cleaned = [part for part in map(_cleaned, parts) if part]
    if not cleaned:
        raise UserError(f"{name!r} is no name for a model on a board.", "Give it one: NAME=RESULT.")
    return "/".join(cleaned) if is_repository else cleaned[-1]


def _cleaned(part: str) -> str:
    """Without what a file name or the Hub would not take; never ``.`` or ``..``."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", part).strip(".-")[:_LONGEST].rstrip(".-")
