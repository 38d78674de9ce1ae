"""What is no result folder, or a damaged one, is refused, with the file and the line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Turnswap

from .damaged import Damaged, by_turn, refused, value, whole_and_in_parts
from .evaluations import evaluate


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    english = whole_and_in_parts(folder)
    evaluate(folder / "predicted", "org/m", by_turn, **english, predict_only=True)
    return folder


@pytest.fixture
def damaged(runs: Path, tmp_path: Path) -> Damaged:
    return Damaged(tmp_path / "damaged", runs / "m")


# -------------------------------------------------------------------------------- what is no result folder


def test_a_path_that_does_not_exist_is_named(read: Any) -> None:
    refused(read("/no/such/folder"), "/no/such/folder does not exist", "--output_path")
    refused(read("NAME=/no/such/folder"), "/no/such/folder does not exist")


@pytest.mark.parametrize("argument", ["", "NAME="])
def test_an_empty_path_is_not_the_folder_one_happens_to_be_in(argument: str, read: Any, damaged: Damaged) -> None:
    assert damaged.folder.parent == Path.cwd()
    refused(read(argument))


def test_a_folder_without_results_is_named(read: Any, damaged: Damaged, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    refused(read("empty"), "empty holds no results_*.json.")
    damaged.results.unlink()
    refused(read("damaged"), "only samples such as", damaged.samples.name, "did not finish")


@pytest.mark.parametrize("name", ["ifeval", "multiif_en"])
def test_results_of_other_tasks_alone_are_no_results(name: str, read: Any, tmp_path: Path) -> None:
    content = {
        "results": {name: {"alias": name, "prompt_level_strict_acc,none": 0.5, "prompt_level_strict_acc_stderr": 0.1}},
        "configs": {name: {"task": name, "dataset_name": "English", "metadata": {"version": 4.0}}},
        "n-samples": {name: {"original": 541, "effective": 541}},
        "lm_eval_version": "0.4.13",
    }
    (tmp_path / "results_2026-01-01T00-00-00.000001.json").write_text(json.dumps(content))
    refused(read(tmp_path), tmp_path, "none of Multi-IF", "--predict_only")


def test_predictions_without_grades_are_no_results(runs: Path, read: Any) -> None:
    refused(read(runs / "predicted"), "none of Multi-IF", "--predict_only")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "\xff",
        '{"results": {}}',
        '{"results": {}, "configs": []}',
        '{"results":{}, "configs":{"a":0}}',
    ],
)
def test_a_results_file_of_something_else_is_named(text: str, read: Any, damaged: Damaged) -> None:
    damaged.results.write_text(text, "latin-1")
    damaged.samples.unlink()  # beside them it would be a results file that was cut off
    refused(read("damaged"), damaged.results.name, "no results file of lm-eval")
    refused(read(damaged.results), damaged.results.name, "no results file of lm-eval")


def test_a_results_file_that_was_cut_off_is_named(read: Any, damaged: Damaged) -> None:
    damaged.results.write_text(damaged.results.read_text()[:3000])
    refused(read("damaged"), damaged.results.name, "cut off")
    refused(read("damaged", "--allow-partial"), damaged.results.name, "cut off")


def test_an_error_keeps_the_names_of_files_whole(read: Any, tmp_path: Path) -> None:
    name = f"{'long-name-' * 11}.json"
    (tmp_path / name).write_text("{")
    assert name in read(name).stderr


# ---------------------------------------------------------------------------------------- damaged samples


def test_a_truncated_samples_file_names_its_line_and_whole_lines_can_be_used(read: Any, damaged: Damaged) -> None:
    damaged.edit_lines(lambda lines: [*lines[:4], lines[4][:700]])
    refused(read("damaged"), damaged.samples.name, "line 5 is broken JSON", "--allow-partial")
    found = read("damaged", "--allow-partial")
    assert found.exit_code == 0
    assert "line 5 is broken" in found.stderr
    assert "4 whole ones" in found.stderr
    assert "|n:4/8|" in found.stdout
    assert value() == 1.0


def test_a_samples_file_that_was_cut_off_between_two_lines_can_be_used_in_part(read: Any, damaged: Damaged) -> None:
    damaged.edit_lines(lambda lines: lines[:4])
    refused(read("damaged"), damaged.samples.name, "4 conversations", "computed from 8")
    found = read("damaged", "--allow-partial")
    assert found.exit_code == 0, found.stderr
    assert "|n:4/8|" in found.stdout


def test_an_empty_samples_file_is_named(read: Any, damaged: Damaged) -> None:
    damaged.edit_lines(lambda lines: [])
    refused(read("damaged", "--allow-partial"), damaged.samples.name, "no whole line")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda lines: [*lines, lines[2]], ("line 9", "3:1:en", "second time")),
        (lambda lines: [*lines[:2], *lines[3:]], ("7 conversations", "computed from 8")),
        (lambda lines: [*lines[:1], b"[1, 2]\n", *lines[2:]], ("line 2",)),
        (lambda lines: [*lines[:6], lines[6].replace(b'"doc"', b'"dog"'), lines[7]], ("line 7", "'doc'")),
        (lambda lines: [*lines[:6], lines[6].replace(b"<<T>>", b"<<\xff>>"), lines[7]], ("line 7",)),
    ],
    ids=["doubled", "removed", "no sample", "no document", "no UTF-8"],
)
def test_a_changed_samples_file_is_refused(
    change: Callable[[list[bytes]], list[bytes]], words: tuple[str, ...], read: Any, damaged: Damaged
) -> None:
    refused(read(damaged.edit_lines(change).folder), damaged.samples.name, *words)


@pytest.mark.parametrize(
    "change",
    [
        lambda sample: sample["metrics"].remove("turn3_correction_loose"),
        lambda sample: sample.update(turn1_inst_strict_acc=None),
        lambda sample: sample.update(turn1_inst_strict_acc="1/1"),
        lambda sample: sample.update(turn1_inst_strict_acc=[1]),
        lambda sample: sample["doc"]["turns"].pop(),
        lambda sample: sample["doc"].update(key=7),
    ],
    ids=["no metric", "null", "text", "no denominator", "turns without replies", "key"],
)
def test_a_sample_that_lacks_what_is_read_is_named(
    change: Callable[[Any], object], read: Any, damaged: Damaged
) -> None:
    refused(read(damaged.edit_sample(3, change).folder), damaged.samples.name, "line 3")


@pytest.mark.parametrize("name", ["turn2_inst_strict_acc", "turn3_correction", "turn1_prompt_loose_acc"])
def test_a_value_that_does_not_add_up_to_the_results_is_named(name: str, read: Any, damaged: Damaged) -> None:
    damaged.edit_sample(2, lambda sample: sample.update({name: [0, sample[name][1] + 1]}))
    refused(read("damaged"), damaged.samples.name, "does not match", damaged.results.name, name)


def test_a_count_that_does_not_add_up_to_the_results_is_named(read: Any, damaged: Damaged) -> None:
    damaged.edit_sample(2, lambda sample: sample.update(turn1_unclosed=1))
    refused(read("damaged"), damaged.samples.name, "turn1_unclosed")


def test_samples_of_another_date_are_not_used(read: Any, damaged: Damaged, turnswap: Turnswap) -> None:
    other = damaged.samples.with_name("samples_multiif_en_2020-01-01T00-00-00.000000.jsonl")
    damaged.samples.rename(other)
    assert read("damaged").exit_code == 0
    assert (value(), value(turn=2)) == (1.0, 1.0)
    assert "95% bootstrap" not in Path("t.csv").read_text()
    refused(turnswap("compare", "damaged", "damaged"), "has no samples")


def test_a_reply_that_was_changed_no_longer_has_its_verdicts(damaged: Damaged, turnswap: Turnswap) -> None:
    damaged.edit_sample(2, lambda sample: sample["filtered_resps"].__setitem__(1, "No, nothing"))
    message = refused(
        turnswap("report", "damaged"), "conversation 2:1:en, turn 2", "published verdicts", "are NN", "say SS"
    )
    assert "damaged" in message


def test_a_reply_that_follows_as_many_instructions_but_others_is_refused(damaged: Damaged, turnswap: Turnswap) -> None:
    # "rain" follows no comma and rain; the new reply title and no comma: it forgets one instruction less.
    damaged.edit_sample(2, lambda sample: sample["filtered_resps"].__setitem__(2, "<<T>> none"))
    refused(turnswap("report", "damaged"), "2:1:en", "turn 3")


def test_an_instruction_that_does_not_exist_is_named(damaged: Damaged, turnswap: Turnswap) -> None:
    damaged.edit_sample(2, lambda sample: sample["doc"]["turns"][0].update(instruction_ids=["no:such"]))
    refused(turnswap("report", "damaged"), "2:1:en", "no:such")


def test_changed_verdicts_name_the_part_they_are_in(runs: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    part = Damaged(tmp_path / "second", runs / "part-b")
    part.edit_sample(1, lambda sample: sample["filtered_resps"].__setitem__(0, "No, nothing"))
    message = refused(turnswap("report", runs / "part-a", "second"), "4:1:en")
    assert "second/org__m" in message
