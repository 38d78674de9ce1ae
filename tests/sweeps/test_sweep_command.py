"""The whole command, with lm-eval's own tasks and a page that a browser could open."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest
import yaml

from ..conftest import Command
from .sweeping import copying

pytestmark = pytest.mark.slow

__all__ = ["copying"]  # a fixture


def test_the_command_finds_the_one_good_swap_and_writes_everything(
    run_command: Command, copying: Path, tmp_path: Path
) -> None:
    settings = {
        "recipient": str(copying / "recipient"),
        "donor": str(copying / "donor"),
        "grid": {"bottom": "1-2", "top": "0-1"},
        "swaps": {"attention <alone>": {"layers": [{"filter": "self_attn", "value": "0-1"}, {"value": "none"}]}},
        "select_on": "copying:0-19",
        "report_on": "copying_shown:20-59",
        "metric": "acc",
        "controls": 1,
        "averages": [],
        "include_path": str(copying / "tasks"),
        "batch_size": 8,
        "model_args": {"dtype": "bfloat16"},
    }
    (tmp_path / "sweep.yml").write_text(yaml.safe_dump(settings), "utf-8")
    command = ["turnswap", "sweep", "sweep.yml", "-o", "out", "--limit", "15", "--device", "cpu"]
    done = run_command(*command, COLUMNS="120")
    assert done.returncode == 0, done.stderr[-3000:]
    assert re.search(r"1\s+bottom=2 top=1 \*\s+DDRRRD\s+1\.0000 ± 0\.0000", done.stdout)
    assert re.search(r"\*1\.0000", done.stdout)
    assert "reported on copying_shown:20-34" in done.stdout
    assert "bottom=2 top=1, reported on: acc 1.0000" in done.stderr
    out = tmp_path / "out"
    content = json.loads((out / "sweep.json").read_text("utf-8"))
    assert content["best"] == "bottom=2 top=1"
    assert content["documents"] == {"selected on": {"copying": "0-14"}, "reported on": {"copying_shown": "20-34"}}
    with (out / "sweep.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["configuration"] for row in rows if row["best"] == "True"] == ["bottom=2 top=1"]
    assert sorted(row["kind"] for row in rows if row["report_figure"]) == [
        "average", "control", "donor", "recipient", "swap"
    ]  # fmt: skip
    assert '# evaluated with {"model_args": {"dtype": "bfloat16"}}' in (out / "layerswap.yml").read_text("utf-8")
    swap = yaml.safe_load((out / "layerswap.yml").read_text("utf-8"))
    assert swap["base_model"] == settings["recipient"]
    assert swap["parameters"] == {"bottom": 2, "top": 1, "transition": 0}
    assert (out / "heat_map.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "sweep.html").read_text("utf-8")
    assert "attention &lt;alone&gt;" in page
    assert not re.search(r"(src|href)\s*=\s*[\"']?http", page.split("<script")[0])


def test_a_metric_that_a_task_lacks_is_refused_by_name(run_command: Command, copying: Path, tmp_path: Path) -> None:
    refused = run_command(
        "turnswap", "sweep", "--recipient", str(copying / "recipient"),
        "--donor", str(copying / "donor"), "--bottom", "1", "--top", "1", "--select-on", "copying,multiif_en",
        "--metric", "acc", "--include-path", str(copying / "tasks"), "-o", str(tmp_path / "out"),
        "--metadata", '{"multiif_data": "sample"}',
    )  # fmt: skip
    assert refused.returncode == 1
    assert "multiif_en has no metric acc. It has: turn1_overall_acc, turn1_prompt_strict_acc" in " ".join(
        refused.stderr.split()
    )
    assert "Traceback" not in refused.stderr
    assert not (tmp_path / "out").exists()
