"""What was proven of a merged folder, written into it for others to check."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import re
from pathlib import Path
from typing import Any

import torch
from mergekit.options import MergeOptions

from turnswap import __version__
from turnswap.core.errors import UserError
from turnswap.core.files import write_whole

from .checkpoint import type_name
from .checksums import hashes_of, write_checksums
from .claims import claims_of, statement_of
from .folder import ATTESTATION, CARD, CHECKSUMS, PROVENANCE, files_of
from .recipe import Recipe
from .verify import Report

CARD_START, CARD_END = "<!-- layer_swap: start -->", "<!-- layer_swap: end -->"
PACKAGES = ("mergekit", "torch", "transformers", "tokenizers", "safetensors", "huggingface-hub", "peft")
CACHES = ("transformers_cache", "lora_merge_cache")


def write_provenance(report: Report, options: MergeOptions) -> Path:
    """Write what was proven into a verified folder; returns ``layer_swap.json``, which holds all of it.

    Beside it: a section of the model card, an in-toto statement, unsigned, and ``SHA256SUMS`` of every file, last.

    Raises:
        UserError: the folder is not verified, or cannot be written.
    """
    recipe = report.recipe
    if report.status != "verified" or recipe is None:
        raise UserError(f"{report.folder} is not verified; no provenance was written.", "Merge it again.")
    written = (CARD, PROVENANCE, ATTESTATION, CHECKSUMS)
    outputs = {name: path for name, path in files_of(report.folder).items() if name not in written}
    hashes = hashes_of(outputs.values())
    content = {
        **claims_of(recipe, options),
        "versions": {
            "python": platform.python_version(),
            "turnswap": __version__,
            **{package: importlib.metadata.version(package) for package in PACKAGES},
        },
        "environment": _environment(),
        "commands": _commands(report, options),
        "output": {"sha256": {name: hashes[file] for name, file in outputs.items()}},
        "verified": report.as_json() | {"folder": report.folder.absolute().name},
    }
    _write_card_section(report.folder / CARD, report, recipe, content)
    file = write_whole(report.folder / PROVENANCE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    statement = json.dumps(statement_of(content), indent=1, ensure_ascii=False)
    write_whole(report.folder / ATTESTATION, statement + "\n")
    write_checksums(report.folder)
    return file


def _environment() -> dict[str, str]:
    """The kind of machine, without a name of its own or of its user."""
    try:
        cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text("utf-8"))
    except OSError:
        cpu = None
    gpus = [torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count())]
    return {
        "platform": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu[1] if cpu else platform.processor(),
        "gpu": ", ".join(gpus) or "none",
    }


def _commands(report: Report, options: MergeOptions) -> dict[str, str]:
    """How to merge it again, and how it was checked; where models are cached is everybody's own choice."""
    reading = [f"--{name.replace('_', '-')} FOLDER" for name in CACHES if getattr(options, name)]
    reading += ["--trust-remote-code"] if options.trust_remote_code else []
    loading = ["--load"] if report.n_loaded is not None else []
    name = report.folder.absolute().name
    return {
        "merge": " ".join(["mergekit-yaml mergekit_config.yml", name, *reading]),
        "verify": " ".join(["turnswap verify", name, *loading, "--write-provenance", *reading]),
    }


def _write_card_section(card: Path, report: Report, recipe: Recipe, content: dict[str, Any]) -> None:
    """Put the section at the card's end, in place of one that an earlier check wrote."""
    lines = [
        CARD_START,
        "## Provenance",
        "",
        f"Layer swap, checked with `turnswap verify` {__version__}: {_what_was_compared(report, recipe)}",
        f"Plan, versions, commands and hashes of all inputs and outputs: `{PROVENANCE}`. "
        f"`sha256sum -c {CHECKSUMS}` checks every file of this folder.",
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


def _what_was_compared(report: Report, recipe: Recipe) -> str:
    """The card's claim: how many tensors are copies, bit for bit, and what was done to the others."""
    counts = ", ".join(f"{count} {origin}" for origin, count in sorted(report.tensors.items()))
    # A tensor that is made of several is computed, in the declared type.
    single = {name for name, tensor in recipe.tensors.items() if not tensor.is_computed}
    rounded = single.intersection(report.rounded)
    kept = len(single) - len(rounded)
    said = [f"{kept} equal their source, bit for bit"] if kept else []
    if rounded:
        types = ", ".join(sorted({type_name(recipe.tensors[name].dtype) for name in rounded}))
        said.append(f"{len(rounded)} are their source rounded to {types}, as declared")
    if len(single) < len(recipe.tensors):
        said.append(
            f"{len(recipe.tensors) - len(single)} are computed as declared (blends, slices, rows); "
            "computed again, they are equal, bit for bit"
        )
    text = f"of {sum(report.tensors.values())} tensors ({counts}), {'; '.join(said)}."
    if report.n_loaded is not None:
        text += f" Loaded with transformers, all {report.n_loaded} tensors in memory equal what was declared."
    return text
