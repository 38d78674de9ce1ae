"""Where each parameter of a model lies, from the model itself: its modules, and what it uses around its layers.

The model is made without weights (on the ``meta`` device) and run on a text, past its layers. Names say none of this:
OPT defines its projections side by side, and LFM2 calls its final norm ``embedding_norm``.
"""

from __future__ import annotations

import copy
import json
import logging
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

from .checkpoint import first_line
from .swap_plan import Place

LOG = logging.getLogger(__name__)


class ModuleGraph:
    """A model without its weights.

    Attributes:
        model: on the ``meta`` device.
        tensors: its parameters and persistent buffers, by every name that each has.
    """

    def __init__(self, model: PreTrainedModel, inside: str = "") -> None:
        """Find the layers, and what is used before them.

        Args:
            model: on the ``meta`` device.
            inside: where the model stands in a larger one, whose other parts have no code here, such as
                ``model.language_model.``.

        Raises:
            LookupError: the model has no list of layers.
        """
        self.model, self._inside = model, inside
        self.tensors: dict[str, torch.Tensor] = dict(model.state_dict(keep_vars=True))
        conversions = get_model_conversion_mapping(model)
        self._renamings = [one for one in conversions if isinstance(one, WeightRenaming)]
        self._converters = [one for one in conversions if isinstance(one, WeightConverter)]
        self._modules = dict(model.named_modules())
        self._names: dict[int, list[str]] = {}
        for name, tensor in self.tensors.items():
            self._names.setdefault(id(tensor), []).append(name)
        self._decoder, self._layers = self._find_layers()
        self.n_layers = len(self._modules[self._layers[0]])
        for n_outputs in (0, 1, 2, 3):  # a layer gives its states, or a tuple of so many that begins with them
            self._used = self._run(n_outputs)
            if self._used.after is not None:
                break
        self._ends = {
            end: {id(p) for p in module.parameters()} if isinstance(module := get(), nn.Module) else set()
            for end, get in (("embeddings", model.get_input_embeddings), ("head", model.get_output_embeddings))
        }

    def _find_layers(self) -> tuple[str, list[str]]:
        """The path of the text decoder, and of its list of layers.

        There is one list, but for models (XLM) that keep attentions and MLPs in lists apart. LongCat counts two layers
        of the cache for each of the list.
        """
        paths = {id(module): name for name, module in self._modules.items()}
        text = self.model.config.get_text_config()
        for decoder in (self.model.get_decoder(), self.model.base_model, self.model):
            path = paths.get(id(decoder), "")
            inside = [(name, module) for name, module in self._modules.items() if _within(name, path)]
            lists = [(name, module) for name, module in inside if isinstance(module, nn.ModuleList)]
            for n_layers in (getattr(text, one, None) for one in ("num_hidden_layers", "num_layers")):
                long = {name: module for name, module in lists if len(module) == n_layers}
                whole = [name for name, module in long.items() if any([*one.children()] for one in module)]
                whole = [name for name in whole if not any(name != one and _within(name, one) for one in whole)]
                if whole:
                    return path, whole if len(whole) == 1 else [*long]
        raise LookupError(f"{type(self.model).__name__} has no list of as many layers as its configuration names")

    def _run(self, n_outputs: int) -> _Watching:
        """What a run on a text uses before the first layer, and behind the last; layers hand on what they are given."""
        used = _Watching({id(tensor) for tensor in self.tensors.values()}, self.n_layers)
        layers = [layer for path in self._layers for layer in self._modules[path].children()]
        forwards = [layer.forward for layer in layers]

        def handed_on(*args: Any, **kwargs: Any) -> Any:
            used.before = used.seen if used.before is None else used.before
            used.seen = set()
            states = args[0] if args else kwargs["hidden_states"]
            return (states, *[None] * (n_outputs - 1)) if n_outputs else states

        for layer in layers:
            layer.forward = handed_on
        try:
            with torch.no_grad(), used:
                text = torch.zeros((1, 4), dtype=torch.long, device="meta")
                self._modules[self._decoder](input_ids=text, use_cache=False)
            used.after = used.seen
        except Exception:  # whatever a model raises that does without numbers, or takes another form from its layers
            LOG.debug("%s does not run without weights", type(self.model).__name__, exc_info=True)
        finally:
            for layer, forward in zip(layers, forwards, strict=True):
                layer.forward = forward
        return used

    def target(self, stored: str) -> tuple[str, bool]:
        """The name in the loaded model of a tensor of its checkpoint, and whether loading converts it.

        Experts that loading fuses share one name.
        """
        if self._inside and stored.startswith(self._inside):
            stored = "model." + stored.removeprefix(self._inside)
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
            whole = self.model.config.get_text_config() is self.model.config
            return Place("head" if whole else "outside")
        if id(tensor) in self._used.slices:
            return Place("slices", axis=self._used.slices[id(tensor)])
        before, after = self._used.before, self._used.after
        if id(tensor) in (before or set()) | self._ends["embeddings"]:
            return Place("embeddings")
        if after is not None:  # what a text does not use is there for pictures or sound
            return Place("head" if id(tensor) in after else "outside")
        return Place("head") if before is not None and not self.model.config.sub_configs else None

    def _place_of_what_is_not_loaded(self, target: str) -> Place | None:
        """A layer beyond the last, or a tensor of a module that does without it in this configuration."""
        layer = self._layer_of(target)
        if layer is not None:
            return Place("layer", layer) if layer < self.n_layers else Place("prediction")
        if self._inside:
            return Place("outside")
        module = target.rpartition(".")[0]
        while module and module not in self._modules:
            module = module.rpartition(".")[0]
        return Place("outside") if module and not _within(module, self._decoder) else None

    def _layer_of(self, name: str) -> int | None:
        found = (re.match(rf"{re.escape(path)}\.(\d+)\.", name) for path in self._layers)
        return next((int(match[1]) for match in found if match), None)

    def first_part(self, target: str) -> str:
        """By what :meth:`target` knows a tensor that loading splits into several: the first of them."""
        for first, *parts in (converter.target_patterns for converter in self._converters):
            for part in parts:
                if part in target:
                    return target.replace(part, first)
        return target

    @property
    def parts_of_experts(self) -> set[str]:
        """What an expert's matrices and the router are called in a checkpoint, where loading fuses all experts."""
        stored = [pattern for converter in self._converters for pattern in converter.source_patterns]
        parts = {one.removesuffix(".weight").rpartition(".")[2] for one in stored if "experts." in one}
        return parts | {"gate"} if parts else parts

    @property
    def needed(self) -> set[str]:
        """The parameters that a checkpoint must hold: those that loading would else fill with random numbers."""
        ignored = [re.compile(pattern) for pattern in self.model._keys_to_ignore_on_load_missing or ()]
        needed = {self._names[id(parameter)][0] for parameter in self.model.parameters()}
        return {
            name
            for name in needed
            if not any(pattern.search(name) for pattern in ignored) and self.first_part(name) == name
        }

    def is_by_token(self, target: str) -> bool:
        """Whether it has a row per token: the matrix of the embeddings, or of the head with its bias."""
        tensor = self.tensors.get(target)
        return tensor is not None and id(tensor) in self._ends["embeddings"] | self._ends["head"]

    @property
    def borrowers(self) -> dict[int, int]:
        """The layers that have no keys and values of their own (Gemma 3n, Gemma 4), and whose they use."""
        kinds: dict[object, int] = {}  # the last layer of each kind of attention that keeps its keys and values
        found = {}
        for number, layer in enumerate(self._modules[self._layers[0]].children()):
            attention = getattr(layer, "self_attn", None)
            kind = getattr(attention, "layer_type", None) or getattr(attention, "is_sliding", None)
            if getattr(attention, "store_full_length_kv", False):
                kinds[kind] = number
            elif getattr(attention, "is_kv_shared_layer", False) and kind in kinds:
                found[number] = kinds[kind]
        return found

    def is_transposed(self, target: str) -> bool:
        """Whether a matrix is stored as [in, out], as GPT-2's Conv1D does."""
        module = self._modules.get(target.rpartition(".")[0])
        return isinstance(module, transformers.pytorch_utils.Conv1D) and target.endswith(".weight")


