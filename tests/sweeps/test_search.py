"""Searches from settings to the rows: what is best, what it is compared with, and what a fresh run of lm-eval says."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from turnswap.core.errors import UserError
from turnswap.sweeps import evaluations as evaluations_module
from turnswap.sweeps import inference, outputs
from turnswap.sweeps.rows import Row, Search

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


def acc(search: Search, row: Row, role: str = "select") -> float:
    """A row's figure by the objective that chose."""
    evaluation = getattr(row, role)
    return search.roles[role].figures(evaluation)[search.objective][0] if evaluation else math.nan


def named(search: Search) -> dict[str, Any]:
    return {row.configuration.name: row for row in search.rows}


def test_the_one_good_swap_is_found_and_its_file_merges_to_it(copying: Path, tmp_path: Path) -> None:
    search, _ = run(copying, tmp_path / "out", report_on="copying_shown:30-59")
    assert search.best.configuration.parameters == BEST | {"transition": 0}
    assert acc(search, search.best) == 1
    others = [acc(search, row) for row in search.rows if row is not search.best]
    assert max(others) < 0.7
    assert [row.rank for row in search.rows][:2] == [1, 2]
    assert search.best.differences["report"]["acc"].low > 0
    assert all(difference.low > 0 for difference in search.against.values())
    outputs.write_outputs(search, tmp_path / "out", "search")
    text = (tmp_path / "out" / "layerswap.yml").read_text("utf-8")
    assert "# selected on copying:0-29\n#   bottom=2 top=1: acc 1.0000 ± 0.0000\n#   recipient: acc 0." in text
    assert "# reported on copying_shown:30-59\n#   bottom=2 top=1: acc 1.0000" in text
    merged = merge(text, tmp_path / "merged")
    assert fresh(merged, copying, "copying", range(30))["acc,none"] == 1


def test_every_figure_is_the_one_that_a_fresh_run_on_the_merged_folder_gives(
    copying: Path, noise: Path, tmp_path: Path
) -> None:
    swaps: dict[str, Any] = {
        "zones": {"bottom": 2, "top": 1, "transition": 1},
        "attention": {"layers": [{"filter": "self_attn", "value": "0-2"}, {"value": "none"}]},
    }
    search, _ = run(
        copying, tmp_path / "out", noise, swaps=swaps, select_on="copying_shown:10-39", report_on="copying",
        limit=10, metric="brier_score", num_fewshot=3,
    )  # fmt: skip
    assert {row.configuration.kind for row in search.rows} == {"recipient", "donor", "average", "swap"}
    figures = set()
    for row in search.rows:
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
        figures.add(acc(search, row))
        if row.report:
            assert row.report.results["copying"] == fresh(merged, copying, "copying", range(10), num_fewshot=3)
    assert len(figures) == len(search.rows)


def test_equal_configurations_are_evaluated_once(copying: Path, tmp_path: Path) -> None:
    grid = {"bottom": [0, 3], "top": [0, 3], "transition": [0, 1]}
    search, said = run(copying, tmp_path, grid=grid)
    rows = named(search)
    assert rows["recipient"].configuration.also == ("bottom=0 top=0 transition=0", "bottom=0 top=0 transition=1")
    assert "bottom=3 top=3 transition=0" in rows["donor"].configuration.also
    assert len(said) == len(evaluations(tmp_path)) == len(search.rows) == 3 + 4
    assert any("left out of the grid: 1 swaps" in note for note in search.notes)
    places = [len(values) for values in outputs.grid_maps(search).values()]
    assert places == [4, 3]


def test_figures_are_marked_as_selected_on_where_there_is_no_report(copying: Path, tmp_path: Path) -> None:
    search, _ = run(copying, tmp_path)
    outputs.write_outputs(search, tmp_path, "search")
    content = json.loads((tmp_path / "search.json").read_text("utf-8"))
    assert {row["figures_are"] for row in content["rows"]} == {"selected on"}
    assert all(row["report_figure"] is None for row in content["rows"])
    assert set(content["documents"]) == {"selected on"}
    assert any("looks better here than it is" in note for note in content["notes"])
    assert "looks better here than it is" in (tmp_path / "layerswap.yml").read_text("utf-8")
    assert all("selected on" in title for title in outputs.grid_maps(search))


def test_the_winner_of_many_is_not_shown_to_be_better_by_the_documents_it_won_on(
    copying: Path, noise: Path, tmp_path: Path
) -> None:
    search, _ = run(copying, tmp_path / "out", noise, select_on="copying:0-23")
    best = search.best.differences["select"]["acc"]
    tables = {row.configuration.name: row.select.documents_table for row in search.rows if row.select}
    parts = (
        search.roles["select"].objectives["acc"].parts(search.roles["select"].suite, search.roles["select"].documents)
    )
    alone = inference.differences(inference.draw(tables, parts), "recipient")[search.best.configuration.name]
    assert best.value == alone.value > 0
    assert best.low < 0
    assert best.high - best.low > 1.2 * (alone.high - alone.low)
    assert any("is not shown to be better than recipient" in note for note in search.notes)


