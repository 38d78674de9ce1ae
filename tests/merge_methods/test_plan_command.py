"""``turnswap plan``: what will come from where, of models of full size whose weights are never touched."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM

from ..conftest import REPOSITORY, Turnswap

LLAMA_3_1_8B = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "dtype": "bfloat16",
    "architectures": ["LlamaForCausalLM"],
}


def write_hollow_model(folder: Path, **config: Any) -> Path:
    """A model of 8 billion parameters, whose 16 GB of weights are a hole in the file: reading them would be noticed."""
    folder.mkdir(parents=True)
    llama = LlamaConfig(**(LLAMA_3_1_8B | config))
    llama.save_pretrained(folder)
    with torch.device("meta"):
        weights = LlamaForCausalLM(llama).state_dict()
    header, end = {}, 0
    for name, weight in weights.items():
        size = 2 * weight.numel()
        header[name] = {"dtype": "BF16", "shape": list(weight.shape), "data_offsets": [end, end + size]}
        end += size
    encoded = json.dumps(header).encode()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(encoded).to_bytes(8, "little") + encoded)
        file.truncate(8 + len(encoded) + end)
    return folder


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every model that the configurations name."""
    root = tmp_path_factory.mktemp("hollow")
    for name in ("math-expert", "swahili-expert", "Llama-3.1-8B"):
        write_hollow_model(root / name)
    for name in ("math-adapter", "swahili-adapter"):
        (root / name).mkdir()
        (root / name / "adapter_config.json").write_text("{}")
    return root


@pytest.fixture
def here(models: Path, tmp_path: Path) -> Path:
    """The current directory, with the models in it."""
    for folder in models.iterdir():
        (tmp_path / folder.name).symlink_to(folder)
    return tmp_path


def plan_of(turnswap: Turnswap, *arguments: object) -> dict[str, Any]:
    done = turnswap("plan", *arguments, "--json")
    assert done.exit_code == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def letters(plan: dict[str, Any], part: str = "") -> str:
    """One letter per layer: the source of its tensors whose names contain ``part``, ``*`` if they differ."""
    sources: dict[int, set[str]] = {}
    for tensor in plan["tensors"]:
        if tensor["layer"] is not None and part in tensor["name"]:
            sources.setdefault(tensor["layer"], set()).add(tensor["source"])
    short = {"donor": "D", "recipient": "R", "blend": "b", "pretrained": "P"}
    return "".join(short[min(found)] if len(found) == 1 else "*" for _, found in sorted(sources.items()))


ENDS = "DDDDDb" + 23 * "R" + "bDD"


@pytest.mark.parametrize(
    ("config", "part", "expected"),
    [
        ("layerswap.yml", "", ENDS),
        ("layerswap_attention.yml", "self_attn", ENDS),
        ("layerswap_attention.yml", "mlp", 32 * "R"),
        ("layerswap_attention.yml", "layernorm", 32 * "R"),
        ("layerswap_middle.yml", "", 8 * "R" + "b" + 18 * "D" + "b" + 4 * "R"),
        ("layerswap_revert.yml", "", 6 * "D" + "PPP" + 21 * "R" + "DD"),
        ("layerswap_lora.yml", "", ENDS),
    ],
)  # fmt: skip
def test_every_packaged_configuration_plans_what_its_comment_says(
    turnswap: Turnswap, here: Path, config: str, part: str, expected: str
) -> None:
    plan = plan_of(turnswap, REPOSITORY / "configs" / config)
    assert letters(plan, part) == expected
    assert plan["bytes"] == 2 * 8030261248  # Llama 3.1 8B has 8.03 billion parameters


def test_the_terminal_shows_layers_zones_embeddings_head_and_size(turnswap: Turnswap, here: Path) -> None:
    done = turnswap("plan", REPOSITORY / "configs" / "layerswap.yml")
    assert done.exit_code == 0, done.stderr
    assert ENDS in done.stdout
    lines = {line.split("  ")[0].strip(): line for line in done.stdout.splitlines()}
    assert "donor" in lines["layers 0-4"]
    assert "blend 0.50 " in lines["layer 5"]
    assert "recipient" in lines["layers 6-28"]
    assert "donor" in lines["embeddings"]
    assert "follows bottom 5" in lines["embeddings"]
    assert "model.norm, lm_head" in lines["head"]
    assert "291 tensors, 16.1 GB, bfloat16" in done.stdout
    assert "model.layers.3.mlp.up_proj.weight" not in done.stdout
    listed = turnswap("plan", REPOSITORY / "configs" / "layerswap.yml", "--tensors")
    assert "model.layers.3.mlp.up_proj.weight" in listed.stdout
    assert "14336×4096" in listed.stdout


