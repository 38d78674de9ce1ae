"""What goes with a merged model for others: the plan, versions, and the SHA-256 of every file it was made of."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mergekit.options import MergeOptions

from turnswap.core.errors import UserError

from .checkpoint import Checkpoint
from .compatibility import Model
from .recipe import Planned, Recipe
from .verify import Report
from .weights import WeightReader

FILE = "layer_swap.json"
CARD_START, CARD_END = "<!-- layer_swap: start -->", "<!-- layer_swap: end -->"
PACKAGES = ("turnswap", "mergekit", "torch", "transformers", "safetensors", "peft")


def plan_as_json(recipe: Recipe) -> dict[str, Any]:
    """The plan for machines: models by role, layers, every tensor with its source, notes and warnings.

    Sizes are in bytes of the output; ``donor_share`` is the donor's weight, 0 to 1.
    """
    return {
        "method": "layer_swap",
        "models": {role: str(model) for role, model in recipe.models.items()},
        "n_layers": recipe.n_layers,
        "bytes": sum(tensor.n_bytes for tensor in recipe.tensors.values()),
        "notes": list(recipe.notes),
        "warnings": list(recipe.warnings),
        "tensors": [_tensor_as_json(tensor) for tensor in recipe.tensors.values()],
    }


def _tensor_as_json(tensor: Planned) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "part": tensor.weight.place.part,
        "layer": tensor.weight.place.layer,
        "source": tensor.source.origin,
        "donor_share": tensor.source.donor_share,
        "why": tensor.source.why,
        "shape": list(tensor.weight.header.shape),
        "dtype": str(tensor.dtype).removeprefix("torch."),
        "bytes": tensor.n_bytes,
    }


def write_provenance(report: Report, options: MergeOptions) -> Path:
    """Write ``layer_swap.json`` into a verified folder, and a section into its model card; returns the file.

    Raises:
        UserError: the folder is not verified.
    """
    recipe = report.recipe
    if report.status != "verified" or recipe is None:
        raise UserError(f"{report.folder} is not verified; no provenance was written.", "Merge it again.")
    files = {role: _source_files(model, options) for role, model in recipe.models.items()}
    outputs = sorted(path for path in report.folder.iterdir() if path.suffix in (".safetensors", ".bin"))
    hashes = _sha256([*outputs, *(file for named in files.values() for file in named.values())])
    content = {
        "plan": plan_as_json(recipe),
        "configuration": recipe.config.model_dump(exclude_none=True, mode="json"),
        "versions": {"python": platform.python_version(), **_versions()},
        "sources": {
            role: {
                "model": str(model),
                "revision": model.description.revision or model.reference.model.revision,
                "sha256": {name: hashes[file] for name, file in files[role].items()},
            }
            for role, model in recipe.models.items()
        },
        "output": {"sha256": {file.name: hashes[file] for file in outputs}},
        "verified": report.as_json() | {"folder": report.folder.name},
    }
    path = report.folder / FILE
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", "utf-8")
    _write_card_section(report.folder / "README.md", report, content)
    return path


def _source_files(model: Model, options: MergeOptions) -> dict[str, Path]:
    """The weight files that a model was read from; with a LoRA, also those that the merged one was made of."""
    files = {file.name: file for file in WeightReader(model, options).checkpoint.files}
    if model.reference.lora is not None:
        if model.description.complete:
            files |= {f"base/{file.name}": file for file in Checkpoint(model.description.folder).files}
        adapter = Path(model.reference.lora.path)
        files |= {f"adapter/{file.name}": file for file in sorted(adapter.glob("adapter_*")) if file.is_file()}
    return files


def _sha256(files: list[Path]) -> dict[Path, str]:
    def digest(path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    once = list(dict.fromkeys(files))  # a file may serve two roles
    with ThreadPoolExecutor() as pool:  # hashlib works outside Python's lock
        return dict(zip(once, pool.map(digest, once), strict=True))


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _write_card_section(card: Path, report: Report, content: dict[str, Any]) -> None:
    """Put the section at the card's end, in place of one that an earlier check wrote."""
    counts = ", ".join(f"{count} {origin}" for origin, count in sorted(report.tensors.items()))
    lines = [
        CARD_START,
        "## Provenance",
        "",
        f"Layer swap, checked tensor by tensor with `turnswap verify` {content['versions'].get('turnswap', '')}: "
        f"{sum(report.tensors.values())} tensors ({counts}), each bit-equal to its declared source.",
        f"Plan, versions and hashes of all inputs and outputs: `{FILE}`.",
        "",
        "| role | model | file | SHA-256 |",
        "|---|---|---|---|",
    ]
    for role, source in content["sources"].items():
        for name, digest in source["sha256"].items():
            revision = f" @ {source['revision']}" if source["revision"] else ""
            lines.append(f"| {role} | {source['model']}{revision} | {name} | `{digest}` |")
    lines += [f"| output | | {name} | `{digest}` |" for name, digest in content["output"]["sha256"].items()]
    section = "\n".join([*lines, CARD_END])
    text = card.read_text("utf-8") if card.is_file() else ""
    text = re.sub(f"\n*{re.escape(CARD_START)}.*?{re.escape(CARD_END)}\n?", "", text, flags=re.DOTALL)
    card.write_text(f"{text.rstrip()}\n\n{section}\n".lstrip("\n"), "utf-8")
