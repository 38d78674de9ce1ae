"""Proof that a merged folder is what its configuration declares: every tensor, its type, configuration and tokenizer.

Tensors are read here from the files themselves, one at a time, and compared bit by bit with their declared source.
What was proven can be written for others: the plan, versions, and the SHA-256 of every file that the model was made of.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from mergekit.config import MergeConfiguration
from mergekit.options import MergeOptions
from transformers import AutoConfig

from turnswap import __version__
from turnswap.core.errors import UserError
from turnswap.core.files import write_whole

from .checkpoint import Checkpoint, sha256, type_name
from .compatibility import Model, tokenizer_difference, tokenizer_files
from .merge_run import unfinished_folder
from .recipe import Planned, Recipe, read_configuration, read_recipe
from .swap_plan import NAME
from .weights import WeightReader, declared_tensor

PROVENANCE = "layer_swap.json"
CARD_START, CARD_END = "<!-- layer_swap: start -->", "<!-- layer_swap: end -->"
PACKAGES = ("mergekit", "torch", "transformers", "safetensors", "peft")
# What a configuration may differ in: who wrote it, and the type, which is checked on its own.
NOT_COMPARED = ("transformers_version", "_name_or_path", "torch_dtype", "dtype")


@dataclass
class Report:
    """What was found. ``problems`` is empty if and only if ``status`` is ``verified``."""

    folder: Path
    status: Literal["verified", "differs", "incomplete"] = "verified"
    problems: list[str] = field(default_factory=list)
    tensors: Counter[str] = field(default_factory=Counter)
    n_bytes: int = 0
    recipe: Recipe | None = None

    def as_json(self) -> dict[str, Any]:
        """For machines: status, problems, tensors by origin, bytes compared."""
        return {
            "folder": str(self.folder),
            "status": self.status,
            "problems": self.problems,
            "tensors": dict(self.tensors),
            "bytes": self.n_bytes,
        }


def verify(folder: Path, options: MergeOptions, config_file: Path | None = None) -> Report:
    """Compare a merged folder with its own ``mergekit_config.yml``, or with another configuration.

    Relative paths in the configuration are taken from the current directory, as mergekit takes them.

    Raises:
        UserError: the configuration or its models cannot be read; what is wrong with the folder itself is reported.
    """
    missing = _what_is_missing(folder, config_file)
    if missing:
        return Report(folder, "incomplete", [missing])
    recipe = read_recipe(read_configuration(config_file or folder / "mergekit_config.yml"), options)
    try:
        output = Checkpoint(folder)
    except UserError as error:
        return Report(folder, "incomplete", [error.message], recipe=recipe)
    report = Report(folder, recipe=recipe)
    report.problems += _config_problems(folder, recipe, options)
    report.problems += _tokenizer_problems(folder, recipe)
    extra = sorted(set(output.tensors) - set(recipe.tensors))
    report.problems += [f"{name}: not declared, and yet there" for name in extra]
    readers = {role: WeightReader(model, options) for role, model in recipe.models.items()}
    for tensor in recipe.tensors.values():
        if tensor.name not in output.tensors:
            report.problems.append(f"{tensor.name}: missing")
            continue
        report.tensors[tensor.source.origin] += 1
        report.n_bytes += output.tensors[tensor.name].n_bytes
        report.problems += _tensor_problems(output.read(tensor.name), tensor, readers, recipe.config)
    report.status = "differs" if report.problems else "verified"
    return report


def _what_is_missing(folder: Path, config_file: Path | None) -> str | None:
    left = unfinished_folder(folder).parent
    if left.exists():
        return f"a merge to it was stopped, or is still running: {left} is there"
    if not folder.is_dir():
        return "there is no such folder"
    for name in ("config.json", *(() if config_file else ("mergekit_config.yml",))):
        if not (folder / name).is_file():
            return f"{name} is missing"
    return None


def _tensor_problems(
    tensor: torch.Tensor, planned: Planned, readers: dict[str, WeightReader], config: MergeConfiguration
) -> Iterator[str]:
    """What is wrong with one tensor of the output."""
    if tensor.dtype != planned.dtype:
        yield f"{planned.name}: is {tensor.dtype}, declared {planned.dtype}"
        return
    if not _same_bits(tensor, declared_tensor(planned, readers, config)):
        source = planned.source
        blend = f"the declared blend (donor's share {source.donor_share:g}; {source.why})"
        what = blend if source.origin == "blend" else f"the {source.origin}'s ({source.why})"
        yield f"{planned.name}: is not, bit for bit, {what}"
    if tensor.is_floating_point() and not _is_finite(tensor):
        yield f"{planned.name}: holds NaN or infinite values"


def _same_bits(left: torch.Tensor, right: torch.Tensor) -> bool:
    """Equality of shape and bits: torch.equal takes -0 for 0, and NaN for different from itself."""
    if left.shape != right.shape or left.dtype != right.dtype:
        return False
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[left.dtype.itemsize]
    return bool(torch.equal(left.contiguous().view(integers), right.contiguous().view(integers)))


def _is_finite(tensor: torch.Tensor) -> bool:
    # One pass without a mask as large as the tensor: the extremes show infinities and pass NaN on.
    if tensor.numel() == 0:
        return True
    low, high = torch.aminmax(tensor.float() if tensor.dtype.itemsize == 1 else tensor)
    return bool(torch.isfinite(low) and torch.isfinite(high))


def _config_problems(folder: Path, recipe: Recipe, options: MergeOptions) -> Iterator[str]:
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=options.trust_remote_code)
    except (OSError, ValueError) as error:
        yield f"config.json: cannot be read ({error})"
        return
    ours, theirs = (_compared(one.to_dict()) for one in (config, recipe.recipient.config))
    for key in sorted(ours.keys() | theirs.keys()):
        if ours.get(key) != theirs.get(key):
            yield f"config.json: {key} is {ours.get(key)!r}, the recipient's is {theirs.get(key)!r}"
    asked = recipe.config.out_dtype or recipe.config.dtype
    if asked and type_name(config.dtype) != type_name(asked):
        yield f"config.json: dtype is {config.dtype}, declared {asked}"


def _compared(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _compared(item) for key, item in value.items() if key not in NOT_COMPARED}
    return value


def _tokenizer_problems(folder: Path, recipe: Recipe) -> Iterator[str]:
    """Whether text becomes the same ids in the same template as with the recipient."""
    if not recipe.recipient.tokenizer_files:
        yield from (f"tokenizer: the recipient has none, here is {path.name}" for path in tokenizer_files(folder))
        return
    ours = recipe.recipient.description.folder
    difference = tokenizer_difference(ours, folder)
    if difference:
        yield f"tokenizer: the recipient's {difference.recipient}, here {difference.other}"
    elif recipe.config.chat_template is None and _chat_template(ours) != _chat_template(folder):
        yield "tokenizer: the chat template is not the recipient's"


def _chat_template(folder: Path) -> object:
    """The template where it is stored: a file of its own, or in the tokenizer's configuration."""
    own = folder / "chat_template.jinja"
    if own.is_file():
        return own.read_bytes()
    try:
        return json.loads((folder / "tokenizer_config.json").read_text("utf-8")).get("chat_template")
    except (OSError, ValueError, AttributeError):  # it is missing or no mapping
        return None


