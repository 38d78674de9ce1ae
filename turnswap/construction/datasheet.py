"""The datasheet of a release: what its steps recorded, after Gebru et al. 2021.

Datasheets for Datasets, Communications of the ACM 64(12).
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import yaml

from turnswap import __version__
from turnswap.core.errors import UserError, reason_of
from turnswap.core.journal import read_jsonl
from turnswap.tasks.multiif.languages import name_of

from . import STEPS, draws, hub
from .falsify import read_reason
from .judge import doubt, share_told
from .llm import LLM
from .pipeline import Pipeline, counted
from .records import Conversations, DraftConversation, digest
from .sheet import source_of
from .steps import BuildSettings, ReleaseSettings

_REASONS = 6  # shown per step in the datasheet


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
        judge=judged_by(build, pipeline),
        generation=", ".join(f"{key}={value}" for key, value in build.llm.gen_kwargs.items()),
        scores=scores,
        signatures=signatures,
        agreement=_agreement(build.folder / "audit" / "agreement.json") if build.audit.get("enabled", True) else [],
        reviewed=hub.who_reviewed(conversations),
        unmeasured=unmeasured(pipeline, conversations),
        falsified=_falsified(conversations),
        proofs=[[code, *(how[code, kind] for kind in ("rule", "llm", "reviewer"))] for code in of_language],
        sections=yaml.safe_dump(sections, allow_unicode=True, sort_keys=False),
        turnswap=__version__,
    )


def judged_by(build: BuildSettings, pipeline: Pipeline) -> str:
    """Who judged the translations, and what share was rejected; empty where nobody was asked."""
    if build.judge is None:
        return ""
    told = f"{build.judge.model} {_file_name(build.judge.named)}, {share_told(pipeline.outcomes('translate'))}"
    return ". ".join(filter(None, [told, doubt(build.llm, build.judge)]))


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


def unmeasured(pipeline: Pipeline, conversations: Conversations) -> list[list[Any]]:
    """Rows of what the published rules do not measure: instruction, language, why, what was done, conversations."""
    graded = Counter(
        (each["id"], conversation.language, each["why"], "graded by the corrected rule")
        for conversation in conversations
        for each in conversation.note("prove").get("corrected", ())
    )
    reasons = [outcome.reason for name in pipeline.names for outcome in pipeline.outcomes(name) if outcome.reason]
    left_out = Counter((*found, "left out") for reason in reasons if (found := read_reason(reason)))
    return [[*row, number] for row, number in sorted((graded + left_out).items())]


def _falsified(conversations: Conversations) -> list[int] | None:
    """Of how many instructions a natural reply that fails is on record, and of how many; None where none was tried."""
    tried = [each for conversation in conversations for each in conversation.note("prove").get("fails", ())]
    return [sum("reply" in each for each in tried), len(tried)] if tried else None


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
            f"{path} cannot be read: {reason_of(error)}.", "Run the audit again: turnswap build run CONFIG."
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
