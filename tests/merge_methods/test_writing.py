"""Files put together from byte ranges: the very bytes of safetensors, and an error where a source changes meanwhile."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from mergekit.io.tensor_writer import TensorWriter
from mergekit.options import MergeOptions
from safetensors.torch import load_file, save_file

from turnswap.core.errors import UserError
from turnswap.merge_methods import writing
from turnswap.merge_methods.checkpoint import Checkpoint, StoredTensor
from turnswap.merge_methods.verify import verify
from turnswap.merge_methods.writing import write_model

from ..conftest import Command
from .models import merge, pair, recipe, save_model, tensors

TYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.int32, torch.uint8, torch.bool)
EIGHT_BITS = (torch.float8_e4m3fn, torch.float8_e5m2)
HOLLOW = {"bottom": 2, "top": 1, "transition": 0}  # a swap in which nothing is computed


def mixed() -> dict[str, torch.Tensor]:
    """Tensors of every type and of unusual shapes and names, none a multiple of eight bytes by design."""
    generator = torch.Generator().manual_seed(0)
    content = {}
    for number, dtype in enumerate((*TYPES, *EIGHT_BITS)):
        for shape in ((3, 5), (7,), (), (0, 4), (2, 1, 3)):
            values = torch.randint(0, 2, shape, generator=generator) if number % 2 else torch.rand(shape) * 9
            content[f"layer.{number}.{'x'.join(map(str, shape))}"] = values.to(dtype)
    names = ("größe", "层.0", 'quo"ted\\', "tab\tnew\nline", "\x01\x7f", "😀")
    return content | {name: torch.full((3,), n, dtype=torch.bfloat16) for n, name in enumerate(names)}


def stored_in_halves(folder: Path, content: dict[str, torch.Tensor]) -> list[StoredTensor]:
    """The tensors, saved into two files and their index."""
    folder.mkdir()
    places = {}
    for half in range(2):
        part = dict(list(content.items())[half::2])
        save_file(part, folder / f"model-{half}.safetensors")
        places |= dict.fromkeys(part, f"model-{half}.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": places}))
    stored = Checkpoint(folder).stored
    return [stored[name] for name in content]


def write(stored: list[StoredTensor], folder: Path, shard_size: int = 0) -> Path:
    folder.mkdir()
    write_model(stored, folder, shard_size, quiet=True, scratch=folder / "scratch")
    return folder


def refuse(*_: Any) -> int:
    raise OSError(18, "Invalid cross-device link")


def copy_nothing(*_: Any) -> int:
    return 0


@pytest.mark.parametrize("kernel", [None, refuse, copy_nothing, "absent"])
def test_a_file_is_the_one_that_safetensors_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: Callable[..., int] | str | None
) -> None:
    if kernel == "absent":
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    elif kernel:
        monkeypatch.setattr(os, "copy_file_range", kernel, raising=False)
    monkeypatch.setattr(writing, "CHUNK", 10)
    content = mixed()
    out = write(stored_in_halves(tmp_path / "source", content), tmp_path / "out")
    save_file(content, tmp_path / "expected", metadata={"format": "pt"})
    assert (out / "model.safetensors").read_bytes() == (tmp_path / "expected").read_bytes()


@pytest.mark.parametrize("shard_size", [1, 40, 100, 10_000])
def test_shards_and_their_index_are_those_of_mergekits_writer(tmp_path: Path, shard_size: int) -> None:
    content = mixed()
    with TensorWriter(str(tmp_path / "expected"), max_shard_size=shard_size) as writer:
        for name, tensor in content.items():
            writer.save_tensor(name, tensor)
    out = write(stored_in_halves(tmp_path / "source", content), tmp_path / "out", shard_size)
    found, expected = ({p.name: p.read_bytes() for p in folder.iterdir()} for folder in (out, tmp_path / "expected"))
    index = [json.loads(files.pop("model.safetensors.index.json", b"null")) for files in (found, expected)]
    assert index[0] == index[1]
    assert (index[0] is None) == (shard_size == 10_000)
    assert found == expected


def test_neighbours_are_copied_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {f"w{n}": torch.rand(50) for n in range(20)}
    stored = stored_in_halves(tmp_path / "source", dict(sorted(content.items())))
    opened = []
    original = writing._copy
    monkeypatch.setattr(writing, "_copy", lambda run, target: opened.append(run) or original(run, target))
    first_half = [tensor for tensor in stored if tensor.file == stored[0].file]
    out = write(first_half, tmp_path / "out")
    assert len(opened) == 1
    assert load_file(out / "model.safetensors").keys() == {tensor.name for tensor in first_half}


def cut(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size - 4)


def grow(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b"more")


def rewrite(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content)
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))


@pytest.mark.parametrize("change", [cut, grow, rewrite, Path.unlink])
def test_a_source_that_changes_while_it_is_merged_is_named_and_nothing_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    recipient, donor = pair(tmp_path)
    file = donor / "model.safetensors"
    original = writing._header

    def meanwhile(shard: Any) -> Any:
        change(file)
        return original(shard)

    monkeypatch.setattr(writing, "_header", meanwhile)
    with pytest.raises(UserError) as raised:
        merge(recipe(recipient, donor), tmp_path / "out")
    assert str(file) in str(raised.value)
    assert "run it again" in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["donor", "recipient"]


@pytest.mark.parametrize("parameters", [HOLLOW, {"bottom": 2, "top": 1, "transition": 2}])
@pytest.mark.parametrize("shard_size", [50_000, 10**9])
def test_a_swaps_files_are_those_of_safetensors_and_hold_nothing_else(
    tmp_path: Path, parameters: dict[str, Any], shard_size: int
) -> None:
    recipient, donor = (save_model(tmp_path / n, seed=len(n), shards="40KB") for n in ("recipient", "donor"))
    out = merge(recipe(recipient, donor, parameters), tmp_path / "out", out_shard_size=shard_size)
    for file in out.glob("*.safetensors"):
        save_file(load_file(file), tmp_path / "expected", metadata={"format": "pt"})
        assert file.read_bytes() == (tmp_path / "expected").read_bytes()
    assert verify(out, MergeOptions()).status == "verified"
    small = {"README.md", "config.json", "generation_config.json", "mergekit_config.yml"}
    assert {path.name for path in out.iterdir() if "safetensors" not in path.name} == small
    assert {path.name for path in tmp_path.iterdir()} == {"donor", "recipient", "out", "expected"}
    _, loading = transformers.AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not loading["missing_keys"] | loading["unexpected_keys"]


@pytest.mark.parametrize(
    ("kind", "more", "computed"),
    [
        ("llama", {}, 0),
        ("llama", {"dtype": "float32", "out_dtype": "bfloat16"}, 0),  # there and back, without a change
        ("llama", {"dtype": "float32"}, 75),
        ("mixtral", {}, 0),  # written as the recipient stores it: no experts fused, no router renamed
    ],
)
def test_mergekit_computes_what_no_file_holds_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, more: dict[str, Any], computed: int
) -> None:
    saved = []
    original = TensorWriter.save_tensor
    monkeypatch.setattr(TensorWriter, "save_tensor", lambda *args, **kw: saved.append(kw) or original(*args, **kw))
    out = merge(recipe(*pair(tmp_path, kind), HOLLOW, **more), tmp_path / "out")
    assert len(saved) == computed
    assert verify(out, MergeOptions()).status == "verified"


def test_of_computed_tensors_no_more_than_one_lies_on_the_disk_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = {f"w{n}": torch.rand(100) for n in range(5)}
    with TensorWriter(str(tmp_path / "scratch"), max_shard_size=1) as writer:
        for name, tensor in content.items():
            writer.save_tensor(name, tensor)
    sizes = []
    original = writing._copy

    def measured(*arguments: Any) -> Any:
        yield from original(*arguments)
        sizes.append(sum(path.stat().st_size for path in tmp_path.glob("*/*.safetensors")))

    monkeypatch.setattr(writing, "_copy", measured)
    stored = list(Checkpoint(tmp_path / "scratch").stored.values())
    (tmp_path / "out").mkdir()
    write_model(stored, tmp_path / "out", 0, quiet=True, scratch=tmp_path / "scratch")
    assert max(sizes) < 7 * 500
    assert list((tmp_path / "scratch").glob("*.safetensors")) == []
    assert load_file(tmp_path / "out" / "model.safetensors").keys() == content.keys()


KILLED = """
import os, signal
from turnswap.hosts import startup
startup.install(force=True)
from turnswap.merge_methods import writing
original = writing._copy_some
copied = []
def then_die(*arguments):
    copied.append(original(*arguments))
    if len(copied) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return copied[-1]
