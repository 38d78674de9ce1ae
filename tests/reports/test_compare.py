"""Comparing two models: what was gained and lost, and which conversations are paired."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import Turnswap
from turnswap.reports.figures import holm

from .compared import one_and_other, refused, replies
from .evaluations import evaluate, follows_share


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    english = one_and_other(folder)
    both = english | {"tasks": ("multiif_en", "multiif_fr")}
    evaluate(folder / "weak", "org/weak", follows_share(0.2), **both)
    evaluate(folder / "strong", "org/strong", follows_share(0.9), **both)
    evaluate(folder / "limited", "org/limited", follows_share(0.9), **english, limit=6)
    evaluate(folder / "rest", "org/rest", follows_share(0.9), **english, samples={"multiif_en": [20, 21]})
    evaluate(folder / "bare", "org/bare", replies(), **english, log_samples=False)
    return folder


@pytest.fixture
def compared(turnswap: Turnswap) -> Callable[..., dict[str, Any]]:
    def run(*arguments: object) -> dict[str, Any]:
        found = turnswap("compare", *arguments, "--format", "json", "--resamples", 500)
        assert found.exit_code == 0, (found.output, found.exception)
        return json.loads(found.stdout)  # type: ignore[no-any-return]

    return run


def row(found: dict[str, Any], language: str, turn: int | None, metric: str = "overall_acc") -> dict[str, Any]:
    (only,) = (
        row for row in found["differences"] if (row["language"], row["turn"], row["metric"]) == (language, turn, metric)
    )
    return only  # type: ignore[no-any-return]


# ------------------------------------------------------------------------------------------- what changed


def test_instructions_gained_and_lost_are_counted_slot_by_slot(runs: Path, compared: Any) -> None:
    found = compared(runs / "one", runs / "other")
    changes = {change["instruction_id"]: change for change in found["instructions"]}
    # Titles: gained in 3 (turn 3) and 7 (turn 1), lost in 2 (turn 2) and 6 (turn 1).
    title = {"instruction_id": "detectable_format:title", "gained": 2, "lost": 2, "n": 24 + 23 + 23}
    assert changes["detectable_format:title"] == title
    # No comma: gained in 2 (turn 2) and 3 (turn 3).
    no_comma = {"instruction_id": "punctuation:no_comma", "gained": 2, "lost": 0, "n": 23 + 23}
    assert changes["punctuation:no_comma"] == no_comma
    # One id twice: the first of conversation 5's keywords is lost, the second gained.
    twice = {"instruction_id": "keywords:existence", "gained": 1, "lost": 1, "n": 2 + 23}
    assert changes["keywords:existence"] == twice
    assert len(changes) == 3


def test_conversations_that_changed_are_listed_with_what_was_followed_in_each_turn(runs: Path, compared: Any) -> None:
    found = compared(runs / "one", runs / "other")
    changes = {change["key"]: change for change in found["conversations"]}
    assert changes["3:1:en"] == {"language": "en", "key": "3:1:en", "a": [0, 0, 1], "b": [0, 0, 3], "gap": 2}
    assert (changes["6:1:en"]["a"], changes["6:1:en"]["gap"]) == ([1, 0, 0], -1)
    assert (changes["7:1:en"]["b"], changes["7:1:en"]["gap"]) == ([1, 0, 0], 1)
    assert found["conversations"][0]["key"] == "3:1:en"
    assert not {"1:1:en", "8:1:en"} & set(changes)


def test_a_conversation_that_lost_one_instruction_and_gained_another_is_listed(runs: Path, compared: Any) -> None:
    keys = {change["key"] for change in compared(runs / "one", runs / "other")["conversations"]}
    assert {"2:1:en", "5:1:en"} <= keys


def test_differences_are_b_minus_a_with_an_interval_around_them(runs: Path, compared: Any) -> None:
    found = compared(runs / "one", runs / "other")
    strict = row(found, "en", 2, "inst_strict_acc")
    assert (strict["a"], strict["b"]) == (pytest.approx(2 / 48), pytest.approx(2 / 48))
    assert (strict["gap"], strict["p"]) == (pytest.approx(0, abs=1e-12), 1)
    third = row(found, "en", 3, "inst_strict_acc")
    assert (third["a"], third["b"]) == (pytest.approx(1 / 69), pytest.approx(3 / 69))
    assert third["gap"] == pytest.approx(2 / 69)
    assert third["low"] <= third["gap"] <= third["high"]
    assert row(found, "en", 2, "forgetting")["a"] == 1
    assert found["conversations_in_both"] == {"en": 24}


def test_a_model_against_itself_differs_in_nothing(runs: Path, compared: Any) -> None:
    found = compared(runs / "strong", runs / "strong")
    assert (found["instructions"], found["conversations"], found["notes"]) == ([], [], [])
    known = [row for row in found["differences"] if row["gap"] is not None]
    assert len(known) > 80
    assert {(row["gap"], row["low"], row["high"]) for row in known if row["low"] is not None} == {(0, 0, 0)}
    assert {row["p"] for row in known if row["language"] == "en"} == {1, None}  # none from few source prompts
    assert row(found, "en", None)["p"] == 1


def test_a_better_model_is_told_from_a_worse_one_and_swapping_them_swaps_the_sign(runs: Path, compared: Any) -> None:
    there, back = compared(runs / "weak", runs / "strong"), compared(runs / "strong", runs / "weak")
    assert row(there, "en", None)["corrected"] < 0.05
    assert row(there, "macro", None)["low"] > 0
    for one, other in zip(there["differences"], back["differences"], strict=True):
        assert (one["language"], one["turn"], one["metric"]) == (other["language"], other["turn"], other["metric"])
        if one["gap"] is not None:
            assert one["gap"] == pytest.approx(-other["gap"])
            assert one["p"] == pytest.approx(other["p"])
        if one["low"] is not None:
            assert one["low"] == pytest.approx(-other["high"])


def test_p_values_are_corrected_within_a_metric(runs: Path, compared: Any) -> None:
    found = compared(runs / "weak", runs / "strong")
    for metric in ("overall_acc", "correction"):
        family = [each for each in found["differences"] if each["metric"] == metric and each["corrected"] is not None]
        p = np.array([each["p"] for each in family])
        assert [each["corrected"] for each in family] == pytest.approx(list(holm(p)))
    averages = {code: row(found, code, None)["corrected"] for code in ("en", "fr", "macro", "pooled")}
    assert averages.pop("pooled") is None  # not a comparison of its own
    assert averages.pop("en") < 0.05


def test_fewer_than_twenty_conversations_in_a_language_give_no_p_value(runs: Path, compared: Any) -> None:
    # Exchanging the models in each of few conversations gives so few outcomes that no p-value can be small.
    found = compared(runs / "weak", runs / "strong")
    assert found["conversations_in_both"]["en"] >= 20 > found["conversations_in_both"]["fr"]
    few = [each for each in found["differences"] if each["language"] in ("fr", "macro", "pooled")]
    assert {(each["p"], each["corrected"]) for each in few} == {(None, None)}


# ------------------------------------------------------------------------------------------------ pairing


def test_only_conversations_in_both_runs_are_compared_and_a_note_says_so(runs: Path, compared: Any) -> None:
    found = compared(runs / "limited", runs / "strong")
    assert found["conversations_in_both"] == {"en": 6}
    assert row(found, "en", None)["gap"] == 0  # both follow in the same conversations
    notes = " ".join(found["notes"])
    assert "only org/strong was run in fr" in notes
    assert "en: compared on the 6 conversations in both, of 6 of org/limited and 24 of org/strong" in notes
    assert "|n:6/24|" in found["b"]["signature"]


def test_the_order_of_lines_in_a_samples_file_changes_nothing(runs: Path, compared: Any, tmp_path: Path) -> None:
    turned = shutil.copytree(runs / "strong", tmp_path / "turned")
    for path in turned.rglob("samples_*.jsonl"):
        path.write_text("".join(reversed(path.read_text("utf-8").splitlines(keepends=True))), "utf-8")
    assert compared(runs / "weak", turned) == compared(runs / "weak", runs / "strong")


@pytest.mark.parametrize(("a", "b"), [("limited", "rest"), ("rest", "limited")])
def test_runs_without_a_conversation_in_common_are_refused(a: str, b: str, runs: Path, turnswap: Turnswap) -> None:
    assert "have no conversation in common" in refused(turnswap("compare", runs / a, runs / b))


def test_a_run_without_samples_cannot_be_paired(runs: Path, turnswap: Turnswap) -> None:
    message = refused(turnswap("compare", runs / "one", runs / "bare"))
    assert "org/bare has no samples" in message
    assert "--log_samples" in message


def test_a_folder_of_several_models_is_not_one_model(runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    shutil.copytree(runs / "one", tmp_path / "both")
    shutil.copytree(runs / "other", tmp_path / "both", dirs_exist_ok=True)
    message = refused(turnswap("compare", tmp_path / "both", runs / "one"))
    assert "2 models: org/one, org/other" in message
