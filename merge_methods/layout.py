"""Where each tensor of a model lies, and the same as an architecture for mergekit.

mergekit knows the names of many architectures' weights, as they were when each was added. What a checkpoint holds may
be less (buffers that newer versions do not save) or more (biases, a vision tower under other names), and mergekit
fails on the one and silently drops the other. So the layout is taken from the recipient's own checkpoint, read with
mergekit's knowledge, and mergekit is told to write exactly that.
"""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
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
from mergekit.architecture.conversion import convert_checkpoint_tensors
from mergekit.architecture.json_definitions import JsonLayerTemplates, JsonModuleArchDef, JsonModuleArchitecture
from transformers import PretrainedConfig

from turnswap.core.errors import UserError

from .checkpoint import TensorInfo
from .swap_plan import Place

NAMES: dict[str, dict[str, Any]] = tomllib.loads((files(__package__) / "names.toml").read_text("utf-8"))
EMBEDDINGS, HEAD, OUTSIDE, COMPUTED = (
    re.compile(NAMES["weights"][of]) for of in ("embeddings", "head", "outside", "computed")
)
# Components in the order in which they are drawn.
ORDER = ("embeddings", "q", "k", "v", "qkv", "o", "router", "gate", "up", "gate+up", "down", "norms", "other", "head")


@dataclass(frozen=True)
class Weight:
    """A tensor of the merged model: where it lies, its name and kin for mergekit, and its header."""

    place: Place
    info: WeightInfo
    header: TensorInfo


@dataclass(frozen=True)
class Layout:
    """All tensors of the merged model, by name."""

    n_layers: int
    weights: Mapping[str, Weight]
    tagalong_files: tuple[str, ...] = ()

    @property
    def compared(self) -> list[Weight]:
        """The weights that an analysis compares: numbers of the text decoder's."""
        weights = self.weights.values()
        return [one for one in weights if one.place.part != "outside" and one.header.dtype.is_floating_point]

    def architecture(self, names: Iterable[str]) -> ModelArchitecture:
        """What mergekit is to write: the tensors named. It has no layers, since the plan knows whose each is."""
        listed = JsonModuleArchDef(
            model_type="",
            architectures=[],
            pre_weights=[self.weights[name].info for name in names],
            layer_templates=JsonLayerTemplates(weights=[]),
            post_weights=[],
            override_num_layers=0,
        )
        module = ModuleDefinition(architecture=JsonModuleArchitecture(definition=listed))
        files = list(self.tagalong_files)
        return ModelArchitecture(modules={"default": module}, architectures=[], model_type="", tagalong_files=files)


def is_tied(config: PretrainedConfig) -> bool:
    """Whether one matrix serves as embeddings and lm_head."""
    said = (getattr(one, "tie_word_embeddings", None) for one in (config.get_text_config(), config))
    return bool(next((tied for tied in said if tied is not None), False))


def n_layers_of(config: PretrainedConfig) -> int:
    """The number of decoder layers.

    Raises:
        UserError: the model is no decoder, or does not say.
    """
    n_layers = getattr(config.get_text_config(), "num_hidden_layers", None)
    if config.is_encoder_decoder or n_layers is None:
        raise UserError(
            f"{config.model_type} models have no one stack of decoder layers, which layer swapping needs.",
            "Use decoder models, such as Llama, Qwen, Gemma or Mistral.",
        )
    return int(n_layers)


