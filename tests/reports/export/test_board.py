"""``turnswap export --format open-llm-leaderboard``: what a Space's reader finds in the files."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from tests.conftest import Turnswap
from tests.reports.export.shared import SHA, Edited, reported
from turnswap.reports.board_files import board_name
from turnswap.tasks.multiif.dataset import LANGUAGES


def read_board(folder: Path) -> list[dict[str, Any]]:
    """What a Space made from the template makes of the two folders, by the facts known of its reader."""
    rows = []
    for file in sorted((folder / "results").rglob("*.json")):
        content = json.loads(file.read_text("utf-8"))
        config = content["config"]
        org, _, model = config["model_name"].rpartition("/")
        finished = []
        for request_file in (folder / "requests").glob(f"{config['model_name']}_eval_request_*.json"):
            request = json.loads(request_file.read_text("utf-8"))
            if request["status"] == "FINISHED" and request["precision"] == config["model_dtype"].split(".")[-1]:
                finished.append(request)
        (request,) = finished
        scores = {
            (task, metric): mean([value]) * 100
            for task, figures in content["results"].items()
            for metric, value in figures.items()
        }
        row = {"org": org, "model": model, "sha": config["model_sha"], "scores": scores}
        keys = ("precision", "model_type", "weight_type", "params", "submitted_time", "license", "likes")
        rows.append(row | {key: request[key] for key in (*keys, "architectures", "revision", "private", "base_model")})
    return rows


def test_a_leaderboard_space_finds_the_model_its_scores_and_its_request(
    turnswap: Turnswap, edited: Edited, tmp_path: Path
) -> None:
    results, board = edited(), tmp_path / "board"
    result = turnswap("export", results, "--format", "open-llm-leaderboard", "-o", board)
    assert result.exit_code == 0, result.output
    (row,) = read_board(board)
    assert (row["org"], row["model"], row["sha"]) == ("org", "model", SHA)
    assert (row["precision"], row["weight_type"], row["params"]) == ("bfloat16", "Original", 1.54)
    assert (row["submitted_time"], row["license"], row["model_type"]) == ("2026-01-02T03:04:05Z", "?", "?")
    scores = row["scores"]
    assert scores["multiif_hi", "turn3_overall_acc"] == pytest.approx(100 * reported(results, "hi", 3))
    means = mean(reported(results, code, 1) for code in LANGUAGES)
    assert scores["multiif", "turn1_overall_acc"] == pytest.approx(100 * means)
    assert {task for task, _ in scores} == {"multiif", *(f"multiif_{code}" for code in LANGUAGES)}
    written = sorted(str(path.relative_to(board)) for path in board.rglob("*") if path.is_file())
    assert written == [
        "requests/org/model_eval_request_False_bfloat16_Original.json",
        "results/org/model/results_2026-01-02T03-04-05.250000.json",
    ]
    content = json.loads((board / written[1]).read_text("utf-8"))
    assert content["signature"] in result.output.splitlines()
    assert all(0 <= value <= 1 for figures in content["results"].values() for value in figures.values())


@pytest.mark.parametrize("parameters", [None, -1])
def test_what_a_backend_does_not_tell_is_unknown_to_the_leaderboard_too(
    turnswap: Turnswap, edited: Edited, tmp_path: Path, parameters: int | None
) -> None:
    results = edited(("fr",), model_dtype=None, model_sha="", model_num_parameters=parameters)
    result = turnswap("export", results, "--format", "open-llm-leaderboard", "-o", tmp_path / "board")
    assert result.exit_code == 0, result.output
    (row,) = read_board(tmp_path / "board")
    assert (row["precision"], row["sha"], row["params"], row["likes"]) == ("?", None, 0, None)
    assert {task for task, _ in row["scores"]} == {"multiif_fr"}
    assert "no results in en, zh" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("name", "on_board"),
    [
        ("org/model", "org/model"),
        ("gpt-x", "gpt-x"),
        ("/a/b/model", "model"),
        ("/a/b/model/", "model"),
        ("./merged", "merged"),
        ("../../merged", "merged"),
        ("..", None),
        ("org/..", "org"),
        ("org/.hidden", "org/hidden"),
        ("../model", "model"),
        ("C:\\models\\mine", "mine"),
        ("org/my model*[1]", "org/my-model-1"),
        ("模型", None),
        ("a/b/../../../c", "c"),
        ("m" * 300, "m" * 96),
        ("org/m (lora_local_path=/x/a)", "org/m-lora_local_path-x-a"),
        ("/a/b/m (dtype=float16)", "m-dtype-float16"),
    ],
)
def test_any_name_of_a_model_stays_in_the_folder(
    turnswap: Turnswap, edited: Edited, tmp_path: Path, name: str, on_board: str | None
) -> None:
    results, outer = edited(("fr",), name=name), tmp_path / "outer"
    result = turnswap("export", results, "--format", "open-llm-leaderboard", "-o", outer / "a" / "b")
    if on_board is None:
        assert result.exit_code == 1
        assert "NAME=RESULT" in result.output
        assert not outer.exists()
        return
    (row,) = read_board(outer / "a" / "b")
    assert "/".join(filter(None, (row["org"], row["model"]))) == on_board == board_name(name)
    assert all((outer / "a" / "b") in path.parents for path in outer.rglob("*.json"))


BOTH = ["open-llm-leaderboard", "every-eval-ever"]


@pytest.mark.parametrize("format_", BOTH)
@pytest.mark.parametrize("names", [("/a/final", "/b/final"), ("org/m*1", "org/m#1"), ("org/m (x", "org/m-x")])
def test_names_that_end_alike_never_overwrite_each_other(
    turnswap: Turnswap, edited: Edited, tmp_path: Path, format_: str, names: tuple[str, str]
) -> None:
    board = tmp_path / "board"
    one, other = (edited(name=name) for name in names)
    assert turnswap("export", one, "--format", format_, "-o", board).exit_code == 0
    before = {path: path.read_bytes() for path in board.rglob("*.json")}
    refused = turnswap("export", other, "--format", format_, "-o", board)
    assert refused.exit_code == 1
    assert f"name is {names[1]} and {names[0]}" in " ".join(refused.output.split())
    assert {path: path.read_bytes() for path in board.rglob("*.json")} == before
    assert turnswap("export", f"org/second={other}", "--format", format_, "-o", board).exit_code == 0
    assert before.items() < {path: path.read_bytes() for path in board.rglob("*.json")}.items()


@pytest.mark.parametrize("format_", BOTH)
def test_the_same_model_again_replaces_its_own_files(
    turnswap: Turnswap, edited: Edited, tmp_path: Path, format_: str
) -> None:
    written = []
    for results in (edited(name="/a/final"), edited(("en", "fr"), name="/a/final")):
        assert turnswap("export", results, "--format", format_, "-o", tmp_path / "board").exit_code == 0
        written.append(sorted((tmp_path / "board").rglob("*.json")))
    assert written[0] == written[1]
    newest = json.loads(written[1][-1].read_text("utf-8"))
    assert len(newest.get("evaluation_results", newest.get("results"))) in (2, 6)


def test_types_of_one_model_lie_side_by_side_on_a_board(turnswap: Turnswap, edited: Edited, tmp_path: Path) -> None:
    for dtype in ("torch.bfloat16", "torch.float16"):
        results = edited(model_dtype=dtype, date=dtype)
        assert turnswap("export", results, "--format", "open-llm-leaderboard", "-o", tmp_path / "board").exit_code == 0
    requests = sorted(path.name for path in (tmp_path / "board" / "requests").rglob("*.json"))
    assert [name.split("_")[4] for name in requests] == ["bfloat16", "float16"]


def test_an_adapter_goes_by_its_own_name_and_names_the_weights_below(
    turnswap: Turnswap, edited: Edited, tmp_path: Path
) -> None:
    results = edited(name="org/adapter", model_args={"pretrained": "org/base", "peft": "org/adapter"})
    assert turnswap("export", results, "--format", "open-llm-leaderboard", "-o", tmp_path / "board").exit_code == 0
    (row,) = read_board(tmp_path / "board")
    assert (row["org"], row["model"], row["weight_type"], row["base_model"]) == (
        "org",
        "adapter",
        "Adapter",
        "org/base",
    )


@pytest.mark.parametrize("format_", BOTH)
def test_an_endpoints_address_is_told_to_nobody_and_still_tells_models_apart(
    turnswap: Turnswap, edited: Edited, tmp_path: Path, format_: str
) -> None:
    written = []
    for host in ("one.internal", "two.internal"):
        results = edited(("fr",), model_args={"model": "org/model", "base_url": f"http://{host}:8000/v1"})
        turnswap("export", results, "--format", format_, "-o", tmp_path / "board")
        written.append({path: path.read_text("utf-8") for path in (tmp_path / "board").rglob("*.json")})
    assert not any("internal" in text for text in written[1].values())
    assert written[0].items() <= written[1].items()
