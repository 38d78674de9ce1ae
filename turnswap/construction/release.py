"""Step 8: a folder for lm-eval and the Hub: the conversations, tasks that lm-eval picks up, a card and a datasheet.

Everything lies in one folder that may be moved: the tasks name the CSV relative to their YAML.
"""

from __future__ import annotations

import json
import re
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from turnswap.core.errors import UserError, reason_of
from turnswap.core.files import write_whole
from turnswap.tasks.multiif.dataset import TURNS, parse_row
from turnswap.tasks.multiif.languages import name_of
from turnswap.tasks.multiif.metrics import CORRECTED, ratios
from turnswap.tasks.multiturn.identity import ARGUMENTS

from . import hub
from .datasheet import datasheet, judged_by, render, unmeasured
from .llm import RECORDED
from .pipeline import Pipeline, kept
from .prove import graded_by
from .records import Conversations, DraftConversation, json_text
from .steps import BuildSettings, ReleaseSettings, is_name, read_release

_OF_TURNS = [f"turn_{t}_{column}" for t in TURNS for column in ("prompt", "instruction_id_list", "kwargs")]
_SMALL = "HuggingFaceTB/SmolLM2-135M-Instruct"
COLUMNS = ["turns", "responses", *_OF_TURNS, "key", "turn_index", "language"]
_GRADED_BY = [f"turn_{t}_graded_by" for t in TURNS]  # only in data of which some is graded by the corrected rules


def release(build: BuildSettings, pipeline: Pipeline) -> list[Path]:
    """Write what was proved: ``NAME.csv``, ``NAME_LANGUAGE.yaml``, the group ``NAME.yaml``, and ``DATASHEET.md``.

    With instructions of its own, ``NAME_instructions.py``. For the Hub: ``data/LANGUAGE.parquet``, the card
    ``README.md``, and ``croissant.json`` (:mod:`.hub`).

    What an earlier release of this name wrote into the folder and this one does not, is removed.

    Returns:
        The files, the CSV first.

    Raises:
        UserError: a step has not run, waits, or is out of date; there are no conversations; or a setting is wrong.
            Nothing is written then.
    """
    settings = read_release(build)
    if not pipeline.file(pipeline.first.name).exists():
        raise UserError("Nothing has been run yet.", "Run all steps first: turnswap build run CONFIG.")
    for name, came, left in pipeline.behind():
        if left:
            raise UserError(
                f"{len(left)} of {len(came)} conversations have not been through {name} with the settings of now, "
                f"such as {left[0].key}: nothing is released.",
                "Run all steps first: turnswap build run CONFIG.",
            )
    proved = kept(pipeline.outcomes("prove"))
    languages = [code for code in build.languages if any(each.language == code for each in proved)]
    if others := sorted({each.language for each in proved} - set(languages)):
        raise UserError(f"There are conversations in {', '.join(others)}, which languages does not list.")
    if not languages:
        raise UserError(
            f"No conversation came through all steps{_why(pipeline)}.", "See all of them: turnswap build status CONFIG."
        )
    conversations = sorted(proved, key=lambda each: languages.index(each.language))
    data: dict[str, str | bytes] = {f"{build.name}.csv": csv_text(conversations), **hub.parquet_files(conversations)}
    if build.instructions:
        data[f"{build.name}_instructions.py"] = build.instructions.read_bytes()
    reviewed = hub.who_reviewed(conversations)
    shared = render("shared.yaml.j2", build=build, settings=settings, reviewed=reviewed)
    files = data | {f"_{build.name}.yaml": shared}
    for code in languages:
        task = {"include": f"_{build.name}.yaml", "task": f"{build.name}_{code}", "dataset_name": name_of(code)}
        told = hub.who_reviewed([each for each in conversations if each.language == code])
        files[f"{build.name}_{code}.yaml"] = f"# {told}\n{yaml.safe_dump(task, sort_keys=False)}"
    files[f"{build.name}.yaml"] = f"# {reviewed}\n{_group_yaml(build, settings, languages)}"
    files["DATASHEET.md"] = datasheet(build, settings, pipeline, conversations)
    files["README.md"] = _card(build, settings, pipeline, conversations)
    purpose = settings.purpose or f"Multi-turn instruction following in {', '.join(map(name_of, languages))}."
    files["croissant.json"] = hub.croissant(build, settings, f"{purpose} {reviewed}", data)
    folder = release_folder(build, settings)
    for name in _earlier(folder, build.name) - files.keys():
        (folder / name).unlink(missing_ok=True)
    return [write_whole(folder / name, content) for name, content in files.items()]


def _why(pipeline: Pipeline) -> str:
    """The first reason of the step that left none, and where the others are."""
    name = next(name for name in pipeline.names if not kept(pipeline.outcomes(name)))
    rejected = [each for each in pipeline.outcomes(name) if each.reason is not None]
    if not rejected:
        return ""
    first = rejected[0]
    return f": {name} rejected them, {first.conversation.key} because {first.reason} ({pipeline.file(name)} has all)"


def release_folder(build: BuildSettings, settings: ReleaseSettings) -> Path:
    """Where the release is written."""
    return settings.folder or build.folder / "release"


def described(folder: Path) -> dict[str, Any]:
    """What ``croissant.json`` of a release says.

    Raises:
        UserError: there is none, or none that :func:`release` wrote.
    """
    try:
        content: dict[str, Any] = json.loads((folder / "croissant.json").read_text("utf-8"))
        files_of(content)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{folder} holds no release: {reason_of(error)}.", "turnswap build run CONFIG writes one."
        ) from error
    return content