def read_layout(config: PretrainedConfig, tensors: Mapping[str, TensorInfo]) -> Layout:
    """The layout of the model with this configuration, whose checkpoint holds these tensors.

    Names are those of the checkpoint, except for experts that mergekit stores fused.

    Raises:
        UserError: no decoder, or no layers are found in the checkpoint.
    """
    n_layers = n_layers_of(config)
    tied = is_tied(config)
    tensors = {name: header for name, header in tensors.items() if not COMPUTED.search(name)}
    known = arch_info_for_config(config)
    weights: dict[str, Weight] = {}
    used: set[str] = set()
    read: set[str] = set()

    def described(name: str) -> torch.Tensor:
        """A tensor that has a shape and a type, and no content."""
        read.add(name)
        return torch.empty(tensors[name].shape, dtype=tensors[name].dtype, device="meta")

    for place, info in _known_weights(config, known, n_layers) if known else ():
        names = [name for name in (info.name, *(info.aliases or ())) if name in tensors]
        if names:
            used.update(names)
            header = tensors[names[0]]
        else:
            read.clear()
            made = converted(config, tensors, info.name, place, described)
            if made is None:
                continue  # mergekit's list names it, this checkpoint does without
            used |= read
            header = TensorInfo(tuple(made.shape), made.dtype)
        if tied and info.vocabulary_axis is not None:
            place = Place("tied")
        weights[info.name] = Weight(place, _for_writing(place, info, header), header)
    by_name_alone = not weights
    prefix = _layer_prefix(weights, tensors, n_layers)
    for name in sorted(set(tensors) - used):
        place = _place_by_name(name, prefix, tied, by_name_alone)
        weights[name] = Weight(place, _for_writing(place, WeightInfo(name=name), tensors[name]), tensors[name])
    if {weight.place.layer for weight in weights.values()} - {None} != set(range(n_layers)):
        raise UserError(
            f"The {n_layers} layers that the configuration of this {config.model_type} model names are not all in its "
            "weights.",
            "Check that the folder is complete and unquantised.",
        )
    files = ("generation_config.json", *(known.tagalong_files or () if known else ()))
    return Layout(n_layers, weights, files)


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


def _for_writing(place: Place, info: WeightInfo, header: TensorInfo) -> WeightInfo:
    changes: dict[str, object] = {}
    if place.part == "outside":  # the donor may do without a vision tower
        changes["optional"] = True
    if header.dtype == torch.int64:  # or ``dtype: bfloat16`` would round positions above 256
        changes["force_dtype"] = "int64"
    return info.model_copy(update=changes)


def converted(
    config: PretrainedConfig, names: Iterable[str], target: str, place: Place, read: Callable[[str], torch.Tensor]
) -> torch.Tensor | None:
    """A tensor that transformers makes of others in a checkpoint (fused experts); None where it makes none such.

    Args:
        config: the model's.
        names: of the checkpoint's tensors.
        target: the name of the tensor to make.
        place: where it lies.
        read: called with the name of each tensor that it is made of.
    """
    near = (name for name in names if place.layer is None or f".{place.layer}." in name)
    made: torch.Tensor | None = convert_checkpoint_tensors(
        config.model_type, {name: functools.partial(read, name) for name in near}, target
    )
    return made


def _layer_prefix(weights: Mapping[str, Any], tensors: Iterable[str], n_layers: int) -> str:
    """What stands before a layer's number in the names of the text decoder, such as ``model.layers.``."""
    for name, weight in weights.items():
        if weight.place.layer is not None and (match := re.match(rf"(.*?\.){weight.place.layer}\.", name)):
            return match[1]
    indices: dict[str, set[int]] = {}
    for name in tensors:
        if (match := re.match(r"(.*?\.)(\d+)\.", name)) and not OUTSIDE.search(match[1]):
            indices.setdefault(match[1], set()).add(int(match[2]))
    return next((prefix for prefix, found in sorted(indices.items()) if found == set(range(n_layers))), "\0")


def _place_by_name(name: str, prefix: str, tied: bool, by_name_alone: bool) -> Place:
    """The place of a tensor that mergekit does not know."""
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
    if weight.place.part in ("embeddings", "tied"):
        return "embeddings"
    if weight.place.part == "head":
        return "head"
    components = NAMES["components"].items()
    return next((name for name, pattern in components if re.search(pattern, weight.info.name)), "other")
