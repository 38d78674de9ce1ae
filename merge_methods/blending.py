"""How blends are computed: by mergekit's own merge methods, over the recipient, the donors and their ancestor.

``blend_method: ties`` and its parameters stand where mergekit itself takes them, so that a blend equals, bit for bit,
the same merge of the same models done by mergekit alone. Methods that draw at random are seeded for each tensor.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mergekit.merge_methods.base import BasePolicy, MergeMethod, ParameterScope, TensorGroup
from mergekit.parameter_resolver import resolve_parameter
from pydantic import ValidationError

from turnswap.core.errors import UserError

from .swap_plan import NAME, Mix, TensorSource

Settings = Mapping[str, Sequence[Mapping[str, Any] | None]]
BLOCK = 2**22  # numbers that are averaged at once: few enough for memory, and enough to keep every core at work
NO_BLEND = (NAME, "passthrough")


def blend_method(name: object) -> MergeMethod:
    """mergekit's merge method of this name.

    Raises:
        UserError: it has none, or it is none for blends.
    """
    from mergekit.merge_methods import registry  # registers this package's method, which imports this module

    known = {method.spec.name: method for method in registry.registered_methods() if method.spec.name not in NO_BLEND}
    if not isinstance(name, str) or name not in known:
        raise UserError(f"blend_method: {name} is no merge method for blends.", f"There are: {', '.join(known)}.")
    return known[name]


def mix_of(method: str, source: TensorSource, tensor: str, settings: Settings, seed: int = 0) -> Mix:
    """How a blend of one tensor is computed.

    The base is the recipient for methods that merge two models (slerp), and the pretrained model for those of task
    vectors (ties). Where no weight or ``t`` is given, the shares of the blend are taken.

    Args:
        method: mergekit's name of it.
        source: the blend, with the donors' shares.
        tensor: its name, for filters.
        settings: by role: the model's own parameters and those for all, the first that has one wins.
        seed: for methods that draw at random.

    Raises:
        UserError: the method needs another number of models, an ancestor, or parameters that are not given or unfit.
    """
    spec = blend_method(method).spec
    donors = [role for role, _ in source.shares]
    shares = {"recipient": max(0.0, 1 - source.donor_share), **dict(source.shares)}
    base = None
    if spec.contract.base in (BasePolicy.REQUIRED, BasePolicy.OPTIONAL):
        if spec.contract.max_inputs == 2:
            base = "recipient"
        elif "pretrained" in settings:
            base = "pretrained"
        elif spec.contract.base == BasePolicy.REQUIRED:
            raise UserError(
                f"blend_method: {method} needs the pretrained model that the experts come from.",
                "Add it to models: - {model: PATH, parameters: {role: pretrained}}.",
            )
    inputs = ["recipient", *donors, *(["pretrained"] if base == "pretrained" else [])]
    doing = ""
    try:
        spec.contract.validate_ids(inputs, base)
        takes_shares = {"weight", "t"} & {parameter.name for parameter in spec.parameters}
        if not takes_shares and any(one and "blend" in one for role in donors for one in settings[role]):
            raise UserError(f"blend has no effect with blend_method: {method}, which takes no shares.", "Remove blend.")
        parameters: list[tuple[str, object]] = []
        for parameter in spec.parameters:
            doing = f"{parameter.name}: "
            if parameter.scope == ParameterScope.SHARED:
                given = [*settings[donors[0]], {"t": source.donor_share}]
                parameters.append((parameter.name, resolve_parameter(parameter, given, tensor_name=tensor)))
                continue
            of = [role for role in inputs if parameter.scope == ParameterScope.INPUT or role != base]
            values = (
                resolve_parameter(parameter, [*settings[role], {"weight": shares.get(role, 0.0)}], tensor_name=tensor)
                for role in of
            )
            parameters.append((parameter.name, tuple(zip(of, values, strict=True))))
    except (ValueError, RuntimeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else f"{error}"
        raise UserError(f"blend_method: {method} cannot blend {tensor}: {doing}{reason}.") from error
    weights = dict(parameters).get("weight")
    if method == "linear" and isinstance(weights, tuple) and not sum(weight for _, weight in weights):
        raise UserError(f"The weights of {tensor} make 0 together: there is no mean.", "Change one of the weights.")
    return Mix(method, tuple(inputs), base, tuple(parameters), seed)


def mixed(mix: Mix, tensors: Mapping[str, torch.Tensor], name: str) -> torch.Tensor:
    """A blend of tensors of one shape and type, by role.

    Raises:
        UserError: the result is not finite.
    """
    if not tensors[mix.inputs[0]].is_floating_point():  # tables of whole numbers have no mean
        return tensors[mix.inputs[0]]
    parameters = {key: dict(value) if isinstance(value, tuple) else value for key, value in mix.parameters}
    method, base = blend_method(mix.method), mix.inputs.index(mix.base) if mix.base else None

    def merged(inputs: Sequence[torch.Tensor]) -> torch.Tensor:
        group = TensorGroup.from_tensors(inputs, ids=mix.inputs, base_index=base, name=name)
        made: torch.Tensor = method([group], parameters=parameters)[0]
        if not torch.isfinite(made).all():
            raise UserError(
                f"The blend of {name} is not finite: one of its models holds NaN or infinite values.",
                "Repair or replace that model.",
            )
        return made

    inputs = [tensors[role] for role in mix.inputs]
    if mix.method != "linear":
        with torch.random.fork_rng():
            torch.manual_seed(zlib.crc32(f"{mix.seed} {name}".encode()))  # the same whenever it is computed
            return merged(inputs)
    result = torch.empty_like(inputs[0], memory_format=torch.contiguous_format)
    # In blocks: no copy in single precision of the whole is made.
    for *block, part in zip(*(one.reshape(-1).split(BLOCK) for one in (*inputs, result)), strict=True):
        part.copy_(merged(block))
    return result


def is_finite(tensor: torch.Tensor, dtype: torch.dtype) -> bool:
    """Whether all numbers are finite in a type, by one pass without a copy: the extremes show infinities, and NaN."""
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return True
    low, high = torch.aminmax(tensor.float() if tensor.dtype.itemsize == 1 else tensor)
    return all(bool(torch.isfinite(one.to(dtype).double())) for one in (low, high))


def refuse_overflow(tensor: torch.Tensor, dtype: torch.dtype, name: str) -> None:
    """Refuse a tensor that the declared type cannot hold.

    Raises:
        UserError: it would hold NaN or infinite values.
    """
    if not is_finite(tensor, dtype):
        raise UserError(
            f"{name} is not finite as {str(dtype).removeprefix('torch.')}: "
            "it holds NaN, or numbers too large for the declared type.",
            "Declare a wider dtype, such as bfloat16 or float32, or repair that model.",
        )


def composed(source: TensorSource, tensors: Mapping[str, torch.Tensor], name: str, axis: int = 0) -> torch.Tensor:
    """What a source makes of the models' tensors: one of them as it is, a blend, or slices of either put together.

    Args:
        source: of the tensor.
        tensors: by role, all of one shape and type.
        name: the tensor's.
        axis: the dimension in which the layers' slices lie, where it has such.

    Raises:
        UserError: a blend is not finite.
    """
    if source.slices:
        parts = {role: tensor.chunk(len(source.slices), axis) for role, tensor in tensors.items()}
        made = [
            composed(one, {role: part[layer] for role, part in parts.items()}, f"{name}, slice of layer {layer}")
            for layer, one in enumerate(source.slices)
        ]
        return torch.cat(made, axis)
    if source.mix is not None:
        return mixed(source.mix, tensors, name)
    return tensors[source.origin]
