"""What makes two models unswappable: found in configurations, headers and tokenizers, before a weight is read."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mergekit.common import ModelReference
from mergekit.options import MergeOptions
from tokenizers import Tokenizer
from transformers import PretrainedConfig

from turnswap.core.errors import UserError

from .checkpoint import Checkpoint, Description, check_adapter, describe, merged_folder
from .layout import Layout, is_tied, n_layers_of, read_layout

# Facts of the text decoder's configuration that must agree, by the name used in messages.
STRUCTURE = {
    "hidden size": ("hidden_size",),
    "attention heads": ("num_attention_heads",),
    "key-value heads": ("num_key_value_heads",),
    "head size": ("head_dim",),
    "intermediate size": ("intermediate_size",),
    "experts": ("num_local_experts", "num_experts", "n_routed_experts"),
    "experts per token": ("num_experts_per_tok",),
    "expert's intermediate size": ("moe_intermediate_size",),
    "vocabulary size": ("vocab_size",),
}
# What a user may know better about, by the name that ``accept`` takes.
BEHAVIOUR = {
    "rope": ("rope_parameters", "rope_theta", "rope_scaling", "partial_rotary_factor", "rotary_pct"),
    "norm_eps": ("rms_norm_eps", "layer_norm_eps", "layer_norm_epsilon", "norm_epsilon", "norm_eps"),
    "activation": ("hidden_act", "hidden_activation", "activation_function"),
    "sliding_window": ("sliding_window", "layer_types"),
}
ACCEPTABLE = (*BEHAVIOUR, "tokenizer")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")


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
        return tokenizer_files(self.description.folder)


def tokenizer_files(folder: Path) -> list[Path]:
    """The files of a folder that hold a vocabulary."""
    return [path for name in TOKENIZER_FILES if (path := folder / name).is_file()]


def open_model(reference: ModelReference, options: MergeOptions) -> Model:
    """Read a model's configuration and headers. With a LoRA that is not merged yet, those of the model under it.

    Raises:
        UserError: it is not there, incomplete, damaged, or no decoder.
    """
    description = describe(reference.model, options.transformers_cache)
    if reference.lora is not None:
        check_adapter(reference.lora)
        merged = merged_folder(reference, options.lora_merge_cache)
        if merged:
            description = dataclasses.replace(description, tensors=Checkpoint(merged).tensors)
    try:
        config = reference.config(trust_remote_code=options.trust_remote_code)
    except Exception as error:  # transformers' checks of what a file says raise errors of many kinds
        first_line = (str(error).splitlines() or [""])[0]
        raise UserError(
            f"The configuration of {reference.model} cannot be read ({first_line}).", "Check its config.json."
        ) from error
    if len(config.architectures or ()) != 1:
        raise UserError(
            f"The configuration of {reference.model} names no architecture (architectures: {config.architectures}).",
            "Check its config.json: a causal language model names its class there.",
        )
    if getattr(config, "quantization_config", None):
        raise UserError(
            f"{reference.model} is quantised: its numbers mean nothing in another model's scales.",
            "Use its weights in bfloat16 or the like, and quantise the merged model.",
        )
    try:
        return Model(reference, config, description, read_layout(config, description.tensors))
    except UserError as error:
        raise UserError(f"{reference.model}: {error.message}", error.advice) from error


@dataclass(frozen=True)
class Difference:
    """A fact in which two models disagree. ``name`` is what ``accept`` takes, if anything."""

    name: str
    recipient: str
    other: str

    def __str__(self) -> str:
        return f"{self.name}: {self.recipient} and {self.other}"


def check_structure(recipient: Model, other: Model) -> None:
    """Refuse models of different build.

    Raises:
        UserError: it names every difference with both values.
    """
    _refuse(recipient, other, list(_structure(recipient, other)), "Both must be fine-tuned from one pretrained model.")


def check_pair(recipient: Model, other: Model, accepted: frozenset[str], dtype_is_set: bool) -> None:
    """Refuse models whose tensors do not belong into one model, apart from differences that the user accepts.

    Raises:
        UserError: it names every difference with both values.
    """
    check_structure(recipient, other)
    behaviour = [difference for difference in _behaviour(recipient, other) if difference.name not in accepted]
    names = ", ".join(difference.name for difference in behaviour)
    _refuse(recipient, other, behaviour, f"If you know that this may differ, add to parameters: accept: {names!r}.")
    if not dtype_is_set:
        types = list(_dtypes(recipient, other))
        _refuse(recipient, other, types, "Add dtype: bfloat16 (or another) to the configuration.")


def _refuse(recipient: Model, other: Model, differences: list[Difference], advice: str) -> None:
    if differences:
        listed = "; ".join(map(str, differences))
        raise UserError(f"{recipient} and {other} cannot be swapped. They differ in {listed}.", advice)


def _structure(recipient: Model, other: Model) -> Iterator[Difference]:
    ours, theirs = recipient.config, other.config
    kinds = [str((config.architectures or [config.model_type])[0]) for config in (ours, theirs)]
    if kinds[0] != kinds[1]:
        yield Difference("architecture", *kinds)
    if n_layers_of(ours) != n_layers_of(theirs):
        yield Difference("layers", str(n_layers_of(ours)), str(n_layers_of(theirs)))
    before = list(_facts(ours, theirs, STRUCTURE))
    yield from before
    if is_tied(ours) != is_tied(theirs):
        yield Difference("tied embeddings", *("tied" if is_tied(config) else "untied" for config in (ours, theirs)))
    elif not before and kinds[0] == kinds[1] and recipient.layout.n_layers == other.layout.n_layers:
        yield from _tensors(recipient, other)


def _facts(ours: PretrainedConfig, theirs: PretrainedConfig, facts: dict[str, tuple[str, ...]]) -> Iterator[Difference]:
    text_ours, text_theirs = ours.get_text_config(), theirs.get_text_config()
    for name, attributes in facts.items():
        for attribute in attributes:
            values = [_plain(getattr(text, attribute, None)) for text in (text_ours, text_theirs)]
            if values[0] != values[1]:
                yield Difference(name, *map(str, values))
                break


def _plain(value: Any) -> Any:
    """A configuration's value as compared: integers and floats of one value are the same."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in sorted(value.items()) if item is not None}
    return float(value) if isinstance(value, float) else value


