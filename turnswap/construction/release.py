"""Step 8: a folder for lm-eval and the Hub: the conversations, tasks that lm-eval picks up, a card and a datasheet.

The datasheet is after Gebru et al. 2021 (Datasheets for Datasets, Communications of the ACM 64(12)).
Everything lies in one folder that may be moved: the tasks name the CSV relative to their YAML.
"""

from __future__ import annotations

import json
import shlex
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml

from turnswap import __version__
from turnswap.core.errors import UserError
from turnswap.core.files import write_whole
from turnswap.core.journal import read_jsonl
from turnswap.tasks.multiif.dataset import TURNS, parse_row
from turnswap.tasks.multiif.languages import name_of
from turnswap.tasks.multiif.metrics import CORRECTED, ratios
from turnswap.tasks.multiturn.identity import ARGUMENTS

from . import STEPS, draws, hub
from .judge import doubt, share_told
from .llm import LLM
from .pipeline import Pipeline, counted, kept
from .records import Conversations, DraftConversation, digest, json_text
from .sheet import source_of
from .steps import BuildSettings, ReleaseSettings, read_release

_OF_TURNS = [f"turn_{t}_{column}" for t in TURNS for column in ("prompt", "instruction_id_list", "kwargs")]
_SMALL = "HuggingFaceTB/SmolLM2-135M-Instruct"
_REASONS = 6  # shown per step in the datasheet
COLUMNS = ["turns", "responses", *_OF_TURNS, "key", "turn_index", "language"]


def release(build: BuildSettings, pipeline: Pipeline) -> list[Path]:
    """Write what was proved: ``NAME.csv``, ``NAME_LANGUAGE.yaml``, the group ``NAME.yaml``, and ``DATASHEET.md``.

    With instructions of its own, ``NAME_instructions.py``. For the Hub: ``data/LANGUAGE.parquet``, the card
    ``README.md``, and ``croissant.json`` (:mod:`.hub`).

    Returns:
        The files, the CSV first.

    Raises:
        UserError: a step has not run, waits, or is out of date; there are no conversations; or a setting is wrong.
            Nothing is written then.
    """
    settings = read_release(build)
    for name, came, left in pipeline.behind():
        if left:
            raise UserError(
                f"{len(left)} of {len(came)} conversations have not been through {name} as the settings are now, "
                f"such as {left[0].key}: nothing is released.",
                "Run all steps first: turnswap build run CONFIG.",
            )
    proved = kept(pipeline.outcomes("prove"))
    languages = [code for code in build.languages if any(each.language == code for each in proved)]
    if others := sorted({each.language for each in proved} - set(languages)):
        raise UserError(f"There are conversations in {', '.join(others)}, which languages does not list.")
    if not languages:
        raise UserError("No conversation came through all steps.", "turnswap build status CONFIG tells why.")
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
    files["README.md"] = _card(build, settings, conversations, _judge(build, pipeline))
    purpose = settings.purpose or f"Multi-turn instruction following in {', '.join(map(name_of, languages))}."
    files["croissant.json"] = hub.croissant(build, settings, f"{purpose} {reviewed}", data)
    return [write_whole(release_folder(build, settings) / name, content) for name, content in files.items()]


def release_folder(build: BuildSettings, settings: ReleaseSettings) -> Path:
    """Where the release is written."""
    return settings.folder or build.folder / "release"


def _judge(build: BuildSettings, pipeline: Pipeline) -> str:
    """Who judged the translations, and what share was rejected; empty where nobody was asked."""
    if build.judge is None:
        return ""
    told = f"{build.judge.model} {_file_name(build.judge.named)}, {share_told(pipeline.outcomes('translate'))}"
    return ". ".join(filter(None, [told, doubt(build.llm, build.judge)]))


def _card(build: BuildSettings, settings: ReleaseSettings, conversations: Conversations, judge: str) -> str:
    count = Counter(each.language for each in conversations)
    return render(
        "card.md.j2",
        build=build,
        settings=settings,
        front=yaml.safe_dump(hub.front_matter(build, settings, conversations), allow_unicode=True, sort_keys=False),
        reviewed=hub.who_reviewed(conversations),
        judge=judge,
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
            for turn in conversation.turns
        ]
        if parse_row(row, line)["turns"] != turns or row["key"] in rows:
            raise UserError(
                f"The conversation {conversation.key} would not be read back as it is, or its key {row['key']} "
                "is twice.",
                "Expected two or three turns, and keys that differ in what is before the language.",
            )
        rows[row["key"]] = row
    return str(pd.DataFrame(rows.values(), columns=COLUMNS).to_csv(index=False, lineterminator="\n"))


def as_row(conversation: DraftConversation) -> dict[str, str]:
    """A row of the published format."""
    row = dict.fromkeys(COLUMNS, "")
    row |= {"key": hub.released_key(conversation), "turn_index": "0", "language": name_of(conversation.language)}
    for number, turn in enumerate(conversation.turns, 1):
        row[f"turn_{number}_prompt"] = json_text({"role": "user", "content": turn.prompt})
        row[f"turn_{number}_instruction_id_list"] = json_text(list(turn.instruction_ids))
        row[f"turn_{number}_kwargs"] = json_text([json_text(dict(kwargs)) for kwargs in turn.kwargs])
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


