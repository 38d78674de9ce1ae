"""What ``layer_swap.json`` and its statement claim of a merged folder, and whether those that are there say that."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mergekit.options import MergeOptions

from .checkpoint import WEIGHT_FILES, Checkpoint, read_json, type_name
from .checksums import hashes_of, read_checksums
from .compatibility import Model
from .folder import ATTESTATION, CHECKSUMS, MOST, PROVENANCE, deciding_files, differing, files_of, is_document, said
from .recipe import Recipe
from .swap_plan import NAME, TensorSource
from .weights import WeightReader

BUILD_TYPE = "https://arxiv.org/abs/2410.01335"
WORDS = ("notes", "warnings")  # which another version of turnswap may put otherwise


def claims_of(recipe: Recipe, options: MergeOptions, weights: bool = True) -> dict[str, Any]:
    """Plan, configuration and sources of a merge; ``weights``: with the hashes of their weights, which take a while."""
    files = {role: source_files(model, options) for role, model in recipe.models.items()}
    read = [path for named in files.values() for path in named.values()]
    hashes = hashes_of(path for path in read if weights or path.suffix not in (".safetensors", ".bin"))
    return {
        "plan": plan_as_json(recipe),
        "configuration": recipe.config.model_dump(exclude_none=True, mode="json"),
        "sources": {
            role: {
                "model": str(model),
                "revision": model.description.revision or model.reference.model.revision,
                "sha256": {name: hashes.get(file) for name, file in files[role].items()},
            }
            for role, model in recipe.models.items()
        },
    }


def _part(content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = content.get(key)
    return part if isinstance(part, dict) else {}


def claim_problems(
    folder: Path, recipe: Recipe, found: Mapping[str, Any], options: MergeOptions, *, whole: bool, named: bool
) -> Iterator[str]:
    """What a folder's provenance claims and this check did not find.

    Args:
        folder: of the merged model.
        recipe: the one that it was compared with.
        found: the report of the check, as JSON.
        options: for how models are read.
        whole: hash the sources' weights again, too.
        named: whether the configuration is the folder's own, which names the models as the merge did.
    """
    if not (folder / PROVENANCE).is_file():
        if (folder / ATTESTATION).exists():
            yield f"{ATTESTATION}: repeats {PROVENANCE}, which is missing"
        return
    content = read_json(folder / PROVENANCE)
    if not (folder / CHECKSUMS).is_file():
        yield f"{CHECKSUMS}: missing, but {PROVENANCE} is there, and both are written together"
    listed = _part(_part(content, "output"), "sha256")
    lists = {
        CHECKSUMS: (read_checksums(folder), (CHECKSUMS,)),
        PROVENANCE: (listed, (CHECKSUMS, PROVENANCE, ATTESTATION)),
    }
    for by, (names, without) in lists.items():
        new = [name for name in files_of(folder) if not (name in names or name in without or is_document(name))]
        yield from (f"{by}: does not name {name}" for name in new[:MOST])
    mine = json.loads(json.dumps(claims_of(recipe, options, whole)))
    compared = [(key, content.get(key), mine[key]) for key in mine if named or key != "configuration"]
    compared += [
        (f"verified.{key}", _part(content, "verified").get(key), json.loads(json.dumps(found[key])))
        for key in ("status", "problems", "tensors", "rounded", "bytes", *(("loaded",) if found["loaded"] else ()))
    ]
    wrong = [
        (name, ours, theirs)
        for key, recorded, here in compared
        for name, ours, theirs in differing(recorded, here, key)
        if not (theirs is None and ".sha256." in name and isinstance(ours, str))  # was not hashed
        and not name.startswith(tuple(f"plan.{word}" for word in WORDS))
        and (named or not (name.endswith((".model", ".revision")) or name.startswith("plan.models")))
    ]
    yield from (f"{PROVENANCE}: {said(*one, 'what was found')}" for one in wrong[:MOST])
    if (folder / ATTESTATION).is_file():
        try:
            repeated = statement_of(content)
        except (AttributeError, KeyError, TypeError):
            yield f"{PROVENANCE}: not written by turnswap, or damaged"
            return
        parts = list(differing(read_json(folder / ATTESTATION), json.loads(json.dumps(repeated))))
        yield from (f"{ATTESTATION}: {said(*one, f'that of {PROVENANCE}')}" for one in parts[:MOST])


def source_files(model: Model, options: MergeOptions) -> dict[str, Path]:
    """Every file of a model that was read; with a LoRA, also those that the merged one was made of."""
    folder = model.description.folder
    files = {"config.json": folder / "config.json"} | deciding_files(folder)
    files |= weight_files(WeightReader(model, options).checkpoint)
    if model.reference.lora is not None:
        if model.description.complete:
            files |= {f"base/{name}": path for name, path in weight_files(Checkpoint(folder)).items()}
        adapter = Path(model.reference.lora.path)
        files |= {f"adapter/{path.name}": path for path in sorted(adapter.glob("adapter_*")) if path.is_file()}
    return files


def weight_files(checkpoint: Checkpoint) -> dict[str, Path]:
    """The files of a model's weights, and their index."""
    indices = (checkpoint.folder / f"{name}.index.json" for name in WEIGHT_FILES)
    return {path.name: path for path in (*checkpoint.files, *indices) if path.is_file()}


def statement_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """An in-toto Statement v1 with SLSA's provenance v1 of what ``layer_swap.json`` holds."""
    sources = [
        {"name": f"{role}/{name}", "digest": {"sha256": digest}, "annotations": {"model": source["model"]}}
        for role, source in content["sources"].items()
        for name, digest in source["sha256"].items()
    ]
    predicate = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"configuration": content["configuration"], "command": content["commands"]["merge"]},
            "internalParameters": content["environment"],
            "resolvedDependencies": sources,
        },
        "runDetails": {"builder": {"id": "https://pypi.org/project/turnswap/", "version": content["versions"]}},
    }
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": d}} for name, d in content["output"]["sha256"].items()],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": predicate,
    }


def plan_as_json(recipe: Recipe) -> dict[str, Any]:
    """The plan for machines: models by role, layers, every tensor with its source, notes and warnings.

    Sizes are in bytes of the output; ``donor_share`` is the donors' weight together, 0 to 1. A blend has each donor's
    share and its merge method besides, a tensor with a slice for each layer their sources.
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
                **_source_as_json(tensor.source),
                "shape": list(tensor.weight.header.shape),
                "dtype": type_name(tensor.dtype),
                "bytes": tensor.n_bytes,
            }
            for tensor in recipe.tensors.values()
        ],
    }


def _source_as_json(source: TensorSource) -> dict[str, Any]:
    content: dict[str, Any] = {"source": source.origin, "donor_share": source.donor_share, "why": source.why}
    if source.mix is not None:
        content |= {"shares": dict(source.shares), "method": source.mix.method, "inputs": list(source.mix.inputs)}
        content["parameters"] = {
            key: dict(one) if isinstance(one, tuple) else one for key, one in source.mix.parameters
        }
    if source.slices:
        content["slices"] = [_source_as_json(one) for one in source.slices]
    return content