def _tensors(recipient: Model, other: Model) -> Iterator[Difference]:
    """Tensors of the text decoder that one model lacks, or that have another shape."""
    theirs = other.layout.weights
    for name, weight in recipient.layout.weights.items():
        if weight.place.part == "outside":
            continue
        if name not in theirs:
            if weight.place.part == "tied" and any(w.place.part == "tied" for w in theirs.values()):
                continue  # stored under its other name
            yield Difference(f"tensor {name}", "there", "missing")
            return
        if weight.header.shape != theirs[name].header.shape:
            yield Difference(f"shape of {name}", str(weight.header.shape), str(theirs[name].header.shape))
            return
    for name, weight in theirs.items():
        if weight.place.part in ("layer", "head", "embeddings") and name not in recipient.layout.weights:
            yield Difference(f"tensor {name}", "missing", "there")
            return


def _behaviour(recipient: Model, other: Model) -> Iterator[Difference]:
    yield from _facts(recipient.config, other.config, BEHAVIOUR)
    if recipient.tokenizer_files and other.tokenizer_files:
        difference = tokenizer_difference(recipient.description.folder, other.description.folder)
        if difference:
            yield difference


def _dtypes(recipient: Model, other: Model) -> Iterator[Difference]:
    for name, weight in recipient.layout.weights.items():
        theirs = other.layout.weights.get(name)
        if theirs and weight.place.part != "outside" and weight.header.dtype != theirs.header.dtype:
            yield Difference(f"the type of {name}", _short(weight.header.dtype), _short(theirs.header.dtype))
            return


def _short(dtype: object) -> str:
    return str(dtype).removeprefix("torch.")


def tokenizer_difference(recipient: Path, other: Path) -> Difference | None:
    """What the tokenizers of two folders disagree in: first byte for byte, then in what turns text into ids."""
    ours, theirs = ({path.name: path for path in tokenizer_files(folder)} for folder in (recipient, other))
    name = next((name for name in TOKENIZER_FILES if name in ours and name in theirs), None)
    if name is None:
        return Difference("tokenizer", *(min(files, default="none") for files in (ours, theirs)))
    contents = ours[name].read_bytes(), theirs[name].read_bytes()
    if contents[0] == contents[1]:
        return None
    if name != "tokenizer.json":
        return Difference("tokenizer", f"{name} of {len(contents[0])} bytes", f"another of {len(contents[1])}")
    try:
        tokenizers = [Tokenizer.from_buffer(content) for content in contents]
    except Exception:  # the library raises nothing more special
        return Difference("tokenizer", "one tokenizer.json", "another, one of them unreadable")
    vocabularies = [tokenizer.get_vocab() for tokenizer in tokenizers]
    for token in sorted(vocabularies[0].keys() | vocabularies[1].keys()):
        ids = [vocabulary.get(token) for vocabulary in vocabularies]
        if ids[0] != ids[1]:
            return Difference("tokenizer", *(f"{token!r} is {'absent' if id_ is None else id_}" for id_ in ids))
    # Written by one version of the library, which fills in the defaults that older files leave out.
    left, right = (json.loads(tokenizer.to_str()) for tokenizer in tokenizers)
    for written in (left, right):
        written |= {f"{key} of the model": value for key, value in written.pop("model").items() if key != "vocab"}
    for part in sorted((left.keys() | right.keys()) - {"added_tokens", "decoder", "padding", "truncation", "version"}):
        if left.get(part) != right.get(part):
            return Difference("tokenizer", f"one {part}", "another")
    return None


def parse_accepted(value: str | None) -> frozenset[str]:
    """The differences named by ``accept: rope, tokenizer``.

    Raises:
        UserError: it names something else.
    """
    names = frozenset(name.strip() for name in (value or "").split(",") if name.strip())
    if names - set(ACCEPTABLE):
        raise UserError(
            f"accept: {min(names - set(ACCEPTABLE))} cannot be accepted.", f"Choose of {', '.join(ACCEPTABLE)}."
        )
    return names


def soft_differences(recipient: Model, other: Model) -> list[str]:
    """What is worth a word but no refusal."""
    lengths = [getattr(model.config.get_text_config(), "max_position_embeddings", None) for model in (recipient, other)]
    found = []
    if lengths[0] != lengths[1]:
        found.append(f"context length: {recipient} has {lengths[0]} positions, {other} {lengths[1]}")
    without = [str(model) for model in (recipient, other) if not model.tokenizer_files]
    if without:
        found.append(f"vocabularies not compared: {' and '.join(without)} came without a tokenizer")
    return found
