"""What makes two models unswappable: found in configurations, headers and tokenizers, before a weight is read."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from mergekit.common import ModelReference
from mergekit.options import MergeOptions
from transformers import PretrainedConfig

from turnswap.core.errors import UserError

from .checkpoint import Checkpoint, first_line, read_json, type_name
from .layout import NAMES, Layout, Weight, fact, is_tied, n_layers_of, read_layout
from .references import Description, FoundModel, describe, merged_folder

ACCEPTABLE = (*NAMES["behaviour"], "tokenizer")
TOKENIZER_FILES = NAMES["files"]["vocabulary"]


@dataclass(frozen=True, eq=False)
class Model:
    """An input of the merge without its weights."""

    reference: ModelReference
    config: PretrainedConfig
    description: Description
    layout: Layout

    def __str__(self) -> str:
        return str(self.reference)

    @property
    def tokenizer_files(self) -> list[Path]:
        """The files that hold its vocabulary; none where it came without a tokenizer."""
        return [path for name in TOKENIZER_FILES if (path := self.description.folder / name).is_file()]

    @functools.cached_property
    def tokens(self) -> dict[str, int]:
        """The ids of its tokens, added ones too.

        Raises:
            UserError: it came without a tokenizer, or with one that cannot be read or needs code of its own.
        """
        folder = self.description.folder
        try:
            # Without a word on code, transformers would ask the user and wait.
            loaded = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # of many kinds, by what is missing or damaged
            raise UserError(
                f"The tokenizer of {folder} cannot be read; it is needed to match rows of embeddings by token.",
                "Copy the tokenizer's files there, or write embeddings: recipient.",
            ) from error
        return dict(loaded.get_vocab())


def open_model(model: ModelReference | str, options: MergeOptions) -> Model:
    """Read a model's configuration and headers. With a LoRA that is not merged yet, those of the model under it.

    Args:
        model: mergekit's reference, or a text that is one: a folder, a Hub id, or ``model+adapter``.
        options: mergekit's, for how models are read.

    Raises:
        UserError: it is not there, incomplete, damaged, or no decoder.
    """
    try:
        reference = ModelReference.parse(model) if isinstance(model, str) else model
    except (ValueError, RuntimeError) as error:
        raise UserError(
            f"{model!r} names no model ({error}).", "Expected a folder, a Hub id, or MODEL+ADAPTER."
        ) from None
    description = describe(reference.model, options.transformers_cache)
    if reference.lora is not None:
        adapter = Path(reference.lora.path)
        if not adapter.is_dir() and reference.lora.path.startswith((".", "/", "~")):  # no Hub id looks like this
            raise UserError(f"{reference.lora} is no folder here.", "Check the path after the +.")
        if adapter.is_dir() and not (adapter / "adapter_config.json").is_file():
            raise UserError(
                f"{reference.lora} is no LoRA adapter: it holds no adapter_config.json.", "Check the path after the +."
            )
        merged = merged_folder(reference, options.lora_merge_cache)
        if merged:
            description = dataclasses.replace(description, tensors=Checkpoint(merged).tensors)
    elif (description.folder / "adapter_config.json").is_file():
        raise UserError(
            f"{reference.model} holds an adapter beside its weights (adapter_config.json), which transformers loads.",
            "Move the adapter to a folder of its own, and write MODEL+ADAPTER if it belongs to the model.",
        )
    # For mergekit's run, which knows no cache for configurations and asks the Hub what files there are.
    found = FoundModel.at(description.folder, reference)
    config = read_config(found, options)
    if len(config.architectures or ()) != 1:
        raise UserError(
            f"The configuration of {reference.model} names no architecture (architectures: {config.architectures}).",
            "Check its config.json: a causal language model names its class there.",
        )
    needs_own = hasattr(config, "auto_map") and not hasattr(transformers, *config.architectures)
    if needs_own and not options.trust_remote_code:
        raise _own_code(reference)
    if getattr(config, "quantization_config", None):
        raise UserError(
            f"{reference.model} is quantised: its numbers mean nothing in another model's scales.",
            "Use its weights in bfloat16 or the like, and quantise the merged model.",
        )
    try:
        layout = read_layout(config, description.tensors, options.trust_remote_code)
        if description.complete and reference.lora is None:
            _check_copies(layout, description.folder)
        return Model(found if description.complete else reference, config, description, layout)
    except UserError as error:
        raise UserError(f"{reference.model}: {error.message}", error.advice) from error


def _check_copies(layout: Layout, folder: Path) -> None:
    """Refuse one tensor that is stored twice with different numbers: transformers then does not tie the two."""
    for parts in layout.by_target.values():
        copies = [part.name for part in parts if not part.converted]
        if len(copies) < 2:
            continue
        checkpoint = Checkpoint(folder)
        if any(not torch.equal(checkpoint.read(copies[0]), checkpoint.read(name)) for name in copies[1:]):
            raise UserError(
                f"{' and '.join(copies)} are one tensor by its configuration, and differ in its weights.",
                "Write tie_word_embeddings: false into its config.json, or save the model again.",
            )


def read_config(model: FoundModel, options: MergeOptions) -> PretrainedConfig:
    """A model's configuration.

    Raises:
        UserError: it is not there or cannot be read, or the model comes with its own code.
    """
    try:
        return model.config(trust_remote_code=options.trust_remote_code)
    except Exception as error:  # transformers' checks of what a file says raise errors of many kinds
        # Neither transformers' advice, which is for its own functions, nor mergekit's traceback.
        if not options.trust_remote_code and "auto_map" in read_json(Path(model.local_path()) / "config.json"):
            raise _own_code(model) from None
        raise UserError(
            f"The configuration of {model.model} cannot be read ({first_line(error)}).", "Check its config.json."
        ) from error


def _own_code(model: ModelReference) -> UserError:
    return UserError(
        f"{model.model} comes with its own code, which transformers needs to understand it.",
        "Read that code; if you trust it, add --trust-remote-code (trust_remote_code=True in model_args).",
    )


@dataclass(frozen=True)
class Difference:
    """A fact in which two models disagree. ``name`` is what ``accept`` takes, if anything."""

    name: str
    recipient: str
    other: str

    def __str__(self) -> str:
        return f"{self.name}: {self.recipient} and {self.other}"


def check_structure(recipient: Model, other: Model, own_vocabularies: bool = False) -> None:
    """Refuse models of different build.

    Args:
        recipient: a model.
        other: another one.
        own_vocabularies: whether embeddings and head may differ in their rows, and be tied in one of the two.

    Raises:
        UserError: it names every difference with both values.
    """
    configs = recipient.config, other.config
    found = [
        *_unequal("architecture", *(config.architectures[0] for config in configs)),
        *_unequal("layers", *map(n_layers_of, configs)),
        *_facts(recipient, other, "structure"),
        *_unequal("tied embeddings", *("tied" if is_tied(config) else "untied" for config in configs)),
    ]
    if own_vocabularies and {difference.name for difference in found} <= {"vocabulary size", "tied embeddings"}:
        found = []
    found = found or _tensors(recipient, other, own_vocabularies)  # which differ wherever the build does
    _refuse(recipient, other, found, "Both must be fine-tuned from one pretrained model.")


def check_pair(
    recipient: Model,
    other: Model,
    accepted: frozenset[str],
    dtype_is_set: bool,
    own_vocabularies: bool,
    tokenizers: Difference | None,
) -> None:
    """Refuse models whose tensors do not belong into one model, apart from differences that the user accepts.

    Args:
        recipient: the model that keeps its tokenizer.
        other: a donor, or the ancestor.
        accepted: the differences that the user accepts.
        dtype_is_set: whether the configuration declares a type for all.
        own_vocabularies: whether embeddings and head may differ in their rows, and be tied in one of the two.
        tokenizers: what they disagree in, where that matters.

    Raises:
        UserError: it names every difference with both values.
    """
    check_structure(recipient, other, own_vocabularies)
    found = [*_facts(recipient, other, "behaviour"), *([tokenizers] if tokenizers else [])]
    behaviour = [difference for difference in found if difference.name not in accepted]
    names = ", ".join(difference.name for difference in behaviour)
    _refuse(recipient, other, behaviour, f"If you know that this may differ, add to parameters: accept: {names!r}.")
    if not dtype_is_set:
        _refuse(recipient, other, _types(recipient, other), "Add dtype: bfloat16 (or another) to the configuration.")


def _refuse(recipient: Model, other: Model, differences: list[Difference], advice: str) -> None:
    if differences:
        listed = "; ".join(map(str, differences))
        raise UserError(f"{recipient} and {other} cannot be swapped. They differ in {listed}.", advice)


def _unequal(name: str, ours: object, theirs: object) -> list[Difference]:
    return [] if ours == theirs else [Difference(name, str(ours), str(theirs))]


def _facts(recipient: Model, other: Model, kind: str) -> Iterator[Difference]:
    """A difference at most for each fact, whatever attribute of the configuration holds it."""
    configs = [model.config for model in (recipient, other)]
    for name, attributes in NAMES[kind].items():
        pairs = ([_without_none(fact(config, attribute)) for config in configs] for attribute in attributes)
        yield from next((found for pair in pairs if (found := _unequal(name, *pair))), [])


def _without_none(value: Any) -> Any:
    """A configuration's value as compared: what is not given and what is given as None are the same."""
    if isinstance(value, dict):
        return {key: _without_none(item) for key, item in sorted(value.items()) if item is not None}
    return value