def test_halving_finds_the_one_good_swap_with_less_work(copying: Path, tmp_path: Path) -> None:
    search, _ = run(copying, tmp_path, select_on="copying", pruner="halving", grid={"bottom": "0-3", "top": "0-2"})
    assert search.best.configuration.parameters == BEST | {"transition": 0}
    sizes = [one.documents_table["document"].nunique() for one in evaluations(tmp_path)]
    assert set(sizes) == {20, 60}
    assert sizes.count(20) == 11
    assert sizes.count(60) < 11
    dropped = [row for row in search.rows if row.select is None]
    assert dropped
    assert all(row.rank is None and row.last_rung for row in dropped)
    assert {row["dropped_documents"] for row in outputs.as_rows(search)} == {None, 20}


def test_controls_are_selected_as_hard_as_the_winner_and_never_it(copying: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"swaps": {"best": BEST | {"transition": 0}}, "grid": {"bottom": "1-2", "top": "1-2"}}
    more |= {"report_on": "copying:30-59", "averages": [0.25, 0.75]}
    search, _ = run(copying, tmp_path / "a", controls="", **more)
    best = search.best.configuration
    assert best.also == ("best",)
    controls, weights = ([r for r in search.rows if r.configuration.kind == kind] for kind in ("control", "weight"))
    assert len({row.configuration.plan for row in controls} | {best.plan}) == 5
    assert {"".join(sorted(row.configuration.layers)) for row in controls} == {"".join(sorted(best.layers))}
    assert [row.configuration.name for row in weights] == ["average 0.25", "average 0.75"]
    assert [row.configuration.kind for row in search.chosen] == ["control", "weight"]
    for kind, chosen in zip((controls, weights), search.chosen, strict=True):
        assert acc(search, chosen) == max(acc(search, row) for row in kind)
        assert [row for row in kind if row.report] == [chosen]
    assert set(search.against) == {
        "recipient", "donor", "average", *(row.configuration.name for row in search.chosen)
    }  # fmt: skip
    other, _ = run(copying, tmp_path / "b", controls=3, seed=1, **more)
    plans = [{r.configuration.plan for r in one.rows if r.configuration.kind == "control"} for one in (search, other)]
    assert plans[0] != plans[1]
    assert any("best of 3 random placements is compared with the best of 4 swaps" in note for note in other.notes)


def test_documents_that_are_held_out_choose_nothing(copying: Path, tmp_path: Path) -> None:
    search, _ = run(copying, tmp_path, select_on="copying:0-39", held_out=0.25, grid={"bottom": "2", "top": "0-1"})
    select, report = (set(search.roles[name].documents["copying"]) for name in ("select", "report"))
    assert not select & report
    assert select | report == set(range(40))
    assert len(report) == 10
    used = {one.role: set(one.documents_table["document"]) for one in evaluations(tmp_path)}
    assert used == {"select": select, "report": report}
    assert any("10 of 40 documents were held out" in note for note in search.notes)
    assert [row.configuration.kind for row in search.rows if row.report].count("swap") >= 1


def test_where_no_swap_beats_an_expert_it_is_said(copying: Path, tmp_path: Path) -> None:
    whole = save_copying_expert(tmp_path / "models" / "recipient", (), 1)
    save_copying_expert(whole.parent / "donor", range(LAYERS), 2)
    search, _ = run(copying, tmp_path / "out", whole.parent)
    assert search.rows[0].configuration.kind == "recipient"
    assert search.best.configuration.kind == "swap"
    assert any(note.startswith("no swap beats the recipient") for note in search.notes)
    outputs.write_outputs(search, tmp_path / "out", "search")
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
    search, said = run(copying, tmp_path / "out")
    assert "3 evaluations are done" in said[0]
    assert len(calls) == 4 + len(evaluations(tmp_path / "whole")) - 3
    assert outputs.as_rows(search) == outputs.as_rows(whole)


def test_experts_of_another_ancestor_are_refused_unless_they_are_wanted_anyway(copying: Path, tmp_path: Path) -> None:
    base = str(save_model(tmp_path / "base", seed=9, layers=LAYERS, dtype=torch.float32))
    with pytest.raises(UserError, match="do not seem to come from one model"):
        run(copying, tmp_path / "out", base=base)
    assert not (tmp_path / "out").exists()
    search, _ = run(copying, tmp_path / "out", base=base, anyway=True, swaps={"one": {"layers": "0"}})
    assert any("is far from" in note and "accepted (--anyway)" in note for note in search.notes)


def test_a_folders_name_does_not_decide_whether_experts_are_related(copying: Path, tmp_path: Path) -> None:
    # The finding "does not differ" names the folder; a refusal once looked for words in it.
    models = tmp_path / "this is far from over"
    for name in ("recipient", "donor", "base"):
        save_model(models / name, layers=LAYERS, tokenizer=TOKENS)
    few = {"swaps": {"one": {"layers": "0"}}, "select_on": "copying:0-4"}
    search, _ = run(copying, tmp_path / "out", models, base=str(models / "base"), **few)
    assert not any("accepted" in note for note in search.notes)
