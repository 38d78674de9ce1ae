"""Layer swaps of models that lie in memory: each parameter is pointed at its source, and only blends are computed.

A composition has the bits that the same swap (Bandarkar et al. 2024, arXiv 2410.01335), merged to a folder and loaded
from it, would have: the same plan, checked alike, and blends made of the stored weights by the merge's own kernel.

Equal weights give equal logits wherever kernels do not look at addresses. On CPUs some do: weights that are loaded in
their stored type stay mapped from the file, whose header decides on their alignment, and the experts of a Mixtral in
float32 then differed in the last bit between two folders with equal weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from mergekit.common import ModelReference
from mergekit.options import MergeOptions

from turnswap.core.errors import UserError
from turnswap.merge_methods.compatibility import Model
from turnswap.merge_methods.loading import declared_in_memory, map_names, tensors_of
from turnswap.merge_methods.recipe import Planned, Recipe, read_recipe, working_type
from turnswap.merge_methods.swap_plan import NAME, TensorSource, origins_of
from turnswap.merge_methods.weights import WeightReader

from .capacity import check_free

COMPUTED = ("blend", "slices")  # whose values lie in no model


class SwapInMemory:
    """One model whose parameters are the recipient's own, the donor's own, or blends of the two.

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
            load: loads the model of a role, ``donor`` or ``pretrained``, in the recipient's type and on its device;
                called once per role, when a composition first needs it.
            configuration: what a layerswap.yml says besides ``parameters``: ``base_model``, ``models``, perhaps types.
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
        self._computed: dict[tuple[str, tuple[object, ...]], torch.Tensor] = {}

    def compose(self, parameters: Mapping[str, Any]) -> Recipe:
        """Make the model the swap with these parameters, whatever it was before.

        Args:
            parameters: what stands under ``parameters:`` in a layerswap.yml.

        Raises:
            UserError: the merge would refuse it, parts of a model have no counterpart in memory, or a blend is not
                finite.
        """
        content = {**self._configuration, "merge_method": NAME, "parameters": dict(parameters)}
        recipe = read_recipe(content, self._options, self._opened)
        self._targets = self._targets or map_names(recipe, self.model)
        parts = self._parts(recipe)
        sources = {target: part[0].source for target, part in parts.items()}
        donors = {role for role in recipe.models if role.startswith("donor")}
        for role in sorted((donors | {source.origin for source in sources.values()}) & recipe.models.keys()):
            if role not in self._loaded:
                self._loaded[role] = self._fitting(role, tensors_of(self._load(role)))
        self._refuse_rounding(recipe, parts)
        # Back to the recipient first: blends that are not needed again are freed before new ones are made.
        self.recipe = None
        self._point(self._loaded["recipient"])
        needed = {(target, source.same) for target, source in sources.items() if source.origin in COMPUTED}
        self._computed = {key: made for key, made in self._computed.items() if key in needed}
        missing = sorted(needed - self._computed.keys(), key=lambda key: key[0])
        size = sum(self._loaded["recipient"][target].nbytes for target, _ in missing)
        check_free(size, self.model.device, "the blends")
        for target, source in missing:
            self._computed[target, source] = self._blend(target, parts[target], recipe)
        self._point({target: self._tensor(target, source) for target, source in sources.items()})
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

    def _fitting(self, role: str, theirs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Refuse a model whose tensors cannot stand in place of the recipient's."""
        for name in set(self._targets.values()):
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
            for planned in () if part[0].source.origin in COMPUTED else part:
                now = recipe.models[planned.source.origin].layout.weights.get(planned.name, planned.weight).header.dtype
                for dtype in (working_type(planned, recipe.config) or now, planned.dtype):
                    if dtype != loaded and torch.promote_types(now, dtype) != dtype:
                        raise UserError(
                            f"The swap is declared in {str(dtype)[6:]} and loaded in {str(loaded)[6:]}: {planned.name} "
                            f"would be rounded from {str(now)[6:]} in a merged folder.",
                            f"Add dtype={str(dtype)[6:]} to --model_args.",
                        )
                    now = dtype

    def _blend(self, target: str, part: Sequence[Planned], recipe: Recipe) -> torch.Tensor:
        """A blend of the stored weights, made as a merge and loading its folder would make it."""
        for role in origins_of(part[0].source) - self._readers.keys():
            self._readers[role] = WeightReader(recipe.models[role], self._options)
        ours = self._loaded["recipient"][target]
        made = declared_in_memory(target, part, ours, self._readers, recipe)
        if made is None:
            raise UserError(
                f"{part[0].name} cannot be blended in memory: it is stored otherwise than {target} is loaded.",
                "Merge this swap with mergekit-yaml.",
            )
        made = made.to(device=ours.device, dtype=ours.dtype)
        return torch.nn.Parameter(made, requires_grad=False) if isinstance(ours, torch.nn.Parameter) else made

    def _tensor(self, target: str, source: TensorSource) -> torch.Tensor:
        if source.origin in COMPUTED:
            return self._computed[target, source.same]
        return self._loaded[source.origin][target]

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


def models_of(recipient: str, donor: str, pretrained: str | None) -> dict[str, Any]:
    """What a layerswap.yml says of its models: ``base_model`` and ``models``."""
    models: list[dict[str, Any]] = [{"model": donor}]
    if pretrained is not None:
        models.append({"model": pretrained, "parameters": {"role": "pretrained"}})
    return {"base_model": recipient, "models": models}