def files_of(described: Mapping[str, Any]) -> list[str]:
    """The files that a release consists of, as its ``croissant.json`` names them: nothing else is pushed or removed.

    Raises:
        ValueError: they are not those of a release, which are all in its folder.
    """
    try:
        name, data = described["name"], [file["name"] for file in described["distribution"]]
        codes = [match[1] for each in data if (match := re.fullmatch(r"data/([A-Za-z0-9-]+)\.parquet", each))]
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError("croissant.json lists no files of a release") from error
    ours = {f"{name}.csv", f"{name}_instructions.py", *(f"data/{code}.parquet" for code in codes)}
    if not (codes and is_name(name) and ours.issuperset(data)):
        raise ValueError("croissant.json lists other files than those of a release")
    tasks = [f"_{name}.yaml", *(f"{name}_{code}.yaml" for code in codes), f"{name}.yaml"]
    return [*data, *tasks, "DATASHEET.md", "README.md", "croissant.json"]


def _earlier(folder: Path, name: str) -> set[str]:
    """The files of the release of this name that the folder holds already."""
    with suppress(UserError):
        if (told := described(folder))["name"] == name:
            return set(files_of(told))
    return set()


def _card(build: BuildSettings, settings: ReleaseSettings, pipeline: Pipeline, conversations: Conversations) -> str:
    count = Counter(each.language for each in conversations)
    return render(
        "card.md.j2",
        build=build,
        settings=settings,
        front=yaml.safe_dump(hub.front_matter(build, settings, conversations), allow_unicode=True, sort_keys=False),
        reviewed=hub.who_reviewed(conversations),
        judge=judged_by(build, pipeline),
        unmeasured=unmeasured(pipeline, conversations),
        counts=[[name_of(code), code, n] for code, n in count.items()],
        columns=[[f"{name}", meaning] for name, _, meaning in hub.COLUMNS],
    )


def csv_text(conversations: Conversations) -> str:
    """The conversations in the published format, as the grader's loader reads it.

    Raises:
        UserError: a conversation would not be read back as it is, or two would have the same key.
    """
    rows: dict[str, dict[str, str]] = {}
    for line, conversation in enumerate(conversations, 2):
        row = as_row(conversation)
        turns = [
            {"prompt": turn.prompt, "instruction_ids": list(turn.instruction_ids), "kwargs": [*map(dict, turn.kwargs)]}
            | ({"graded_by": rules} if (rules := graded_by(conversation, number)) else {})
            for number, turn in enumerate(conversation.turns)
        ]
        if parse_row(row, line)["turns"] != turns or row["key"] in rows:
            raise UserError(
                f"The conversation {conversation.key} would change when it is read back, or its key {row['key']} "
                "occurs twice.",
                "Expected two or three turns, and keys that differ before the language.",
            )
        rows[row["key"]] = row
    further = _GRADED_BY if any(name in row for row in rows.values() for name in _GRADED_BY) else []
    table = pd.DataFrame(rows.values(), columns=[*COLUMNS, *further])
    return str(table.to_csv(index=False, lineterminator="\n"))


def as_row(conversation: DraftConversation) -> dict[str, str]:
    """A row of the published format, with which rule grades each instruction where not all are graded as published."""
    row = dict.fromkeys(COLUMNS, "")
    row |= {"key": hub.released_key(conversation), "turn_index": "0", "language": name_of(conversation.language)}
    for number, turn in enumerate(conversation.turns, 1):
        row[f"turn_{number}_prompt"] = json_text({"role": "user", "content": turn.prompt})
        row[f"turn_{number}_instruction_id_list"] = json_text(list(turn.instruction_ids))
        row[f"turn_{number}_kwargs"] = json_text([json_text(dict(kwargs)) for kwargs in turn.kwargs])
        if rules := graded_by(conversation, number - 1):
            row[f"turn_{number}_graded_by"] = json_text(rules)
    return row


def _group_yaml(build: BuildSettings, settings: ReleaseSettings, languages: Sequence[str]) -> str:
    # The figures of Multi-IF's own group: accuracies, forgetting and correction, none of the counts and loose moves.
    figures = [name for name in ratios() if not name.endswith("_loose")]
    figures += [f"{name}{CORRECTED}" for name in figures]  # lm-eval passes over those that are not asked for
    content = {
        "group": build.name,
        "group_alias": f"{build.name} (macro mean of languages)",
        "task": [f"{build.name}_{code}" for code in languages],
        "aggregate_metric_list": [{"metric": name, "aggregation": "mean", "weight_by_size": False} for name in figures],
        "metadata": {"version": settings.version},
    }
    command = f"# lm_eval run --include_path THIS_FOLDER --tasks {build.name}\n"
    return command + yaml.safe_dump(content, sort_keys=False)


def evaluation(build: BuildSettings) -> str:
    """The command that evaluates a model on the release: the YAML's LLM, or a small one if that is a recording.

    What it writes, ``turnswap report results`` reads.
    """
    folder = read_release(build).folder or build.folder / "release"
    model, given = build.llm.model, dict(build.llm.model_args)
    if model == RECORDED:
        model, given = "hf", {"pretrained": _SMALL}
    arguments = [f"{name}={value}" for name, value in given.items() if name not in ARGUMENTS["secret"]]
    words = ["lm_eval", "run", "--include_path", str(folder), "--tasks", build.name, "--model", model]
    return shlex.join([*words, "--model_args", *arguments, "--output_path", "results", "--log_samples"])
