"""A model's figures as ``model-index`` metadata of its card; all else in the card stays as it is, byte for byte."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from huggingface_hub.utils import yaml_dump

from turnswap.core.errors import UserError
from turnswap.tasks.multiif.dataset import HUB_REPOSITORY, HUB_REVISION, LANGUAGES
from turnswap.tasks.multiif.languages import name_of

from . import published
from .figures import MACRO, OVERALL
from .runs import Model
from .table import Figure, Summary, split_metric

KEY = "model-index"
Entry = dict[str, Any]
_MARK = "\ufeff"  # the byte order mark, without which the library reads a card


class CardError(UserError):
    """A model card cannot be changed without losing something: says which, and what is wrong with it."""


_BOOL = "tag:yaml.org,2002:bool"


class _Loader(yaml.SafeLoader):
    """The Hub reads YAML 1.2, where ``no`` is a word (Norwegian, say); PyYAML by itself takes it for false."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - as PyYAML has it
        letter: [(tag, pattern) for tag, pattern in resolvers if tag != _BOOL]
        for letter, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Loader.add_implicit_resolver(_BOOL, re.compile("^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def hub_revision(model: Model) -> str | None:
    """The commit of the Hub's data that was run; None where the data came from elsewhere."""
    kind, _, revision = model.facts["data"].partition("@")
    if kind != "hub":
        return None
    return HUB_REVISION if HUB_REVISION.startswith(revision) else revision


def eval_results(summary: Summary) -> list[EvalResult]:
    """Overall accuracy per language and turn, then the mean over the languages where there are several.

    The signature is in ``dataset_args``, the interval in ``metric_args``: both are read back by the library. A
    figure that does not exist (no conversation has a third turn) is left out.
    """
    languages = list(summary.model.languages)
    results = [result for code in languages for result in _results(summary, code, code, name_of(code))]
    if len(languages) > 1:
        config = MACRO if set(languages) == set(LANGUAGES) else f"{MACRO}:{'+'.join(languages)}"
        results += _results(summary, MACRO, config, f"mean of {len(languages)} languages")
    return results


def _results(summary: Summary, scope: str, config: str, of_what: str) -> Iterator[EvalResult]:
    model = summary.model
    runs = [run for code, run in model.languages.items() if scope in (code, MACRO)]
    n, of = sum(run.n for run in runs), sum(run.of for run in runs)
    part = f", {n} of {of} conversations" if n < of else ""
    type_, name, split = _data_set(model)
    for metric in OVERALL:
        figure = summary.figure(scope, metric)
        if math.isnan(figure.value):
            continue
        yield EvalResult(
            task_type="text-generation",
            task_name="Text Generation",
            dataset_type=type_,
            dataset_name=f"{name} ({of_what}{part})",
            dataset_config=config,
            dataset_split=split,
            dataset_revision=hub_revision(model),
            dataset_args={"signature": summary.signature, "conversations": n},
            metric_type="accuracy",
            metric_name=f"turn {split_metric(metric)[0]} overall accuracy",
            metric_value=figure.value,
            metric_args=_interval(figure, summary.interval_of(scope)),
        )


def _data_set(model: Model) -> tuple[str, str, str | None]:
    """Type, name and split: the benchmark's only where the data is the benchmark."""
    data = model.facts["data"]
    kind = data.partition("@")[0]
    if kind == "hub" or (kind == "csv" and published.is_benchmark(model)):
        return HUB_REPOSITORY, "Multi-IF", "train"
    if kind == "sample":
        return "turnswap-sample", "turnswap's packaged sample, not the benchmark", None
    return data, f"Data in the format of Multi-IF, not the benchmark: {data}", None


def _interval(figure: Figure, kind: str | None) -> dict[str, Any] | None:
    if math.isnan(figure.low) or math.isnan(figure.high):
        return None
    return {"low": figure.low, "high": figure.high, "interval": kind}


@dataclass(frozen=True)
class _Card:
    """A card in parts: ``before`` and ``after`` enclose the metadata."""

    before: str
    metadata: str
    after: str
    newline: str


def merge(content: str | None, name: str, results: Sequence[EvalResult], where: str) -> str:
    """The card's text with these results, in place of those that an earlier export wrote for the same data.

    Args:
        content: the card; None where there is none yet.
        name: what to call the model where the card has no results yet.
        results: see :func:`eval_results`.
        where: what to call the card in errors.

    Raises:
        CardError: its metadata is damaged, or something of it would be lost.
    """
    card = _split(content if content is not None else f"\n# {name}\n", where)
    data, index = _read(card.metadata, where)
    written = eval_results_to_model_index(name, list(results))[0]["results"]
    ours = {_identity(entry) for entry in written}
    kept = [
        {**element, "results": [entry for entry in element["results"] if not _replaced(entry, ours)]}
        for element in index
    ] or [{"name": name, "results": []}]
    home = next((element for element in kept if element["name"] == name), kept[0])
    others = _results_of([element for element in kept if element["results"]])
    home["results"] = [*home["results"], *written]
    changed = card.before + _with_index(card, data, kept) + card.after
    _require_intact(changed, data, others, results, where)
    return changed


def _split(content: str, where: str) -> _Card:
    mark = _MARK if content.startswith(_MARK) else ""
    match = REGEX_YAML_BLOCK.search(content[len(mark) :])
    if match is None:
        if re.match(r"\s*---\s*[\r\n]", content[len(mark) :]):
            raise CardError(
                f"{where} begins with ---, but what follows is no block of metadata that a second --- closes.",
                "Close the block, or remove the line.",
            )
        newline = "\r\n" if "\r\n" in content else "\n"
        return _Card(f"{mark}---{newline}", "", f"{newline}---{newline}{content[len(mark) :]}", newline)
    start, end = (len(mark) + place for place in match.span(2))
    return _Card(content[:start], content[start:end], content[end:], match.group(1).lstrip()[3:])


def _read(metadata: str, where: str) -> tuple[dict[str, Any], list[Entry]]:
    """The metadata, and its model-index apart from it."""
    try:
        # With the line break that belongs to the line of the closing ---: a text block at the end has it too.
        data = yaml.load(metadata + "\n", _Loader)
    except yaml.YAMLError as error:
        raise CardError(
            f"The metadata of {where} is broken YAML: {' '.join(str(error).split())}.", "Mend it, then export again."
        ) from None
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise CardError(
            f"The metadata of {where} is {type(data).__name__}; expected keys with values.",
            "Mend it, then export again.",
        )
    index = data.pop(KEY, None) or []
    try:
        _results_of(index)
        if not isinstance(index, list):
            raise TypeError(f"it is {type(index).__name__}, not a list")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CardError(
            f"The {KEY} of {where} is damaged ({type(error).__name__}: {error}); a change would lose what it holds.",
            f"Mend it, or remove {KEY} from the card, then export again.",
        ) from None
    return data, index


def _results_of(index: list[Entry]) -> list[EvalResult]:
    return model_index_to_eval_results(index)[1] if index else []


def _identity(entry: Entry) -> tuple[Any, Any]:
    return entry["dataset"]["type"], entry["dataset"].get("config")


def _replaced(entry: Entry, ours: set[tuple[Any, Any]]) -> bool:
    """Whether an earlier export wrote this entry, for the same data: others' figures for it stay."""
    arguments = entry["dataset"].get("args")
    signature = arguments.get("signature") if isinstance(arguments, Mapping) else None
    return str(signature).startswith("multiif:") and _identity(entry) in ours


def _with_index(card: _Card, data: Mapping[str, Any], index: list[Entry]) -> str:
    """The metadata's text with this model-index: the lines of other keys stay as they were, with their comments."""
    block = card.metadata
    root = yaml.compose(block, _Loader)
    if isinstance(root, yaml.MappingNode) and root.flow_style:
        return _dumped({**data, KEY: index}, card.newline)
    indent = " " * root.start_mark.column if root is not None else ""
    text = textwrap.indent(_dumped({KEY: index}, card.newline), indent)
    keys = [key for key, _ in root.value] if isinstance(root, yaml.MappingNode) else []
    for key, following in zip(keys, [*keys, None][1:], strict=True):
        if key.value == KEY:
            start = key.start_mark.index
            end = _end(block, start, following.start_mark.index if following else len(block))
            return block[: start - key.start_mark.column] + text + block[end:]
    return block + card.newline + text if block.strip() else text


def _end(block: str, start: int, bound: int) -> int:
    """The end of the last line of what starts here: comments before the next key belong to that."""
    tokens = [token for token in yaml.scan(block, _Loader) if start <= token.start_mark.index < bound]
    last = len(block[: tokens[-1].end_mark.index].rstrip())
    rest = re.search(r"[\r\n]|$", block[last:])
    return last + (rest.start() if rest else 0)


def _dumped(data: Mapping[str, Any], newline: str) -> str:
    return str(yaml_dump(data, sort_keys=False, line_break=newline)).rstrip("\r\n")


def _require_intact(
    content: str, data: Mapping[str, Any], others: Sequence[EvalResult], ours: Sequence[EvalResult], where: str
) -> None:
    """Read the new card back, as the library does: every result is there, and every other key as before."""
    try:
        now, index = _read(_split(content, where).metadata, where)
        same = now == data and _sorted(_results_of(index)) == _sorted([*others, *ours])
    except CardError:
        same = False
    if not same:
        raise CardError(
            f"Results cannot be added to the metadata of {where} without changing what else it holds.",
            "Write it in plain YAML, without anchors and without a key twice, then export again.",
        )
    try:
        read = ModelCard(content.removeprefix(_MARK)).data.eval_results or []
        if any(result not in read for result in ours):
            raise ValueError("results are missing")
    except (ValueError, TypeError, AttributeError) as error:
        raise CardError(
            f"huggingface_hub cannot read the metadata of {where} with results in it: {' '.join(str(error).split())}.",
            "Mend it, then export again.",
        ) from None


def _sorted(results: Sequence[EvalResult]) -> list[str]:
    return sorted(map(repr, results))
