"""Models of the Hub from a cache on this machine, wherever it lies: every command runs to its end without a network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .models import TOKENS, merge, recipe, same, save_model, tensors

REVISION = "0123456789abcdef0123456789abcdef01234567"
PARAMETERS: dict[str, Any] = {"bottom": 1, "top": 1, "transition": 1}
NO_NETWORK = {"HF_HUB_OFFLINE": "0", "HF_ENDPOINT": "http://127.0.0.1:9"}  # where nobody answers


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache as huggingface_hub keeps it, with a base model and two experts."""
    root = tmp_path_factory.mktemp("hub")
    for seed, name in enumerate(("base", "recipient", "donor")):
        home = root / f"models--org--{name}"
        save_model(home / "snapshots" / REVISION, seed=seed, layers=4, tokenizer=TOKENS)
        (home / "refs").mkdir()
        (home / "refs" / "main").write_text(REVISION)
    return root


def folder(cache: Path, name: str) -> Path:
    return cache / f"models--org--{name}" / "snapshots" / REVISION


def test_a_merge_takes_all_it_needs_from_the_named_cache_and_names_the_models_by_their_ids(
    cache: Path, tmp_path: Path
) -> None:
    here = merge(recipe(folder(cache, "recipient"), folder(cache, "donor"), PARAMETERS), tmp_path / "here")
    configuration = recipe("org/recipient", "org/donor", PARAMETERS, chat_template="{{ messages }}" * 2)
    cached = merge(configuration, tmp_path / "cached", transformers_cache=str(cache))
    left, right = tensors(here), tensors(cached)
    assert left.keys() == right.keys()
    assert all(same(left[name], right[name]) for name in left)
    assert (cached / "mergekit_config.yml").read_text() == configuration
    card = (cached / "README.md").read_text()
    assert "[org/donor](https://huggingface.co/org/donor)" in card
    assert str(cache) not in card
    assert (cached / "chat_template.jinja").read_text() == "{{ messages }}" * 2


COMMANDS = """
import sys
from turnswap.commands.main import main
more = sys.argv[1:]
for command in (
    ["plan", "swap.yml", *more],
    ["mergekit-yaml", "swap.yml", "out", *more],
    ["verify", "out", "--write-provenance", *more],
    ["analyze", "--base", "org/base", "--recipient", "org/recipient", "--donor", "org/donor", "-o", "changes", *more],
    ["suggest", "changes", "--rule", "paper", "--anyway", *more],
):
    try:
        main(command)
    except SystemExit as left:
        assert not left.code, (command, left.code)
from turnswap.sweeps.hf_layerswap import HFLayerSwap
arguments = {"transformers_cache": more[1]} if more else {}
model = HFLayerSwap("org/recipient", "org/donor", bottom=1, top=1, transition=1, device="cpu", **arguments)
print(model.get_model_info()["layer_swap"]["name"])
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("named_by", "network"),
    [("option", {"HF_HUB_OFFLINE": "1"}), ("HF_HUB_CACHE", NO_NETWORK), ("HF_HOME", {"HF_HUB_OFFLINE": "1"})],
    ids=["option, offline", "HF_HUB_CACHE, no network", "HF_HOME, offline"],
)
def test_every_command_reads_a_cache_without_a_network(
    cache: Path, tmp_path: Path, named_by: str, network: dict[str, str]
) -> None:
    (tmp_path / "swap.yml").write_text(recipe("org/recipient", "org/donor", PARAMETERS))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")} | network
    environment["HF_HOME"] = str(tmp_path / "home")
    if named_by == "HF_HOME":
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "hub").symlink_to(cache)
    if named_by == "HF_HUB_CACHE":
        environment["HF_HUB_CACHE"] = str(cache)
    more = ["--transformers-cache", str(cache)] if named_by == "option" else []
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, *more], cwd=tmp_path, env=environment, capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "org/recipient with org/donor" in done.stdout
    assert "Traceback" not in done.stderr
    written = json.loads((tmp_path / "out" / "layer_swap.json").read_text())
    assert written["sources"]["donor"]["revision"] == REVISION
    assert yaml.safe_load((tmp_path / "out" / "mergekit_config.yml").read_text())["base_model"] == "org/recipient"
