"""The attention and the MLP of each layer as mergekit's ``filter:`` can tell them: by their tensors' names."""

from __future__ import annotations

from collections.abc import Mapping

from turnswap.core.errors import UserError

from .analysis import component_of
from .layout import Layout, Weight

ATTENTION = frozenset({"q", "k", "v", "qkv", "o"})
MLP = frozenset({"router", "gate", "up", "gate+up", "down"})


def module_filters(layout: Layout) -> Mapping[str, list[str]]:
    """The filters that match each module's tensors and nothing else: ``.self_attn.`` and ``.mlp.`` in most models.

    The dots belong to them: ``attention`` alone would match GPT-NeoX's ``post_attention_layernorm`` too.

    Raises:
        UserError: the names do not tell the modules apart.
    """
    held: dict[str, set[str]] = {}
    for weight in layout.weights.values():
        if weight.place.layer is not None:
            held.setdefault(_segment(weight), set()).add(component_of(weight))
    filters: dict[str, list[str]] = {"attention": [], "mlp": []}
    for segment, components in held.items():
        matrices = components - {"norms"}
        if not matrices:
            continue
        module = "attention" if matrices <= ATTENTION else "mlp" if matrices <= MLP else None
        if module is None:
            raise _cannot(f"{segment} holds {', '.join(sorted(matrices))}")
        filters[module].append(f".{segment}.")
    for text in (text for texts in filters.values() for text in texts):
        for weight in layout.weights.values():
            # Whatever a filter says, a tensor outside the decoder stays with the recipient.
            if text in weight.info.name and weight.place.part != "outside" and text != f".{_segment(weight)}.":
                raise _cannot(f"{text!r} matches {weight.info.name} too")
    missing = [module for module, texts in filters.items() if not texts]
    if missing:
        raise _cannot(f"none is found for its {missing[0]}")
    return filters


def _segment(weight: Weight) -> str:
    """``self_attn`` of ``model.layers.3.self_attn.q_proj.weight``; empty outside the layers."""
    if weight.place.layer is None:
        return ""
    name: str = weight.info.name
    return name.partition(f".{weight.place.layer}.")[2].partition(".")[0]


def _cannot(why: str) -> UserError:
    return UserError(
        f"The names of this model's tensors do not tell attention and MLP apart: {why}.",
        "Take whole layers: --granularity layer.",
    )
