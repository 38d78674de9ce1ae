"""The wheel with all it depends on in a new environment without pip, as conda's and uv's may be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import turnswap

from .conftest import check, run

ASK = ["lm_eval", "run", "--model", "dummy", "--tasks", "multiif", "--limit", "1", "--metadata", '{"prompts": "plain"}']


@pytest.fixture(scope="module")
def fresh(wheel: Path, uv: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    check(uv, "venv", "--quiet", "--python", sys.executable, "venv", cwd=folder)
    check(uv, "pip", "install", "--quiet", "--python", "venv/bin/python", wheel, cwd=folder)
    return folder


def test_there_is_no_pip_and_no_conflict(fresh: Path, uv: str) -> None:
    assert run("venv/bin/python", "-c", "import pip", cwd=fresh).returncode == 1
    check(uv, "pip", "check", "--python", "venv/bin/python", cwd=fresh)


def test_enabled_the_stock_command_runs_the_sample_and_reports_it(fresh: Path) -> None:
    bin = fresh / "venv" / "bin"
    assert "not enabled" in check(bin / "turnswap", "status", cwd=fresh)
    check(bin / "turnswap", "enable", cwd=fresh)
    shown = check(bin / "turnswap", "status", cwd=fresh)
    assert turnswap.__version__ in shown
    assert "not enabled" not in shown
    listed = check(bin / "lm_eval", "ls", "tasks", cwd=fresh)
    assert all(f"|multiif_{code} " in listed for code in ("en", "zh", "fr", "ru", "hi", "es", "it", "pt"))
    ran = check(
        bin / ASK[0], *ASK[1:], "--output_path", "results", "--log_samples", cwd=fresh,
        TURNSWAP_MULTIIF="sample", HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert "turn3_overall_acc" in ran
    assert "overall" in check(bin / "turnswap", "report", "results", "--format", "md", cwd=fresh)
    check(bin / "turnswap", "disable", cwd=fresh)
    assert "not enabled" in check(bin / "turnswap", "status", cwd=fresh)
    assert not list(fresh.glob("venv/lib/python*/site-packages/turnswap*.pth"))


@pytest.mark.parametrize(
    ("command", "extra"),
    [("plan swap.yml", "merge"), ("report results -o page.html", "report"), ("demo-model model", "demo")],
)
def test_what_an_extra_brings_is_named_and_nothing_is_raised(fresh: Path, command: str, extra: str) -> None:
    (fresh / "results").mkdir(exist_ok=True)
    refused = run(fresh / "venv" / "bin" / "turnswap", *command.split(), cwd=fresh)
    assert refused.returncode == 1
    assert f"pip install 'turnswap[{extra}]'" in " ".join(refused.stderr.split())
    assert "Traceback" not in refused.stderr
