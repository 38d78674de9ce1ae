"""The datasheet of a data set, after Gebru et al. 2021 (Datasheets for Datasets, Communications of the ACM 64(12))."""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import yaml

from turnswap import __version__
from turnswap.core.errors import UserError
from turnswap.core.journal import read_jsonl
from turnswap.tasks.multiif.languages import name_of

from .llm import LLM
from .pipeline import Pipeline, counted
from .records import DraftConversation, digest
from .steps import BuildSettings, ReleaseSettings

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
    languages = list(dict.fromkeys(each.language for each in conversations))
    scores, signatures = _scores(conversations, languages)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, keep_trailing_newline=True)
    environment.filters["markdown"] = _text
    template = environment.from_string((files(__package__) / "html" / "datasheet.md.j2").read_text("utf-8"))
    return template.render(
        build=build,
        settings=settings,
        names=", ".join(f"{name_of(code)} ({code})" for code in languages),
        composition=_composition(conversations, languages),
        instructions=_instructions(conversations, languages),
        steps=_steps(pipeline),
        model=_file_name(str(build.llm.model_args.get("pretrained") or build.llm.model_args.get("model") or "")),
        answers=digest(LLM(build.llm, build.folder).identity),
        generation=", ".join(f"{key}={value}" for key, value in build.llm.gen_kwargs.items()),
        scores=scores,
        signatures=signatures,
        agreement=_agreement(build.folder / "audit" / "agreement.json"),
        proofs=_proofs(conversations, languages),
        sections=yaml.safe_dump(_sections(build), allow_unicode=True, sort_keys=False),
        turnswap=__version__,
    )


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
    for name in pipeline.names:
        outcomes = pipeline.outcomes(name)
        rejected = counted(outcome.reason for outcome in outcomes if outcome.reason is not None)
        reasons = "; ".join(f"{reason} ({number})" for reason, number in rejected.most_common(_REASONS))
        more = len(rejected) - _REASONS
        lost = sum(rejected.values())
        came = len(read_jsonl(pipeline.file(name)))
        rows.append([name, came, len(outcomes) - lost, lost, reasons + (f"; {more} more reasons" if more > 0 else "")])
    return _table(["step", "came", "kept", "lost", "reasons"], rows)


def _scores(conversations: Sequence[DraftConversation], languages: Sequence[str]) -> tuple[str, list[str]]:
    """A table of every number that ``translate`` noted, and the signatures of the metrics."""
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
    header = ["language", "score of the translation", "n", "lowest", "median", "highest"]
    return _table(header, rows) if rows else "", list(signatures)


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
        return [(name, str(value)) for name, value in _leaves(json.loads(path.read_text("utf-8")))]
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read: {error}.", "Run the audit again: turnswap build run CONFIG."
        ) from error


def _proofs(conversations: Sequence[DraftConversation], languages: Sequence[str]) -> str:
    how = Counter((each.language, each.notes["prove"]["how"]) for each in conversations)
    rows = [[code, *(how[code, kind] for kind in ("rule", "llm", "reviewer"))] for code in languages]
    return _table(["language", "constructed by rule", "found by the LLM", "given by a reviewer"], rows)


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
