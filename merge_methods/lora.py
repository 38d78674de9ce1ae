"""LoRA inputs (``model+adapter``): merged by mergekit into its cache, whole or not at all, and never a stale one."""

from __future__ import annotations

import hashlib
import json
import logging
import shutil
from pathlib import Path

from mergekit.common import ModelPath, ModelReference
from mergekit.options import MergeOptions

from turnswap.core.errors import UserError

LOG = logging.getLogger(__name__)
MARK = "merged_adapter.json"  # written last into a merged model: what it was made of


def check_adapter(adapter: ModelPath) -> None:
    """Refuse a local folder that is no adapter.

    Raises:
        UserError: it holds no adapter_config.json.
    """
    folder = Path(adapter.path)
    if folder.is_dir() and not (folder / "adapter_config.json").is_file():
        raise UserError(
            f"{adapter} is no LoRA adapter: it holds no adapter_config.json.", "Check the path after the +."
        )


def merged_folder(reference: ModelReference, cache: str | None) -> Path | None:
    """The merged model in the cache; None where there is none that is finished and made of this very adapter."""
    if cache is None:
        return None
    folder = _folder(reference, cache)
    try:
        mark = json.loads((folder / MARK).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return folder if mark == _ingredients(reference) else None


def merge_adapters(references: list[ModelReference], options: MergeOptions) -> None:
    """Merge every adapter into its model, in ``--lora-merge-cache``, where that is not done yet.

    A run that is killed leaves no entry, and an entry that an earlier mergekit left unfinished is made anew.

    Raises:
        UserError: there is an adapter but no cache.
    """
    for reference in references:
        if reference.lora is None:
            continue
        if options.lora_merge_cache is None:
            raise UserError(
                f"{reference} is a model with a LoRA adapter, which is merged before the swap: this needs a folder.",
                "Add --lora-merge-cache FOLDER; it takes as much space as the model.",
            )
        if merged_folder(reference, options.lora_merge_cache):
            continue
        final = _folder(reference, options.lora_merge_cache)
        if final.exists():
            LOG.warning("%s is unfinished or of another adapter: merging it anew", final)
            shutil.rmtree(final)
        unfinished = final.parent / f".{final.name}.incomplete"
        shutil.rmtree(unfinished, ignore_errors=True)
        merged = reference.merged(
            cache_dir=str(unfinished),
            trust_remote_code=options.trust_remote_code,
            lora_merge_dtype=options.lora_merge_dtype,
        )
        (Path(merged.model.path) / MARK).write_text(json.dumps(_ingredients(reference), indent=2), "utf-8")
        Path(merged.model.path).rename(final)
        unfinished.rmdir()


def _folder(reference: ModelReference, cache: str) -> Path:
    # mergekit's own name for the entry: it must find it. (It has no public function for it.)
    assert reference.lora is not None
    return Path(cache) / f"{reference.model._unique_id()}_{reference.lora._unique_id()}"


def _ingredients(reference: ModelReference) -> dict[str, str]:
    """What identifies a merged model: both names, and what is in the adapter's files."""
    assert reference.lora is not None
    found = {"model": str(reference.model), "adapter": str(reference.lora)}
    folder = Path(reference.lora.path)
    for path in sorted(folder.glob("adapter_*")) if folder.is_dir() else ():
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found
