"""Where each tensor of a model lies, and the same as an architecture for mergekit.

The model's own modules tell it (``module_graph``); where its code is not at hand, mergekit's lists of names; and for
what neither knows the name alone, with a warning.
"""

from __future__ import annotations

import functools
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import torch
from mergekit.architecture import (
    ConfiguredModuleArchitecture,
    ModelArchitecture,
    ModuleDefinition,
    WeightInfo,
    arch_info_for_config,
)
from mergekit.architecture.json_definitions import JsonLayerTemplates, JsonModuleArchDef, JsonModuleArchitecture
from transformers import PretrainedConfig
from transformers.core_model_loading import dot_natural_key

from turnswap.core.errors import UserError

from .checkpoint import TensorInfo
from .module_graph import ModuleGraph, module_graph
from .swap_plan import Place

NAMES: dict[str, dict[str, Any]] = tomllib.loads((files(__package__) / "names.toml").read_text("utf-8"))
EMBEDDINGS, HEAD, OUTSIDE, COMPUTED = (
    re.compile(NAMES["weights"][of]) for of in ("embeddings", "head", "outside", "computed")
)
# What stands in attention's place, or beside it, and is none.
MIXERS = ("linear", "mamba", "conv", "recurrent")
PROJECTIONS = ("gate", "up", "gate+up", "down")
MODULES = {
    "attention": (*("q", "k", "v", "qkv", "q_a", "q_b", "kv", "kv_a", "kv_b", "o", "o_a", "o_b", "indexer"),
                  "attention", *MIXERS),
    "mlp": ("router", *PROJECTIONS, *(f"{group} {name}" for group in NAMES["groups"] for name in PROJECTIONS), "mlp"),
}  # fmt: skip
# Components in the order in which they are drawn.
ORDER = (
    *("embeddings", *MODULES["attention"], *MODULES["mlp"]),
    *("per layer", "per layer input", "norms", "other", "prediction", "head"),
)


@dataclass(frozen=True)
class Weight:
    """A tensor of the merged model."""

    place: Place
    name: str  # in the checkpoint
    header: TensorInfo  # its shape and type there
    target: str  # its name in the loaded model; experts that loading fuses share one
    converted: bool = False  # whether loading makes the target of it, alone or with others, and does not just rename it
    by_token: bool = False  # whether its first dimension has a row per token of the vocabulary
    transposed: bool = False  # whether it is stored as [in, out], as GPT-2's Conv1D does


@dataclass(frozen=True)
class Layout:
    """All tensors of the merged model, by name."""

    n_layers: int  # of the text decoder
    weights: Mapping[str, Weight]
    guessed: tuple[str, tuple[str, ...]] = ("", ())  # why names had to tell where tensors lie, and the names of those
    missing: tuple[str, ...] = ()  # parameters that its checkpoint lacks: loaded, they would be random numbers
    borrowers: Mapping[int, int] = field(default_factory=dict)  # layers that use another's keys and values, and whose

    @functools.cached_property
    def by_target(self) -> Mapping[str, list[Weight]]:
        """The stored tensors that make each tensor of the loaded model."""
        found: dict[str, list[Weight]] = {}
        for weight in self.weights.values():
            found.setdefault(weight.target, []).append(weight)
        return found

    def held(self, other: Weight) -> Weight | None:
        """What is stored here as another layout stores a tensor; None where it is made of others, or missing."""
        found = self.weights.get(other.name) or self.same_as(other)
        if found is None and other.by_token:  # a head of its own there, tied embeddings here
            found = next((one for one in self.weights.values() if one.place.part == "tied"), None)
        return found

    def same_as(self, other: Weight) -> Weight | None:
        """The tensor that is stored here under another name, as it is there; None where loading would convert it."""
        found = self.by_target.get(other.target, ())
        return found[0] if found and not (other.converted or found[0].converted) else None

    @functools.cached_property
    def main_type(self) -> torch.dtype:
        """The floating type of most of the numbers; a model may keep a few tensors in a wider one."""
        sizes: dict[torch.dtype, int] = {}
        for weight in self.weights.values():
            if weight.header.dtype.is_floating_point:
                sizes[weight.header.dtype] = sizes.get(weight.header.dtype, 0) + math.prod(weight.header.shape)
        return max(sizes, key=lambda dtype: sizes[dtype], default=torch.float32)

    @property
    def compared(self) -> list[Weight]:
        """The weights that an analysis compares: numbers of the text decoder's."""
        weights = self.weights.values()
        return [one for one in weights if one.place.part != "outside" and one.header.dtype.is_floating_point]


