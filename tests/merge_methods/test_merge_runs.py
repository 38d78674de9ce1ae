"""Merges under the stock commands' options, with every kind of input, and interrupted at the worst moments."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import peft
import pytest
import torch
import transformers
from mergekit.options import MergeOptions

from turnswap.core.errors import UserError
from turnswap.merge_methods.provenance import write_provenance
from turnswap.merge_methods.verify import verify

from ..conftest import BIN, Command
from .models import merge, pair, recipe, same, save_model, tensors


def turnswap_merge(*arguments: str) -> list[str]:
    return ["turnswap", "mergekit-yaml", *arguments, "--quiet"]


def digests(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def write_swap(folder: Path, **more: object) -> None:
    pair(folder)
    (folder / "swap.yml").write_text(recipe("./recipient", "./donor", **more))


def test_two_runs_under_different_hash_seeds_write_the_same_bytes(run_command: Command, tmp_path: Path) -> None:
    for name in ("recipient", "donor"):  # an architecture that mergekit has no list for: it would infer it from sets
        save_model(tmp_path / name, "smollm3", seed=len(name))
    (tmp_path / "swap.yml").write_text(recipe("./recipient", "./donor"))
    for seed in ("1", "2"):
        done = run_command(*turnswap_merge("swap.yml", "out", "--out-shard-size", "50000"), PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        (tmp_path / "out").rename(tmp_path / f"out{seed}")
    first, second = digests(tmp_path / "out1"), digests(tmp_path / "out2")
    assert len([name for name in first if name.endswith(".safetensors")]) == 3
    assert first == second


def killed_when(event: str) -> str:
    """A program that runs mergekit-yaml and dies, with no chance to clean up, after the named method of the writer."""
    return f"""
import os, signal, sys
from turnswap.hosts import startup
startup.install(force=True)
from mergekit.io.tensor_writer import TensorWriter
original = TensorWriter.{event}
def then_die(*args, **kwargs):
    original(*args, **kwargs)
    os.kill(os.getpid(), signal.SIGKILL)
