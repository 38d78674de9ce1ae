"""Who was measured: runs that differ in what changes the model are never put together."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import Turnswap

from .evaluations import evaluate, follows_share

Edit = Callable[..., Path]


@pytest.fixture(scope="module")
def english_and_french(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    given = {"dtype": "auto", "batch_size": 4}
    return {
        code: evaluate(folder / code, "org/m", follows_share(0.6), tasks=(f"multiif_{code}",), model_args=given)
        for code in ("en", "fr")
    }


@pytest.fixture
def edited(english_and_french: dict[str, Path], tmp_path: Path) -> Edit:
    """A copy of the run in a language, as if these had been its arguments; settings of generation under ``gen``."""

    def edit(
        folder: str,
        code: str = "en",
        gen: dict[str, Any] | None = None,
        config: dict[str, Any] | None = None,
        name: str = "org/m",
        text: str | None = None,
        **arguments: Any,
    ) -> Path:
        copy = shutil.copytree(english_and_french[code], tmp_path / folder)
        (results,) = copy.rglob("results_*.json")
        content = json.loads(results.read_text("utf-8"))
        content["config"] |= {"model_args": text or {**content["config"]["model_args"], **arguments}, **(config or {})}
        content["configs"][f"multiif_{code}"]["generation_kwargs"] |= gen or {}
        content["model_name"] = name
        results.write_text(json.dumps(content), "utf-8")
        return copy

    return edit


def models() -> dict[str, set[str]]:
    """The languages of each model in the table."""
    table = pd.read_csv("t.csv")
    return {name: set(own.language) - {"macro", "pooled"} for name, own in table.groupby("model")}


@pytest.mark.parametrize(
    ("english", "french", "names"),
    [
        ({"dtype": "float16"}, {"dtype": "bfloat16"}, ("org/m (dtype=float16)", "org/m (dtype=bfloat16)")),
        ({"load_in_4bit": True}, {}, ("org/m (load_in_4bit=True)", "org/m")),
        ({"quantization": "awq"}, {"quantization": "gptq"}, ("org/m (quantization=awq)", "org/m (quantization=gptq)")),
        (
            {"lora_local_path": "a"},
            {"lora_local_path": "b"},
            ("org/m (lora_local_path=a)", "org/m (lora_local_path=b)"),
        ),
        ({"lora_local_path": "a", "enable_lora": True}, {}, ("org/m (lora_local_path=a)", "org/m")),
        (
            {"gguf_file": "Q4.gguf"},
            {"gguf_file": "Q8.gguf"},
            ("org/m (gguf_file=Q4.gguf)", "org/m (gguf_file=Q8.gguf)"),
        ),
        ({"revision": "v1"}, {}, ("org/m (revision=v1)", "org/m")),
        ({"subfolder": "x"}, {}, ("org/m (subfolder=x)", "org/m")),
        ({"tokenizer": "org/t"}, {}, ("org/m (tokenizer=org/t)", "org/m")),
        ({"think_end_token": "</think>"}, {}, ("org/m (think_end_token=</think>)", "org/m")),
        ({"enable_thinking": False}, {}, ("org/m (enable_thinking=False)", "org/m")),
        (
            {"chat_template_args": {"enable_thinking": True}},
            {"chat_template_args": {"enable_thinking": False}},
            (
                'org/m (chat_template_args={"enable_thinking": true})',
                'org/m (chat_template_args={"enable_thinking": false})',
            ),
        ),
        ({"gen": {"reasoning_effort": "low"}}, {}, ("org/m (reasoning_effort=low)", "org/m")),
        (
            {"gen": {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}}},
            {},
            ('org/m (chat_template_kwargs={"enable_thinking": false})', "org/m"),
        ),
        (
            {"base_url": "https://one.example/v1"},
            {"base_url": "https://two.example/v1"},
            ("org/m (base_url=https://one.example/v1)", "org/m (base_url=https://two.example/v1)"),
        ),
        (
            {"config": {"model_sha": "1" * 40}},
            {"config": {"model_sha": "2" * 40}},
            ("org/m (sha=11111111)", "org/m (sha=22222222)"),
        ),
        ({"config": {"model": "vllm"}}, {"config": {"model": "hf"}}, ("org/m (backend=vllm)", "org/m (backend=hf)")),
        ({"whatever_comes_next_year": 1}, {}, ("org/m (whatever_comes_next_year=1)", "org/m")),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_runs_of_one_name_that_differ_are_several_models_whose_names_tell_the_difference(
    english: dict[str, Any], french: dict[str, Any], names: tuple[str, str], edited: Edit, read: Any
) -> None:
    found = read(edited("a", "en", **english), edited("b", "fr", **french))
    assert found.exit_code == 0, found.stderr
    assert models() == {names[0]: {"en"}, names[1]: {"fr"}}


@pytest.mark.parametrize(
    ("english", "french"),
    [
        ({"batch_size": 1, "device": "cuda:0", "parallelize": True}, {"batch_size": "auto", "device": "cpu"}),
        ({"tensor_parallel_size": 8, "gpu_memory_utilization": 0.9, "max_num_seqs": 3}, {"data_parallel_size": 2}),
        ({"num_concurrent": 64, "max_retries": 9, "timeout": 900, "trust_remote_code": True}, {"num_concurrent": 1}),
        ({"base_url": "http://localhost:8000/v1"}, {"base_url": "http://127.0.0.1:51763/v1"}),
        ({"base_url": "https://me:secret@api.example/v1?key=1"}, {"base_url": "https://api.example/v1"}),
        ({"header": {"Authorization": "Bearer 1"}, "auth_token": "1"}, {}),
        ({"dtype": "auto", "revision": "main", "load_in_4bit": False, "peft": None, "subfolder": ""}, {}),
        ({"dtype": "bfloat16"}, {"config": {"model_dtype": "torch.bfloat16"}}),
        ({"config": {"model_sha": "1" * 40}, "revision": "v1"}, {"config": {"model_sha": "1" * 40}}),
        ({"text": "pretrained=org/m,quantization=awq,batch_size=8"}, {"quantization": "awq"}),
        (
            {"text": "pretrained=org/m,load_in_8bit=True,enable_thinking=false"},
            {"load_in_8bit": True, "enable_thinking": False},
        ),
    ],
)
def test_what_changes_speed_or_place_alone_leaves_them_one_model(
    english: dict[str, Any], french: dict[str, Any], edited: Edit, read: Any
) -> None:
    found = read(edited("a", "en", **english), edited("b", "fr", **french))
    assert found.exit_code == 0, found.stderr
    assert models() == {"org/m": {"en", "fr"}}


def test_an_adapter_or_a_delta_is_always_in_the_name(edited: Edit, read: Any) -> None:
    # lm-eval names the run after the adapter, and the weights below it stand in its arguments alone.
    assert read(edited("a", name="org/adapter", pretrained="org/m", peft="org/adapter")).exit_code == 0
    assert models() == {"org/m (peft=org/adapter)": {"en"}}
    assert read(edited("b", name="org/delta", pretrained="org/m", delta="org/delta")).exit_code == 0
    assert models() == {"org/m (delta=org/delta)": {"en"}}
    other = edited("c", "fr", name="org/adapter", pretrained="org/other", peft="org/adapter")
    assert read("a", other).exit_code == 0
    assert models() == {"org/m (peft=org/adapter)": {"en"}, "org/other (peft=org/adapter)": {"fr"}}


def test_three_models_of_one_name_are_told_apart_in_as_few_words_as_it_takes(edited: Edit, read: Any) -> None:
    edited("all/a", dtype="float16", seed=1)
    edited("all/b", dtype="bfloat16", seed=1)
    edited("all/c", dtype="bfloat16", seed=1, quantization="awq", max_length=4096)
    assert read("all").exit_code == 0
    assert set(models()) == {
        "org/m (dtype=float16)",
        "org/m (dtype=bfloat16)",
        "org/m (dtype=bfloat16, max_length=4096)",
    }


def test_one_name_for_two_that_differ_is_refused_with_both_values(edited: Edit, read: Any) -> None:
    found = read(f"X={edited('a', 'en', quantization='awq')}", f"X={edited('b', 'fr', quantization='gptq')}")
    assert found.exit_code == 1
    assert "quantization is awq and gptq" in re.sub(r"\s+", " ", found.stderr)
    edited("all/a", "en", peft="one")
    edited("all/b", "fr", peft="two")
    found = read("X=all")
    assert found.exit_code == 1
    assert "peft is one and two" in re.sub(r"\s+", " ", found.stderr)


def test_models_that_differ_in_what_is_theirs_are_compared(edited: Edit, turnswap: Turnswap) -> None:
    low = edited("low", gen={"reasoning_effort": "low"}, enable_thinking=True)
    high = edited("high", gen={"reasoning_effort": "high"}, quantization="awq")
    found = turnswap("compare", low, high, "--resamples", 100)
    assert found.exit_code == 0, found.stderr
    board = turnswap("leaderboard", low, high, "--resamples", 100)
    assert board.exit_code == 0, board.stderr
    # What is the benchmark's may not differ, wherever it is said.
    capped = edited("capped", gen={"reasoning_effort": "high", "extra_body": {"top_k": 5}})
    found = turnswap("compare", high, capped, "--resamples", 100)
    assert found.exit_code == 1
    assert "top_k" in found.stderr


def test_the_signature_tells_the_settings_and_no_address_and_no_secret(edited: Edit, read: Any) -> None:
    url = "https://me:secret@api.example/v1"
    found = read(edited("a", quantization="awq", base_url=url, header={"k": "secret"}, gen={"reasoning_effort": "low"}))
    assert "|args:quantization:awq,reasoning_effort:low" in found.stdout
    assert "api.example" not in found.stdout
    assert "secret" not in Path("t.csv").read_text()
