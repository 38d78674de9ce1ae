"""Whether each tensor that transformers loads from a merged model is its declared source's, by no code of ours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import safe_open

from .zoo import NONE, Kind, in_float32

Tensors = Mapping[str, torch.Tensor]


@dataclass(frozen=True)
class Swap:
    """A swap's parameters, and what they mean: a letter per layer (R, D, b) and one per other part of the model."""

    parameters: dict[str, Any]
    layers: str
    embeddings: str
    head: str
    shared: str

    def letter(self, part: str, layer: int) -> str:
        """Where a part of the model comes from."""
        if part in ("layer", "sliced"):
            return self.layers[layer]
        return "R" if part == "outside" else str(getattr(self, part))

    def parameters_for(self, kind: Kind) -> dict[str, Any]:
        """The parameters, with the choices that shared blocks and tied embeddings ask for."""
        words = {"R": "recipient", "D": "donor"}
        shared = {"shared": words[self.shared]} if kind.shared != NONE else {}
        embeddings = {"embeddings": words[self.embeddings]} if kind.is_tied else {}
        return self.parameters | shared | embeddings


def both_ends(n_layers: int) -> Swap:
    """Two layers at the bottom, one at the top, and transitions between."""
    layers = "DDb" + "R" * (n_layers - 5) + "bD"
    return Swap({"bottom": 2, "top": 1, "transition": 1}, layers, "D", "D", "R")


def top_only(n_layers: int) -> Swap:
    """The last layer alone, so that what belongs to the head is told from what belongs to the embeddings."""
    parameters = {"bottom": 0, "top": 1, "transition": 0}
    return Swap(parameters, "R" * (n_layers - 1) + "D", "R", "D", "D")


def load(folder: Path, kind: Kind, **settings: Any) -> tuple[Any, dict[str, set[str]]]:
    """A model, in float32 so that nothing is rounded, and what was wrong with its loading."""
    model, report = kind.model_class.from_pretrained(folder, output_loading_info=True, dtype=torch.float32, **settings)
    return model, {what: set(names) for what, names in report.items() if names}


def file_tensors(folder: Path) -> dict[str, torch.Tensor]:
    """What the files of a model hold."""
    found: dict[str, torch.Tensor] = {}
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as opened:
            found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - no mapping
    return found


def mixed(letter: str, recipient: torch.Tensor, donor: torch.Tensor, stored: torch.dtype) -> torch.Tensor:
    """The recipient's, the donor's, or their mean in the type in which it is stored."""
    if letter == "b" and recipient.is_floating_point():
        return ((recipient.float() + donor.float()) / 2).to(stored).to(recipient.dtype)
    return donor if letter == "D" else recipient


def same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Whether two tensors have the same type, shape and bits."""
    if left.dtype != right.dtype or left.shape != right.shape:
        return False
    return torch.equal(*(tensor.reshape(-1).contiguous().view(torch.uint8) for tensor in (left, right)))


def check_loaded(kind: Kind, swap: Swap, recipient: Path, donor: Path, merged: Path) -> None:
    """Load all three models and compare every tensor, key by key."""
    model, wrong = load(merged, kind)
    further = rf"model\.layers\.{kind.n_layers}\."
    if kind.prediction_layer:
        unexpected = wrong.pop("unexpected_keys", set())
        assert unexpected == load(recipient, kind)[1]["unexpected_keys"]
        assert all(re.match(further, name) for name in unexpected)
    assert not wrong
    assert transformers.AutoConfig.from_pretrained(merged).dtype == torch.bfloat16
    float32 = set(in_float32(model))
    ours, theirs, made = (one.state_dict() for one in (load(recipient, kind)[0], load(donor, kind)[0], model))
    assert ours.keys() == theirs.keys() == made.keys()
    places = {name: kind.belongs(name) for name in made}
    embeddings = {ours[name].data_ptr() for name, (part, _) in places.items() if part == "embeddings"}
    tied = {name: ("embeddings", 0) for name in made if ours[name].data_ptr() in embeddings}
    differ = [
        name
        for name, place in (places | tied).items()
        if not _as_declared(kind, swap, place, name in float32, ours[name], theirs[name], made[name])
    ]
    assert not differ, f"{len(differ)} of {len(made)} tensors are not their declared source's: {differ[:12]}"
    ours, theirs, made = (file_tensors(folder) for folder in (recipient, donor, merged))
    types = {name: (ours[name].dtype, made[name].dtype) for name in ours.keys() & made.keys()}
    assert {name: pair for name, pair in types.items() if pair[0] != pair[1]} == {}
    if kind.prediction_layer:
        check_prediction_layer(kind, swap, recipient, donor, merged)
    if kind.computes:
        assert torch.isfinite(model(torch.arange(1, 12)[None]).logits).all()


def _as_declared(kind: Kind, swap: Swap, place: tuple[str, int], in_float32: bool, *tensors: torch.Tensor) -> bool:
    """Whether a loaded tensor is its declared source's; the tensors are the recipient's, the donor's, the result's."""
    part, n = place
    slices = [tensors] if part != "sliced" else zip(*(one.chunk(kind.n_layers, n) for one in tensors), strict=True)
    for layer, (recipient, donor, merged) in enumerate(slices):
        letter = swap.letter(part, layer if part == "sliced" else n)
        assert not recipient.is_floating_point() or not torch.equal(recipient, donor), "equal models prove nothing"
        stored = torch.float32 if in_float32 else torch.bfloat16
        if not same_bits(merged, mixed(letter, recipient, donor, stored)):
            return False
    return True


def check_prediction_layer(kind: Kind, swap: Swap, recipient: Path, donor: Path, merged: Path) -> None:
    """The layer beyond the last follows the head: loaded as one layer more, and what only it has in the files."""
    longer = kind.n_layers + 1
    models = [
        load(folder, kind, config=_longer(folder, longer))[0].state_dict() for folder in (recipient, donor, merged)
    ]
    prefix = f"model.layers.{kind.n_layers}."
    names = [name for name in models[0] if name.startswith(prefix)]
    assert len(names) > 10
    files = [file_tensors(folder) for folder in (recipient, donor, merged)]
    own = ("enorm", "hnorm", "eh_proj", "embed_tokens", "shared_head.norm", "shared_head.head")
    for ours, theirs, made, looked_at in ((*models, names), (*files, [f"{prefix}{name}.weight" for name in own])):
        source = theirs if swap.head == "D" else ours
        assert [name for name in looked_at if not same_bits(made[name], source[name])] == []
        assert [name for name in looked_at if same_bits(ours[name], theirs[name])] == []


def _longer(folder: Path, n_layers: int) -> transformers.PretrainedConfig:
    """The configuration of a folder's model with more layers, the last of which are like the one before."""
    config = transformers.AutoConfig.from_pretrained(folder)
    added = n_layers - config.num_hidden_layers
    for name in ("layer_types", "mlp_layer_types"):
        if isinstance(listed := getattr(config, name, None), list):
            setattr(config, name, listed + listed[-1:] * added)
    config.num_hidden_layers = n_layers
    return config