def architecture(weights: Iterable[WeightInfo]) -> ModelArchitecture:
    """What mergekit is to write: tensors by their names. It has no layers, since the plan knows whose each is."""
    listed = JsonModuleArchDef(
        model_type="",
        architectures=[],
        pre_weights=list(weights),
        layer_templates=JsonLayerTemplates(weights=[]),
        post_weights=[],
        override_num_layers=0,
    )
    module = ModuleDefinition(architecture=JsonModuleArchitecture(definition=listed))
    return ModelArchitecture(modules={"default": module}, architectures=[], model_type="")


def fact(config: PretrainedConfig, name: str) -> Any:
    """What a configuration says of its text decoder; None where it does not.

    Gemma 4's raises an error where layers differ in what is asked for: that is compared tensor by tensor.
    """
    try:
        return getattr(config.get_text_config(), name, None)
    except Exception:  # transformers' own kind, which older versions do not have
        return None


def is_tied(config: PretrainedConfig) -> bool:
    """Whether one matrix serves as embeddings and lm_head."""
    said = (fact(config, "tie_word_embeddings"), getattr(config, "tie_word_embeddings", None))
    return bool(next((tied for tied in said if tied is not None), False))


def n_layers_of(config: PretrainedConfig) -> int:
    """The number of decoder layers.

    Raises:
        UserError: the model is no decoder, or does not say.
    """
    n_layers = fact(config, "num_hidden_layers")
    if config.is_encoder_decoder or not isinstance(n_layers, int):
        raise UserError(
            f"{config.model_type} models have no one stack of decoder layers, which layer swapping needs.",
            "Use decoder models, such as Llama, Qwen, Gemma or Mistral.",
        )
    return n_layers


def read_layout(config: PretrainedConfig, tensors: Mapping[str, TensorInfo], trust_remote_code: bool = False) -> Layout:
    """The layout of the model with this configuration, whose checkpoint holds these tensors.

    Raises:
        UserError: no decoder, or no layers are found in the checkpoint.
    """
    n_layers = n_layers_of(config)
    try:
        graph = module_graph(config, trust_remote_code)
        n_layers = graph.n_layers
    except LookupError as error:
        layout = _layout_by_names(config, tensors, n_layers, f"{error.args[0]}")
    else:
        layout = _layout_by_modules(graph, tensors)
    places = [weight.place for weight in layout.weights.values()]
    if {layer for place in places for layer in (place.layer, *place.layers)} - {None} != set(range(n_layers)):
        raise UserError(
            f"The configuration of this {config.model_type} model names {n_layers} layers, and not all of them are "
            "in its weights" + (f" as their names tell ({layout.guessed[0]})." if layout.guessed[0] else "."),
            "Check that the folder is complete and unquantised.",
        )
    return layout


def _layout_by_modules(graph: ModuleGraph, tensors: Mapping[str, TensorInfo]) -> Layout:
    weights: dict[str, Weight] = {}
    guessed = []
    for name, header in tensors.items():
        target, is_converted = graph.target(name)
        if target not in graph.tensors and COMPUTED.search(name):
            continue
        place = graph.place(target)
        if place is None:
            place = _place_by_name(name, "\0", tied=False, by_name_alone=False)
            guessed.append(name)
        stored = graph.is_by_token(target), graph.is_transposed(target)
        weights[name] = Weight(place, name, header, target, is_converted, *stored)
    order = {name: number for number, name in enumerate(graph.tensors)}
    last = len(order)
    weights = dict(sorted(weights.items(), key=lambda one: (order.get(one[1].target, last), dot_natural_key(one[0]))))
    reason = "the model has no module for them" if guessed else ""
    missing = sorted(graph.needed - {weight.target for weight in weights.values()})
    return Layout(graph.n_layers, weights, (reason, tuple(guessed)), tuple(missing), graph.borrowers)