def plan_as_json(recipe: Recipe) -> dict[str, Any]:
    """The plan for machines: models by role, layers, every tensor with its source, notes and warnings.

    Sizes are in bytes of the output; ``donor_share`` is the donor's weight, 0 to 1.
    """
    return {
        "method": NAME,
        "models": {role: str(model) for role, model in recipe.models.items()},
        "n_layers": recipe.n_layers,
        "bytes": sum(tensor.n_bytes for tensor in recipe.tensors.values()),
        "notes": list(recipe.notes),
        "warnings": list(recipe.warnings),
        "tensors": [
            {
                "name": tensor.name,
                "part": tensor.weight.place.part,
                "layer": tensor.weight.place.layer,
                "source": tensor.source.origin,
                "donor_share": tensor.source.donor_share,
                "why": tensor.source.why,
                "shape": list(tensor.weight.header.shape),
                "dtype": type_name(tensor.dtype),
                "bytes": tensor.n_bytes,
            }
            for tensor in recipe.tensors.values()
        ],
    }


def write_provenance(report: Report, options: MergeOptions) -> Path:
    """Write ``layer_swap.json`` into a verified folder, and a section into its model card; returns the file.

    Raises:
        UserError: the folder is not verified, or cannot be written.
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
        "versions": {
            "python": platform.python_version(),
            "turnswap": __version__,
            **{package: importlib.metadata.version(package) for package in PACKAGES},
        },
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
    _write_card_section(report.folder / "README.md", report, content)
    return write_whole(report.folder / PROVENANCE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


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
    once = list(dict.fromkeys(files))  # a file may serve two roles
    with ThreadPoolExecutor() as pool:  # hashlib works outside Python's lock
        return dict(zip(once, pool.map(sha256, once), strict=True))


def _write_card_section(card: Path, report: Report, content: dict[str, Any]) -> None:
    """Put the section at the card's end, in place of one that an earlier check wrote."""
    counts = ", ".join(f"{count} {origin}" for origin, count in sorted(report.tensors.items()))
    lines = [
        CARD_START,
        "## Provenance",
        "",
        f"Layer swap, checked tensor by tensor with `turnswap verify` {__version__}: "
        f"{sum(report.tensors.values())} tensors ({counts}), each bit-equal to its declared source.",
        f"Plan, versions and hashes of all inputs and outputs: `{PROVENANCE}`.",
        "",
        "| role | model | file | SHA-256 |",
        "|---|---|---|---|",
    ]
    for role, source in content["sources"].items():
        revision = f" @ {source['revision']}" if source["revision"] else ""
        for name, digest in source["sha256"].items():
            lines.append(f"| {role} | {source['model']}{revision} | {name} | `{digest}` |")
    lines += [f"| output | | {name} | `{digest}` |" for name, digest in content["output"]["sha256"].items()]
    section = "\n".join([*lines, CARD_END])
    text = card.read_text("utf-8") if card.is_file() else ""
    text = re.sub(f"\n*{re.escape(CARD_START)}.*?{re.escape(CARD_END)}\n?", "", text, flags=re.DOTALL)
    write_whole(card, f"{text.rstrip()}\n\n{section}\n".lstrip("\n"))
