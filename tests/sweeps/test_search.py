"""Sweeps from settings to the rows: what is best, what it is compared with, and what a fresh run of lm-eval says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from turnswap.core.errors import UserError
from turnswap.sweeps import evaluations as evaluations_module
from turnswap.sweeps import outputs
from turnswap.sweeps.sweep import Sweep

from ..merge_methods.models import TOKENS, merge, save_model
from .sweeping import BEST, LAYERS, copying, evaluations, noise, own_tasks_alone, run, save_copying_expert

pytestmark = pytest.mark.slow

__all__ = ["copying", "noise", "own_tasks_alone"]  # fixtures


def fresh(model: Path, copying: Path, task: str, documents: range, **more: Any) -> dict[str, Any]:
    """What lm-eval says of a folder in a run of its own."""
    results = simple_evaluate(
        model="hf", model_args={"pretrained": str(model)}, tasks=[task], samples={task: list(documents)}, device="cpu",
        batch_size=8, log_samples=False, fewshot_as_multiturn=False,
        task_manager=TaskManager(include_path=str(copying / "tasks"), include_defaults=False), **more,
    )  # fmt: skip
    assert results is not None
    return dict(results["results"][task])


def named(sweep: Sweep) -> dict[str, Any]:
    return {row.configuration.name: row for row in sweep.rows}


def test_the_one_good_swap_is_found_and_its_file_merges_to_it(copying: Path, tmp_path: Path) -> None:
    sweep, _ = run(copying, tmp_path / "out", report_on="copying_shown:30-59")
    assert sweep.best.configuration.parameters == BEST | {"transition": 0}
    assert sweep.best.select is not None
    assert sweep.best.select.figure == 1
    others = [row.select.figure for row in sweep.rows if row.select and row is not sweep.best]
    assert max(others) < 0.7
    assert [row.rank for row in sweep.rows][:2] == [1, 2]
    outputs.write_outputs(sweep, tmp_path / "out")
    text = (tmp_path / "out" / "layerswap.yml").read_text("utf-8")
    assert "# selected on: acc 1.0000 ± 0.0000, on copying:0-29" in text
    assert "# reported on: acc 1.0000" in text
    merged = merge(text, tmp_path / "merged")
    assert fresh(merged, copying, "copying", range(30))["acc,none"] == 1


def test_every_figure_is_the_one_that_a_fresh_run_on_the_merged_folder_gives(
    copying: Path, noise: Path, tmp_path: Path
) -> None:
    swaps: dict[str, Any] = {
        "zones": {"bottom": 2, "top": 1, "transition": 1},
        "attention": {"layers": [{"filter": "self_attn", "value": "0-2"}, {"value": "none"}]},
    }
    sweep, _ = run(
        copying, tmp_path / "out", noise, swaps=swaps, select_on="copying_shown:10-39", report_on="copying",
        limit=10, metric="brier_score", num_fewshot=3,
    )  # fmt: skip
    assert {row.configuration.kind for row in sweep.rows} == {"recipient", "donor", "average", "swap"}
    figures = set()
    for row in sweep.rows:
        text = yaml.safe_dump(
            {
                "merge_method": "layer_swap",
                "base_model": str(noise / "recipient"),
                "models": [{"model": str(noise / "donor")}],
                "parameters": dict(row.configuration.parameters),
            }
        )
        merged = merge(text, tmp_path / row.configuration.name)
        expected = fresh(merged, copying, "copying_shown", range(10, 20), num_fewshot=3)
        assert row.select is not None
        assert row.select.results["copying_shown"] == expected
        figures.add(row.select.figure)
        if row.report:
            assert row.report.results["copying"] == fresh(merged, copying, "copying", range(10), num_fewshot=3)
    assert len(figures) == len(sweep.rows)


def test_equal_configurations_are_evaluated_once(copying: Path, tmp_path: Path) -> None:
    grid = {"bottom": [0, 3], "top": [0, 3], "transition": [0, 1]}
    sweep, said = run(copying, tmp_path, grid=grid)
    rows = named(sweep)
    assert rows["recipient"].configuration.also == ("bottom=0 top=0 transition=0", "bottom=0 top=0 transition=1")
    assert "bottom=3 top=3 transition=0" in rows["donor"].configuration.also
    assert len(said) == len(evaluations(tmp_path)) == len(sweep.rows) == 3 + 4
    assert any("left out of the grid: 1 swaps" in note for note in sweep.notes)
    places = [len(values) for values in outputs.grid_maps(sweep).values()]
    assert places == [4, 3]


def test_figures_are_marked_as_selected_on_where_there_is_no_report(copying: Path, tmp_path: Path) -> None:
    sweep, _ = run(copying, tmp_path)
    outputs.write_outputs(sweep, tmp_path)
    content = json.loads((tmp_path / "sweep.json").read_text("utf-8"))
    assert {row["figures_are"] for row in content["rows"]} == {"selected on"}
    assert set(content["documents"]) == {"selected on"}
    assert any("looks better here than it is" in note for note in content["notes"])
    assert "looks better here than it is" in (tmp_path / "layerswap.yml").read_text("utf-8")
    assert all("selected on" in title for title in outputs.grid_maps(sweep))


def test_halving_finds_the_one_good_swap_with_less_work(copying: Path, tmp_path: Path) -> None:
    sweep, _ = run(copying, tmp_path, select_on="copying", halving=2, grid={"bottom": "0-3", "top": "0-2"})
    assert sweep.best.configuration.parameters == BEST | {"transition": 0}
    done = evaluations(tmp_path)
    sizes = [len(item["results"]["copying"]) and item["results"]["copying"]["sample_len"] for item in done]
    assert set(sizes) == {15, 30, 60}
    assert sizes.count(15) == 11
    full = [item["configuration"] for item in done if item["documents"] == {"copying": "0-59"}]
    assert {"recipient", "donor", "average", sweep.best.configuration.name} <= set(full)
    assert sizes.count(60) < 11
    dropped = [row for row in sweep.rows if row.select is None]
    assert dropped
    assert all(row.rank is None and row.last_rung for row in dropped)
    assert any("halving by 2" in note and "saved" in note for note in sweep.notes)


def test_controls_are_as_wide_as_the_best_swap_and_never_it(copying: Path, tmp_path: Path) -> None:
    sweep, _ = run(copying, tmp_path / "a", controls=4, report_on="copying:30-59")
    controls = [row for row in sweep.rows if row.configuration.kind == "control"]
    best = sweep.best.configuration
    assert len({row.configuration.plan for row in controls} | {best.plan}) == 5
    assert {"".join(sorted(row.configuration.layers)) for row in controls} == {"".join(sorted(best.layers))}
    assert all(row.select and row.report and row.select.figure < 1 for row in controls)
    assert any(note.startswith("0 of 4 random placements") for note in sweep.notes)
    other, _ = run(copying, tmp_path / "b", controls=4, seed=1)
    plans = [
        {row.configuration.plan for row in one.rows if row.configuration.kind == "control"} for one in (sweep, other)
    ]
    assert plans[0] != plans[1]


def test_where_no_swap_beats_an_expert_it_is_said(copying: Path, tmp_path: Path) -> None:
    whole = save_copying_expert(tmp_path / "models" / "recipient", (), 1)
    save_copying_expert(whole.parent / "donor", range(LAYERS), 2)
    sweep, _ = run(copying, tmp_path / "out", whole.parent)
    assert sweep.rows[0].configuration.kind == "recipient"
    assert sweep.best.configuration.kind == "swap"
    assert any(note.startswith("no swap beats the recipient") for note in sweep.notes)
    outputs.write_outputs(sweep, tmp_path / "out")
    assert "# Note: no swap beats the recipient" in (tmp_path / "out" / "layerswap.yml").read_text("utf-8")


def test_memory_that_runs_out_keeps_what_is_done_and_the_sweep_goes_on(
    copying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, _ = run(copying, tmp_path / "whole")
    calls = []
    original = evaluations_module.evaluate

    def failing(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return original(*arguments)

    monkeypatch.setattr(evaluations_module, "evaluate", failing)
    with pytest.raises(UserError, match="batch_size"):
        run(copying, tmp_path / "out")
    assert len(evaluations(tmp_path / "out")) == 3
    sweep, said = run(copying, tmp_path / "out")
    assert "3 evaluations are done" in said[0]
    assert len(calls) == 4 + len(evaluations(tmp_path / "whole")) - 3
    assert outputs.as_rows(sweep) == outputs.as_rows(whole)


def test_experts_of_another_ancestor_are_refused_unless_there_is_a_reason(copying: Path, tmp_path: Path) -> None:
    base = str(save_model(tmp_path / "base", seed=9, layers=LAYERS, dtype=torch.float32))
    with pytest.raises(UserError, match="do not seem to come from one model"):
        run(copying, tmp_path / "out", base=base)
    assert not (tmp_path / "out").exists()
    sweep, _ = run(copying, tmp_path / "out", base=base, unrelated_because="a test", swaps={"one": {"layers": "0"}})
    assert any("is far from" in note and "accepted: a test" in note for note in sweep.notes)


def test_a_folders_name_does_not_decide_whether_experts_are_related(copying: Path, tmp_path: Path) -> None:
    # The finding "does not differ" names the folder; a refusal once looked for words in it.
    models = tmp_path / "this is far from over"
    for name in ("recipient", "donor", "base"):
        save_model(models / name, layers=LAYERS, tokenizer=TOKENS)
    few = {"swaps": {"one": {"layers": "0"}}, "select_on": "copying:0-4"}
    sweep, _ = run(copying, tmp_path / "out", models, base=str(models / "base"), **few)
    assert not any("accepted" in note for note in sweep.notes)