class _Watching(TorchFunctionMode):
    """Notes which tensors are used, and answers "no" to questions about numbers that are not there.

    Attributes:
        seen: the ids of the watched tensors that were used since the last layer.
        before: of those used before the first layer; None where the run does not come so far.
        after: of those used behind the last; None likewise.
        slices: the dimension of those whose product is split into one part per layer, by id.
    """

    def __init__(self, watched: set[int], n_layers: int) -> None:
        super().__init__()
        self.seen: set[int] = set()
        self.before: set[int] | None = None
        self.after: set[int] | None = None
        self.slices: dict[int, int] = {}
        self._watched, self._n_layers = watched, n_layers
        self._made_by: dict[int, tuple[torch.Tensor, int, int]] = {}  # a result, the matrix it was made with, its axis

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        name = getattr(function, "__name__", "")
        given = [] if name == "__get__" else [*args, *(kwargs or {}).values()]
        given += [one for each in given if isinstance(each, (list, tuple)) for one in each]
        tensors = [one for one in given if isinstance(one, torch.Tensor)]
        used = {id(one) for one in tensors} & self._watched
        self.seen |= used
        try:
            result = function(*args, **(kwargs or {}))
        except (RuntimeError, NotImplementedError) as error:
            if "meta" not in str(error):
                raise
            return False
        if isinstance(result, torch.Tensor):
            self._follow(name, tensors, used, result)
        return result

    def _follow(self, name: str, tensors: list[torch.Tensor], used: set[int], result: torch.Tensor) -> None:
        """Remember by which matrix a result was made, and whether it is now split into layers."""
        made_by = next((self._made_by[id(one)] for one in tensors if id(one) in self._made_by), None)
        if name in ("linear", "embedding") and used:
            matrix = next(one for one in tensors if id(one) in used)
            made_by = (result, id(matrix), 0 if name == "linear" else 1)
        if made_by is None:
            return
        self._made_by[id(result)] = (result, *made_by[1:])
        if name in ("reshape", "view", "unflatten") and result.dim() > 2 and result.shape[-2] == self._n_layers:
            self.slices[made_by[1]] = made_by[2]