def test_an_attention_swap_names_the_components_of_each_source(turnswap: Turnswap, here: Path) -> None:
    done = turnswap("plan", REPOSITORY / "configs" / "layerswap_attention.yml")
    rows = [line for line in done.stdout.splitlines() if line.startswith("layers 0-4")]
    assert len(rows) == 2
    assert any("self_attn" in row and "donor" in row and "mlp" not in row for row in rows)
    assert any("mlp" in row and "recipient" in row and "self_attn" not in row for row in rows)
    assert "*****" in done.stdout


def test_auto_is_scaled_and_said(turnswap: Turnswap, tmp_path: Path) -> None:
    for name in ("r", "d"):
        write_hollow_model(tmp_path / name, num_hidden_layers=80, hidden_size=256, intermediate_size=512)
    (tmp_path / "auto.yml").write_text(
        "{merge_method: layer_swap, base_model: ./r, models: [{model: ./d}], "
        "parameters: {bottom: auto, top: auto, transition: 2}}"
    )
    plan = plan_of(turnswap, "auto.yml")
    assert letters(plan) == 13 * "D" + "bb" + 58 * "R" + "bb" + 5 * "D"
    assert "bottom = 13: auto, 5 of 32 layers scaled to 80" in plan["notes"]


def test_a_configuration_that_the_merge_refuses_is_refused_by_the_plan(turnswap: Turnswap, here: Path) -> None:
    content = yaml.safe_load((REPOSITORY / "configs" / "layerswap.yml").read_text())
    content["parameters"]["bottom"] = 40
    (here / "wrong.yml").write_text(yaml.safe_dump(content))
    done = turnswap("plan", "wrong.yml")
    assert done.exit_code == 1
    assert "Traceback" not in done.stderr
    assert "bottom 40" in done.stderr
    assert "32" in done.stderr
    for name, text in {
        "none.yml": None,
        "list.yml": "[1, 2]",
        "linear.yml": "{merge_method: linear, models: []}",
    }.items():
        if text:
            (here / name).write_text(text)
        done = turnswap("plan", name)
        assert (done.exit_code, "Traceback" in done.stderr) == (1, False)
        assert name in done.stderr


def test_the_ancestor_check_shows_how_far_the_experts_moved(
    turnswap: Turnswap, tiny_model: Path, tmp_path: Path
) -> None:
    base = LlamaForCausalLM.from_pretrained(tiny_model)
    for name, step in {"near": 0.01, "far": 3.0}.items():
        shutil.copytree(tiny_model, tmp_path / name)
        torch.manual_seed(1)
        moved = LlamaForCausalLM.from_pretrained(tiny_model)
        for weight in moved.parameters():
            weight.data += step * weight.norm() / weight.numel() ** 0.5 * torch.randn_like(weight)
        moved.save_pretrained(tmp_path / name)
    base.save_pretrained(tmp_path / "base")
    (tmp_path / "swap.yml").write_text(
        "{merge_method: layer_swap, base_model: ./near, models: [{model: ./far}, {model: ./base, parameters: "
        "{role: pretrained}}], parameters: {bottom: 1, top: 0, transition: 0, embeddings: recipient}}"
    )
    done = turnswap("plan", "swap.yml", "--check-ancestor", "--json")
    assert done.exit_code == 0, done.stderr
    plan = json.loads(done.stdout)
    assert all(change["recipient"] == pytest.approx(0.01, rel=0.2) for change in plan["changes"])
    assert all(change["donor"] == pytest.approx(3, rel=0.2) for change in plan["changes"])
    assert all(change["cosine"] > 0.99 for change in plan["changes"])  # both moved along the same noise
    (warning,) = [warning for warning in plan["warnings"] if "is far from" in warning]
    assert warning.startswith("./far")
    assert "0.0100" in turnswap("plan", "swap.yml", "--check-ancestor").stdout
