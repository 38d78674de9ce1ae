"""Reading lm-eval's result folders: what is put together, and what is refused, with the file and the line."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from click.testing import Result

from tests.conftest import Turnswap, make_row, write_csv
from turnswap.tasks import tasks_path

from . import evaluations
from .evaluations import FOLLOWS, evaluate, follows_share

EN: Any = ("multiif_en",)
HOSTILE = ["<<a\ud800b>> rain", "rain\x00 <<T>>", "<<T>>\u2028rain\u2029\x85", "é" * 100_000, "\ufeff<<T>>\r\n rain\t"]


def by_turn(prompt: str) -> str:
    return ("<<T>> no, comma", "<<T>> none", "rain")[prompt.count("<user>") - 1]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [make_row(f"{n}:1:en", turns=2 if n == 4 else 3) for n in range(1, 9)]
    rows += [make_row(f"{n}:1:fr", "French") for n in range(1, 4)]
    return write_csv(tmp_path_factory.mktemp("data") / "data.csv", rows)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, data: Path) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    english = {"data": data, "tasks": EN}
    filters = (
        "filter_list: [{name: none, filter: []}, {name: word, filter: [{function: regex, regex_pattern: (rain|no)}]}]"
    )
    with pytest.MonkeyPatch.context() as patch:  # lm-eval asks pip and the machine for seconds about what nobody reads
        if find_spec("torch"):
            patch.setattr("torch.utils.collect_env.get_pretty_env_info", lambda: "")
        evaluate(folder / "m", "org/m", by_turn, **english)
        evaluate(folder / "again", "org/m", follows_share(0.5), **english)
        evaluate(folder / "fr", "org/m", by_turn, data=data, tasks=("multiif_fr",))
        evaluate(folder / "other-fr", "org/other", by_turn, data=data, tasks=("multiif_fr",))
        for name, chosen in (("part-a", [0, 1, 2]), ("part-b", [3, 4, 5, 6, 7])):
            evaluate(folder / name, "org/m", by_turn, **english, samples={"multiif_en": chosen})
        evaluate(folder / "predicted", "org/m", by_turn, **english, predict_only=True)
        evaluate(folder / "hostile", "org/m", lambda prompt: HOSTILE[len(prompt) % 5], **english)
        evaluate(folder / "local", "/models/my=model", by_turn, **english)
        evaluate(folder / "file.json", "org/m", by_turn, **english)
        for name, setting in (("filters", filters), ("thrice", "repeats: 3")):
            text = f"include: {tasks_path()}/multiif/_multiif.yaml\ntask: {name}\ndataset_name: English\n{setting}\n"
            (folder / f"{name}.yaml").write_text(text)
        patch.setattr(evaluations, "tasks_path", lambda: folder)
        evaluate(folder / "filters", "org/m", by_turn, data=data, tasks=("filters",))
        counter = iter(range(10_000))
        changing = {"reply": lambda prompt: FOLLOWS if next(counter) % 5 else "No, no"}
        evaluate(folder / "thrice", "org/m", **changing, data=data, tasks=("thrice",))
    return folder


class Damaged:
    """A copy of a result folder, to be damaged."""

    def __init__(self, folder: Path, source: Path) -> None:
        self.folder = shutil.copytree(source, folder)
        (self.results,) = self.folder.rglob("results_*.json")
        self.samples = next(self.folder.rglob("samples_*.jsonl"), self.results)

    def edit_results(self, change: Callable[[dict[str, Any]], object]) -> Damaged:
        content = json.loads(self.results.read_text("utf-8"))
        change(content)
        self.results.write_text(json.dumps(content), "utf-8")
        return self

    def edit_lines(self, change: Callable[[list[bytes]], list[bytes]]) -> Damaged:
        self.samples.write_bytes(b"".join(change(self.samples.read_bytes().splitlines(keepends=True))))
        return self

    def edit_sample(self, line: int, change: Callable[[dict[str, Any]], object]) -> Damaged:
        def edit(lines: list[bytes]) -> list[bytes]:
            sample = json.loads(lines[line - 1])
            change(sample)
            return [*lines[: line - 1], json.dumps(sample).encode() + b"\n", *lines[line:]]

        return self.edit_lines(edit)


@pytest.fixture
def damaged(runs: Path, tmp_path: Path) -> Damaged:
    return Damaged(tmp_path / "damaged", runs / "m")


@pytest.fixture
def read(turnswap: Turnswap) -> Callable[..., Result]:
    """turnswap table, whose rows lie in t.csv."""
    return lambda *arguments: turnswap("table", *arguments, "-o", "t.csv", "--resamples", 100)


def refused(result: Result, *words: object) -> str:
    """The message of an error that was foreseen; every word must be in it, whatever the lines were broken at."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert (result.exit_code, result.stdout) == (1, "")
    message = re.sub(r"\s+", "", result.stderr)
    for word in words:
        assert re.sub(r"\s+", "", str(word)) in message, result.stderr
    return message


