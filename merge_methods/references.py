"""Which folder a reference names: a folder, a model of the Hub in a cache, or a model merged with its adapter."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import get_safetensors_metadata, snapshot_download
from mergekit.common import ModelPath, ModelReference
from mergekit.config import MergeConfiguration
from pydantic import PrivateAttr
from transformers import PretrainedConfig

from turnswap.core.errors import UserError

from .checkpoint import Checkpoint, TensorInfo, read_json, sha256, type_of

MARK = "merged_adapter.json"  # written last into a model merged with its adapter: what it was made of
# What a merge and its check need besides the weights.
DESCRIPTION_FILES = ["*.json", "*.model", "*.jinja", "*.txt", "*.tiktoken", "*.py"]


@dataclass(frozen=True)
class Description:
    """A model without its weights; ``complete``: they are in the folder of its small files too."""

    folder: Path
    tensors: Mapping[str, TensorInfo]
    revision: str | None
    complete: bool = True


def describe(model: ModelPath, cache_dir: str | None = None) -> Description:
    """Read a model's headers; for a Hub id that is not in the cache, from the Hub, without loading a weight.

    Raises:
        UserError: it is neither a folder with weights nor a model on the Hub.
    """
    if not model.path.strip():
        raise UserError("The path of a model is empty.", "Write a folder or a Hub id.")
    if os.path.isdir(model.path):
        return Description(Path(model.path), Checkpoint(Path(model.path)).tensors, None)
    if model.path.startswith(("/", "./", "../", "~")) or model.path.count("/") > 1:  # no Hub id looks like this
        raise UserError(f"{model.path} is no folder here.", "Check the path: it is taken from the current folder.")
    fetch = functools.partial(snapshot_download, model.path, revision=model.revision, cache_dir=cache_dir)
    try:
        try:
            folder = Path(fetch(local_files_only=True))
            return Description(folder, Checkpoint(folder).tensors, folder.name)
        except (OSError, UserError):  # not in the cache, or without its weights
            folder = Path(fetch(allow_patterns=DESCRIPTION_FILES))
            remote = get_safetensors_metadata(model.path, revision=folder.name)
    except Exception as error:  # huggingface_hub: offline, gated, no such repository, no safetensors, …
        raise UserError(
            f"{model.path} is no folder here, and the Hub did not give it ({type(error).__name__}).",
            "Check the path, which starts from the current folder (for verify: where the merge ran), or the id; log "
            "in to the Hub and go online, or download the model first.",
        ) from error
    tensors = {
        name: TensorInfo(tuple(info.shape), type_of(info.dtype, name, folder))
        for file in remote.files_metadata.values()
        for name, info in file.tensors.items()
    }
    return Description(folder, tensors, folder.name, complete=False)


def same_model(one: ModelReference | str, other: ModelReference | str) -> bool:
    """Whether two references name one model: the same folder, however it is written, or id, with the same adapter."""
    pair = [ModelReference.model_validate(reference) for reference in (one, other)]
    return _same_place(pair[0].model, pair[1].model) and _same_place(pair[0].lora, pair[1].lora)


def _same_place(one: ModelPath | None, other: ModelPath | None) -> bool:
    if one is None or other is None or one == other:
        return one == other
    return os.path.isdir(one.path) and os.path.isdir(other.path) and os.path.samefile(one.path, other.path)


class FoundModel(ModelReference):
    """A model whose files were found on this machine, for mergekit, which would ask the Hub or another cache for them.

    It is equal to the reference that was given, and written as that is.
    """

    _folder: Path = PrivateAttr()

    @classmethod
    def at(cls, folder: Path, given: ModelReference) -> FoundModel:
        """The model that a reference names, in its folder."""
        found = cls(model=given.model, lora=given.lora, override_architecture=given.override_architecture)
        found._folder = folder
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ModelReference) and dict(self) == dict(other)

    __hash__ = ModelReference.__hash__

    def config(self, trust_remote_code: bool = False) -> PretrainedConfig:
        """The configuration in the folder."""
        model = ModelPath(path=str(self._folder))
        here = ModelReference(model=model, override_architecture=self.override_architecture)
        return here.config(trust_remote_code=trust_remote_code)

    def local_path(self, cache_dir: str | None = None, ignore_lora: bool = False) -> str:
        """The folder."""
        return str(self._folder)


def with_plain_paths(config: MergeConfiguration) -> MergeConfiguration:
    """The configuration with ``./`` before relative folders: mergekit takes ``models/x`` for a Hub id."""

    def plain(reference: ModelReference) -> ModelReference:
        changes = {
            part: path.model_copy(update={"path": f"./{path.path}"})
            for part in ("model", "lora")
            if (path := getattr(reference, part)) and path.path[:1] not in "./~" and os.path.isdir(path.path)
        }
        return reference.model_copy(update=changes)

    return with_references(config, plain)


def with_references(
    config: MergeConfiguration, changed: Callable[[ModelReference], ModelReference]
) -> MergeConfiguration:
    """The configuration with other references to its models."""
    models = config.models and [listed.model_copy(update={"model": changed(listed.model)}) for listed in config.models]
    base = config.base_model and changed(config.base_model)
    return config.model_copy(update={"models": models, "base_model": base}, deep=True)


def merged_folder(reference: ModelReference, cache: str | None) -> Path | None:
    """The merged model in the cache; None where there is none that is finished and made of this very adapter."""
    if cache is None:
        return None
    folder = cache_entry(reference, cache)
    return folder if read_json(folder / MARK) == ingredients(reference) else None


def cache_entry(reference: ModelReference, cache: str) -> Path:
    """Where mergekit looks for a model merged with its adapter. (It has no public function for the name.)"""
    assert reference.lora is not None
    return Path(cache) / f"{reference.model._unique_id()}_{reference.lora._unique_id()}"


def ingredients(reference: ModelReference) -> dict[str, str]:
    """What identifies a merged model: both names, and what is in the adapter's files."""
    assert reference.lora is not None
    names = {"model": str(reference.model), "adapter": str(reference.lora)}
    return names | {path.name: sha256(path) for path in sorted(Path(reference.lora.path).glob("adapter_*"))}
