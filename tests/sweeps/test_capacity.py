"""Memory for several models at once: counted before they are loaded, and explained where it runs out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM

from turnswap.core.errors import UserError
from turnswap.sweeps import capacity
from turnswap.sweeps.hf_layerswap import HFLayerSwap

from .test_hf_layerswap import ZONES, evaluated, experts, tasks

pytestmark = pytest.mark.slow

__all__ = ["experts", "tasks"]  # fixtures


def test_models_that_do_not_fit_into_memory_are_refused_before_they_are_loaded(
    experts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "free_bytes", lambda device: 200_000)
    monkeypatch.setattr(HFLM, "_create_model", lambda *args, **kwargs: pytest.fail("loaded"))
    with pytest.raises(UserError, match=r"2 models and their blends need 6\d\d\.\d kB, and 200\.0 kB are"):
        HFLayerSwap(*experts, device="cpu", dtype="float32", **ZONES)
    with pytest.raises(UserError, match=r"2 models need 2\d\d\.\d kB"):
        HFLayerSwap(*experts, device="cpu", layers="none")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried "
                "to allocate 1500000000 bytes. Error code 12 (Cannot allocate memory)"
            ),
            r"Memory ran out on cpu: 1\.5 GB were asked for at once, 5\.0 GB are free now\. Reduce batch_size",
        ),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has"), r"2\.50 GiB were asked"),
        (MemoryError(), r"Memory ran out on cpu: 5\.0 GB are free now\."),
    ],
)
def test_memory_that_runs_out_in_an_evaluation_is_explained(
    error: Exception, words: str, experts: tuple[str, str], tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lm = HFLayerSwap(*experts, device="cpu", **ZONES)
    monkeypatch.setattr(capacity, "free_bytes", lambda device: 5_000_000_000)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise error

    monkeypatch.setattr(lm.model, "forward", fail)
    with pytest.raises(UserError, match=words):
        evaluated(lm, tasks)


def test_other_errors_pass_as_they_are(experts: tuple[str, str]) -> None:
    with pytest.raises(RuntimeError, match="another"), capacity.out_of_memory_explained("cpu"):
        raise RuntimeError("another")


@pytest.mark.parametrize(
    ("own", "files", "free"),
    [
        (
            "0::/job",
            {"job/memory.max": "1000", "job/memory.current": "700", "job/memory.stat": "inactive_file 100"},
            400,
        ),
        (
            "0::/job/step",
            {
                "job/memory.max": "900", "job/memory.current": "800", "job/memory.stat": "inactive_file 0",
                "job/step/memory.max": "max", "job/step/memory.current": "1", "job/step/memory.stat": "inactive_file 0",
            },
            100,
        ),
        (
            "5:cpu,memory:/job",
            {
                "memory/job/memory.limit_in_bytes": "500", "memory/job/memory.usage_in_bytes": "600",
                "memory/job/memory.stat": "total_inactive_file 50",
            },
            0,
        ),
        ("0::/", {}, None),
    ],
    ids=["v2", "v2-parent", "v1", "none"],
)  # fmt: skip
def test_the_limits_of_control_groups_count(own: str, files: dict[str, str], free: int | None, tmp_path: Path) -> None:
    for name, content in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content + "\n")
    (tmp_path / "own").write_text(own + "\n")
    assert min(capacity._cgroup_free(tmp_path / "groups", tmp_path / "own"), default=None) == free
