"""Models named by Hub ids: from the cache without a network, or described by their headers alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mergekit.common import ModelPath

from turnswap.core.errors import UserError
from turnswap.merge_methods import references
from turnswap.merge_methods.checkpoint import TensorInfo

from ..conftest import Command
from .models import merge, pair, recipe

REVISION = "0123456789abcdef0123456789abcdef01234567"


def put_into_cache(home: Path, model: Path, name: str) -> None:
    """A Hub cache as huggingface_hub lays it out."""
    root = home / "hub" / f"models--org--{name}"
    shutil.copytree(model, root / "snapshots" / REVISION)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text(REVISION)


def test_cached_models_are_planned_and_verified_offline_with_their_revision(
    run_command: Command, tmp_path: Path
) -> None:
    recipient, donor = pair(tmp_path)
    merge(recipe(recipient, donor), tmp_path / "merged")
    for name in ("recipient", "donor"):
        put_into_cache(tmp_path / "home", tmp_path / name, name)
        shutil.rmtree(tmp_path / name)
    (tmp_path / "hub.yml").write_text(recipe("org/recipient", "org/donor@main"))
    done = run_command(
        "turnswap", "verify", "merged", "--config", "hub.yml", "--write-provenance", HF_HOME=tmp_path / "home"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "merged" / "layer_swap.json").read_text())
    assert {source["revision"] for source in written["sources"].values()} == {REVISION}
    assert f"org/donor@main @ {REVISION}" in (tmp_path / "merged" / "README.md").read_text()


def test_a_hub_model_that_is_not_cached_is_described_without_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / REVISION
    snapshot.mkdir()
    asked: list[object] = []

    def download(model: str, **kwargs: object) -> str:
        asked.append(kwargs.get("allow_patterns"))
        if kwargs.get("local_files_only"):
            raise FileNotFoundError
        return str(snapshot)

    header = SimpleNamespace(shape=[64, 32], dtype="BF16")
    metadata = SimpleNamespace(files_metadata={"model.safetensors": SimpleNamespace(tensors={"a.weight": header})})
    monkeypatch.setattr(references, "snapshot_download", download)
    monkeypatch.setattr(references, "get_safetensors_metadata", lambda model, revision: metadata)
    described = references.describe(ModelPath(path="org/model"))
    assert described.tensors == {"a.weight": TensorInfo((64, 32), torch.bfloat16)}
    assert (described.revision, described.complete) == (REVISION, False)
    assert asked[1]
    assert not any("safetensors" in pattern or "bin" in pattern for pattern in references.DESCRIPTION_FILES)


def test_a_path_that_is_nowhere_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no-such-model is no folder here"):
        references.describe(ModelPath(path="org/no-such-model"))
