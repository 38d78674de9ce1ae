"""Records for Every Eval Ever: a model's figures with their intervals, and every conversation with all of its turns.

By that project's schema 0.3.0 a record is ``<uuid>.json`` and, with samples, ``<uuid>_samples.jsonl`` beside it, in
``data/<collection>/<developer>/<model>``. A conversation stands there once per turn, with the messages up to that
turn, its score, and the figure that it is a part of; figures over languages have no lines of their own.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
import tomllib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from turnswap.tasks.multiif.metrics import ACCURACIES, SPREAD

from .board_files import name_on_board, require_own
from .figures import MACRO, OVERALL
from .identity import told_apart_by
from .model_card import data_set, hub_revision
from .table import Summary, split_metric

COLLECTION = "multi-if"
NOBODY = "no-organization"  # where a name has no organisation before its slash: the schema wants one
_CONSTANT = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
_RUN_BY_ONESELF = ("hf", "hf-auto", "huggingface", "vllm", "sglang")


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
    who = json.dumps([name, told_apart_by(model.identity)], sort_keys=True)
    number = uuid.UUID(bytes=hashlib.sha256(who.encode()).digest()[:16], version=4)
    folder = PurePosixPath("data", COLLECTION, name)
    own = {"name": str(model.identity["name"])}
    require_own(output / folder, own, lambda found: {"name": found["model_info"]["additional_details"]["evaluated_as"]})
    evaluation = f"{COLLECTION}/{name.replace('/', '_')}/{model.when}"
    content: dict[str, Any] = {
        **_CONSTANT["aggregate"],
        "evaluation_id": evaluation,
        "evaluation_timestamp": datetime.fromtimestamp(model.when, UTC).isoformat(),
        "retrieved_timestamp": str(time.time()),
        "eval_library": {
            "name": "lm_eval",
            "version": model.facts["lm-eval"],
            "additional_details": {"turnswap": model.facts["turnswap"]},
        },
        "model_info": _model_info(summary, name),
        "evaluation_results": list(_results(summary)),
    }
    if source is not None:
        content["source_metadata"] = {**content["source_metadata"], "additional_details": {"url": source}}
    files = {}
    if lines := [json.dumps({**_CONSTANT["sample"], **row}) for row in _rows(summary, evaluation, name)]:
        path, text = folder / f"{number}_samples.jsonl", "\n".join(lines) + "\n"
        checksum = hashlib.sha256(text.encode()).hexdigest()
        content["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": str(path),
            "hash_algorithm": "sha256",
            "checksum": checksum,
            "total_rows": len(lines),
        }
        files[path] = text
    return {folder / f"{number}.json": json.dumps(content, indent=1, allow_nan=False) + "\n", **files}


def _model_info(summary: Summary, name: str) -> dict[str, Any]:
    identity = summary.model.identity
    here = identity["backend"] in _RUN_BY_ONESELF or "//localhost" in identity["settings"].get("base_url", "")
    return {
        "name": summary.model.name,
        "id": name,
        "developer": name.partition("/")[0],
        "inference_engine": {"name": str(identity["backend"])},
        "additional_details": {
            "deployment_type": "self_deployed" if here else "unknown",
            "model_availability": "open_weights" if identity["sha"] else "unknown",
            "evaluated_as": str(identity["name"]),
            **{key: str(value) for key, value in told_apart_by(identity).items() if key != "name"},
        },
    }


def _results(summary: Summary) -> Iterator[dict[str, Any]]:
    model = summary.model
    type_, name, split = data_set(model)
    data: dict[str, Any] = {"dataset_name": name, "source_type": "other", "additional_details": {"data": type_}}
    if split is not None:
        data = {"dataset_name": name, "source_type": "hf_dataset", "hf_repo": type_, "hf_split": split}
        data["additional_details"] = {"revision": hub_revision(model) or "a local copy"}
    sampling = {"temperature": 0.0} if model.facts["gen"].startswith("greedy") else {}
    if cap := re.search(r"max_gen_toks:(\d+)", model.facts["gen"]):
        sampling["max_tokens"] = int(cap[1])
    drawn = {"num_bootstrap_samples": summary.resampling.resamples}
    for scope in ([MACRO] if model.in_all_languages else []) + list(model.languages):
        for metric in OVERALL:
            figure, turn = summary.figure(scope, metric), split_metric(metric)[0]
            if figure.value != figure.value:  # no conversation has this turn
                continue
            uncertainty: dict[str, Any] = {"num_samples": summary.n(scope, turn)}
            if figure.low == figure.low:
                uncertainty |= drawn if scope in summary.estimates else {}
                uncertainty["confidence_interval"] = {
                    "lower": figure.low,
                    "upper": figure.high,
                    "confidence_level": summary.resampling.level,
                    "method": summary.interval_of(scope),
                }
            yield {
                "evaluation_result_id": record_id(scope, metric),
                "evaluation_name": f"{COLLECTION}.{'all' if scope == MACRO else scope}.turn{turn}",
                "source_data": data,
                "metric_config": _CONSTANT["metric"],
                "score_details": {"score": figure.value, "uncertainty": uncertainty},
                "generation_config": {
                    "generation_args": sampling,
                    "additional_details": {**model.facts, "signature": summary.signature},
                },
            }


def _rows(summary: Summary, evaluation: str, name: str) -> Iterator[dict[str, Any]]:
    """A line per conversation, repeat and turn."""
    for code, run in summary.model.languages.items():
        for conversation in run.conversations or ():
            for repeat in range(conversation.repeats):
                messages: list[dict[str, Any]] = []
                for turn, (metric, logged) in enumerate(zip(OVERALL, conversation.turns, strict=False), 1):
                    reply, ending = logged.replies[repeat], SPREAD if conversation.repeats > 1 else ""
                    for role, text in (("user", logged.prompt), ("assistant", reply)):
                        messages.append({"turn_idx": len(messages), "role": role, "content": text})
                    pairs = conversation.values[f"{metric}{ending}"]
                    pairs = pairs[repeat] if ending else pairs
                    if not (shares := [held / of for held, of in pairs if of]):
                        continue
                    yield {
                        "evaluation_id": evaluation,
                        "model_id": name,
                        "evaluation_name": f"{COLLECTION}.{code}.turn{turn}",
                        "evaluation_result_id": record_id(code, metric),
                        "sample_id": conversation.key,
                        "input": {"raw": "\n\n".join(each["content"] for each in messages[::2]), "reference": []},
                        "messages": list(messages),
                        "answer_attribution": [
                            {
                                "turn_idx": len(messages) - 1,
                                "source": f"messages[{len(messages) - 1}].content",
                                "extracted_value": reply,
                                "extraction_method": "the whole reply, reasoning set aside",
                                "is_terminal": True,
                            }
                        ],
                        "evaluation": {
                            "score": sum(shares) / len(shares),
                            "is_correct": pairs[0][0] == pairs[0][1],
                            "num_turns": turn,
                        },
                        "metadata": {
                            "language": code,
                            "repeat": str(repeat),
                            "instructions": json.dumps(logged.instruction_ids),
                            **{kind: f"{held}/{of}" for kind, (held, of) in zip(ACCURACIES, pairs, strict=True)},
                        },
                    }
