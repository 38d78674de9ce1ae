"""What evaluations depend on: whatever of it is edited is named, and a move is no edit."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lm_eval.tasks import TaskManager
from mergekit.options import MergeOptions
from pydantic import BaseModel

from turnswap.merge_methods import checksums
from turnswap.merge_methods.compatibility import open_model
from turnswap.sweeps import identity as identity_module
from turnswap.sweeps.identity import differences, identity
from turnswap.sweeps.task_files import Files, task_files

from ..merge_methods.models import TOKENS, save_model


class Settings(BaseModel):
    evaluator: str = "hf"
    device: str | None = None
    batch_size: int = 8
    num_fewshot: int | None = None
    include_path: str | None = None
    model_args: dict[str, Any] = {}
    metadata: dict[str, Any] = {}


FILES = {
    "words.yaml": """
include: ../shared/default.yaml
task: words
dataset_path: json
dataset_kwargs: {data_files: {test: FOLDER/data/questions.jsonl, train: FOLDER/data/train.jsonl}}
test_split: test
fewshot_split: train
output_type: generate_until
doc_to_target: answer
process_results: !function utils.grade
process_docs: !function deeper.documents.process
filter_list:
  - {name: short, filter: [{function: custom, filter_fn: !function filters.short}]}
""",
    "utils.py": """
import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).parent))

LISTS = Path(__file__).parent / "lists"

def norm(text):
    return text.strip()

def grade(doc, results):
    from helper_of_words import same
    stop = (LISTS / "stop.txt").read_text()
    return {"acc": float(same(norm(results[0]), norm(doc["answer"])))}

def spoken(name):
    import importlib
    return importlib.import_module("said_of_words").speak(name)

def unrelated_words():
    return "results"
""",
    "helper_of_words.py": "from pack_of_words.inner import equal\ndef same(a, b):\n    return equal(a, b)\n",
    "said_of_words.py": "def speak(name):\n    return name\n",
    "pack_of_words/__init__.py": "",
    "pack_of_words/inner.py": "from . import innermost\ndef equal(a, b):\n    return a == b\n",
    "pack_of_words/innermost.py": "",
    "deeper/documents.py": "def process(docs):\n    return docs\n",
    "filters.py": "def short(resps, docs):\n    return resps\n",
    "lists/stop.txt": "a the\n",
    "data/questions.jsonl": '{"question": "w1 w2", "answer": "w3"}\n{"question": "w2 w3", "answer": "w4"}\n',
    "data/train.jsonl": '{"question": "w5 w6", "answer": "w7"}\n',
    "README.md": "Words.\n",
    "other.yaml": "task: other\ndataset_path: json\n",
    "other_utils.py": "def grade(doc, results):\n    return {}\n",
    "results/run.json": "{}\n",
    "../shared/default.yaml": """
