"""What already lies where a merge is to be written, and a disk without room: told before, and left as it was."""

from __future__ import annotations

import collections
import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from mergekit.options import MergeOptions

from turnswap.core.errors import UserError
from turnswap.merge_methods.verify import verify

from ..conftest import Turnswap
from .conftest import contents
from .folder_files import check, write
from .models import BLENDED, changed_copy, merge, recipe
from .test_plan_command import write_hollow_model

Experts = tuple[Path, Path]
Refusal = Callable[..., str]


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "model-00001-of-00002.safetensors", "pytorch_model.bin"]
)
def test_an_output_folder_that_holds_a_model_or_a_part_of_one_is_left_as_it_is(
    experts: Experts, refusal: Refusal, tmp_path: Path, file: str
) -> None:
    out = tmp_path / "work" / "out"
    out.mkdir()
    (out / file).write_text("precious")
    message = refusal(recipe(*experts))
    assert f"{out} already holds a model" in message
    assert (out / file).read_text() == "precious"


def test_the_recipients_own_folder_as_output_is_left_as_it_is(experts: Experts, tmp_path: Path) -> None:
    recipient = shutil.copytree(experts[0], tmp_path / "recipient")
    before = contents(tmp_path)
    with pytest.raises(UserError, match="already holds a model"):
        merge(recipe(recipient, experts[1]), recipient)
    assert contents(tmp_path) == before


def test_an_unrelated_file_in_the_output_folder_is_kept(experts: Experts, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "notes").mkdir(parents=True)
    (out / "notes" / "todo.txt").write_text("evaluate it")
    (out / ".gitattributes").write_text("*.safetensors filter=lfs")
    merge(recipe(*experts), out)
    assert (out / "notes" / "todo.txt").read_text() == "evaluate it"
    assert (out / ".gitattributes").read_text() == "*.safetensors filter=lfs"
    assert verify(out, MergeOptions()).status == "verified"


def test_a_refused_merge_keeps_the_unrelated_file_too(experts: Experts, refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "work" / "out").mkdir()
    (tmp_path / "work" / "out" / "todo.txt").write_text("evaluate it")
    spoilt = changed_copy(experts[1], tmp_path / "spoilt", lambda content: content[BLENDED].fill_(float("nan")))
    assert "is not finite" in refusal(recipe(experts[0], spoilt))


def test_an_output_path_that_is_a_file_is_left_as_it_is(experts: Experts, refusal: Refusal, tmp_path: Path) -> None:
    (tmp_path / "work" / "out").write_text("a diary")
    message = refusal(recipe(*experts))
    assert f"{tmp_path / 'work' / 'out'} is a file" in message
    assert "Name another one" in message


def test_an_output_folder_that_links_to_another_disk_is_filled(experts: Experts, tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev or not os.access(memory, os.W_OK):
        pytest.skip("no second file system at hand")
    with tempfile.TemporaryDirectory(dir=memory) as elsewhere:
        (tmp_path / "out").symlink_to(elsewhere)
        merge(recipe(*experts), tmp_path / "out")
        assert verify(tmp_path / "out", MergeOptions()).status == "verified"
        assert Path(elsewhere, "model.safetensors").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


Usage = collections.namedtuple("Usage", "total used free")


def test_a_disk_without_room_is_told_before_anything_is_written(
    refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipient, donor = (
        write_hollow_model(tmp_path / name, num_hidden_layers=4, intermediate_size=4096)
        for name in ("recipient", "donor")
    )
    free = 2_000_000_000
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(free * 10, free * 9, free))
    message = refusal(recipe(recipient, donor, {"bottom": 1, "top": 1, "transition": 0}))
    assert "The merged model takes 2.84 GB" in message
    assert f"{tmp_path / 'work'} has 2.00 GB free" in message
    assert "another disk" in message


def test_room_is_looked_for_where_the_output_will_lie_even_if_its_parents_are_not_there_yet(
    experts: Experts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def usage(path: object) -> Usage:
        asked.append(Path(str(path)))
        return Usage(10**12, 0, 10**12)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    merge(recipe(*experts), tmp_path / "some" / "where" / "out")
    assert asked == [tmp_path]
    assert verify(tmp_path / "some" / "where" / "out", MergeOptions()).status == "verified"


STRAYS = (
    "special_tokens_map.json", "vocab.json", "modeling_x.py", "additional_chat_templates/evil.jinja",
    "adapter_model.pt", "params.json", "SHA256SUMS", "layer_swap.json",
)  # fmt: skip


@pytest.mark.parametrize("name", STRAYS)
def test_a_stray_file_in_the_output_folder_is_refused_before_the_merge(
    merged_folders: Path, tmp_path: Path, name: str
) -> None:
    write(name, "{}")(tmp_path / "out")
    before = contents(tmp_path)
    with pytest.raises(UserError, match=re.escape(name)):
        merge(recipe(merged_folders / "recipient", merged_folders / "donor"), tmp_path / "out")
    assert contents(tmp_path) == before


def test_a_merge_fills_a_folder_that_holds_some_of_the_recipients_files(
    merged_folders: Path, tmp_path: Path, turnswap: Turnswap
) -> None:
    templates = "additional_chat_templates"
    shutil.copytree(merged_folders / "recipient" / templates, tmp_path / "out" / templates)
    (tmp_path / "out" / "todo.txt").write_text("evaluate it")
    out = merge(recipe(merged_folders / "recipient", merged_folders / "donor"), tmp_path / "out")
    assert check(turnswap, out) == []
    assert (out / "todo.txt").is_file()


def test_a_move_that_fails_is_undone(merged_folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "todo.txt").write_text("evaluate it")
    before = contents(tmp_path)
    move = os.replace

    def failing(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / "out" / "vocab.json":
            raise OSError(28, "No space left on device")
        move(source, target)

    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(UserError, match="nothing was kept"):
        merge(recipe(merged_folders / "recipient", merged_folders / "donor"), tmp_path / "out")
    assert contents(tmp_path) == before
