"""Which parameters to train and which to freeze, so that only what a swap keeps of an expert is trained.

The other half of train-then-revert (Bandarkar and Peng 2025, arXiv 2505.18356). The experts need not exist yet.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions
from torch import nn
from transformers import PretrainedConfig
from transformers.pytorch_utils import Conv1D

from turnswap.core.errors import UserError

from .checkpoint import TensorInfo
from .compatibility import open_model, read_config
from .configuration import check_settings, roles_of
from .layout import Layout, read_layout
from .module_graph import ModuleGraph, module_graph
from .planning import plan_tensors
from .references import FoundModel, with_plain_paths
from .swap_plan import TensorSource

# PEFT, too, takes the first number in a module's name for its layer.
NUMBERED = re.compile(r"(?:.*?\.)?(?P<list>[^.]+)\.(?P<layer>\d+)\.(?P<inside>.+)")


@dataclass(frozen=True)
class Mask:
    """What to train of one model."""

    model: str  # which it is, or is to become
    train: tuple[str, ...]  # the parameters that the swap keeps of it, by their names in the loaded model
    freeze: tuple[str, ...]  # all others
    parameters: Mapping[str, int]  # how many numbers these are
    peft: Mapping[str, Any] | None  # for ``LoraConfig``, to adapt the linear modules in ``train``; None without such
    modules_to_save: tuple[str, ...]  # what LoRA cannot train of ``train``: ``LoraConfig(modules_to_save=...)``
    notes: tuple[str, ...]  # for people


@dataclass(frozen=True)
class Masks:
    """The masks of a swap's models, by role; ``structure`` is the model whose names they are."""

    structure: str
    notes: tuple[str, ...]
    models: Mapping[str, Mask]

    def as_json(self) -> dict[str, Any]:
        """In lists and mappings alone, as YAML takes them, too."""
        content: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return content


def swap_masks(config: MergeConfiguration, options: MergeOptions, structure: str | None = None) -> Masks:
    """What to train of each model of a swap, before there are any.

    Args:
        config: of the swap.
        options: mergekit's, for how models are read.
        structure: a model of the same build; else the first of recipient, pretrained model and donors that is there.

    Raises:
        UserError: no model tells the names, or the configuration would be refused by the merge.
    """
    config = with_plain_paths(config)
    roles = roles_of(config)
    check_settings(config)
    order = sorted(roles, key=lambda role: {"recipient": 0, "pretrained": 1}.get(role, 2))
    asked = [ModelReference.parse(structure)] if structure else [roles[role] for role in order]
    name, described, layout, notes = _structure(asked, options)
    planned, more = plan_tensors(config, layout, roles)
    sources: dict[str, list[TensorSource]] = {}
    for tensor in planned.values():
        sources.setdefault(tensor.weight.target, []).append(tensor.source)
    graph: ModuleGraph | None = None
    try:
        graph = module_graph(described, options.trust_remote_code)
    except LookupError as error:
        sizes = {held.name: math.prod(held.header.shape) for held in layout.weights.values()}
        notes += (f"names are those of the checkpoint, and there are no settings for PEFT: {error.args[0]}",)
    else:
        sizes = {held: parameter.numel() for held, parameter in graph.model.named_parameters()}
        for held in sizes.keys() - sources.keys():
            sources[held] = sources.get(graph.first_part(held), [])
    found = {role: _mask(role, str(model), sizes, sources, graph) for role, model in roles.items()}
    found.pop("pretrained", None)
    return Masks(name, tuple(dict.fromkeys((*notes, *more))), found)


def _structure(
    references: Iterable[ModelReference], options: MergeOptions
) -> tuple[str, PretrainedConfig, Layout, tuple[str, ...]]:
    """The first model that is there, by its weights' headers, or else its configuration alone."""
    refused: list[UserError] = []
    for reference in references:
        try:
            model = open_model(reference, options)
        except UserError as error:
            refused.append(error)
        else:
            return str(model), model.config, model.layout, ()
        try:
            config = read_config(FoundModel.at(Path(reference.model.path), reference), options)
            graph = module_graph(config, options.trust_remote_code)
            parameters = graph.model.named_parameters()
            held = {name: TensorInfo(tuple(one.shape), one.dtype) for name, one in parameters}
            layout = read_layout(config, held, options.trust_remote_code)
        except (UserError, LookupError):
            continue
        note = f"{reference} came without weights: filters are compared with names as loaded"
        return str(reference), config, layout, (note,)
    raise UserError(
        f"The names of the parameters are unknown. {refused[0].message}",
        "Name a model with the same architecture: --model PRETRAINED. Its config.json is enough.",
    ) from refused[0]


