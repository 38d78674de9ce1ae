"""Beside an engine or a trainer, no version of theirs changes.

Nothing is installed: uv resolves what a user has, then the same with turnswap, held to what it found first. The real
vLLM for CPUs is installed beside turnswap by make test-engines.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import check

BESIDE = ("vllm==0.33.0", "vllm==0.32.0", "sglang==0.5.23", "trl==1.16.0")
EXTRAS = "api,build,cjk,hf,merge,morphology,report,search"


@pytest.mark.parametrize("package", BESIDE)
def test_turnswap_changes_no_version_beside(package: str, wheel: Path, uv: str, tmp_path: Path) -> None:
    compile_ = [uv, "pip", "compile", "--quiet", "--no-header", "--no-annotate", "--only-binary", "sglang"]
    platform = ["--python-version", "3.12", "--python-platform", "x86_64-manylinux_2_35"]

    def resolved(name: str, *lines: str, held: tuple[str, ...] = ()) -> set[str]:
        (tmp_path / f"{name}.in").write_text("\n".join(lines))
        check(*compile_, *platform, *held, f"{name}.in", "-o", f"{name}.txt", cwd=tmp_path)
        return set((tmp_path / f"{name}.txt").read_text().splitlines())

    alone = resolved("alone", package)
    together = resolved("together", package, f"turnswap[{EXTRAS}] @ {wheel.as_uri()}", held=("-c", "alone.txt"))
    assert package in alone
    assert alone <= together
    assert len(together) > len(alone)
