"""Layer swaps of models that lie in memory: each parameter is pointed at its source, and only blends are computed.

A composition has the bits that the same swap (Bandarkar et al. 2024, arXiv 2410.01335), merged to a folder and loaded
from it, would have: the same plan, checked alike, and blends made of the stored weights by the merge's own kernel.

Equal weights give equal logits wherever kernels do not look at addresses. On CPUs some do: weights that are loaded in
their stored type stay mapped from the file, whose header decides on their alignment, and the experts of a Mixtral in
float32 then differed in the last bit between two folders with equal weights.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import torch
from mergekit.common import ModelReference
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions

from turnswap.core.errors import UserError
from turnswap.merge_methods.compatibility import Model
from turnswap.merge_methods.configuration import roles_of
from turnswap.merge_methods.loading import declared_in_memory, map_names, tensors_of
from turnswap.merge_methods.merge_run import merge_adapters
from turnswap.merge_methods.planning import Planned, rounds, working_type
from turnswap.merge_methods.recipe import Recipe, read_recipe
from turnswap.merge_methods.swap_plan import NAME, origins_of
from turnswap.merge_methods.weights import WeightReader

from .capacity import check_free

LOG = logging.getLogger(__name__)
Key: TypeAlias = tuple[str, tuple[object, ...], frozenset[str]]  # equal for equal tensors, whatever led to them


class SwapInMemory:
    """One model whose parameters are the recipient's own, a donor's own, or computed from theirs.

    Attributes:
        model: the recipient, whose parameters are pointed elsewhere; what it computes is the composition.
        recipe: the plan of the current composition; None where composing failed half-way, which leaves the recipient.
    """

    def __init__(
        self, model: Any, load: Callable[[str], Any], configuration: Mapping[str, Any], options: MergeOptions
    ) -> None:
        """Take over the loaded recipient.

        Args:
            model: the recipient, a ``PreTrainedModel`` as ``from_pretrained`` returns it.
            load: loads the model of a role, ``donor``, ``donor2``, … or ``pretrained``, in the recipient's type and on
                its device; called once per role, when a composition first needs it.
            configuration: ``models``, by role, and perhaps the types that a layerswap.yml declares.
            options: mergekit's; the LoRA cache, remote code.
        """
        self.model = model
        self.recipe: Recipe | None = None
        self._load = load
        self._configuration, self._options = configuration, options
        self._opened: dict[ModelReference, Model] = {}
        self._loaded: dict[str, dict[str, torch.Tensor]] = {"recipient": tensors_of(model)}
        self._targets: dict[str, str] = {}
        self._readers: dict[str, WeightReader] = {}
        self._computed: dict[Key, torch.Tensor] = {}

    def compose(self, parameters: Mapping[str, Any]) -> Recipe:
        """Make the model the swap with these parameters, whatever it was before.

        Args:
            parameters: as :func:`swap_content` takes them.

        Raises:
            UserError: the merge would refuse it, parts of a model have no counterpart in memory, or a blend is not
                finite.
        """
        recipe = read_recipe(swap_content(self._configuration, parameters), self._options, self._opened)
        self._targets = self._targets or map_names(recipe, self.model)
        parts = self._parts(recipe)
        donors = {role for role in recipe.models if role.startswith("donor")}
        for role in sorted((donors | {part[0].source.origin for part in parts.values()}) & recipe.models.keys()):
            if role not in self._loaded:
                self._loaded[role] = self._fitting(role, tensors_of(self._load(role)), recipe, parts)
        self._refuse_rounding(recipe, parts)
        # Back to the recipient first: blends that are not needed again are freed before new ones are made.
        self.recipe = None
        self._point(self._loaded["recipient"])
        needed = {_key(target, part[0]): target for target, part in parts.items() if part[0].is_computed}
        self._computed = {key: made for key, made in self._computed.items() if key in needed}
        missing = {
            key: target for key, target in sorted(needed.items(), key=lambda item: item[1]) if key not in self._computed
        }
        size = sum(self._loaded["recipient"][target].nbytes for target in missing.values())
        check_free(size, self.model.device, "the blends")
        for key, target in missing.items():
            self._computed[key] = self._compute(target, parts[target], recipe)
        computed = {target: self._computed[key] for key, target in needed.items()}
        origins = {target: part[0].source.origin for target, part in parts.items() if target not in computed}
        self._point(computed | {target: self._loaded[origin][target] for target, origin in origins.items()})
        self.recipe = recipe
        return recipe

    def _parts(self, recipe: Recipe) -> dict[str, list[Planned]]:
        """The planned tensors that make each tensor in memory: one, or experts that are fused there."""
        parts: dict[str, list[Planned]] = {}
        for name, target in self._targets.items():
            part = parts.setdefault(target, [])
            part.append(recipe.tensors[name])
            ours, theirs = part[0].source, part[-1].source
            if ours.same != theirs.same:
                raise UserError(
                    f"{part[0].name} comes from the {ours.origin} and {name} from the {theirs.origin}, but in memory "
                    f"they are one tensor, {target}.",
                    "Choose one source for both, or merge this swap with mergekit-yaml.",
                )
        return parts

    def _fitting(
        self, role: str, theirs: dict[str, torch.Tensor], recipe: Recipe, parts: Mapping[str, list[Planned]]
    ) -> dict[str, torch.Tensor]:
        """Refuse a model whose tensors cannot stand in place of the recipient's."""
        for name, part in parts.items():
            if role in recipe.apart and part[0].weight.by_token:  # never taken as it is
                continue
            if name not in theirs:
                raise UserError(f"Missing component: the {role} has no {name} in memory.", "Is its folder complete?")
            pair = self._loaded["recipient"][name], theirs[name]
            ours, other = (f"{list(tensor.shape)} in {str(tensor.dtype)[6:]} on {tensor.device}" for tensor in pair)
            if ours != other:
                raise UserError(
                    f"{name} is {ours} in the recipient as loaded and {other} in the {role}.",
                    "Load both in one type: add dtype=bfloat16 (or another) to --model_args.",
                )
        return theirs

    def _refuse_rounding(self, recipe: Recipe, parts: Mapping[str, list[Planned]]) -> None:
        """Refuse a declared type that would round copies on their way through the folder, which nothing does here."""
        for target, part in parts.items():
            loaded = self._loaded["recipient"][target].dtype
            for planned in () if part[0].is_computed else part:
                now = (recipe.models[planned.source.origin].layout.held(planned.weight) or planned.weight).header.dtype
                for dtype in (working_type(planned, recipe.config) or now, planned.dtype):
                    if dtype != loaded and rounds(now, dtype):
                        raise UserError(
                            f"The swap is declared in {str(dtype)[6:]} and loaded in {str(loaded)[6:]}: {planned.name} "
                            f"would be rounded from {str(now)[6:]} in a merged folder.",
                            f"Add dtype={str(dtype)[6:]} to --model_args.",
                        )
                    now = dtype

    def _compute(self, target: str, part: Sequence[Planned], recipe: Recipe) -> torch.Tensor:
        """What a merge would make of the stored weights, as loading its folder would make it."""
        for role in ({"recipient"} | origins_of(part[0].source)) - self._readers.keys():  # rows are matched with its
            self._readers[role] = WeightReader(recipe.models[role], self._options)
        ours = self._loaded["recipient"][target]
        made = declared_in_memory(target, part, ours, self._readers, recipe)
        if made is None:
            raise UserError(
                f"{part[0].name} cannot be blended in memory: {target} has another form in memory.",
                "Merge this swap with mergekit-yaml.",
            )
        made = made.to(device=ours.device, dtype=ours.dtype)
        return torch.nn.Parameter(made, requires_grad=False) if isinstance(ours, torch.nn.Parameter) else made

    def _point(self, sources: Mapping[str, torch.Tensor]) -> None:
        """Put tensors in their places, under every name that one has in the recipient (tied embeddings)."""
        ours = self._loaded["recipient"]
        by_tensor = {id(ours[target]): source for target, source in sources.items()}
        for name, tensor in ours.items():
            if id(tensor) in by_tensor:
                module_name, _, leaf = name.rpartition(".")
                module = self.model.get_submodule(module_name)
                place = module._parameters if leaf in module._parameters else module._buffers
                place[leaf] = by_tensor[id(tensor)]