def _pairs(recipient: Model, other: Model) -> Iterator[tuple[Weight, Weight | None]]:
    """Each tensor of the recipient's text decoder with its counterpart; None where the other has none as it is."""
    for weight in recipient.layout.weights.values():
        if weight.place.part != "outside":
            yield weight, other.layout.held(weight)


def _tensors(recipient: Model, other: Model, own_vocabularies: bool) -> list[Difference]:
    """The first tensor of the text decoder that one model lacks, or that has another shape."""
    for ours, theirs in _pairs(recipient, other):
        if own_vocabularies and ours.by_token:
            continue
        if theirs is not None:
            found = _unequal(f"shape of {ours.name}", ours.header.shape, theirs.header.shape)
        else:  # the other may store the parts of what is stored as one here
            parts = other.layout.by_target.get(ours.target, ())
            found = [] if parts and not ours.converted else _unequal(f"tensor {ours.name}", "there", "missing")
        if found:
            return found
    surplus = [
        weight.name
        for weight in other.layout.weights.values()
        if weight.place.part != "outside"
        and weight.name not in recipient.layout.weights
        and weight.target not in recipient.layout.by_target
        and not (own_vocabularies and weight.by_token)
    ]
    return _unequal(f"tensor {surplus[0]}", "missing", "there") if surplus else []


