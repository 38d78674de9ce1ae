"""A model's figures in the files of others' collections: of leaderboards on the Hub, and of Every Eval Ever.

Spaces made from the official leaderboard template read two files per model. Their reader takes ``config.model_name``
apart at the slash, multiplies ``results[task][metric]`` by 100, and looks for a finished request of the same model and
precision. Unknown is ``?`` to it, and 0 for the number of parameters.

Every Eval Ever takes figures with their intervals, and every conversation with all of its turns. By its schema 0.3.0 a
conversation stands there once per turn, with the messages up to that turn, its score, and the figure that it is a part
of; figures over languages have no lines of their own.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import tomllib
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.metrics import ACCURACIES, SPREAD

from .figures import FIGURES, MACRO, OVERALL
from .model_card import data_set, hub_revision
from .runs import Model
from .signature import describe_difference, published_identity
from .table import Summary, split_metric

GROUP = "multiif"
UNKNOWN = "?"
OWNER = "told_apart_by"
_LONGEST = 96  # of a repository's name on the Hub
COLLECTION = "multi-if"
NOBODY = "no-organization"  # where a name has no organisation before its slash: the schema wants one
_CONSTANT = tomllib.loads(Path(__file__).with_name("every_eval_ever.toml").read_text("utf-8"))


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
                f"{file} holds results of another model with the same name: {difference}.",
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


def record_id(scope: str, metric: str) -> str:
    """``turn1_overall`` of all languages, ``en_turn1_overall`` of one: the ids of the Hub's eval results as well."""
    return f"{'' if scope == MACRO else f'{scope}_'}turn{split_metric(metric)[0]}_overall"


def record(summary: Summary, output: Path, source: str | None = None) -> dict[PurePosixPath, str]:
    """Path -> content of one model's record; the same model gets the same paths again.

    Args:
        summary: the figures.
        output: where other records may lie.
        source: an address where more about the evaluation is found.

    Raises:
        UserError: the model has no name that could be a path, or another model has it there.
    """
    model, name = summary.model, name_on_board(summary.model)
    name = name if "/" in name else f"{NOBODY}/{name}"
    known = published_identity(model.identity)
    number = uuid.UUID(hashlib.sha256(json.dumps([name, known], sort_keys=True).encode()).hexdigest()[:32], version=4)
    folder = PurePosixPath("data", COLLECTION, name)
    own = {"name": known["name"]}
    require_own(output / folder, own, lambda of: {"name": of["model_info"]["additional_details"]["name"]})
    address = model.identity["settings"].get("base_url", "")
    here = model.identity["backend"] in _CONSTANT["run_by_oneself"] or "//localhost" in address
    axes = {"deployment_type": "self_deployed" if here else "unknown"}
    axes["model_availability"] = "open_weights" if known.get("sha") else "unknown"
    constant = _CONSTANT["aggregate"]
    more = {"additional_details": {"url": source}} if source else {}
    content: dict[str, Any] = {
        "schema_version": constant["schema_version"],
        "evaluation_id": f"{COLLECTION}/{name.replace('/', '_')}/{model.when}",
        "evaluation_timestamp": datetime.fromtimestamp(model.when, UTC).isoformat(),
        "retrieved_timestamp": str(time.time()),
        "source_metadata": {**constant["source_metadata"], **more},
        "eval_library": {"name": "lm_eval", "version": model.facts["lm-eval"]},
        "model_info": {
            "name": model.name,
            "id": name,
            "developer": name.partition("/")[0],
            "inference_engine": {"name": str(model.identity["backend"])},
            "additional_details": {**known, **axes},
        },
        "evaluation_results": list(_results(summary)),
    }
    of_all = {**_CONSTANT["sample"], "evaluation_id": content["evaluation_id"], "model_id": name}
    lines = [json.dumps({**of_all, **row}) + "\n" for row in _rows(summary)]
    text, samples = "".join(lines), folder / f"{number}_samples.jsonl"
    if lines:
        content["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": str(samples),
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(text.encode()).hexdigest(),
            "total_rows": len(lines),
        }
    made = {folder / f"{number}.json": json.dumps(content, indent=1, allow_nan=False) + "\n"}
    return {**made, samples: text} if lines else made


def _results(summary: Summary) -> Iterator[dict[str, Any]]:
    model, generation = summary.model, summary.model.facts["gen"]
    type_, name, split = data_set(model)
    data = {"dataset_name": name, "source_type": "other", "additional_details": {"data": type_}}
    if split is not None:
        data |= {"source_type": "hf_dataset", "hf_repo": type_, "hf_split": split}
        data["additional_details"] = {"revision": hub_revision(model) or "a local copy"}
    sampling = {"temperature": 0.0} if generation.startswith("greedy") else {}
    if cap := re.search(r"max_gen_toks:(\d+)", generation):
        sampling["max_tokens"] = int(cap[1])
    how = {"generation_args": sampling, "additional_details": {**model.facts, "signature": summary.signature}}
    for scope in summary.published_scopes:
        for turn, metric in enumerate(OVERALL, 1):
            figure = summary.figure(scope, metric)
            if figure.value != figure.value:  # no conversation has this turn
                continue
            uncertainty: dict[str, Any] = {"num_samples": summary.n(scope, turn)}
            if figure.low == figure.low:
                bounds = {"lower": figure.low, "upper": figure.high, "method": summary.kind_of(scope, figure)}
                uncertainty["confidence_interval"] = {**bounds, "confidence_level": summary.resampling.level}
            if scope in summary.estimates:
                uncertainty["num_bootstrap_samples"] = summary.resampling.resamples
            yield {
                "evaluation_result_id": record_id(scope, metric),
                "evaluation_name": f"{COLLECTION}.{'all' if scope == MACRO else scope}.turn{turn}",
                "source_data": data,
                "metric_config": _CONSTANT["metric"],
                "score_details": {"score": figure.value, "uncertainty": uncertainty},
                "generation_config": how,
            }


def _rows(summary: Summary) -> Iterator[dict[str, Any]]:
    """A line per conversation, repeat and turn."""
    for code, conversation in summary.model.conversations:
        for repeat in range(conversation.repeats):
            messages: list[dict[str, Any]] = []
            for turn, (metric, logged) in enumerate(zip(OVERALL, conversation.turns, strict=False), 1):
                reply, last = logged.replies[repeat], 2 * turn - 1
                messages.append({"turn_idx": last - 1, "role": "user", "content": logged.prompt})
                messages.append({"turn_idx": last, "role": "assistant", "content": reply})
                several = conversation.repeats > 1
                pairs = conversation.values[f"{metric}{SPREAD}"][repeat] if several else conversation.values[metric]
                if not (shares := [held / of for held, of in pairs if of]):
                    continue
                counts = {kind: f"{held}/{of}" for kind, (held, of) in zip(ACCURACIES, pairs, strict=True)}
                right, ids = pairs[0][0] == pairs[0][1], json.dumps(logged.instruction_ids)
                answer = {"turn_idx": last, "source": f"messages[{last}].content", "extracted_value": reply}
                yield {
                    "evaluation_name": f"{COLLECTION}.{code}.turn{turn}",
                    "evaluation_result_id": record_id(code, metric),
                    "sample_id": conversation.key,
                    "input": {"raw": "\n\n".join(each["content"] for each in messages[::2]), "reference": []},
                    "messages": messages,
                    "answer_attribution": [{**answer, **_CONSTANT["attribution"]}],
                    "evaluation": {"score": sum(shares) / len(shares), "is_correct": right, "num_turns": turn},
                    "metadata": {"language": code, "repeat": str(repeat), "instructions": ids, **counts},
                }