writing._copy_some, writing.CHUNK = then_die, 1000
from mergekit.scripts.run_yaml import main
main(["swap.yml", "out", "--quiet"])
"""


def test_a_merge_that_is_killed_while_it_copies_leaves_no_model(run_command: Command, tmp_path: Path) -> None:
    pair(tmp_path)
    (tmp_path / "swap.yml").write_text(recipe("./recipient", "./donor"))
    assert run_command(sys.executable, "-c", KILLED).returncode == -9
    assert not (tmp_path / "out").exists()
    assert verify(tmp_path / "out", MergeOptions(), tmp_path / "swap.yml").status == "incomplete"
    merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out")
    assert verify(tmp_path / "out", MergeOptions()).status == "verified"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["donor", "out", "recipient", "swap.yml"]


def test_progress_is_shown_in_bytes_and_not_at_all_where_quiet(run_command: Command, tmp_path: Path) -> None:
    pair(tmp_path)
    (tmp_path / "swap.yml").write_text(recipe("./recipient", "./donor", HOLLOW))
    done = run_command("turnswap", "mergekit-yaml", "swap.yml", "out")
    assert done.returncode == 0, done.stderr
    assert "Copying tensors: 100%" in done.stderr
    assert "Executing graph" not in done.stderr  # of nothing
    quiet = run_command("turnswap", "mergekit-yaml", "swap.yml", "again", "--quiet")
    assert "Copying" not in quiet.stderr


def test_a_pickled_output_goes_the_old_way(tmp_path: Path) -> None:
    recipient, donor = pair(tmp_path)
    out = merge(recipe(recipient, donor), tmp_path / "out", safe_serialization=False)
    expected = tensors(merge(recipe(recipient, donor), tmp_path / "safe"))
    found = tensors(out)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