def _types(recipient: Model, other: Model) -> list[Difference]:
    """The first tensor of the text decoder that is stored in another type."""
    for ours, theirs in _pairs(recipient, other):
        if theirs and ours.header.dtype != theirs.header.dtype:
            return _unequal(f"the type of {ours.name}", *(type_name(one.header.dtype) for one in (ours, theirs)))
    return []


def parse_accepted(value: str | None) -> frozenset[str]:
    """The differences named by ``accept: rope, tokenizer``.

    Raises:
        UserError: it names something else.
    """
    names = frozenset(name.strip() for name in (value or "").split(",") if name.strip())
    if names - set(ACCEPTABLE):
        raise UserError(
            f"accept: {min(names - set(ACCEPTABLE))} cannot be accepted.", f"Choose from {', '.join(ACCEPTABLE)}."
        )
    return names


def soft_differences(recipient: Model, other: Model) -> list[str]:
    """What is worth a word but no refusal."""
    lengths = [fact(model.config, "max_position_embeddings") for model in (recipient, other)]
    found = []
    if lengths[0] != lengths[1]:
        found.append(f"context length: {recipient} has {lengths[0]} positions, {other} {lengths[1]}")
    without = [str(model) for model in (recipient, other) if not model.tokenizer_files]
    if without:
        found.append(f"vocabularies not compared: {' and '.join(without)} came without a tokenizer")
    return found
