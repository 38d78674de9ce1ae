"""What tests of searches share: experts of which one swap alone is good, local tasks, and searches in this process."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from lm_eval.tasks import TaskManager

from turnswap.sweeps import preparing
from turnswap.sweeps import search as search_module
from turnswap.sweeps import settings as settings_module
from turnswap.sweeps.kept import FOLDER, Evaluation, read_evaluation
from turnswap.sweeps.rows import Search

from ..merge_methods.models import GROUPED, SIZES, TOKENS, save_model, save_tokenizer

LAYERS = 6
BEST = {"bottom": 2, "top": 1}  # of the copying experts


def save_copying_expert(folder: Path, broken: Sequence[int], seed: int) -> Path:
    """A model that repeats the last word, but for layers that drown it in noise."""
    config = transformers.LlamaConfig(**SIZES, **GROUPED, num_hidden_layers=LAYERS)
    torch.manual_seed(0)
    model = transformers.LlamaForCausalLM(config)
    words = torch.randn(SIZES["vocab_size"], SIZES["hidden_size"])
    model.model.embed_tokens.weight.data.copy_(words)
    model.lm_head.weight.data.copy_(words)
    torch.manual_seed(seed)
    for number, layer in enumerate(model.model.layers):
        layer.self_attn.o_proj.weight.data.zero_()
        noise = 200 if number in broken else 0
        layer.mlp.down_proj.weight.data.copy_(noise * torch.randn_like(layer.mlp.down_proj.weight))
    model.save_pretrained(folder)
    save_tokenizer(folder, TOKENS)
    return folder


def write_tasks(folder: Path, documents: int = 60) -> Path:
    """Two tasks on the same 60 questions: ``copying``, and ``copying_shown`` with two examples before each."""
    folder.mkdir(parents=True, exist_ok=True)
    drawing = random.Random(0)
    lines = []
    for _ in range(documents):
        words = drawing.sample(TOKENS[3:], 8)
        label = drawing.randrange(4)
        lines.append({"question": " ".join([*words[:3], words[4 + label]]), "choices": words[4:], "label": label})
    data = folder / "questions.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    for name, shots in (("copying", 0), ("copying_shown", 2)):
        files = f"{{test: {data}, train: {data}}}"
        (folder / f"{name}.yaml").write_text(
            f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {files}}}\ntest_split: test\n"
            f"fewshot_split: train\nnum_fewshot: {shots}\noutput_type: multiple_choice\n"
            'doc_to_text: "{{question}}"\ndoc_to_choice: choices\ndoc_to_target: label\nmetric_list:\n'
            "  - {metric: acc, aggregation: mean, higher_is_better: true}\n"
            "  - {metric: brier_score, aggregation: brier_score, higher_is_better: false}\n"
            "metadata: {version: 1.0}\n",
            "utf-8",
        )
    return folder


@pytest.fixture(scope="session")
def copying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``recipient`` and ``donor``, of which bottom 2 and top 1 alone is whole, and ``tasks``."""
    root = tmp_path_factory.mktemp("copying")
    save_copying_expert(root / "recipient", (0, 1, LAYERS - 1), 1)
    save_copying_expert(root / "donor", range(2, LAYERS - 1), 2)
    write_tasks(root / "tasks")
    return root


@pytest.fixture(scope="session")
def noise(tmp_path_factory: pytest.TempPathFactory, copying: Path) -> Path:
    """A folder with a random ``recipient`` and ``donor`` in bfloat16."""
    root = tmp_path_factory.mktemp("noise")
    for seed, name in enumerate(("recipient", "donor")):
        save_model(root / name, seed=seed, layers=LAYERS, tokenizer=TOKENS)
    return root


@pytest.fixture(autouse=True)
def own_tasks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval's own tasks take seconds to list; the whole command is run with them in one test."""

    def open_manager(settings: Any) -> TaskManager:
        return TaskManager(include_path=settings.include_path, include_defaults=False)

    monkeypatch.setattr(preparing, "open_manager", open_manager)


def settings_of(copying: Path, models: Path | None = None, **more: Any) -> settings_module.Settings:
    """Settings of a search on the copying tasks; what is empty is left out."""
    models = models or copying
    content: dict[str, Any] = {
        "recipient": str(models / "recipient"),
        "donor": str(models / "donor"),
        "include_path": str(copying / "tasks"),
        "select_on": "copying:0-29",
        "metric": "acc",
        "batch_size": 8,
        "device": "cpu",
        "held_out": 0,
        "controls": 0,
        "averages": [],
    }
    if not more.keys() & {"swaps", "space"}:
        content["grid"] = {"bottom": "0-3", "top": "0-2"}
    return settings_module.read_settings(None, {key: value for key, value in (content | more).items() if value != ""})


def run(copying: Path, folder: Path, models: Path | None = None, **more: Any) -> tuple[Search, list[str]]:
    """A search in this process, and what it said."""
    said: list[str] = []
    return search_module.run(settings_of(copying, models, **more), folder, said.append), said


def evaluations(folder: Path) -> list[Evaluation]:
    """The evaluations in a folder."""
    return [read_evaluation(path) for path in sorted((folder / FOLDER).glob("*.parquet"))]
