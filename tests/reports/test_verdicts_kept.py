"""Verdicts are kept in the samples when they are made, and read back: added up, and held against some replies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Turnswap, make_row, read_results, write_csv
from turnswap.core import processes
from turnswap.core.errors import UserError
from turnswap.reports import verdicts
from turnswap.reports.reading import Reading, read_models
from turnswap.reports.runs import Model
from turnswap.reports.verdicts import corrected_verdicts, published_verdicts, rules_of
from turnswap.tasks.multiif import task as multiif_task
from turnswap.tasks.multiif.corrected import grade_corrected, rules_in_use
from turnswap.tasks.multiif.grading import grade_reply
from turnswap.tasks.multiif.kept import CORRECTED, PUBLISHED, judge, verdicts_of
from turnswap.tasks.multiif.text import detect_language
from turnswap.tasks.multiturn import Reply

from .damaged import Damaged, refused
from .evaluations import evaluate

WITH_COMMA = "<<标题>>\n\n今天下雨，rain"  # a Chinese comma is one by the corrected rules alone
ODD = [("length_constraints:number_words", {"num_words": 4, "relation": "at least"})]
HOPELESS = [("length_constraints:number_words", {"num_words": 1, "relation": "less than"})]


def row_with(key: str, language: str, more: list[tuple[str, dict[str, Any]]]) -> dict[str, str]:
    """A row whose third turn asks for something more."""
    row = make_row(key, language)
    ids = json.loads(row["turn_3_instruction_id_list"]) + [id_ for id_, _ in more]
    kwargs = json.loads(row["turn_3_kwargs"]) + [json.dumps(kwargs) for _, kwargs in more]
    return row | {"turn_3_instruction_id_list": json.dumps(ids), "turn_3_kwargs": json.dumps(kwargs)}


def evaluated(folder: Path) -> Path:
    rows = [row_with(f"{n}:1:zh", "Chinese", ODD if n % 2 else HOPELESS) for n in range(1, 5)]
    rows += [row_with(f"{n}:1:en", "English", ODD) for n in range(1, 4)]
    data = write_csv(folder / "data.csv", rows)

    def reply(prompt: str) -> str:
        return WITH_COMMA if ":zh" in prompt else "Sure:\n<<Title>>\n\nIt rains, we say."

    return evaluate(folder / "results", "org/kept", reply, data=data, tasks=("multiif_zh", "multiif_en"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return evaluated(tmp_path_factory.mktemp("kept"))


@pytest.fixture
def chinese(run: Path, tmp_path: Path) -> Damaged:
    damaged = Damaged(tmp_path / "damaged", run)
    (damaged.samples,) = damaged.folder.rglob("samples_multiif_zh_*.jsonl")
    return damaged


def samples_of(folder: Path, task: str) -> list[dict[str, Any]]:
    (path,) = folder.rglob(f"samples_{task}_*.jsonl")
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def model_of(folder: Path, **how: Any) -> Model:
    (model,) = read_models([str(folder)], Reading(**how))
    return model


def edit_kept(damaged: Damaged, change: Callable[[list[list[dict[str, Any]]]], object]) -> Path:
    """Change what the second line keeps."""
    return damaged.edit_sample(2, lambda sample: change(sample["verdicts"])).folder


# ---------------------------------------------------------------------------------------------- what is kept


def test_a_sample_holds_every_verdict_by_both_sets_of_rules_and_what_they_rest_on(run: Path) -> None:
    for task, code in (("multiif_zh", "zh"), ("multiif_en", "en")):
        for sample in samples_of(run, task):
            (kept,) = sample["verdicts"]
            turns, replies = sample["doc"]["turns"], sample["filtered_resps"]
            assert len(kept) == 3
            for n, (turn, said, of) in enumerate(zip(turns, replies, kept, strict=True), 1):
                asked = (said, turn["instruction_ids"], turn["kwargs"])
                assert verdicts_of(of, PUBLISHED) == grade_reply(*asked)
                assert verdicts_of(of, CORRECTED) == grade_corrected(*asked, code, [t["prompt"] for t in turns[:n]])
    first, second = (sample["verdicts"][0][2] for sample in samples_of(run, "multiif_zh")[:2])
    assert (first["published"], first["corrected"], first["counts"]) == ("SSSN", "SLSS", {"3": [3, 7]})
    assert second["corrected"] == "SLSn"  # no reply has fewer words than one
    assert first["language"] == detect_language(WITH_COMMA) != "zh-cn"  # why the published grader counts three words


def test_the_results_say_how_many_verdicts_were_made_and_by_which_corrected_rules(run: Path) -> None:
    content = read_results(run)
    assert content["results"]["multiif_zh"]["verdicts,none"] == 4 * (1 + 2 + 4)
    assert content["results"]["multiif_zh"]["verdicts_stderr,none"] == "N/A"
    assert "verdicts" not in content["higher_is_better"]["multiif_zh"]
    assert content["configs"]["multiif_en"]["metadata"]["corrected_rules"] == rules_in_use()


def test_verdicts_are_kept_for_each_repeat_and_filter(tmp_path: Path) -> None:
    data = write_csv(tmp_path / "data.csv", [make_row("1:1:en")])
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "own.yaml").write_text(
        "task: own\ndataset_name: English\nclass: !function turnswap.tasks.multiif.task.MultiIF\nrepeats: 2\n"
        "filter_list: [{name: none, filter: []}, {name: rain, filter: [{function: regex, regex_pattern: (rain)}]}]\n"
        f"metadata: {{version: 1.0, multiif_data: {data}}}\n"
    )
    said = iter(["<<T>>", "No", "<<T>> a, b", "<<T>> a", "<<T>> rain", "rain"])
    folder = evaluate(tmp_path / "out", "org/twice", lambda _: next(said), include=tmp_path / "tasks", tasks=("own",))
    by_filter = {sample["filter"]: sample["verdicts"] for sample in samples_of(folder, "own")}
    marks = {name: [[turn["published"] for turn in turns] for turns in kept] for name, kept in by_filter.items()}
    assert marks["none"] == [["S", "SN", "SSS"], ["N", "SS", "NSS"]]
    assert marks["rain"] == [["N", "NS", "NSS"]] * 2


def test_turns_that_no_reply_came_for_have_no_verdicts() -> None:
    from turnswap.tasks.multiif.task import MultiIF

    config = {"task": "multiif_en", "dataset_name": "English", "metadata": {"multiif_data": "sample"}}
    task = MultiIF(config=config)
    values = task.grade(task.docs[0], [Reply("One reply.")])
    assert [len(turns) for turns in values["verdicts"]] == [1]
    assert task.grade(task.docs[0], [])["verdicts"] == [[]]
    both = task.combine_repeats([values, task.grade(task.docs[0], [])])
    assert both["verdicts"] == [*values["verdicts"], []]


# ------------------------------------------------------------------------------------------------- read back


def test_what_is_read_back_is_what_grading_again_gives(run: Path) -> None:
    kept, again = model_of(run), model_of(run, regrade=True)
    assert published_verdicts(kept) == published_verdicts(again)
    assert corrected_verdicts(kept) == corrected_verdicts(again)


@pytest.mark.slow
def test_over_processes_verdicts_are_the_same(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_WORTH_IT", 1)
    monkeypatch.setenv("TURNSWAP_PROCESSES", "2")
    graded: list[int] = []
    monkeypatch.setattr(
        multiif_task, "judge", lambda *args: graded.append(1)
    )  # not in this process, from the kept ones on
    monkeypatch.setattr(multiif_task, "call_many", lambda _, calls: processes.call_many(judge, calls))
    other = evaluated(tmp_path)
    assert graded == []
    assert samples_of(other, "multiif_zh") == samples_of(run, "multiif_zh")
    assert published_verdicts(model_of(run, regrade=True)) == published_verdicts(model_of(run))
    assert corrected_verdicts(model_of(run, regrade=True)) == corrected_verdicts(model_of(run))


def test_only_some_replies_of_each_language_are_graded_again(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged, judge = [], verdicts.judge
    monkeypatch.setattr(verdicts, "_LOOKED_AT", 4)
    monkeypatch.setattr(verdicts, "judge", lambda *args: judged.append(args[3]) or judge(*args))
    monkeypatch.setattr(verdicts, "grade_reply", None)
    monkeypatch.setattr(verdicts.corrected, "grade_corrected", None)
    published_verdicts(model_of(run))
    corrected_verdicts(model_of(run))
    assert sorted(judged) == ["en", "en", "zh", "zh"]


def test_kept_verdicts_that_do_not_add_up_to_the_figures_are_refused(chinese: Damaged, turnswap: Turnswap) -> None:
    edit_kept(chinese, lambda kept: kept[0][1].update(published="SN"))
    refused(turnswap("report", chinese.folder), "2:1:zh, turn 2", "turn2_prompt_strict_acc is 0 of 1", "say 1 of 1")


@pytest.mark.parametrize(
    ("change", "word"), [({"corrected": "LS"}, "corrected verdicts"), ({"language": "ko"}, "language")]
)
def test_what_is_kept_and_is_not_so_by_the_reply_is_refused(
    change: dict[str, Any], word: str, chinese: Damaged, turnswap: Turnswap
) -> None:
    edit_kept(chinese, lambda kept: kept[0][1].update(change))
    refused(turnswap("report", chinese.folder), "2:1:zh, turn 2", word, "changed afterwards")
    regraded = turnswap("report", chinese.folder, "--regrade")
    assert regraded.exit_code == 0, regraded.output


@pytest.mark.parametrize(
    "change",
    [
        lambda kept: kept.pop(),
        lambda kept: kept[0].pop(),
        lambda kept: kept[0][1].update(published="SXS"),
        lambda kept: kept[0][1].update(corrected="S"),
        lambda kept: kept[0][1].pop("language"),
        lambda kept: kept.__setitem__(0, None),
    ],
)  # fmt: skip
def test_a_sample_that_keeps_something_else_is_named(
    change: Callable[[Any], object], chinese: Damaged, turnswap: Turnswap
) -> None:
    edit_kept(chinese, change)
    refused(turnswap("table", chinese.folder, "-o", "t.csv"), chinese.samples.name, "line 2 is no sample")


def test_samples_of_an_earlier_version_are_graded_again(run: Path, chinese: Damaged, turnswap: Turnswap) -> None:
    def earlier(lines: list[bytes]) -> list[bytes]:
        samples = [json.loads(line) for line in lines]
        for sample in samples:
            del sample["verdicts"]
            sample["metrics"].remove("verdicts")
        return [json.dumps(sample).encode() + b"\n" for sample in samples]

    chinese.edit_lines(earlier)
    chinese.edit_results(lambda content: content["results"]["multiif_zh"].pop("verdicts,none"))
    assert turnswap("report", chinese.folder).output == turnswap("report", run).output
    chinese.edit_sample(2, lambda sample: sample["filtered_resps"].__setitem__(1, "No"))
    refused(turnswap("report", chinese.folder), "2:1:zh", "turn 2", "turn2_prompt_strict_acc is 0 of 1")


def test_corrected_verdicts_by_other_rules_are_shown_with_those_rules_and_said_once(
    chinese: Damaged, turnswap: Turnswap
) -> None:
    def by_other_rules(content: dict[str, Any]) -> None:
        for config in content["configs"].values():
            config["metadata"]["corrected_rules"] = "0,no segmenter"

    chinese.edit_results(by_other_rules)
    # By those rules a Chinese comma was none.
    for line in (1, 2, 3, 4):
        chinese.edit_sample(
            line, lambda sample: [turn.update(corrected=turn["published"]) for turn in sample["verdicts"][0]]
        )
    shown = turnswap("report", chinese.folder)
    assert shown.exit_code == 0, shown.output
    assert shown.stderr.count("made by the rules 0,no segmenter") == 1
    assert "|corrected:0,no segmenter|" in shown.stdout
    assert "0 of 49 strict verdicts differ." in shown.stdout
    regraded = turnswap("report", chinese.folder, "--regrade")
    assert f"|corrected:{rules_in_use()}|" in regraded.stdout
    assert "rules 0" not in regraded.stderr
    assert rules_of(model_of(chinese.folder)) == "0,no segmenter"


def test_languages_by_different_rules_are_graded_again_by_those_installed(chinese: Damaged) -> None:
    chinese.edit_results(
        lambda content: content["configs"]["multiif_zh"]["metadata"].update(corrected_rules="0,no segmenter")
    )
    model = model_of(chinese.folder)
    assert rules_of(model) == rules_in_use()
    assert corrected_verdicts(model) == corrected_verdicts(model_of(chinese.folder, regrade=True))


def test_the_table_has_no_row_of_what_is_no_figure(run: Path, turnswap: Turnswap, tmp_path: Path) -> None:
    assert turnswap("table", run, "-o", "t.csv").exit_code == 0
    assert ",verdicts," not in (tmp_path / "t.csv").read_text("utf-8")


def test_a_terminal_sees_how_far_it_is_and_a_file_does_not(
    run: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    published_verdicts(model_of(run))
    assert capfd.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    published_verdicts(model_of(run))
    said = capfd.readouterr().err
    assert "Reading samples" in said
    assert "Published verdicts, zh" in said
    assert "Grading some replies again" in said


# ------------------------------------------------------------------------------------- slots that were left out


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    data = write_csv(folder / "data.csv", [row_with(f"{n}:1:zh", "Chinese", ODD) for n in range(1, 4)])
    (folder / "audit.csv").write_text("key,turn,position\n1:1:zh,3,4\n2:1:zh,2,2\n")
    told = {"verdicts": "both", "leave_out": str(folder / "audit.csv")}
    return evaluate(
        folder / "results", "org/kept", lambda _: WITH_COMMA, data=data, tasks=("multiif_zh",), metadata=told
    )


def test_slots_that_were_left_out_stay_so_and_the_rules_name_them(audited: Path) -> None:
    model = model_of(audited)
    assert rules_of(model).startswith(f"{rules_in_use()},without 2 audited slots (sha256:")
    left = {
        (key, number): [slot for slot, verdict in enumerate(turn.verdicts[0]) if verdict.unsatisfiable]
        for key, turns in corrected_verdicts(model)["zh"].items()
        for number, turn in enumerate(turns, 1)
    }
    assert {place: slots for place, slots in left.items() if slots} == {
        ("1:1:zh", 3): [3],
        ("2:1:zh", 2): [1],
        ("2:1:zh", 3): [1],
    }
    published_verdicts(model)  # they are those of the replies


def test_other_verdicts_beside_slots_that_were_left_out_are_refused(audited: Path, tmp_path: Path) -> None:
    damaged = Damaged(tmp_path / "damaged", audited)
    (damaged.samples,) = damaged.folder.rglob("samples_multiif_zh_*.jsonl")
    folder = edit_kept(damaged, lambda kept: kept[0][2].update(corrected="NNNN"))
    with pytest.raises(UserError, match="corrected verdicts"):
        published_verdicts(model_of(folder))


def test_graded_again_nothing_is_left_out_and_the_rules_say_so(audited: Path) -> None:
    model = model_of(audited, regrade=True)
    assert rules_of(model) == rules_in_use()
    turns = corrected_verdicts(model)["zh"].values()
    assert not any(verdict.unsatisfiable for turn in turns for each in turn for verdict in each.verdicts[0])


def test_of_slots_that_were_left_out_no_report_warns_as_of_other_rules(audited: Path, turnswap: Turnswap) -> None:
    done = turnswap("report", audited)
    assert done.exit_code == 0, done.output
    assert "not by" not in done.output
    assert "without 2 audited slots" in done.output
