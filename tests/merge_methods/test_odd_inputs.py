"""What stands where something else should: said in words, by every command, and no code of a model runs."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from mergekit.options import MergeOptions

from turnswap.commands.main import main
from turnswap.core.errors import UserError
from turnswap.core.settings import parse_yaml
from turnswap.merge_methods.configuration import read_configuration
from turnswap.merge_methods.verify import verify

from .models import TOKENS, merge, recipe, save_model, save_tokenizer

Experts = tuple[Path, Path]
Refusal = Callable[..., str]
PARAMETERS = {"bottom": 1, "top": 1, "transition": 0}


@pytest.fixture(scope="module")
def with_tokenizers(tmp_path_factory: pytest.TempPathFactory) -> Experts:
    root = tmp_path_factory.mktemp("odd")
    pair = save_model(root / "recipient", seed=1, layers=3), save_model(root / "donor", seed=2, layers=3)
    for model in pair:
        save_tokenizer(model, TOKENS)
    return pair


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("dtype: bfloat16\nmodels: []\ndtype: float32", "line 3: dtype stands twice"),
        ("parameters:\n  bottom: 1\n  top: 1\n  bottom: 2", "line 4: bottom stands twice"),
        ("models: [{model: a, model: b}]", "line 1: model stands twice"),
        ("layers: 012", "line 1: YAML reads 012 as 10"),
        ("layers: 1_0", "line 1: YAML reads 1_0 as 10"),
        ("bottom: 1:2", "line 1: YAML reads 1:2 as 62"),
    ],
)
def test_yaml_that_says_something_else_than_it_seems_to_is_refused(tmp_path: Path, written: str, said: str) -> None:
    file = tmp_path / "swap.yml"
    file.write_text(f"{written}\nmerge_method: layer_swap\n")
    with pytest.raises(UserError, match=f"swap.yml, {said}"):
        read_configuration(file)


def test_a_merge_key_may_be_overridden_and_numbers_are_numbers() -> None:
    content = parse_yaml("a: &a {x: 1, y: -0}\nb: {<<: *a, x: 20, '1': 1, 1: 2}", "here", "")
    assert content["b"] == {"x": 20, "y": 0, "1": 1, 1: 2}


def test_a_merge_reads_its_yaml_as_strictly(experts: Experts, refusal: Refusal) -> None:
    assert "dtype stands twice" in refusal(recipe(*experts) + "dtype: float32\n")


@pytest.mark.parametrize("path", ["", " ", "\n"])
def test_an_empty_path_is_called_empty(experts: Experts, refusal: Refusal, path: str) -> None:
    assert "The path of a model is empty" in refusal(recipe(experts[0], path))


@pytest.mark.parametrize("content", [None, "[]", '{"weight_map": 3}', '{"weight_map": {"a": 3}}', "[" * 100_000])
def test_an_index_that_is_none_is_called_that(
    experts: Experts, refusal: Refusal, tmp_path: Path, content: str | None
) -> None:
    odd = shutil.copytree(experts[1], tmp_path / "odd")
    index = odd / "model.safetensors.index.json"
    index.mkdir() if content is None else index.write_text(content)
    said = refusal(recipe(experts[0], odd))
    assert str(index) in said
    assert any(words in said for words in ("no index of weights", "Is a directory", "recursion"))


def test_a_folder_in_place_of_the_weights_is_no_file(experts: Experts, refusal: Refusal, tmp_path: Path) -> None:
    odd = shutil.copytree(experts[1], tmp_path / "odd")
    (odd / "model.safetensors").unlink()
    (odd / "model.safetensors").mkdir()
    assert f"{odd / 'model.safetensors'} is no file" in refusal(recipe(experts[0], odd))


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("sharded", [False, True])
def test_no_pickle_is_trusted_whatever_torch_is_told(
    experts: Experts, refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharded: bool, lazy: bool
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    ran = tmp_path / "ran"

    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(ran),)

    folder = tmp_path / "pickled"
    folder.mkdir()
    shutil.copy(experts[1] / "config.json", folder)
    name = "part.bin" if sharded else "pytorch_model.bin"
    torch.save({"w": torch.ones(2), "x": Malicious()}, folder / name)
    if sharded:
        (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"w": name, "x": name}}))
    assert "is a pickle that wants to run code" in refusal(recipe(experts[0], folder), lazy_unpickle=lazy)
    assert not ran.exists()


@pytest.mark.parametrize(("damaged", "words"), [(0, "damaged and tokenizer.json is read"), (1, "readable and")])
def test_a_damaged_tokenizer_is_named(
    with_tokenizers: Experts, refusal: Refusal, tmp_path: Path, damaged: int, words: str
) -> None:
    odd = shutil.copytree(with_tokenizers[damaged], tmp_path / "odd")
    (odd / "tokenizer.json").write_text("{")
    pair = [odd if n == damaged else model for n, model in enumerate(with_tokenizers)]
    assert words in refusal(recipe(*pair, PARAMETERS))


@pytest.mark.parametrize(("name", "content"), [("tokenizer_config.json", b"[1]"), ("chat_template.jinja", b"\x80")])
def test_verify_reads_a_tokenizer_of_any_form(
    with_tokenizers: Experts, tmp_path: Path, name: str, content: bytes
) -> None:
    merged = merge(recipe(*with_tokenizers, PARAMETERS), tmp_path / "merged")
    (merged / name).write_bytes(content)
    assert verify(merged, MergeOptions()).status in ("verified", "differs")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_called_that(experts: Experts, refusal: Refusal, tmp_path: Path) -> None:
    odd = shutil.copytree(experts[1], tmp_path / "odd")
    (odd / "model.safetensors").chmod(0)
    assert "model.safetensors cannot be read: Permission denied" in refusal(recipe(experts[0], odd))


@pytest.mark.parametrize("out", ["file/out", "/proc/out", ""])
def test_an_output_that_cannot_be_made_is_said(
    experts: Experts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("")
    with pytest.raises(UserError) as raised:
        merge(recipe(*experts), out)
    assert "recipient" not in str(raised.value)
    assert sorted(os.listdir()) == ["file"]


def test_an_output_in_folders_that_are_not_there_is_made(experts: Experts, tmp_path: Path) -> None:
    assert (merge(recipe(*experts), tmp_path / "a" / "b") / "config.json").is_file()


@pytest.mark.parametrize("content", [None, "a: b: c"])
def test_the_command_says_that_its_configuration_cannot_be_read(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "swap.yml"
    if content:
        file.write_text(content)
    said = CliRunner().invoke(main, ["mergekit-yaml", str(file), str(tmp_path / "out")])
    assert said.exit_code == 1
    assert "mergekit-yaml cannot read its configuration" in " ".join(said.output.split())
