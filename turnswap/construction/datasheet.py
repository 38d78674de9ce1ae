"""The datasheet of a data set, after Gebru et al. 2021 (Datasheets for Datasets, Communications of the ACM 64(12))."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from turnswap import __version__
from turnswap.core.errors import UserError
from turnswap.core.journal import read_jsonl
from turnswap.tasks.multiif.languages import name_of

from .llm import LLM
from .pipeline import Pipeline
from .records import DraftConversation, digest
from .settings import BuildSettings, ReleaseSettings

_REASONS = 6  # shown per step


def datasheet(
    build: BuildSettings, settings: ReleaseSettings, pipeline: Pipeline, conversations: Sequence[DraftConversation]
) -> str:
    """The datasheet as Markdown.

    Args:
        build: the YAML of the data set.
        settings: its section ``release``.
        pipeline: whose files hold what each step kept and rejected.
        conversations: what is released.
    """
    languages = dict.fromkeys(each.language for each in conversations)
    names = ", ".join(f"{name_of(code)} ({code})" for code in languages)
    purpose = settings.purpose or f"To measure how well language models follow instructions over turns in {names}."
    parts = [
        f"# Datasheet of {build.name} {settings.version}",
        "After Gebru et al. 2021. Written by turnswap from what its steps recorded.",
        f"## Motivation\n\n{_text(purpose)}",
        "## Composition\n\n"
        "Conversations of two or three user turns in the format of Multi-IF (He et al. 2024, arXiv 2410.15553), with "
        "instructions that code checks. No replies, no labels, no people's data beyond what the seeds hold.",
        _composition(conversations, list(languages)),
        _instructions(conversations, list(languages)),
        "## Collection process\n\nConversations went through these steps, in this order, each of which rejects "
        "for a reason. Some steps make several conversations of one.",
        _steps(pipeline),
        _llm(build),
        "## Preprocessing and quality",
        *_scores(conversations, list(languages)),
        _agreement(build.folder / "audit" / "agreement.json"),
        _proofs(conversations, list(languages)),
        "Settings, thresholds among them:\n\n```yaml\n"
        + yaml.safe_dump(_sections(build), allow_unicode=True, sort_keys=False)
        + "```",
        "## Uses\n\nWith lm-eval and turnswap: "
        f"`lm_eval run --include_path FOLDER --tasks {build.name}`. Not meant for training.",
        f"## Distribution\n\n- Licence of the seeds: {_text(settings.seeds_licence)}\n"
        f"- Licence of this data set: {_text(settings.licence)}",
        f"## Maintenance\n\nVersion {settings.version}, made with turnswap {__version__}. Whoever changes a "
        "conversation raises the version: results of different versions are not comparable.",
        "## Known limits\n\n"
        + _list(
            [
                "A proof shows that the grader can be satisfied, not that a natural reply would be.",
                "A good back-translation shows that the meaning survived, not that the translation reads well.",
                *map(_text, settings.limits),
            ]
        ),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _composition(conversations: Sequence[DraftConversation], languages: Sequence[str]) -> str:
    rows = []
    for code in languages:
        own = [each for each in conversations if each.language == code]
        slots = [sum(len(each.turns[t].instruction_ids) for each in own if len(each.turns) > t) for t in range(3)]
        rows.append([name_of(code), code, len(own), sum(len(each.turns) < 3 for each in own), *slots])
    header = ["language", "code", "conversations", "of two turns", *(f"instructions, turn {t}" for t in (1, 2, 3))]
    return _table(header, rows)


def _instructions(conversations: Sequence[DraftConversation], languages: Sequence[str]) -> str:
    counts = {
        code: Counter(id_ for each in conversations if each.language == code for id_ in each.turns[-1].instruction_ids)
        for code in languages
    }
    ids = sorted({id_ for count in counts.values() for id_ in count})
    return _table(
        ["instruction (last turn)", *languages], [[id_, *(counts[code][id_] for code in languages)] for id_ in ids]
    )


def _steps(pipeline: Pipeline) -> str:
    rows = []
    for name in (pipeline.first.name, *(step.name for step in pipeline.steps)):
        outcomes = pipeline.outcomes(name)
        rejected = Counter(grouped(outcome.reason) for outcome in outcomes if outcome.reason is not None)
        reasons = "; ".join(f"{reason} ({number})" for reason, number in rejected.most_common(_REASONS))
        more = len(rejected) - _REASONS
        lost = sum(rejected.values())
        came = len(read_jsonl(pipeline.file(name)))
        rows.append([name, came, len(outcomes) - lost, lost, reasons + (f"; {more} more reasons" if more > 0 else "")])
    return _table(["step", "came", "kept", "lost", "reasons"], rows)


def grouped(reason: str) -> str:
    """A reason up to its first colon or bracket: what follows is about one conversation."""
    return reason.split(":")[0].split("(")[0].strip()


def _llm(build: BuildSettings) -> str:
    model = build.llm.model_args.get("pretrained") or build.llm.model_args.get("model") or ""
    named = f" `{_file_name(str(model))}`" if model else ""
    identity = digest(LLM(build.llm, build.folder).identity)
    settings = ", ".join(f"{key}={value}" for key, value in build.llm.gen_kwargs.items()) or "lm-eval's, greedy"
    return _list(
        [
            f"LLM: lm-eval's model `{build.llm.model}`{named}; identity of its answers `{identity}`",
            f"Generation: {_text(settings)}",
            f"turnswap {__version__}",
        ]
    )


def _scores(conversations: Sequence[DraftConversation], languages: Sequence[str]) -> list[str]:
    """The distribution of every number that ``translate`` noted, and the signatures of the metrics."""
    numbers: dict[tuple[str, str], list[float]] = {}
    signatures: dict[str, None] = {}
    for each in conversations:
        for name, value in _leaves((each.notes.get("translate") or {}).get("figures")):
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers.setdefault((each.language, name), []).append(float(value))
            elif isinstance(value, str) and "version:" in value and "|" in value:
                signatures[value] = None
    rows = [
        [
            code,
            name,
            len(values),
            *(f"{figure:.3g}" for figure in (min(values), statistics.median(values), max(values))),
        ]
        for (code, name), values in sorted(numbers.items(), key=lambda item: (languages.index(item[0][0]), item[0][1]))
    ]
    table = _table(["language", "score of the translation", "n", "lowest", "median", "highest"], rows) if rows else ""
    return [table, "Signatures of sacrebleu:\n\n" + _list(f"`{each}`" for each in signatures) if signatures else ""]


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


def _agreement(path: Path) -> str:
    if not path.exists():
        return "Agreement of reviewers: not measured."
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read: {error}.", "Run the audit again: turnswap build run CONFIG."
        ) from error
    return "Agreement of reviewers:\n\n" + _list(
        f"{_text(name)}: {_text(str(value))}" for name, value in _leaves(content)
    )


def _proofs(conversations: Sequence[DraftConversation], languages: Sequence[str]) -> str:
    how = Counter((each.language, each.notes["prove"]["how"]) for each in conversations)
    rows = [[code, *(how[code, kind] for kind in ("rule", "llm", "reviewer"))] for code in languages]
    return (
        "Every conversation has a reply on record that follows all instructions of its last turn as they are "
        "graded:\n\n" + _table(["language", "constructed by rule", "found by the LLM", "given by a reviewer"], rows)
    )


def _sections(build: BuildSettings) -> dict[str, Any]:
    names = ("seeds", "extend", "conflicts", "translate", "filter", "audit", "prove")
    return {name: _without_paths(dict(getattr(build, name))) for name in names}


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


def _table(header: Iterable[Any], rows: Iterable[Iterable[Any]]) -> str:
    lines = [list(header), *map(list, rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(
        "| " + " | ".join(cell if cell == "---" else _text(str(cell)) for cell in line) + " |" for line in lines
    )


def _list(items: Iterable[str]) -> str:
    return "\n".join(f"- {item}" for item in items)