def _layout_by_names(config: PretrainedConfig, tensors: Mapping[str, TensorInfo], n_layers: int, reason: str) -> Layout:
    """By mergekit's lists, and what they do not hold by the names alone."""
    known = arch_info_for_config(config)
    tied = is_tied(config)
    weights: dict[str, Weight] = {}
    for place, info in _known_weights(config, known, n_layers) if known else ():
        name = next((name for name in (info.name, *(info.aliases or ())) if name in tensors), None)
        if name is not None:
            by_token = info.vocabulary_axis == 0
            place = Place("tied") if tied and by_token else place
            weights[name] = Weight(place, name, tensors[name], name, by_token=by_token)
    by_name_alone = not weights
    prefix = _layer_prefix(weights, tensors, n_layers)
    guessed = sorted(name for name in set(tensors) - weights.keys() if not COMPUTED.search(name))
    for name in guessed:
        place = _place_by_name(name, prefix, tied, by_name_alone)
        weights[name] = Weight(place, name, tensors[name], name, by_token=place.part in ("embeddings", "tied"))
    return Layout(n_layers, weights, (reason, tuple(guessed)))


def _known_weights(
    config: PretrainedConfig, known: ModelArchitecture, n_layers: int
) -> Iterable[tuple[Place, WeightInfo]]:
    """The text decoder's weights as mergekit names them."""
    for module in known.modules.values():
        decoder = ConfiguredModuleArchitecture(
            info=module.architecture, config=config, weight_prefix=module.weight_prefix
        )
        if not any(weight.vocabulary_axis is not None for weight in decoder.pre_weights()):
            continue
        yield from ((Place("embeddings"), weight) for weight in decoder.pre_weights())
        for layer in range(n_layers):
            yield from ((Place("layer", layer), weight) for weight in decoder.layer_weights(layer))
        yield from ((Place("head"), weight) for weight in decoder.post_weights())


def _layer_prefix(weights: Mapping[str, Weight], tensors: Iterable[str], n_layers: int) -> str:
    """What stands before a layer's number in the names of the text decoder, such as ``model.layers.``."""
    for name, weight in weights.items():
        if weight.place.layer is not None and (match := re.match(rf"(.*?\.){weight.place.layer}\.", name)):
            return match[1]
    indices: dict[str, set[int]] = {}
    for name in tensors:
        if (match := re.match(r"(.*?\.)(\d+)\.", name)) and not OUTSIDE.search(match[1]):
            indices.setdefault(match[1], set()).add(int(match[2]))
    return next((prefix for prefix, found in sorted(indices.items()) if found >= set(range(n_layers))), "\0")


def _place_by_name(name: str, prefix: str, tied: bool, by_name_alone: bool) -> Place:
    """The place of a tensor of which only the name tells."""
    if match := re.match(re.escape(prefix) + r"(\d+)\.", name):
        return Place("layer", int(match[1]))
    if OUTSIDE.search(name) or not by_name_alone:
        is_head = not OUTSIDE.search(name) and name.endswith("lm_head.weight")
        return Place("tied" if tied else "head") if is_head else Place("outside")
    if EMBEDDINGS.search(name) and not name.startswith("embed_out"):
        return Place("tied" if tied and "norm" not in name else "embeddings")
    if HEAD.search(name):
        return Place("tied" if tied and "lm_head" in name else "head")
    return Place("outside")


def component_of(weight: Weight) -> str:
    """What a tensor is: one of :data:`ORDER`. A mixture's experts share their components."""
    outside = {"tied": "embeddings", "slices": "per layer"} | {n: n for n in ("embeddings", "head", "prediction")}
    if weight.place.part in outside:
        return outside[weight.place.part]
    component, group = (
        next((name for name, text in NAMES[of].items() if re.search(text, weight.name)), "")
        for of in ("components", "groups")
    )
    return f"{group} {component}" if group and component in PROJECTIONS else component or "other"


def cells_of(weight: Weight, n_layers: int) -> list[tuple[int | None, str]]:
    """The layers and components that a tensor counts in: by equal slices where it has one for each layer.

    A block that several layers share counts in the first of them.
    """
    place, component = weight.place, component_of(weight)
    if place.part == "slices":
        return [(layer, component) for layer in range(n_layers)]
    return [(place.layers[0] if place.part == "shared" else place.layer, component)]