def _key(target: str, planned: Planned) -> Key:
    return target, planned.source.same, planned.matched


def swap_content(configuration: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What a layerswap.yml of a swap holds.

    Args:
        configuration: ``models``, by role, and perhaps types.
        parameters: what stands under ``parameters:`` there, and by its role what stands under a model.

    Raises:
        UserError: something else than parameters is given for a model.
    """
    models, listed = configuration["models"], []
    for role, model in models.items():
        own = parameters.get(role, {})
        if not isinstance(own, Mapping) or "role" in own:
            raise UserError(f"{role}: expected parameters of its own, got {own}.", f'Write {role}: {{layers: "0-4"}}.')
        own = dict(own) | ({"role": "pretrained"} if role == "pretrained" else {})
        if own or role != "recipient":
            listed.append({"model": model} | ({"parameters": own} if own else {}))
    types = {name: value for name, value in configuration.items() if name != "models"}
    shared = {name: value for name, value in parameters.items() if name not in models}
    if unknown := [name for name in shared if name.startswith(("donor", "pretrained"))]:
        raise UserError(f"{unknown[0]} is none of the models: {', '.join(models)}.", "Name its model, or remove it.")
    return {"merge_method": NAME, "base_model": models["recipient"], "models": listed, **types, "parameters": shared}


def content_of(config: MergeConfiguration) -> tuple[dict[str, Any], dict[str, Any]]:
    """A swap's models by role and the types that it declares, and its parameters: what :func:`swap_content` takes."""
    types = {name: declared for name in ("dtype", "out_dtype") if (declared := getattr(config, name))}
    return {"models": {role: str(model) for role, model in roles_of(config).items()}} | types, parameters_of(config)


def parameters_of(config: MergeConfiguration) -> dict[str, Any]:
    """A configuration's parameters, with those of each model under its role: the inverse of :func:`swap_content`."""
    # mergekit cannot dump a reference with a space in it.
    dumped = {"parameters": True, "models": {"__all__": {"parameters"}}}
    content = config.model_dump(mode="json", exclude_none=True, include=dumped)
    roles = {reference: role for role, reference in roles_of(config).items()}
    found = dict(content.get("parameters") or {})
    for listed, held in zip(config.models or [], content.get("models") or [], strict=True):
        own = {name: value for name, value in (held.get("parameters") or {}).items() if name != "role"}
        found |= {roles[listed.model]: own} if own else {}
    return found


def checked_plan(configuration: Mapping[str, Any], parameters: Mapping[str, Any], options: MergeOptions) -> Recipe:
    """The plan of the first composition, after adapters were merged where there are any; says what is to be said.

    Raises:
        UserError: the merge would refuse it.
    """
    content = swap_content(configuration, parameters)
    recipe = read_recipe(content, options)
    references = [model.reference for model in recipe.models.values()]
    if any(reference.lora for reference in references):
        merge_adapters(references, options)
        recipe = read_recipe(content, options)
    for said in (*recipe.notes, *recipe.warnings):
        LOG.warning("%s", said)
    return recipe


def told(recipe: Recipe, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What the results tell of a composition."""
    said = ", ".join(f"{name}={value}" for name, value in parameters.items()) or "default depths"
    return {
        "name": f"{recipe.recipient} with {' and '.join(map(str, recipe.donors))} ({said})",
        **{role: str(model) for role, model in recipe.models.items()},
        "parameters": parameters,
        "plan": recipe.digest,
    }
