"""A model's figures as ``model-index`` metadata of its card; all else in the card stays as it is, byte for byte."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import yaml
from huggingface_hub import EvalResult, ModelCard
from huggingface_hub.repocard import REGEX_YAML_BLOCK
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results
from huggingface_hub.utils import yaml_dump

from turnswap.core.errors import UserError, reason_of
from turnswap.tasks.multiif.dataset import HUB_REPOSITORY, HUB_REVISION
from turnswap.tasks.multiif.languages import name_of

from .figures import MACRO, OVERALL
from .runs import Model
from .table import Summary, split_metric

KEY = "model-index"
Entry = dict[str, Any]
_MARK = "\ufeff"  # the byte order mark, without which the library reads a card
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
    known = HUB_REVISION if HUB_REVISION.startswith(revision) else revision
    return known if kind == "hub" else None


def eval_results(summary: Summary) -> list[EvalResult]:
    """Overall accuracy per language and turn, then the mean over the languages where there are several.

    The signature is in ``dataset_args``, the interval in ``metric_args``: both are read back by the library. A
    figure that does not exist (no conversation has a third turn) is left out.
    """
    model, languages = summary.model, list(summary.model.languages)
    scopes = {code: (code, name_of(code)) for code in languages}
    if len(languages) > 1:
        config = MACRO if model.in_all_languages else f"{MACRO}:{'+'.join(languages)}"
        scopes[MACRO] = (config, f"mean of {len(languages)} languages")
    type_, name, split = data_set(model)
    results = []
    for scope, (config, of_what) in scopes.items():
        n, of = summary.n(scope), sum(run.of for code, run in model.languages.items() if scope in (code, MACRO))
        part = f", {n} of {of} conversations" if n < of else ""
        for metric in OVERALL:
            figure = summary.figure(scope, metric)
            if math.isnan(figure.value):
                continue
            interval = {"low": figure.low, "high": figure.high, "interval": summary.interval_of(scope)}
            results.append(
                EvalResult(
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
                    metric_args=None if math.isnan(figure.low) else interval,
                )
            )
    return results


def data_set(model: Model) -> tuple[str, str, str | None]:
    """Type, name and split: the benchmark's only where the data is the benchmark."""
    data = model.facts["data"]
    kind = data.partition("@")[0]
    if model.is_benchmark:
        return HUB_REPOSITORY, "Multi-IF", "train"
    if kind == "sample":
        return "turnswap-sample", "turnswap's packaged sample, not the benchmark", None
    return data, f"Data in the format of Multi-IF, not the benchmark: {data}", None


def merge(content: str | None, name: str, results: Sequence[EvalResult], where: str) -> str:
    """The card's text with these results, in place of those that an earlier export wrote for the same data.

    Args:
        content: the card; None where there is none yet.
        name: what to call the model where the card has no results yet.
        results: see :func:`eval_results`.
        where: what to call the card in errors.

    Raises:
        UserError: its metadata is damaged, or something of it would be lost.
    """
    before, block, after, newline = _split(content if content is not None else f"\n# {name}\n", where)
    data, index = _read(block, where)
    written = eval_results_to_model_index(name, list(results))[0]["results"]
    ours = {_by_us(entry) for entry in written}
    kept = [{**each, "results": [entry for entry in each["results"] if _by_us(entry) not in ours]} for each in index]
    kept = kept or [{"name": name, "results": []}]
    home = next((element for element in kept if element["name"] == name), kept[0])
    home["results"] = [*home["results"], *written]
    changed = before + _with_index(block, data, kept, newline) + after
    intact = False
    with suppress(UserError):
        intact = _read(_split(changed, where)[1], where) == (data, kept)
    if not intact:
        raise UserError(
            f"Results cannot be added to the metadata of {where} without changing what else it holds.",
            "Write it in plain YAML, without anchors and without a key twice, then export again.",
        )
    try:
        read = ModelCard(changed.removeprefix(_MARK)).data.eval_results or []
        if any(result not in read for result in results):
            raise ValueError("results are missing")
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"huggingface_hub cannot read the metadata of {where} with results in it: {reason_of(error)}.",
            "Correct it, then export again.",
        ) from None
    return changed


def _split(content: str, where: str) -> tuple[str, str, str, str]:
    """A card's text before its metadata, the metadata, the text after it, and the line break."""
    mark = _MARK if content.startswith(_MARK) else ""
    text = content.removeprefix(mark)
    match = REGEX_YAML_BLOCK.search(text)
    if match is not None:
        start, end = match.span(2)
        return mark + text[:start], text[start:end], text[end:], match.group(1).lstrip()[3:]
    if re.match(r"\s*---\s*[\r\n]", text):
        raise UserError(
            f"{where} begins with ---, but no second --- closes a block of metadata.",
            "Close the block, or remove the line.",
        )
    newline = "\r\n" if "\r\n" in content else "\n"
    return f"{mark}---{newline}", "", f"{newline}---{newline}{text}", newline


def _read(block: str, where: str) -> tuple[dict[str, Any], list[Entry]]:
    """The metadata, and its model-index apart from it."""
    try:
        # With the line break that belongs to the line of the closing ---: a text block at the end has it too.
        data = yaml.load(block + "\n", _Loader) or {}
        if not isinstance(data, dict):
            raise TypeError(f"expected keys with values, got a {type(data).__name__}")
        index = data.pop(KEY, None) or []
        if not isinstance(index, list):
            raise TypeError(f"{KEY}: expected a list, got a {type(index).__name__}")
        if index:
            model_index_to_eval_results(index)
    except yaml.YAMLError as error:
        raise UserError(
            f"The metadata of {where} is broken YAML: {reason_of(error)}.", "Correct it, then export again."
        ) from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"The metadata of {where} or the {KEY} in it is damaged: {type(error).__name__}: {error}. A change would "
            "lose what it holds.",
            f"Correct it, or remove {KEY} from the card, then export again.",
        ) from None
    return data, index


def _by_us(entry: Entry) -> tuple[Any, Any] | None:
    """The data that an entry is of, if an earlier export wrote it: others' figures for it stay."""
    data = entry["dataset"]
    arguments = data.get("args")
    signature = arguments.get("signature") if isinstance(arguments, Mapping) else None
    return (data["type"], data.get("config")) if str(signature).startswith("multiif:") else None


def _with_index(block: str, data: Mapping[str, Any], index: list[Entry], newline: str) -> str:
    """The metadata's text with this model-index: the lines of other keys stay as they were, with their comments."""

    def dumped(content: Mapping[str, Any]) -> str:
        return str(yaml_dump(content, sort_keys=False, line_break=newline)).rstrip("\r\n")

    root = yaml.compose(block, _Loader)
    if isinstance(root, yaml.MappingNode) and root.flow_style:
        return dumped({**data, KEY: index})
    indent = " " * root.start_mark.column if root is not None else ""
    text = textwrap.indent(dumped({KEY: index}), indent)
    # The key's line and those that belong to its value; comments before the next key belong to that.
    blank = r"[ \t]*(?:#[^\r\n]*)?"
    more = rf"(?:\r?\n(?:{blank}\r?\n)*(?!{blank}(?:[\r\n]|$)){indent}[ -][^\r\n]*)*"
    own = re.search(rf"^{indent}[\"']?{KEY}[\"']?[ \t]*:[^\r\n]*{more}", block, re.MULTILINE)
    if own is not None:
        return block[: own.start()] + text + block[own.end() :]
    return block + newline + text if block.strip() else text
