"""The release: what was proved, as a CSV, tasks that lm-eval finds and runs, and a datasheet."""

from __future__ import annotations

import csv
import dataclasses
import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from turnswap.construction.llm import LLM, LLMSettings
from turnswap.construction.pipeline import Pipeline
from turnswap.construction.records import DraftConversation, Turn
from turnswap.construction.release import csv_text, described, files_of, release
from turnswap.construction.steps import BuildSettings, assemble, make_step, read_release
from turnswap.core.errors import UserError
from turnswap.tasks.multiif.dataset import Source, load_conversations

from ..conftest import COLUMNS
from ..multiturn.stub_models import ScriptedLM
from .test_pipeline import Marking, Seeds

LICENCES = {"seeds_licence": "Apache-2.0", "licence": "CC-BY-4.0"}
ADDED: list[tuple[str, dict[str, Any]]] = [
    ("detectable_format:title", {}),
    ("punctuation:no_comma", {}),
    ("keywords:frequency", {"keyword": "mvua", "frequency": 2, "relation": "at least"}),
]


def conversation(key: str, language: str = "sw", turns: int = 3, **notes: Any) -> DraftConversation:
    prompts = ["Andika kuhusu “mvua”, na shamba.\nTafadhali!", "Usitumie koma.", "Taja neno mvua mara 2."]
    ids, kwargs = zip(*ADDED, strict=True)
    made = tuple(Turn(prompts[t], ids[: t + 1], kwargs[: t + 1]) for t in range(turns))
    return DraftConversation(key, language, made, notes)


def build(folder: Path, conversations: Sequence[DraftConversation], **settings: Any) -> tuple[BuildSettings, Pipeline]:
    """A build whose steps are the proof alone."""
    made = BuildSettings(
        name="rain",
        folder=folder / "work",
        llm=LLMSettings("hf", {"pretrained": str(folder / "some-model")}),
        languages=("sw", "ko"),
        prove={"llm": False},
        release={**LICENCES, **settings},
    )
    return made, Pipeline(made.folder, Seeds(conversations), [make_step("prove", made, LLM(made.llm, folder / "llm"))])


def released(folder: Path, conversations: Sequence[DraftConversation], **settings: Any) -> Path:
    made, pipeline = build(folder, conversations, **settings)
    list(pipeline.run())
    return release(made, pipeline)[0].parent


TWO = [conversation("a:ko", "ko"), conversation("a:sw"), conversation("b:sw", turns=2)]


def test_the_graders_own_loader_reads_it_back_equal(tmp_path: Path) -> None:
    path = released(tmp_path, TWO) / "rain.csv"
    with path.open(encoding="utf-8", newline="") as file:
        assert csv.DictReader(file).fieldnames == COLUMNS
    read = load_conversations(Source("csv", str(path)), "Swahili")
    assert [each["key"] for each in read] == ["a:0:sw", "b:0:sw"]
    for source, found in zip(TWO[1:], read, strict=True):
        assert found["turns"] == [
            {"prompt": turn.prompt, "instruction_ids": list(turn.instruction_ids), "kwargs": list(turn.kwargs)}
            for turn in source.turns
        ]
    assert [each["key"] for each in load_conversations(Source("csv", str(path)), "Korean")] == ["a:0:ko"]


def test_lm_eval_runs_the_group_wherever_its_folder_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TURNSWAP_MULTIIF", "sample")  # the benchmark's data; not that of other tasks
    folder = shutil.move(released(tmp_path, TWO), tmp_path / "elsewhere")
    replies = {"Taja": "<<Mvua>> mvua", "Usitumie": "<<Mvua>>", "Andika": "hakuna"}
    lm = ScriptedLM(lambda prompt: next(reply for word, reply in replies.items() if word in prompt))
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    results = simple_evaluate(lm, tasks=["rain"], task_manager=manager, bootstrap_iters=0)
    assert results is not None
    figures = results["results"]
    assert figures["rain_sw"]["turn1_inst_strict_acc,none"] == 0
    assert figures["rain_sw"]["turn2_inst_strict_acc,none"] == 1
    assert figures["rain_ko"]["turn3_prompt_strict_acc,none"] == 1
    # The macro mean: two Swahili conversations count as much as one Korean one.
    assert figures["rain"]["turn3_overall_acc,none"] == 1
    assert len(figures["rain"]) > 15
    config = results["configs"]["rain_sw"]
    assert config["metadata"]["data"] == "CSV file rain.csv"
    assert config["dataset_name"] == "Swahili"


