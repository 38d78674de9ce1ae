"""Results per document: from lm-eval's own samples, kept in a folder that several processes share."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lm_eval import simple_evaluate
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager
from pandas.testing import assert_frame_equal

from turnswap.core.errors import UserError
from turnswap.sweeps.inference import Part, figure
from turnswap.sweeps.kept import Evaluation, Store, table_of
from turnswap.tasks import tasks_path

from ..merge_methods.models import TOKENS, save_model
from ..multiturn.stub_models import ScriptedLM

KINDS = {
    "choosing": "output_type: multiple_choice\ndoc_to_choice: choices\ndoc_to_target: label\n"
    "metadata: {cluster_column: topic}\nmetric_list: [{metric: acc, aggregation: mean, higher_is_better: true}, "
    "{metric: brier_score, aggregation: brier_score, higher_is_better: false}]\n",
    "reading": "output_type: loglikelihood_rolling\ndoc_to_target: '{{question}}'\n"
    "metric_list: [{metric: word_perplexity, aggregation: weighted_perplexity, higher_is_better: false}]\n",
    "ending": "output_type: loglikelihood\ndoc_to_target: ' {{choices[label]}}'\n"
    "metric_list: [{metric: acc}, {metric: perplexity}]\n",
    "writing": "output_type: generate_until\ndoc_to_target: '{{choices[label]}}'\n"
    "generation_kwargs: {max_gen_toks: 3}\n"
    "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\nfilter_list:\n"
    "  - {name: first, filter: [{function: regex, regex_pattern: '(w[0-9]+)'}, {function: take_first}]}\n"
    "  - {name: all, filter: [{function: take_first}]}\n",
}


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any]]:
    """lm-eval's answer for a random model, on some documents of one task and all of the others; and its tasks."""
    folder = tmp_path_factory.mktemp("kept")
    lines = [
        {
            "question": " ".join(TOKENS[n : n + 4]),
            "choices": TOKENS[n + 4 : n + 8],
            "label": n % 4,
            "topic": f"t{n // 3}",
        }
        for n in range(3, 15)
    ]
    (folder / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    for name, kind in KINDS.items():
        data = (
            f"dataset_path: json\ndataset_kwargs: {{data_files: {{test: {folder / 'data.jsonl'}}}}}\ntest_split: test\n"
        )
        text = f"doc_to_text: '{'' if name == 'reading' else '{{question}}'}'\n"
        (folder / f"{name}.yaml").write_text(f"task: {name}\n{data}{text}{kind}", "utf-8")
    (folder / "group.yaml").write_text(
        "group: everything\ntask: [reading, ending]\naggregate_metric_list: [{metric: perplexity}]\n", "utf-8"
    )
    manager = TaskManager(include_path=str(folder), include_defaults=False)
    lm = HFLM(str(save_model(folder / "model", tokenizer=TOKENS, layers=2)), device="cpu", batch_size=4)
    names = ["choosing", "writing", "everything"]
    found = simple_evaluate(
        lm, tasks=names, task_manager=manager, samples={"choosing": [2, 5, 9, 11]}, bootstrap_iters=0, log_samples=True
    )
    return found, manager.load(names)["tasks"]


@pytest.mark.slow
def test_figures_from_the_table_are_those_of_lm_eval(evaluated: tuple[dict[str, Any], dict[str, Any]]) -> None:
    found, tasks = evaluated
    table, compared = table_of(found["samples"], tasks), 0
    for name, task in tasks.items():
        for key, value in found["results"][name].items():
            metric, _, filter_ = key.partition(",")
            if filter_ and not metric.endswith("_stderr"):
                assert figure(table, {name: Part(key, task.aggregation()[metric])}) == pytest.approx(value, rel=1e-12)
                compared += 1
    assert compared == 2 + 1 + 2 + 2


@pytest.mark.slow
def test_a_row_names_its_document_as_the_data_do(evaluated: tuple[dict[str, Any], dict[str, Any]]) -> None:
    found, tasks = evaluated
    table = table_of(found["samples"], tasks)
    chosen = table[(table["task"] == "choosing") & (table["metric"] == "acc,none")]
    assert chosen["document"].tolist() == [2, 5, 9, 11]
    assert chosen["cluster"].tolist() == ["t1", "t2", "t4", "t4"]
    written = table[table["task"] == "writing"]
    assert written["metric"].value_counts().to_dict() == {"exact_match,first": 12, "exact_match,all": 12}
    assert written["cluster"].tolist()[:2] == ["writing:0", "writing:1"]


@pytest.mark.slow
def test_only_numbers_are_values(evaluated: tuple[dict[str, Any], dict[str, Any]]) -> None:
    table = table_of(evaluated[0]["samples"], evaluated[1])
    lists = table["metric"].isin(["brier_score,none", "word_perplexity,none"])
    assert lists.any()
    assert (table["value"].isna() == lists).all()
    assert (table["raw"].notna() == lists).all()


@pytest.mark.slow
def test_the_log_likelihood_is_of_the_right_answer(evaluated: tuple[dict[str, Any], dict[str, Any]]) -> None:
    found, tasks = evaluated
    table = table_of(found["samples"], tasks).set_index("task")
    of = table["log_likelihood"].groupby("task").agg(list)
    right = [sample["resps"][sample["target"]][0][0] for sample in found["samples"]["choosing"]]
    assert of["choosing"][::2] == right
    assert table.loc["ending", "log_likelihood"].tolist()[1::2] == table.loc["ending", "value"].tolist()[::2]
    assert all(value < 0 for value in of["reading"])
    assert all(math.isnan(value) for value in of["writing"])


def choice(**more: Any) -> tuple[dict[str, Any], Any]:
    """A sample as lm-eval logs it, of a task with three choices."""
    sample = {"doc_id": 7, "doc": {"gold": 2}, "target": 1, "filter": "none", "metrics": ["acc"], "acc": 1.0}
    task = {"OUTPUT_TYPE": "multiple_choice", "multiple_input": 0, "config": SimpleNamespace(metadata=None)}
    task |= {"doc_to_choice": lambda doc: ["a", "b", "c"], "doc_to_text": lambda doc: doc["gold"]}
    answers = {"resps": [[(-3.0, False)], [(-1.0, False)], [(-2.0, False)]]}
    return sample | answers | {k: v for k, v in more.items() if k in sample}, SimpleNamespace(**task | more)


@pytest.mark.parametrize(
    ("more", "right"),
    [
        ({"target": "a"}, -3),
        ({"target": [0, 2]}, -2),
        ({"target": 5}, math.nan),
        ({"target": "the sentence", "multiple_input": 3}, -2),
    ],
)
def test_right_answers_are_named_in_many_ways(more: dict[str, Any], right: float) -> None:
    sample, task = choice(**more)
    found = table_of({"x": [sample]}, {"x": task})["log_likelihood"].tolist()
    assert found == pytest.approx([right], nan_ok=True)


def test_a_cluster_column_that_is_missing_is_named() -> None:
    sample, task = choice(config=SimpleNamespace(metadata={"cluster_column": "topic"}))
    with pytest.raises(UserError, match="x: document 7 has nothing in the column 'topic'"):
        table_of({"x": [sample]}, {"x": task})


@pytest.mark.slow
def test_conversations_of_multi_if_share_their_source_prompt_and_keep_their_figures() -> None:
    manager = TaskManager(
        include_path=str(tasks_path()), include_defaults=False, metadata={"multiif_data": "sample", "prompts": "plain"}
    )
    names = ["multiif_en", "multiif_fr"]
    found = simple_evaluate(ScriptedLM(), tasks=names, task_manager=manager, bootstrap_iters=0, limit=4)
    assert found is not None
    tasks = manager.load(names)["tasks"]
    table = table_of(found["samples"], tasks)
    for name in names:
        logged = {sample["doc_id"]: sample["doc"]["key"] for sample in found["samples"][name]}
        own = table[table["task"] == name]
        assert [logged[n].split(":")[0] for n in own["document"]] == own["cluster"].tolist()
        for metric in ("turn3_overall_acc", "turn2_inst_strict_acc", "turn1_empty", "verdicts"):
            part = Part(f"{metric},none", tasks[name].aggregation()[metric])
            assert figure(table, {name: part}) == found["results"][name][f"{metric},none"]


def an_evaluation(**more: Any) -> Evaluation:
    rows = [
        {"task": "a", "document": n, "cluster": f"a:{n}", "metric": "acc,none", "value": value, "raw": raw,
         "log_likelihood": -0.5 * n}
        for n, (value, raw) in enumerate([(1.0, None), (math.nan, None), (math.nan, '[-2.5, "é"]')])
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    content: dict[str, Any] = {
        "plan": "abc",
        "configuration": "bottom 2",
        "parameters": {"bottom": 2},
        "role": "select",
    }
    content |= {
        "documents": {"a": "0-2"},
        "results": {"a": {"acc,none": math.nan, "n": 3}},
        "seconds": {"evaluation": 1.5},
    }
    return Evaluation(**content | {"documents_table": table} | more)


def test_what_one_process_adds_another_finds(tmp_path: Path) -> None:
    one, other = Store(tmp_path, {"models": "m"}), Store(tmp_path, {"models": "m"})
    kept = an_evaluation(results={"a": {"acc,none": np.float32(0.5), "n": np.int64(3), "other": math.nan}})
    assert other.find("abc", "select", {"a": "0-2"}) is None
    one.add(kept)
    found = other.find("abc", "select", {"a": "0-2"})
    assert found is not None
    assert (found.plan, found.configuration, found.parameters, found.seconds) == (
        "abc", "bottom 2", {"bottom": 2}, {"evaluation": 1.5},
    )  # fmt: skip
    assert found.results["a"].pop("other") != 0
    assert found.results == {"a": {"acc,none": 0.5, "n": 3}}
    assert_frame_equal(found.documents_table, kept.documents_table, check_dtype=False)
    for role, documents in (("report", {"a": "0-2"}), ("select", {"a": "0-1"})):
        assert other.find("abc", role, documents) is None


def test_the_same_evaluation_twice_is_one_and_nothing_else_stays(tmp_path: Path) -> None:
    store = Store(tmp_path, {})
    for name in ("bottom 2", "also bottom 2"):
        store.add(an_evaluation(configuration=name))
    store.add(an_evaluation(plan="other"))
    assert {one.configuration for one in store.all()} == {"also bottom 2", "bottom 2"}
    assert len(store.all()) == len([*tmp_path.rglob("*.*")]) - 1 == 2


@pytest.mark.parametrize("damage", ["truncated", "foreign", "text"])
def test_a_broken_file_is_named(tmp_path: Path, damage: str) -> None:
    store = Store(tmp_path, {})
    store.add(an_evaluation())
    (path,) = (tmp_path / "evaluations").iterdir()
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-50])
    elif damage == "foreign":
        pd.DataFrame({"x": [1]}).to_parquet(path)
    else:
        path.write_text("no parquet", "utf-8")
    for look in (store.all, lambda: store.find("abc", "select", {"a": "0-2"})):
        with pytest.raises(UserError, match=f"{path.name} is no evaluation.*Delete it, and it is evaluated again"):
            look()


def test_a_folder_of_something_else_is_refused_by_what_changed(tmp_path: Path) -> None:
    Store(tmp_path, {"models": {"recipient": "misspelt"}, "seed": 1})  # nothing came of it
    early = Store(tmp_path, {"models": {"recipient": "one"}, "seed": 1})
    early.add(an_evaluation())
    with pytest.raises(UserError, match=r"identity.json is of another search: models: recipient was one and is two\."):
        Store(tmp_path, {"models": {"recipient": "two"}, "seed": 1})
    (tmp_path / "identity.json").unlink()
    Store(tmp_path, {"models": {"recipient": "two"}, "seed": 1})
    with pytest.raises(UserError, match="recipient was two and is one"):
        early.add(an_evaluation())


def test_an_identity_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "identity.json").write_text('{"form', "utf-8")
    (tmp_path / "evaluations").mkdir()
    (tmp_path / "evaluations" / "one.parquet").touch()  # without evaluations, there is nothing to refuse
    with pytest.raises(UserError, match=r"identity.json is of no search that this version can continue"):
        Store(tmp_path, {})