def _within(name: str, path: str) -> bool:
    return not path or name == path or name.startswith(f"{path}.")


_MADE: dict[str, ModuleGraph] = {}  # a swap reads models of one build several times


def module_graph(config: PretrainedConfig, trust_remote_code: bool = False) -> ModuleGraph:
    """The model that a configuration describes, without weights.

    Args:
        config: the model's; it names the model's class.
        trust_remote_code: whether code that comes with the model may be run.

    Raises:
        LookupError: no code for it is at hand, or its code makes no such model; the message says why.
    """
    remote = bool(trust_remote_code and getattr(config, "auto_map", None))
    compared = {key: value for key, value in config.to_dict().items() if key not in ("_name_or_path", "dtype")}
    key = json.dumps([remote and config._name_or_path, config.architectures, compared], sort_keys=True, default=str)
    if key not in _MADE:
        try:
            graph = _make(copy.deepcopy(config), remote)
        except LookupError:
            raise
        except Exception as error:  # whatever a model's code makes of a configuration, or misses on this machine
            what = f"{type(error).__name__}: {first_line(error)}"
            raise LookupError(f"{config.architectures[0]} cannot be made of it: {what}") from error
        while len(_MADE) >= 4:
            _MADE.pop(next(iter(_MADE)))
        _MADE[key] = graph
    return _MADE[key]


def _make(config: PretrainedConfig, remote: bool) -> ModuleGraph:
    text = config.get_text_config()
    settings: dict[str, Any] = {"attn_implementation": "eager"}
    with torch.device("meta"):
        if remote:
            made = AutoModelForCausalLM.from_config(config, trust_remote_code=True, **settings)
            return ModuleGraph(made.eval())
        own = getattr(transformers, config.architectures[0], None)
        if own is None:
            raise LookupError(f"transformers {transformers.__version__} has no {config.architectures[0]}")
        try:
            return ModuleGraph(own._from_config(config, **settings).eval())
        except ImportError:
            if text is config:
                raise
            # A tower misses a package (Gemma 3n's timm), which the text decoder does not need.
            return ModuleGraph(
                AutoModelForCausalLM.from_config(text, **settings).eval(), inside="model.language_model."
            )