def _mask(
    role: str,
    model: str,
    sizes: Mapping[str, int],
    sources: Mapping[str, list[TensorSource]],
    graph: ModuleGraph | None,
) -> Mask:
    givers = {name: [_givers(source) for source in sources.get(name, ())] for name in sizes}
    train = {name: None for name in sizes if any(role in each for each in givers[name])}
    freeze = [name for name in sizes if name not in train]
    notes = []
    told: dict[str, Callable[[str], bool]] = {
        "blended, so that a part of what it learns is kept": lambda name: any(one.mix for one in sources[name]),
        "a slice for each layer, and only those of its layers are kept":
            lambda name: any(one.slices for one in sources[name]),
        "made of several tensors, and only some of them are kept":
            lambda name: not all(role in each for each in givers[name]),
    }  # fmt: skip
    for what, is_so in told.items():
        if names := [*filter(is_so, train)]:
            notes.append(f"{len(names)} in train: {what} ({names[0]}{', …' if names[1:] else ''})")
    peft, others, more = (None, [], []) if graph is None else _for_peft(graph, train)
    notes += more
    counts = {what: sum(sizes[name] for name in names) for what, names in (("train", train), ("freeze", freeze))}
    return Mask(model, tuple(train), tuple(freeze), counts, peft, tuple(others), tuple(notes))


def _givers(source: TensorSource) -> set[str]:
    """The roles of the models whose training a tensor keeps; an ancestor in a blend is none of them."""
    if source.slices:
        return set().union(*map(_givers, source.slices))
    if source.mix is None:
        return {source.origin}
    weights = dict(source.mix.parameters).get("weight")
    by_role = dict(weights) if isinstance(weights, tuple) else {}
    return {role for role in source.mix.inputs if role != "pretrained" and by_role.get(role, 1)}


def _for_peft(graph: ModuleGraph, train: Iterable[str]) -> tuple[dict[str, Any] | None, list[str], list[str]]:
    """Settings of LoRA for what it can train, the modules that it cannot, and notes."""
    held = dict.fromkeys(train)
    modules = dict(graph.model.named_modules())
    linear = [name for name in modules if f"{name}.weight" in held and _is_adapted(name, modules, graph)]
    left = dict.fromkeys(module for name in held if (module := name.rpartition(".")[0]) not in linear)
    others = [module for module in left if not any(name.startswith(f"{module}.") for name in linear)]
    notes = []
    if others:
        notes.append(
            f"LoRA trains only the layers' linear modules. modules_to_save lists the other {len(others)} of train "
            "(norms, embeddings, lm_head, fused experts): LoraConfig(modules_to_save=...) trains them whole"
        )
    if len(others) < len(left):
        missed = next(module for module in left if module not in others)
        notes.append(f"PEFT cannot train the own parameters of modules that hold adapted ones, such as {missed}")
    if any(f"{name}.bias" in held for name in linear):
        notes.append("LoRA leaves the biases of linear modules as they are; LoraConfig(bias='lora_only') trains them")
    if any(place.part == "tied" for name in held if (place := graph.place(name))):
        notes.append("embeddings and lm_head are one matrix: LoraConfig(ensure_weight_tying=True) keeps it one")
    return _settings(modules, linear) if linear else None, others, notes


def _is_adapted(name: str, modules: Mapping[str, nn.Module], graph: ModuleGraph) -> bool:
    """Whether LoRA trains a module: a linear one, but for those that PEFT or TRL refuse or take for others."""
    module = modules[name]
    if not isinstance(module, (nn.Linear, Conv1D)) or module is graph.model.get_output_embeddings():
        return False
    inside, _, last = name.rpartition(".")
    # PEFT takes these names for all experts, fused; and a state space's kernel goes round its projection's adapter.
    return last not in graph.parts_of_experts and not (last == "out_proj" and f"{inside}.conv1d" in modules)


def _settings(modules: Iterable[str], wanted: list[str]) -> dict[str, Any]:
    """What makes PEFT adapt these modules and no others: names and layers where they do, or else every name.

    No pattern, of which PEFT takes the last parts of names, for all layers, where a model has experts.
    """
    found = [match for name in wanted if (match := NUMBERED.match(name))]
    pattern, layers, names = ({match[part]: None for match in found} for part in ("list", "layer", "inside"))
    reached = {
        name
        for name in modules
        if (match := NUMBERED.match(name)) and match["list"] in pattern and match["layer"] in layers
        and any(name.endswith(f".{end}") for end in names)
    }  # fmt: skip
    if len(pattern) == 1 and reached == set(wanted):
        return {
            "target_modules": [*names],
            "layers_to_transform": [*map(int, layers)],
            "layers_pattern": next(iter(pattern)),
        }
    return {"target_modules": wanted}