doc_to_text: !function prompts.ask
metric_list: [{metric: acc, aggregation: mean, higher_is_better: true}]
metadata: {version: 1.0}
""",
    "../shared/prompts.py": "def ask(doc):\n    return doc['question']\n",
}


def write(root: Path, files: dict[str, str] = FILES) -> Path:
    folder = root / "words"
    for name, text in files.items():
        path = Path(os.path.normpath(folder / name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("FOLDER", str(folder)), "utf-8")
    return root


def of_tasks(root: Path, models: dict[str, Path] | None = None, task: str = "words", **settings: Any) -> dict[str, Any]:
    """The identity of a search on the task in a folder."""
    manager = TaskManager(include_path=str(root), include_defaults=False, metadata={"pretrained": str(root / "model")})
    tasks = manager.load([task])["tasks"]
    suite = SimpleNamespace(tasks=tasks, documents={name: range(2) for name in tasks}, task_index=manager.task_index)
    options = MergeOptions()
    opened = {role: open_model(str(folder), options) for role, folder in (models or {}).items()}
    planner = SimpleNamespace(options=options, recipe=SimpleNamespace(models=opened))
    return identity(Settings(include_path=str(root), **settings), planner, {"select": suite})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("file", "edit", "named"),
    [
        ("utils.py", lambda text: text.replace("strip", "lower"), "utils.py was .* and is"),
        ("helper_of_words.py", lambda text: text + "\nx = 1\n", "helper_of_words.py was"),
        ("said_of_words.py", lambda text: text + "\nx = 1\n", "said_of_words.py was"),
        ("pack_of_words/inner.py", lambda text: text + "\nx = 1\n", "pack_of_words/inner.py was"),
        ("pack_of_words/innermost.py", lambda text: text + "\nx = 1\n", "pack_of_words/innermost.py was"),
        ("pack_of_words/__init__.py", lambda text: "x = 1\n", "pack_of_words/__init__.py was"),
        ("deeper/documents.py", lambda text: text + "\nx = 1\n", "deeper/documents.py was"),
        ("filters.py", lambda text: text + "\nx = 1\n", "filters.py was"),
        ("lists/stop.txt", lambda text: "an\n", "lists/stop.txt was"),
        ("words.yaml", lambda text: text + "target_delimiter: ':'\n", "words.yaml was"),
        ("../shared/default.yaml", lambda text: text.replace("1.0", "2.0"), "default.yaml was"),
        ("../shared/prompts.py", lambda text: text + "\nx = 1\n", "prompts.py was"),
        ("data/questions.jsonl", lambda text: text.replace("w4", "w5"), "questions.jsonl was"),
        ("data/train.jsonl", lambda text: text.replace("w7", "w8"), "train.jsonl was"),
    ],
)
def test_an_edited_file_of_a_task_is_named(tmp_path: Path, file: str, edit: Callable[[str], str], named: str) -> None:
    before = of_tasks(write(tmp_path))
    path = tmp_path / "words" / file
    path.write_text(edit(path.read_text("utf-8")), "utf-8")
    changed = list(differences(before, of_tasks(tmp_path)))
    assert [line for line in changed if line.startswith("tasks: select: words: ") and _matches(named, line)], changed


def _matches(pattern: str, line: str) -> bool:
    return re.search(rf": {pattern}", line) is not None


def test_files_of_other_tasks_and_outputs_change_nothing(tmp_path: Path) -> None:
    before = of_tasks(write(tmp_path))
    for name in ("README.md", "other.yaml", "other_utils.py", "results/run.json"):
        with (tmp_path / "words" / name).open("a") as file:
            file.write("# more\n")
    assert list(differences(before, of_tasks(tmp_path))) == []


def test_a_copied_folder_is_the_same(tmp_path: Path) -> None:
    write(tmp_path / "here")
    save_model(tmp_path / "here" / "model", tokenizer=TOKENS)
    shutil.copytree(tmp_path / "here", tmp_path / "there" / "deeper")
    yaml = tmp_path / "there" / "deeper" / "words" / "words.yaml"
    before = of_tasks(tmp_path / "here", {"recipient": tmp_path / "here" / "model"})
    shutil.copy(tmp_path / "here" / "words" / "words.yaml", yaml)
    shutil.rmtree(tmp_path / "here" / "model")
    moved = tmp_path / "there" / "deeper"
    now = of_tasks(moved, {"recipient": moved / "model"})
    assert list(differences(before, now)) == []


def test_a_folder_whose_yaml_names_another_place_or_has_another_comment_is_the_same(tmp_path: Path) -> None:
    before = of_tasks(write(tmp_path / "here"))
    write(tmp_path / "there", FILES | {"words.yaml": "# Words.\n" + FILES["words.yaml"]})
    assert list(differences(before, of_tasks(tmp_path / "there"))) == []


def test_an_import_of_a_name_made_on_the_way_brings_in_all_modules_below(tmp_path: Path) -> None:
    made = "import importlib\ndef grade(doc, results):\n    importlib.import_module('of_' + doc['answer'])\n"
    write(tmp_path, FILES | {"utils.py": made, "languages/of_w3.py": ""})
    before = of_tasks(tmp_path)
    (tmp_path / "words" / "languages" / "of_w3.py").write_text("x = 1\n")
    assert [line.split(" was")[0] for line in differences(before, of_tasks(tmp_path))] == [
        "tasks: select: words: languages/of_w3.py"
    ]


def test_functions_of_importable_packages_are_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "elsewhere" / "graders_of_words"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "grading.py").write_text("from .deep import same\ndef grade(doc, results):\n    return {'acc': 1.0}\n")
    (package / "deep.py").write_text("def same(a, b):\n    return a == b\n")
    monkeypatch.syspath_prepend(str(package.parent))
    yaml = FILES["words.yaml"].replace("utils.grade", "graders_of_words.grading.grade")
    before = of_tasks(write(tmp_path, FILES | {"words.yaml": yaml}))
    assert "utils.py" not in before["tasks"]["select"]["words"]
    (package / "deep.py").write_text("def same(a, b):\n    return a is b\n")
    assert [line.split(" was")[0] for line in differences(before, of_tasks(tmp_path))] == [
        "tasks: select: words: graders_of_words/deep.py"
    ]


def test_a_task_of_lm_evals_is_followed_into_its_utils_and_packages() -> None:
    manager = TaskManager()
    task = SimpleNamespace(config=SimpleNamespace(to_dict=lambda keep_callable: {}))
    files, _ = task_files(task, manager.task_index["minerva_math_algebra"].yaml_path, Files())
    assert "minerva_math_algebra.yaml" in files.declared
    assert "utils.py" in files.found.values()
    assert "sympy" in files.packages


def test_our_own_code_and_lm_evals_count_as_far_as_they_compute_figures(tmp_path: Path) -> None:
    code = of_tasks(write(tmp_path))["code"]
    assert {
        "turnswap/sweeps/in_memory.py",
        "turnswap/merge_methods/blending.py",
        "lm_eval/models/huggingface.py",
    } <= set(code)
    assert not [name for name in code if name.startswith(("turnswap/reports", "turnswap/commands", "lm_eval/_cli"))]


def test_packages_that_figures_go_through_count_with_their_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = of_tasks(write(tmp_path))
    versions = before["versions"]
    assert {"numpy", "datasets", "langdetect", "sacrebleu", "accelerate", "peft", "torch", "evaluate"} <= set(versions)
    assert "vllm" not in versions
    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "0" if name == "sacrebleu" else real(name))
    (changed,) = differences(before, of_tasks(tmp_path))
    assert changed.startswith("versions: sacrebleu was ")


def test_vllm_counts_where_it_evaluates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site-packages"
    for name, text in (
        ("vllm/__init__.py", ""),
        ("vllm-9.9.dist-info/METADATA", "Metadata-Version: 2.1\nName: vllm\nVersion: 9.9\n"),
        ("vllm-9.9.dist-info/top_level.txt", "vllm\n"),
    ):
        (installed / name).parent.mkdir(parents=True, exist_ok=True)
        (installed / name).write_text(text)
    monkeypatch.syspath_prepend(str(installed))
    identity_module._distributions.cache_clear()
    found = of_tasks(write(tmp_path), evaluator="vllm")
    identity_module._distributions.cache_clear()
    assert found["versions"]["vllm"] == "9.9"
    assert "turnswap/sweeps/vllm_layerswap.py" in found["code"]


def test_which_of_several_devices_does_not_matter(tmp_path: Path) -> None:
    one, other, cpu = (of_tasks(write(tmp_path), device=device) for device in ("cuda:0", "cuda:1", "cpu"))
    assert list(differences(one, other)) == []
    assert list(differences(one, cpu)) == ["settings: device was cuda and is cpu"]


def test_few_shot_examples_count_where_there_are_any(tmp_path: Path) -> None:
    before = of_tasks(write(tmp_path))["tasks"]["select"]["words"]
    shown = of_tasks(tmp_path, num_fewshot=1)["tasks"]["select"]["words"]
    assert before["examples"] is None
    assert shown["examples"]


def test_a_folder_that_a_setting_names_counts_by_its_content(tmp_path: Path) -> None:
    write(tmp_path)
    for name in ("one", "two"):
        save_model(tmp_path / name / "tokenizer", tokenizer=TOKENS)
    before = of_tasks(tmp_path, model_args={"tokenizer": str(tmp_path / "one" / "tokenizer")})
    moved = of_tasks(tmp_path, model_args={"tokenizer": str(tmp_path / "two" / "tokenizer")})
    assert list(differences(before, moved)) == []
    (tmp_path / "two" / "tokenizer" / "tokenizer_config.json").write_text("{}")
    edited = of_tasks(tmp_path, model_args={"tokenizer": str(tmp_path / "two" / "tokenizer")})
    assert [line.split(" was")[0] for line in differences(before, edited)] == [
        "files of settings: tokenizer/tokenizer_config.json"
    ]


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json"])
def test_a_model_edited_anywhere_is_named_with_its_file(tmp_path: Path, file: str) -> None:
    write(tmp_path)
    models = {"recipient": save_model(tmp_path / "model", tokenizer=TOKENS)}
    before = of_tasks(tmp_path, models)
    content = bytearray((tmp_path / "model" / file).read_bytes())
    if file.endswith(".safetensors"):
        content[len(content) // 2] ^= 1
    else:
        content += b" "
    times = (tmp_path / "model" / file).stat()
    (tmp_path / "model" / file).write_bytes(content)
    os.utime(tmp_path / "model" / file, ns=(times.st_atime_ns, times.st_mtime_ns))
    (changed,) = differences(before, of_tasks(tmp_path, models))
    assert changed.startswith(f"models: recipient: {file} was ")


def test_large_files_are_hashed_once_until_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checksums, "SETTLED", 0)
    hashed: list[Path] = []
    whole = checksums.sha256
    monkeypatch.setattr(checksums, "sha256", lambda path: hashed.append(path) or whole(path))
    path = tmp_path / "weights"
    path.write_bytes(bytes(checksums.REMEMBERED))
    time.sleep(0.01)
    first = checksums.remembered(path)
    assert checksums.remembered(path) == first == whole(path)
    assert hashed == [path]
    times = path.stat()
    path.write_bytes(bytes(checksums.REMEMBERED - 1) + b"\1")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    time.sleep(0.01)
    assert checksums.remembered(path) == whole(path) != first
    (kept,) = [file for file in (tmp_path / "cache").rglob("*") if file.is_file() and file.read_text() != first]
    kept.write_text("damaged")
    assert checksums.remembered(path) == whole(path)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "cache").write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checksums, "SETTLED", 0)
    (tmp_path / "weights").write_bytes(bytes(checksums.REMEMBERED))
    assert checksums.remembered(tmp_path / "weights") == checksums.sha256(tmp_path / "weights")


def test_data_are_named_by_globs_and_folders_but_not_by_patterns_of_filters(tmp_path: Path) -> None:
    files = write(tmp_path) / "words" / "data"
    content = {
        "dataset_kwargs": {"data_files": {"test": "data/q*.jsonl"}, "data_dir": str(files)},
        "filter_list": [
            {"function": "regex", "regex_pattern": ".*"},
            {"function": "regex", "regex_pattern": "words/*"},
        ],
    }
    found = Files()
    settled = found.settle(content, tmp_path / "words")
    assert sorted(found.found.values()) == ["data/train.jsonl", "questions.jsonl"]
    assert settled == {
        "dataset_kwargs": {"data_files": {"test": "<q*.jsonl>"}, "data_dir": "<data>"},
        "filter_list": content["filter_list"],
    }
