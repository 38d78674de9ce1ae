"""Where each parameter of a model lies, from the model itself: its modules, and what it uses before its first layer.

The model is made without weights (on the ``meta`` device) and run until its first layer begins. What it has used by
then lies with the embeddings; what stands in the list of its layers lies in them; the rest of the decoder is the head.
Names say none of this: OPT defines its projections side by side, and LFM2 calls its final norm ``embedding_norm``.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

import torch
import transformers
from torch import nn
from torch.overrides import TorchFunctionMode
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.core_model_loading import WeightConverter, WeightRenaming, rename_source_key

from .swap_plan import Place


class ModuleGraph:
    """A model without its weights.

    Attributes:
        model: on the ``meta`` device.
        tensors: its parameters and persistent buffers, by every name that each has.
    """

    def __init__(self, model: PreTrainedModel, n_layers: int) -> None:
        """Find the layers.

        Raises:
            LookupError: the model has no list of so many layers.
        """
        self.model, self.n_layers = model, n_layers
        self.tensors: dict[str, torch.Tensor] = dict(model.state_dict(keep_vars=True))
        conversions = get_model_conversion_mapping(model)
        self._renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
        self._converters = [one for one in conversions if isinstance(one, WeightConverter)]
        self._modules = dict(model.named_modules())
        self._paths = {id(module): name for name, module in self._modules.items()}
        decoder = model.get_decoder()
        self._decoder = self._paths[id(decoder if isinstance(decoder, nn.Module) else model)]
        self._layers = self._find_layers()
        self._names: dict[int, list[str]] = {}
        for name, tensor in self.tensors.items():
            self._names.setdefault(id(tensor), []).append(name)
        self._before = self._used_before_the_layers()
        self._ends = {
            end: {id(p) for p in module.parameters()} if isinstance(module := get(), nn.Module) else set()
            for end, get in (("embeddings", model.get_input_embeddings), ("head", model.get_output_embeddings))
        }

    def _find_layers(self) -> list[str]:
        """The paths of the lists of layers: one, but for models (XLM) that keep attentions and MLPs in lists apart."""
        lists = {
            name: module
            for name, module in self._modules.items()
            if isinstance(module, nn.ModuleList) and len(module) == self.n_layers and _within(name, self._decoder)
        }
        whole = [
            name for name, module in lists.items() if any(next(one.children(), None) is not None for one in module)
        ]
        inner = [name for name in whole if any(_within(name, other) and name != other for other in whole)]
        whole = [name for name in whole if name not in inner]
        if not whole:
            raise LookupError(f"{type(self.model).__name__} has no list of {self.n_layers} layers")
        return whole if len(whole) == 1 else list(lists)

    def _used_before_the_layers(self) -> set[int]:
        """The ids of the tensors that a run uses before its first layer; what it cannot show is left out."""
        used = _Watching({id(tensor) for tensor in self.tensors.values()})
        decoder = self._modules[self._decoder]
        hooks = [self._modules[path][0].register_forward_pre_hook(_stop) for path in self._layers]
        try:
            with torch.no_grad(), used:
                decoder(input_ids=torch.zeros((1, 4), dtype=torch.long, device="meta"), use_cache=False)
        except Exception:  # _Reached, or whatever a model raises that looks at numbers, which are not there
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return used.seen

    def target(self, stored: str) -> tuple[str, bool]:
        """The name in the loaded model of a tensor of its checkpoint, and whether loading converts it.

        Experts that loading fuses share one name.
        """
        renamed, pattern = rename_source_key(
            stored, self._renamings, self._converters, self.model.base_model_prefix, self.tensors
        )
        target = stored if renamed not in self.tensors and stored in self.tensors else renamed
        first = self._names[id(self.tensors[target])][0] if target in self.tensors else target
        return first, pattern is not None

    def place(self, target: str) -> Place | None:
        """Where a tensor of the loaded model lies, or one that is stored and not loaded; None where nothing tells."""
        if target not in self.tensors:
            return self._place_of_what_is_not_loaded(target)
        tensor = self.tensors[target]
        names = self._names[id(tensor)]
        layers = sorted({layer for name in names if (layer := self._layer_of(name)) is not None})
        if len(layers) > 1:
            return Place("shared", layers=tuple(layers))
        if layers:
            return Place("layer", layers[0])
        if self._ends["embeddings"] & self._ends["head"] & {id(tensor)}:
            return Place("tied")
        if id(tensor) in self._ends["head"]:
            return Place("head")
        if not any(_within(name, self._decoder) for name in names):
            return Place("outside")
        axis = self._axis_of_slices(tensor)
        if axis is not None:
            return Place("slices", axis=axis)
        return Place("embeddings" if id(tensor) in self._before | self._ends["embeddings"] else "head")

    def _axis_of_slices(self, tensor: torch.Tensor) -> int | None:
        """The dimension that holds a slice for each layer (Gemma 3n's inputs per layer), if there is one."""
        size = getattr(self.model.config.get_text_config(), "hidden_size_per_layer_input", None)
        wanted = self.n_layers * size if isinstance(size, int) else 0
        return next((axis for axis, length in enumerate(tensor.shape) if wanted and length == wanted), None)

    def _place_of_what_is_not_loaded(self, target: str) -> Place | None:
        """A layer beyond the last, or a tensor of a module that does without it in this configuration."""
        layer = self._layer_of(target)
        if layer is not None:
            return Place("layer", layer) if layer < self.n_layers else Place("prediction")
        module = target.rpartition(".")[0]
        while module and module not in self._modules:
            module = module.rpartition(".")[0]
        return Place("outside") if module and not _within(module, self._decoder) else None

    def _layer_of(self, name: str) -> int | None:
        for path in self._layers:
            if match := re.match(rf"{re.escape(path)}\.(\d+)\.", name):
                return int(match[1])
        return None

    @property
    def needed(self) -> set[str]:
        """The parameters that a checkpoint must hold: those that loading would else fill with random numbers."""
        ignored = [re.compile(pattern) for pattern in self.model._keys_to_ignore_on_load_missing or ()]
        # What one stored tensor is split into is known by the first of its parts.
        parts = [part for converter in self._converters for part in converter.target_patterns[1:]]
        needed = {self._names[id(parameter)][0] for parameter in self.model.parameters()}
        return {
            name
            for name in needed
            if not any(pattern.search(name) for pattern in ignored) and not any(part in name for part in parts)
        }

    def is_by_token(self, target: str) -> bool:
        """Whether it has a row per token: the matrix of the embeddings, or of the head with its bias."""
        tensor = self.tensors.get(target)
        return tensor is not None and id(tensor) in self._ends["embeddings"] | self._ends["head"]

    def is_transposed(self, target: str) -> bool:
        """Whether a matrix is stored as [in, out], as GPT-2's Conv1D does."""
        module = self._modules.get(target.rpartition(".")[0])
        return isinstance(module, transformers.pytorch_utils.Conv1D) and target.endswith(".weight")


class _Reached(Exception):
    """The first layer begins."""


def _stop(*_: Any) -> None:
    raise _Reached


class _Watching(TorchFunctionMode):
    """Notes which tensors are used, and answers "no" to questions about numbers that are not there."""

    def __init__(self, watched: set[int]) -> None:
        super().__init__()
        self.watched, self.seen = watched, set[int]()

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        given = [] if name == "__get__" else [*args, *(kwargs or {}).values()]
        given += [one for each in given if isinstance(each, (list, tuple)) for one in each]
        self.seen |= {id(one) for one in given if isinstance(one, torch.Tensor)} & self.watched
        if name in ("item", "__bool__") and args[0].is_meta:
            return False
        return function(*args, **(kwargs or {}))


def _within(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.")


_MADE: dict[str, ModuleGraph] = {}  # a swap reads models of one build several times


def module_graph(config: PretrainedConfig, n_layers: int, trust_remote_code: bool = False) -> ModuleGraph:
    """The model that a configuration describes, without weights.

    Args:
        config: the model's; it names the model's class.
        n_layers: of its text decoder.
        trust_remote_code: whether code that comes with the model may be run.

    Raises:
        LookupError: no code for it is at hand, or its code makes no such model; the message says why.
    """
    ours = getattr(config, "auto_map", None) if trust_remote_code else None
    name = config.architectures[0]
    if not ours and not hasattr(transformers, name):
        raise LookupError(f"transformers {transformers.__version__} has no {name}")
    compared = {key: value for key, value in config.to_dict().items() if key not in ("_name_or_path", "dtype")}
    key = json.dumps([name, n_layers, bool(ours) and config._name_or_path, compared], sort_keys=True, default=str)
    if key not in _MADE:
        try:
            with torch.device("meta"):
                plain = {"config": copy.deepcopy(config), "attn_implementation": "eager"}
                made = (
                    AutoModelForCausalLM.from_config(**plain, trust_remote_code=True)
                    if ours
                    else getattr(transformers, name)._from_config(**plain)
                )
            graph = ModuleGraph(made.eval(), n_layers)
        except LookupError:
            raise
        except Exception as error:  # whatever a model's code makes of a configuration, or misses on this machine
            raise LookupError(f"{name} cannot be made of it: {type(error).__name__}: {error}") from error
        while len(_MADE) >= 4:
            _MADE.pop(next(iter(_MADE)))
        _MADE[key] = graph
    return _MADE[key]