def render(template: str, **values: Any) -> str:
    """A text of the release from its template in ``html``."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["markdown"] = _text
    return environment.from_string((files(__package__) / "html" / template).read_text("utf-8")).render(values)


def datasheet(build: BuildSettings, settings: ReleaseSettings, pipeline: Pipeline, conversations: Conversations) -> str:
    """The datasheet as Markdown: of ``conversations``, which are released; the pipeline's files tell what came of all.

    Raises:
        UserError: what reviewers agree on cannot be read.
    """
    of_language: dict[str, list[DraftConversation]] = {}
    for each in conversations:
        of_language.setdefault(each.language, []).append(each)
    used = [Counter(id_ for each in own for id_ in each.last.instruction_ids) for own in of_language.values()]
    how = Counter((each.language, each.note("prove")["how"]) for each in conversations)
    scores, signatures = _scores(conversations)
    sections = {name: _without_paths(dict(getattr(build, name))) for name in STEPS[:-1]}
    # Reviewers' names are nobody's business, and their sheets are called by them.
    if "reviews" in sections["audit"]:
        sections["audit"]["reviews"] = f"{len(sections['audit']['reviews'])} sheets"
    if sections["audit"].get("adjudicator") is not None:
        sections["audit"]["adjudicator"] = "one of the reviewers"
    return render(
        "datasheet.md.j2",
        build=build,
        settings=settings,
        names={code: name_of(code) for code in of_language},
        composition=[_composition(code, own) for code, own in of_language.items()],
        instructions=[[id_, *(count[id_] for count in used)] for id_ in sorted(set().union(*used))],
        native=sum(source_of(each) is None for each in conversations),
        drawn_header=["language", *draws.HEADER],
        drawn=[
            *([name_of(code), *draws.count_drawn(own).cells()] for code, own in of_language.items()),
            ["(Multi-IF, English)", *draws.BENCHMARK.cells()],
        ],
        steps=[_step(pipeline, name) for name in pipeline.names],
        model=_file_name(str(build.llm.model_args.get("pretrained") or build.llm.model_args.get("model") or "")),
        answers=digest(LLM(build.llm, build.folder).identity),
        judge=_judge(build, pipeline),
        generation=", ".join(f"{key}={value}" for key, value in build.llm.gen_kwargs.items()),
        scores=scores,
        signatures=signatures,
        agreement=_agreement(build.folder / "audit" / "agreement.json") if build.audit.get("enabled", True) else [],
        reviewed=hub.who_reviewed(conversations),
        proofs=[[code, *(how[code, kind] for kind in ("rule", "llm", "reviewer"))] for code in of_language],
        sections=yaml.safe_dump(sections, allow_unicode=True, sort_keys=False),
        turnswap=__version__,
    )


def evaluation(build: BuildSettings) -> str:
    """The command that evaluates a model on the release: the YAML's LLM, or a small one if that is a recording."""
    folder = read_release(build).folder or build.folder / "release"
    model, given = build.llm.model, dict(build.llm.model_args)
    if model == "turnswap-recorded":
        model, given = "hf", {"pretrained": _SMALL}
    arguments = [f"{name}={value}" for name, value in given.items() if name not in ARGUMENTS["secret"]]
    words = ["lm_eval", "run", "--include_path", str(folder), "--tasks", build.name, "--model", model]
    return shlex.join([*words, "--model_args", *arguments])


def _composition(code: str, conversations: Conversations) -> list[Any]:
    """A row of the table of languages."""
    slots = [
        sum(len(turn.instruction_ids) for each in conversations for turn in each.turns[t : t + 1]) for t in range(3)
    ]
    return [name_of(code), code, len(conversations), sum(len(each.turns) < 3 for each in conversations), *slots]


def _step(pipeline: Pipeline, name: str) -> list[Any]:
    """A row of the table of steps."""
    outcomes = pipeline.outcomes(name)
    rejected = counted(outcome.reason for outcome in outcomes if outcome.reason is not None)
    reasons = [f"{reason} ({number})" for reason, number in rejected.most_common(_REASONS)]
    if len(rejected) > _REASONS:
        reasons.append(f"{len(rejected) - _REASONS} more reasons")
    lost = rejected.total()
    return [name, len(read_jsonl(pipeline.file(name))), len(outcomes) - lost, lost, "; ".join(reasons)]


def _scores(conversations: Conversations) -> tuple[list[list[Any]], list[str]]:
    """Rows of every number that ``translate`` noted, and the signatures of the metrics."""
    numbers: dict[str, dict[str, list[float]]] = {}
    signatures: dict[str, None] = {}
    for each in conversations:
        of_score = numbers.setdefault(each.language, {})
        for name, value in _leaves(each.note("translate").get("figures")):
            if isinstance(value, int | float) and not isinstance(value, bool):
                of_score.setdefault(name, []).append(float(value))
            elif isinstance(value, str) and "version:" in value and "|" in value:
                signatures[value] = None
    rows = [
        [code, name, len(values), *(f"{figure(values):.3g}" for figure in (min, statistics.median, max))]
        for code, of_score in numbers.items()
        for name, values in sorted(of_score.items())
    ]
    return rows, list(signatures)


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The values inside lists and objects, named by their keys; the items of a list share a name."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{name} {key}".strip())
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, name)
    else:
        yield name, value


def _agreement(path: Path) -> list[tuple[str, str]]:
    if not path.exists():
        return []
    try:
        leaves = _leaves(json.loads(path.read_text("utf-8")))
        return [(name, str(value)) for name, value in leaves if not name.endswith("reviewers")]  # who they are
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read: {error}.", "Run the audit again: turnswap build run CONFIG."
        ) from error


def _without_paths(value: Any) -> Any:
    """The same without this machine's folders."""
    if isinstance(value, Mapping):
        return {key: _without_paths(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_paths(item) for item in value]
    return _file_name(str(value)) if isinstance(value, str | Path) else value


def _file_name(text: str) -> str:
    return Path(text).name if Path(text).is_absolute() else text


def _text(text: str) -> str:
    """Text that Markdown shows as it is."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