def value(language: str = "en", turn: int = 1, metric: str = "overall_acc") -> float:
    rows = pd.read_csv("t.csv").query("language == @language and turn == @turn and metric == @metric")
    return float(rows.value.item())


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


# ------------------------------------------------------------------------------------------- several runs


def test_two_runs_of_one_model_are_refused_unless_one_is_chosen(runs: Path, read: Any, tmp_path: Path) -> None:
    shutil.copytree(runs / "m", tmp_path / "both")
    shutil.copytree(runs / "again", tmp_path / "both", dirs_exist_ok=True)
    old, new = sorted((tmp_path / "both").rglob("results_*.json"))
    refused(read("both"), "org/m has 2 runs in en", old.name, new.name, "Conversation 1:1:en", "--latest", "NAME=PATH")
    assert read("both", "--latest").exit_code == 0
    latest = value()
    assert read(old).exit_code == 0
    assert value() == 1.0
    assert latest != 1.0
    assert read(f"A={old}", f"B={new}").exit_code == 0


def test_the_latest_of_the_same_conversations_is_taken_and_other_parts_stay(runs: Path, read: Any) -> None:
    assert read(runs / "part-a", runs / "part-b").exit_code == 0
    found = read(runs / "part-a", runs / "part-b", "--latest")
    assert "|n:8/8|" in found.stdout


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("turnswap", lambda content: content["configs"]["multiif_fr"]["metadata"].update(turnswap="0.0.9")),
        ("lm-eval", lambda content: content.update(lm_eval_version="0.4.9")),
        ("gen", lambda content: content["configs"]["multiif_fr"]["generation_kwargs"].update(max_gen_toks=9)),
    ],
)
def test_parts_that_were_not_run_alike_are_not_one_model(
    name: str, change: Callable[[dict[str, Any]], object], runs: Path, read: Any, tmp_path: Path
) -> None:
    french = Damaged(tmp_path / "french", runs / "fr").edit_results(change)
    refused(read(runs / "m", "french"), "org/m were not made alike", f"{name} is", french.results.name)


def test_one_name_for_two_models_does_not_make_them_one(runs: Path, read: Any, tmp_path: Path) -> None:
    shutil.copytree(runs / "m", tmp_path / "both")
    shutil.copytree(runs / "other-fr", tmp_path / "both", dirs_exist_ok=True)
    refused(read("X=both"), "org/m", "org/other")


# --------------------------------------------------------------------------------------------------- names


def test_a_label_names_the_model_and_a_path_may_hold_an_equals_sign(runs: Path, read: Any, tmp_path: Path) -> None:
    shutil.copytree(runs / "m", tmp_path / "lr=3" / "x")
    for argument, name in (("lr=3/x", "org/m"), ("A=lr=3/x", "A"), (f"A={tmp_path}/lr=3/x", "A")):
        assert read(argument).exit_code == 0
        assert set(pd.read_csv("t.csv").model) == {name}


def test_a_model_from_a_local_path_goes_by_that_path(runs: Path, read: Any) -> None:
    assert read(runs / "local").exit_code == 0
    assert set(pd.read_csv("t.csv").model) == {"/models/my=model"}


def test_results_beside_a_file_name_of_ones_own_come_with_their_samples(runs: Path, read: Any) -> None:
    (results,) = runs.glob("file_*.json")  # lm_eval --output_path file.json
    assert read(results).exit_code == 0
    assert "95% bootstrap" in Path("t.csv").read_text()


# ------------------------------------------------------------------------------------------ kinds of runs


def test_of_several_filters_one_must_be_chosen(runs: Path, read: Any) -> None:
    refused(read(runs / "filters"), "filters was graded behind the filters none, word.", "--filter")
    refused(read(runs / "filters", "--filter", "lower"), "none, word, not lower")
    for name, titles in (("none", 1.0), ("word", 0.0)):
        found = read(runs / "filters", "--filter", name)
        assert f"|filter:{name}|" in found.stdout
        assert value() == titles


def test_repeats_are_pooled_and_their_verdicts_found_again(runs: Path, read: Any, turnswap: Turnswap) -> None:
    found = read(runs / "thrice")
    assert "|repeats:3|" in found.stdout
    assert 0 < value(turn=2) < 1
    shown = turnswap("report", runs / "thrice")
    assert shown.exit_code == 0, shown.stderr
    assert re.search(rf"keywords:existence .* {7 * 3} ", shown.stdout)


def test_replies_with_anything_in_them_are_read_and_graded_as_they_were(runs: Path, turnswap: Turnswap) -> None:
    shown = turnswap("report", runs / "hostile")
    assert shown.exit_code == 0, (shown.stderr, shown.exception)
    assert "|n:8/8|" in shown.stdout