TensorWriter.{event} = then_die
from mergekit.scripts.run_yaml import main
main(["swap.yml", "out", "--quiet"])
"""


@pytest.mark.parametrize("event", ["_write_shard_task", "finalize"])
def test_a_killed_merge_leaves_nothing_that_passes_for_a_model(
    run_command: Command, tmp_path: Path, event: str
) -> None:
    write_swap(tmp_path)
    killed = run_command(sys.executable, "-c", killed_when(event))
    assert killed.returncode == -9
    assert not (tmp_path / "out").exists()
    report = verify(tmp_path / "out", MergeOptions(), tmp_path / "swap.yml")
    assert report.status == "incomplete"
    assert ".out.incomplete" in report.problems[0]
    merge(recipe(tmp_path / "recipient", tmp_path / "donor"), tmp_path / "out")  # the next run clears it away
    assert verify(tmp_path / "out", MergeOptions()).status == "verified"
    assert [path.name for path in tmp_path.iterdir() if "incomplete" in path.name] == []


def test_a_disk_that_fills_up_ends_in_a_message_and_no_folder(tmp_path: Path) -> None:
    write_swap(tmp_path)
    # No file may grow beyond 64 kB: the write fails half-way, as on a full disk.
    limited = f"ulimit -f 64; exec {BIN}/turnswap mergekit-yaml swap.yml out --quiet"
    done = subprocess.run(
        ["bash", "-c", limited], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 1
    assert "The merge to out failed while reading or writing" in " ".join(done.stderr.split())
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["donor", "recipient", "swap.yml"]


def test_users_mistakes_end_without_a_traceback_and_with_1(run_command: Command, tmp_path: Path) -> None:
    write_swap(tmp_path, models=[])
    done = run_command(*turnswap_merge("swap.yml", "out"))
    assert done.returncode == 1
    assert "a donor besides base_model, got none" in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_sharded_and_pickled_inputs_and_sharded_output(tmp_path: Path) -> None:
    recipient, donor = pair(tmp_path)
    plain = tensors(merge(recipe(recipient, donor), tmp_path / "plain"))
    sharded = save_model(tmp_path / "sharded", seed=1, shards="40KB")
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    shutil.copy(donor / "config.json", pickled)
    torch.save({name: tensor.clone() for name, tensor in tensors(donor).items()}, pickled / "pytorch_model.bin")
    assert len(list(sharded.glob("*.safetensors"))) > 2
    for number, lazy in enumerate((False, True)):
        out = merge(recipe(sharded, pickled), tmp_path / f"out{number}", lazy_unpickle=lazy, out_shard_size=50_000)
        assert len(list(out.glob("*.safetensors"))) > 2
        found = tensors(out)
        assert found.keys() == plain.keys()
        assert all(same(found[name], plain[name]) for name in plain)
        assert verify(out, MergeOptions()).status == "verified"


def test_a_pickled_output_is_verified_too(tmp_path: Path) -> None:
    out = merge(recipe(*pair(tmp_path)), tmp_path / "out", safe_serialization=False)
    assert (out / "pytorch_model.bin").is_file()
    assert verify(out, MergeOptions()).status == "verified"


def save_adapter(model: Path, folder: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    base = transformers.AutoModelForCausalLM.from_pretrained(model)
    config = peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    peft.get_peft_model(base, config).save_pretrained(folder)
    return folder


def test_lora_experts_are_merged_whole_or_not_at_all(tmp_path: Path) -> None:
    base = save_model(tmp_path / "base")
    math, swahili = (save_adapter(base, tmp_path / name, seed) for seed, name in enumerate(("math", "swahili")))
    text = recipe(f"{base}+{math}", f"{base}+{swahili}", {"bottom": 2, "top": 1, "transition": 0})
    with pytest.raises(UserError, match="Add --lora-merge-cache"):
        merge(text, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    cache = {"lora_merge_cache": str(tmp_path / "cache")}
    out = merge(text, tmp_path / "out", **cache)
    report = verify(out, MergeOptions(**cache))
    assert (report.status, report.problems) == ("verified", [])
    written = json.loads(write_provenance(report, MergeOptions(**cache)).read_text())
    hashed = written["sources"]["donor"]["sha256"]
    adapter = {"adapter/adapter_config.json", "adapter/adapter_model.safetensors"}
    described = {"config.json", "generation_config.json"}
    assert hashed.keys() == {"model.safetensors", "base/model.safetensors"} | adapter | described
    assert hashed["base/model.safetensors"] == digests(base)["model.safetensors"]
    assert hashed["adapter/adapter_model.safetensors"] == digests(swahili)["adapter_model.safetensors"]
    merged = {
        adapter: peft.PeftModel.from_pretrained(
            transformers.AutoModelForCausalLM.from_pretrained(base), tmp_path / adapter
        ).merge_and_unload().state_dict()
        for adapter in ("math", "swahili")
    }  # fmt: skip
    for layer, adapter in {0: "swahili", 4: "math", 7: "swahili"}.items():
        name = f"model.layers.{layer}.self_attn.q_proj.weight"
        assert same(tensors(out)[name], merged[adapter][name])

    # An entry that a killed run of mergekit's left behind, and one of an adapter that has changed, are made anew.
    entries = sorted((tmp_path / "cache").iterdir())
    assert len(entries) == 2
    for entry in entries:
        (entry / "merged_adapter.json").unlink()
        (entry / "model.safetensors").write_bytes(b"half a fi")
    again = merge(text, tmp_path / "again", **cache)
    assert digests(again)["model.safetensors"] == digests(out)["model.safetensors"]
    save_adapter(base, math, 7)
    changed = merge(text, tmp_path / "changed", **cache)
    assert digests(changed)["model.safetensors"] != digests(out)["model.safetensors"]
    assert verify(changed, MergeOptions(**cache)).status == "verified"
    assert verify(out, MergeOptions(**cache)).status == "differs"


def test_mergekit_multi_swaps_what_it_merged_before(run_command: Command, tmp_path: Path) -> None:
    pair(tmp_path)
    blended = "{name: blended, merge_method: linear, models: [{model: ./recipient, parameters: {weight: 0.5}}, "
    blended += "{model: ./donor, parameters: {weight: 0.5}}], dtype: bfloat16}"
    (tmp_path / "multi.yml").write_text(f"{blended}\n---\n{recipe('blended', './donor')}")
    arguments = ["multi.yml", "-I", "work", "--out-path", "out", "--quiet", "--no-copy-tokenizer"]
    done = run_command("turnswap", "mergekit-multi", *arguments)
    assert done.returncode == 0, done.stderr
    checked = run_command("turnswap", "verify", "out", "--json")
    assert checked.returncode == 0, checked.stdout
    mean = tensors(tmp_path / "work" / "blended")["model.layers.4.mlp.up_proj.weight"]
    assert same(tensors(tmp_path / "out")["model.layers.4.mlp.up_proj.weight"], mean)
    assert json.loads(checked.stdout)["tensors"] == {"donor": 30, "blend": 18, "recipient": 27}


def test_other_methods_run_as_they_always_did(tmp_path: Path) -> None:
    recipient, donor = pair(tmp_path)
    text = f"{{merge_method: passthrough, models: [{{model: {recipient}}}]}}"
    out = merge(text, tmp_path / "out", copy_tokenizer=False)
    assert all(same(tensor, tensors(recipient)[name]) for name, tensor in tensors(out).items())
    merge(text.replace(str(recipient), str(donor)), out, copy_tokenizer=False)  # into the same folder: mergekit's way
    assert all(same(tensor, tensors(donor)[name]) for name, tensor in tensors(out).items())


def test_a_far_ancestor_is_warned_of_and_a_near_one_is_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recipient, donor = pair(tmp_path)
    pretrained = {"parameters": {"role": "pretrained"}}
    for base, far in ((recipient, ["donor"]), (save_model(tmp_path / "other", seed=9), ["recipient", "donor"])):
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        caplog.clear()
        copy = shutil.copytree(base, tmp_path / f"base-{base.name}")
        models = [{"model": str(donor)}, {"model": str(copy)} | pretrained]
        merge(recipe(recipient, donor, models=models), tmp_path / "out")
        assert [m.split(" is far from ")[0].rsplit("/", 1)[1] for m in caplog.messages if "is far from" in m] == far