def test_other_data_may_be_asked_for_and_a_missing_file_is_named(tmp_path: Path) -> None:
    folder = released(tmp_path, TWO)
    other = tmp_path / "other.csv"
    other.write_text(csv_text([conversation("other:sw")]), "utf-8")
    manager = TaskManager(include_path=str(folder), include_defaults=False, metadata={"multiif_data": str(other)})
    (task,) = manager.load(["rain_sw"])["tasks"].values()
    assert [doc["key"] for doc in task.docs] == ["other:0:sw"]
    (folder / "rain.csv").unlink()
    with pytest.raises(UserError, match=r"The task's data_file names .*rain.csv', which is no file"):
        TaskManager(include_path=str(folder), include_defaults=False).load(["rain_sw"])


def test_a_folder_that_is_listed_is_found_by_the_stock_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import ModuleType

    from turnswap.hosts import registration
    from turnswap.tasks import tasks_path

    asked: list[Any] = []

    class Manager:
        def __init__(self, verbosity: Any = None, include_path: Any = None, include_defaults: bool = True) -> None:
            asked.append(include_path)

    module = ModuleType("manager")
    monkeypatch.setitem(sys.modules, "manager", module)
    module.TaskManager = Manager  # type: ignore[attr-defined]
    registration.register_tasks(module)
    monkeypatch.setenv("TURNSWAP_TASKS", str(tmp_path))
    module.TaskManager(include_path="mine")
    module.TaskManager(include_path=str(tmp_path))
    module.TaskManager(include_defaults=False)
    ours = str(tasks_path())
    assert asked == [[ours, str(tmp_path), "mine"], [ours, str(tmp_path)], None]
    monkeypatch.setenv("TURNSWAP_TASKS", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="TURNSWAP_TASKS names .*nowhere, which is no folder"):
        module.TaskManager()


def test_the_datasheet_tells_what_was_done_and_no_folder_of_this_machine(tmp_path: Path) -> None:
    figures = {"chrf": 71.25, "signatures": {"chrf": "nrefs:1|case:mixed|version:2.6.0"}}
    scored = {"translate": {"source": {"turns": [{"kwargs": [{"num_bullets": 3}]}]}, "figures": figures}}
    hopeless = conversation("c:sw")
    extra = (("startend:quotation", {}), ("combination:repeat_prompt", {"prompt_to_repeat": "a|b"}))
    turn = hopeless.turns[2]
    turn = dataclasses.replace(
        turn,
        instruction_ids=(*turn.instruction_ids, *(id_ for id_, _ in extra)),
        kwargs=(*turn.kwargs, *(kwargs for _, kwargs in extra)),
    )
    hopeless = dataclasses.replace(hopeless, turns=(*hopeless.turns[:2], turn))
    audit = tmp_path / "work" / "audit"
    audit.mkdir(parents=True)
    (audit / "agreement.json").write_text(json.dumps({"kappa": 0.75, "reviewers": ["x", "y"]}))
    folder = released(tmp_path, [conversation("a:sw", **scored), hopeless], limits=["Nobody <has> read it."])
    sheet = (folder / "DATASHEET.md").read_text("utf-8")
    for words in (
        "| Swahili | sw | 1 | 0 | 1 | 2 | 3 |",
        "| prove | 2 | 1 | 1 | no reply was found that follows all (1) |",
        "| sw | chrf | 1 | 71.2 | 71.2 | 71.2 |",
        "`nrefs:1|case:mixed|version:2.6.0`",
        "- kappa: 0.75",
        "| sw | 1 | 0 | 0 |",
        "- Licence of the seeds: Apache-2.0",
        "- Licence of this data set: CC-BY-4.0",
        "`some-model`",
        "- Nobody &lt;has> read it.",
    ):
        assert words in sheet
    assert str(tmp_path) not in sheet


