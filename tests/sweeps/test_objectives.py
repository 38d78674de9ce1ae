"""What a search goes by: several objectives, constraints, zero-shot figures, samplers and pruners."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from turnswap.core.errors import UserError
from turnswap.sweeps import evaluations as evaluations_module
from turnswap.sweeps import outputs
from turnswap.sweeps.objectives import Objective, parse_constraints
from turnswap.sweeps.pictures import write_pictures
from turnswap.sweeps.rows import Search
from turnswap.sweeps.suite import Metric

from ..merge_methods.models import TOKENS
from .sweeping import copying, evaluations, noise, own_tasks_alone, run

__all__ = ["copying", "noise", "own_tasks_alone"]  # fixtures

ACC = {"tasks": "copying:0-19", "metric": "acc"}
BRIER = {"tasks": "copying:0-19", "metric": "brier_score"}
TWO: dict[str, Any] = {"select_on": "", "metric": "", "objectives": {"acc": ACC, "brier": BRIER}}
SPACE: dict[str, Any] = {"space": {"bottom": "0-3", "top": "0-2", "embeddings": ["recipient"], "head": ["recipient"]}}


def objectives() -> dict[str, Objective]:
    metrics = {"english": ("acc", True), "ppl": ("byte_perplexity", False)}
    return {name: Objective(name, (), Metric(metric, {}, better)) for name, (metric, better) in metrics.items()}


ROWS = ["recipient", "donor", "donor2", "average"]
FIGURES = {"recipient": {"english": 0.50, "ppl": 4.0}, "donor2": {"english": 0.30, "ppl": 3.0}}


@pytest.mark.parametrize(
    ("text", "figure", "violation"),
    [
        ("english >= recipient - 2", 0.48, 0.0),
        ("english>=recipient-2", 0.47, 0.01),
        ("english >= recipient - 2 points", 0.51, -0.03),
        ("english >= recipient - 0.5 points", 0.495, 0.0),
        ("english >= recipient", 0.49, 0.01),
        ("english >= donor2 + 10", 0.45, -0.05),
        ("english >= 40", 0.30, 0.10),
        ("ppl <= recipient + 0.5", 4.75, 0.25),
        ("ppl <= 5", 4.0, -1.0),
        ("ppl <= 5", math.nan, math.inf),
    ],
)
def test_a_constraint_is_a_bound_in_points_where_figures_are_shares(text: str, figure: float, violation: float) -> None:
    (one,) = parse_constraints([text], objectives(), ROWS)
    assert one.violation(figure, FIGURES) == pytest.approx(violation)


@pytest.mark.parametrize("metric", ["pass@1", "math_verify", "em", "mc2"])
def test_points_of_a_metric_of_unknown_scale_are_said(metric: str) -> None:
    known = {"skill": Objective("skill", (), Metric(metric, {}, True))}
    shares = {"recipient": {"skill": 0.5}, "donor": {"skill": 0.0}, "average": {"skill": math.nan}}
    for text in ("skill >= recipient - 2", "skill <= recipient + 1", "skill >= 40"):
        (one,) = parse_constraints([text], known, ROWS)
        with pytest.raises(UserError, match="lies between 0 and 1") as refused:
            one.bound(shares)
        assert " points, which are 0.0" in refused.value.advice or "40 points, which are 0.4" in refused.value.advice
        one.bound(shares | {"donor": {"skill": 30.0}})
    for text in ("skill >= recipient - 2 points", "skill >= recipient - 0.02"):
        (one,) = parse_constraints([text], known, ROWS)
        assert one.bound(shares) == pytest.approx(0.48)


@pytest.mark.parametrize("text", ["skill >= recipient - 2", "skill >= recipient - 2 points"])
@pytest.mark.parametrize("metric", ["f1", "chrf"])
def test_points_are_ones_where_figures_run_to_100(metric: str, text: str) -> None:
    (one,) = parse_constraints([text], {"skill": Objective("skill", (), Metric(metric, {}, True))}, ROWS)
    assert one.violation(39.0, {"recipient": {"skill": 40.0}, "donor": {"skill": 0.5}}) == -1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("english > recipient", "is no constraint. Write NAME >= recipient - 2"),
        ("english", "is no constraint"),
        ("english >= recipient * 2", "is no constraint"),
        ("english >= 1.2.3", "is no constraint"),
        ("french >= recipient", "french is no objective. There are: english, ppl."),
        ("english >= expert - 2", "expert is no row to compare with.*the rows are recipient, donor, donor2, average"),
        (
            "english >= recipient - 0.02",
            "counted in points, hundredths.* Write 2 for 0.02 of the whole, or 0.02 points",
        ),
        ("ppl <= recipient + 2 points", "ppl is not counted in points"),
    ],
)
def test_what_is_no_constraint_is_refused_in_words(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        parse_constraints([text], objectives(), ROWS)


def figures(search: Search, name: str) -> dict[str, float]:
    return {
        row.configuration.name: search.roles["select"].figures(row.select)[name][0] for row in search.rows if row.select
    }


@pytest.mark.slow
def test_several_objectives_have_a_front_and_each_of_its_swaps_a_file(
    copying: Path, noise: Path, tmp_path: Path
) -> None:
    search, _ = run(copying, tmp_path, noise, **TWO, choose="brier", grid={"bottom": "0-3", "top": "0-1"})
    acc, brier = figures(search, "acc"), figures(search, "brier")
    swaps = [row.configuration.name for row in search.rows if row.configuration.kind == "swap"]

    def beaten(name: str) -> bool:
        return any(
            acc[one] >= acc[name] and brier[one] <= brier[name] and (acc[one], brier[one]) != (acc[name], brier[name])
            for one in swaps
        )

    assert {row.configuration.name for row in search.front} == {name for name in swaps if not beaten(name)}
    assert search.objective == "brier"
    assert brier[search.best.configuration.name] == min(brier[name] for name in swaps)
    assert search.front[0] is search.best
    (tmp_path / "front").mkdir()
    (tmp_path / "front" / "99.yml").write_text("of a longer front")
    written = {path.relative_to(tmp_path).as_posix() for path in outputs.write_outputs(search, tmp_path, "search")}
    files = {f"front/{n}.yml" for n in range(1, len(search.front) + 1)} if len(search.front) > 1 else set()
    assert written == {"search.json", "search.csv", "documents.parquet", "layerswap.yml"} | files
    assert not (tmp_path / "front" / "99.yml").exists()
    pictures = {path.name for path in write_pictures(search, tmp_path, "search")}
    assert pictures == {"pareto.png", "heat_map.png", "search.html"}
    content = json.loads((tmp_path / "search.json").read_text("utf-8"))
    assert content["chosen_by"] == "brier"
    assert {"select_figure", "select_acc_figure"} <= content["rows"][0].keys()


@pytest.mark.slow
def test_swaps_outside_the_constraints_never_win(copying: Path, tmp_path: Path) -> None:
    shown = {"tasks": "copying_shown:0-19", "metric": "acc", "optimize": False}
    more: dict[str, Any] = {"select_on": "", "metric": "", "grid": {"bottom": "1-2", "top": "0-1"}}
    more["objectives"] = {"acc": ACC, "shown": shown}
    free, _ = run(copying, tmp_path / "free", **more)
    shares = figures(free, "shown")
    bound = 100 * shares[free.best.configuration.name] - 1
    search, _ = run(copying, tmp_path / "out", constraints=[f"shown <= {bound:.4f}"], **more)
    kept = [row for row in search.rows if row.configuration.kind == "swap" and row.is_feasible]
    assert 0 < len(kept) < 4
    assert search.best in kept
    assert search.best.configuration.name != free.best.configuration.name
    assert figures(search, "acc")[search.best.configuration.name] == max(
        figures(search, "acc")[row.configuration.name] for row in kept
    )
    assert all(row.rank is None for row in search.rows if not row.is_feasible)
    assert not search.front  # one objective has none
    assert sum(note.startswith("constraint shown <=") for note in search.notes) == 1
    # Another bound chooses anew among what is evaluated.
    none, said = run(copying, tmp_path / "out", constraints=["shown <= -1"], **more)
    assert len(said) == 1
    assert any(note.startswith("no swap keeps to the constraints") for note in none.notes)
    outputs.write_outputs(none, tmp_path / "out", "search")


@pytest.mark.slow
def test_a_figure_that_is_no_number_never_wins_and_breaks_nothing(
    copying: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = evaluations_module.evaluate

    def failing(lm: Any, *arguments: Any) -> Any:
        results, samples = original(lm, *arguments)
        if lm.recipe.letters == "DDRRRD":
            results["copying"]["acc,none"] = math.nan
            for sample in samples["copying"]:
                sample["acc"] = math.nan
        return results, samples

    monkeypatch.setattr(evaluations_module, "evaluate", failing)
    more: dict[str, Any] = {"select_on": "copying:0-19"}
    search, _ = run(copying, tmp_path / "out", grid={"bottom": "2", "top": "0-1"}, **more)
    assert search.best.configuration.name == "bottom=2 top=0"
    assert [row.rank for row in search.rows if row.configuration.layers == "DDRRRD"] == [None]
    outputs.write_outputs(search, tmp_path / "out", "search")
    json.loads((tmp_path / "out" / "search.json").read_text("utf-8"), parse_constant=pytest.fail)
    with pytest.raises(UserError, match="acc is not a number for any swap"):
        run(copying, tmp_path / "none", grid={"bottom": "2", "top": "1"}, **more)


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("texts")
    words = "\n\n".join(" ".join(TOKENS[3 + n : 12 + n]) for n in range(8))
    (folder / "text.txt").write_text(words, "utf-8")
    return folder


def zero_shot(texts: Path) -> dict[str, Any]:
    given = {"text": str(texts / "text.txt"), "source": "copying_shown:0-9", "metric": "acc"}
    given |= {"language": "sw", "prompts": str(texts / "text.txt")}
    return {"select_on": "", "zero_shot": given, "report_on": "copying:0-9", "grid": {"bottom": "1", "top": "0-1"}}


@pytest.mark.slow
def test_zero_shot_is_the_default_where_the_target_task_is_only_reported(
    copying: Path, texts: Path, tmp_path: Path
) -> None:
    search, _ = run(copying, tmp_path, **zero_shot(texts), gen_kwargs={"max_gen_toks": 4})
    assert list(search.roles["select"].objectives) == ["target_perplexity", "source_skill", "reply_language"]
    assert list(search.roles["report"].objectives) == ["target"]
    assert search.objective == "target_perplexity"
    used = {
        role: {task for one in evaluations(tmp_path) if one.role == role for task in one.documents}
        for role in ("select", "report")
    }
    assert used == {
        "select": {"target_perplexity_text", "copying_shown", "reply_language_prompts"}, "report": {"copying"}
    }  # fmt: skip
    assert list(search.best.violations) == ["source_skill >= recipient - 5 points"]
    perplexity = figures(search, "target_perplexity")
    assert all(value > 1 for value in perplexity.values())
    assert set(figures(search, "reply_language").values()) == {0.0}
    outputs.write_outputs(search, tmp_path, "search")


@pytest.mark.slow
def test_zero_shot_objectives_are_chosen_by_name(copying: Path, texts: Path, tmp_path: Path) -> None:
    search, _ = run(copying, tmp_path, **zero_shot(texts) | {"objectives": ["source_skill"]})
    assert list(search.roles["select"].objectives) == ["source_skill"]
    assert search.best.differences["report"].keys() == {"target"}


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"text": "/no/text.txt"}, "/no/text.txt cannot be read"),
        ({"text": "EMPTY"}, "holds no text"),
        ({"language": "xx", "prompts": "EMPTY"}, "replies_in: xx is no language that can be recognized"),
    ],
)
def test_files_and_languages_of_zero_shot_objectives_are_checked(
    copying: Path, tmp_path: Path, more: dict[str, str], words: str
) -> None:
    (tmp_path / "empty.txt").write_text("\n \n\n", "utf-8")
    given = {key: value.replace("EMPTY", str(tmp_path / "empty.txt")) for key, value in more.items()}
    with pytest.raises(UserError, match=words):
        run(copying, tmp_path / "out", select_on="", metric="", zero_shot=given)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "cmaes", "random"])
def test_every_sampler_draws_within_the_budget_beside_listed_swaps(copying: Path, tmp_path: Path, sampler: str) -> None:
    search, _ = run(
        copying, tmp_path, **SPACE, sampler=sampler, trials=6, select_on="copying:0-9", swaps={"own": {"layers": "3"}}
    )  # fmt: skip
    swaps = [row for row in search.rows if row.configuration.kind == "swap"]
    assert "own" in {row.configuration.name for row in swaps}
    assert 2 <= len(swaps) <= 7
    assert all(row.select for row in swaps)


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["journal", "sqlite"])
def test_several_objectives_are_searched_in_any_storage(copying: Path, tmp_path: Path, storage: str) -> None:
    more = (
        TWO | SPACE | {"sampler": "nsgaii", "trials": 4, "storage": storage, "constraints": ["acc >= recipient - 50"]}
    )
    search, _ = run(copying, tmp_path, **more)
    assert search.front
    assert (tmp_path / {"journal": "optuna.log", "sqlite": "optuna.db"}[storage]).exists()
    _, said = run(copying, tmp_path, **more)
    assert len(said) == 1


@pytest.mark.slow
@pytest.mark.parametrize("pruner", ["halving", "hyperband", "median"])
def test_pruners_drop_by_few_documents_and_ties_by_log_likelihood(copying: Path, tmp_path: Path, pruner: str) -> None:
    more = SPACE | {"sampler": "random", "trials": 12, "select_on": "copying:0-35", "pruner": pruner}
    search, _ = run(copying, tmp_path, **more)
    sizes = [one.documents_table["document"].nunique() for one in evaluations(tmp_path)]
    assert set(sizes) == {12, 36}
    swaps = [row for row in search.rows if row.configuration.kind == "swap"]
    assert all(row.select or row.last_rung for row in swaps)
    if pruner != "hyperband":  # which has a bracket that drops nothing
        assert [row for row in swaps if row.select is None]
    outputs.write_outputs(search, tmp_path, "search")


@pytest.mark.slow
def test_a_space_without_a_swap_is_said(copying: Path, tmp_path: Path) -> None:
    more: dict[str, Any] = {"trials": 2, "select_on": "copying:0-4"}
    with pytest.raises(UserError, match="No swap was drawn that mixes the models"):
        run(copying, tmp_path / "a", space={"bottom": [0], "top": [0]}, **more)
    with pytest.raises(UserError, match="No swap was drawn .*: The zones overlap"):
        run(copying, tmp_path / "b", space={"bottom": [5], "top": [4]}, **more)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"storage": "postgresql://me:secret@127.0.0.1:1/none"}, "The storage cannot be used: "),
        ({"storage": "mysterious"}, "The storage cannot be used: "),
        ({"sampler": "cmaes", "space": {"bottom": "0-3"}}, "cmaes draws numbers, at least two"),
    ],
)
@pytest.mark.slow
def test_storages_and_samplers_that_cannot_be_used_are_refused(
    copying: Path, tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(UserError) as raised:
        run(
            copying,
            tmp_path,
            **{"space": {"bottom": "0-3", "top": [1]}, "trials": 1, "select_on": "copying:0-4"} | more,
        )
    assert words in str(raised.value)
    assert "secret" not in str(raised.value)
    assert not evaluations(tmp_path)