@pytest.mark.parametrize("when", ["waiting", "not run", "other settings", "changed seeds"])
def test_nothing_is_released_while_something_is_not_done(tmp_path: Path, when: str) -> None:
    made, pipeline = build(tmp_path, [*TWO, conversation("wait:sw")])
    if when == "waiting":
        pipeline.steps.append(Marking("audit"))
    if when != "not run":
        list(pipeline.run())
    if when == "other settings":
        made, pipeline = build(tmp_path, TWO)
        changed = dataclasses.replace(made, prove={"llm": False, "attempts": 7})
        pipeline.steps = [make_step("prove", changed, LLM(made.llm, tmp_path))]
    if when == "changed seeds":
        (tmp_path / "work" / "2-prove.jsonl").write_text("")
    if when == "not run":
        (tmp_path / "work").mkdir()
        pipeline._load()
    with pytest.raises(UserError, match=r"conversations have not been through (prove|audit).* nothing is released"):
        release(made, pipeline)
    assert not (tmp_path / "work" / "release").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"release": {"licence": "MIT"}}, "release needs seeds_licence"),
        ({"release": {**LICENCES, "licence": " "}}, "release.licence is empty"),
        ({"release": {**LICENCES, "seeds_licence": "CC-BY-NC-4.0"}}, "which allows no commercial use"),
        ({"release": {**LICENCES, "folde": "x"}}, "folde is no setting of release"),
        ({"name": "multiif"}, "name cannot be 'multiif'"),
        ({"name": "../x"}, "name cannot be"),
        ({"languages": ("swahili",)}, "'swahili' is no code of a language. sw is Swahili"),
    ],
)
def test_settings_are_checked_before_anything_is_written(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    made, _ = build(tmp_path, TWO)
    with pytest.raises(UserError) as raised:
        read_release(dataclasses.replace(made, **change))
    assert words in str(raised.value)


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"extend": {"weights": {ADDED[0][0]: float("nan")}}}, "cannot be nan"),
        ({"extend": {"weights": {ADDED[0][0]: float("inf")}}}, "cannot be inf"),
        ({"translate": {"language_letters": -1}}, "language_letters cannot be -1"),
        ({"translate": {"length_ratio": {"sw": [0.5, float("inf")]}}}, "length_ratio.sw.1 cannot be inf"),
        ({"translate": {"chrf": True}}, "chrf cannot be True: expected a number"),
        ({"translate": {"sources": ["english"]}}, "translate.sources: 'english' is no code of a language"),
        ({"seeds": {"file": "x", "language": "xx"}}, "seeds.language: 'xx' is no code of a language"),
        ({"release": {**LICENCES, "version": float("nan")}}, "version cannot be nan"),
        ({"audit": {"adjudicator": " "}}, "audit.adjudicator is empty"),
        ({"llm": {"model": "hf", "gen_kwargs": {"temperature": 0.7}}}, "temperature must be 0"),
        ({"judge": {"model": "hf", "gen_kwargs": {"temperature": True}}}, "judge.gen_kwargs cannot be"),
        ({"llm": {"model": "hf", "gen_kwargs": {"max_gen_toks": "many"}}}, "max_gen_toks must be a whole number"),
        ({"llm": {"model": "hf", "max_failed": 1.5}}, "max_failed cannot be 1.5: expected a share from 0 to 1 or a"),
        ({"llm": {"model": "hf", "max_failed": True}}, "max_failed cannot be True: expected a share"),
        ({"languages": "sw"}, "languages cannot be 'sw': expected a list, such as [sw]"),
        ({"languages": [], "name": "../x"}, "name cannot be"),
    ],
)
def test_what_cannot_be_is_refused_before_work_starts(tmp_path: Path, section: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as raised:
        assemble(_yaml(tmp_path, **section))
    assert words in str(raised.value)


def test_a_name_with_nothing_behind_it_means_the_defaults(tmp_path: Path) -> None:
    empty = dict.fromkeys(("extend", "conflicts", "translate", "filter", "audit", "prove", "judge"))
    llm = {"model": "hf", "gen_kwargs": {"temperature": 0}, "model_args": None, "max_failed": None}
    made = assemble(_yaml(tmp_path, **empty, llm=llm))
    assert made.settings == assemble(_yaml(tmp_path, llm={"model": "hf", "gen_kwargs": {"temperature": 0}})).settings
    with pytest.raises(UserError, match="needs llm"):
        assemble(_yaml(tmp_path, llm=None))


def _yaml(folder: Path, **sections: Any) -> Path:
    given = {"name": "rain", "folder": str(folder / "work"), "languages": ["sw"], "llm": {"model": "hf"}}
    path = folder / "build.yaml"
    path.write_text(yaml.safe_dump({**given, "seeds": {"file": "x"}, "release": LICENCES, **sections}), "utf-8")
    return path


def test_a_later_release_removes_what_the_earlier_one_wrote_and_nothing_else(tmp_path: Path) -> None:
    folder = released(tmp_path, TWO)
    stale, others = ["rain_ko.yaml", "data/ko.parquet"], ["rain_ja.yaml", "data/ja.parquet", "mine.yaml"]
    for name in others:
        (folder / name).write_text("mine")
    assert all((folder / name).exists() for name in stale)
    assert released(tmp_path, TWO[1:]) == folder
    assert not any((folder / name).exists() for name in stale)
    assert all((folder / name).read_text() == "mine" for name in others)
    assert json.loads((folder / "croissant.json").read_text("utf-8"))["inLanguage"] == ["sw"]
    listed = files_of(described(folder))
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*.*")} == {*listed, *others}


def test_a_list_that_names_files_elsewhere_removes_none(tmp_path: Path) -> None:
    outside = tmp_path / "work" / "outside.parquet"
    folder = released(tmp_path, TWO)
    outside.write_text("mine")
    told = json.loads((folder / "croissant.json").read_text("utf-8"))
    told["distribution"].append({"name": "data/../../outside.parquet"})
    (folder / "croissant.json").write_text(json.dumps(told))
    released(tmp_path, TWO[1:])
    assert outside.read_text() == "mine"
    assert (folder / "rain_ko.yaml").exists()


def test_what_was_never_run_says_so_and_where_nothing_is_left_the_first_reason_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Nothing has been run yet\. .*turnswap build run CONFIG"):
        release(*build(tmp_path, TWO))
    made, pipeline = build(tmp_path, TWO)
    pipeline.steps.insert(0, Marking("filter"))
    pipeline.first = Seeds([dataclasses.replace(each, key=f"bad{each.key}") for each in TWO])
    list(pipeline.run())
    with pytest.raises(UserError) as raised:
        release(made, pipeline)
    assert "No conversation came through all steps: filter rejected them, bada:ko because it is bad (" in str(
        raised.value
    )
    assert str(tmp_path / "work" / "2-filter.jsonl") in str(raised.value)


def test_nothing_proved_is_an_error_and_so_is_a_language_that_is_not_listed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No conversation came through all steps"):
        released(tmp_path / "none", [])
    with pytest.raises(UserError, match="conversations in cy, which languages does not list"):
        released(tmp_path / "cy", [conversation("a:cy", "cy"), *TWO])


def test_what_would_not_be_read_back_is_refused() -> None:
    with pytest.raises(UserError, match="turn 1 or turn 2 has no prompt"):
        csv_text([conversation("a:sw", turns=1)])
    with pytest.raises(UserError, match="its key a:0:sw occurs twice"):
        csv_text([conversation("a:sw"), conversation("a")])
