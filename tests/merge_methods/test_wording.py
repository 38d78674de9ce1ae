"""Refusals that say what to write, and what a model is that cannot be read: its own code, a pickle that runs code."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from mergekit.options import MergeOptions

from turnswap.merge_methods.compatibility import open_model
from turnswap.merge_methods.layout import fact

from .models import recipe

Experts = tuple[Path, Path]
Refusal = Callable[..., str]
ZONES: dict[str, Any] = {"bottom": 2, "top": 1, "transition": 1}


@pytest.mark.parametrize(
    ("written", "advice"),
    [
        ("layers: 1:2", 'Write layers: "62" for that layer, or layers: "1-2" for a range.'),
        ("layers: 0..4", 'Write layers: "0-4"'),
        ('layers: "0:5"', 'Write layers: "0-5"'),
        ('layers: "0–4"', 'Write layers: "0-4"'),
        ("layers: [0-4]", 'layers: "0-4"'),
        ('layers: "[0-2; 4]"', 'Write layers: "0-2,4"'),
        ("layers: 0 1 2", 'Write layers: "0,1,2"'),
        ("layers: all", 'in quotes: layers: "0-4,30-31"'),
        ("layers: 1e1", 'in quotes: layers: "0-4,30-31"'),
        ("layers: 0o7", 'in quotes: layers: "0-4,30-31"'),
        ("layers: yes", 'in quotes: layers: "0-4"'),
        ('layers: 0-1\nblend_layers: "3:4"', 'Write blend_layers: "3-4"'),
        ('bottom: "2"\ntop: 1\ntransition: 0', "Write bottom: 2."),
        ('bottom: 1\ntop: 1\ntransition: "1"', "Write transition: 1."),
        ("bottom: 2.0\ntop: 1\ntransition: 0", "Write bottom: 2."),
        ('bottom: 1\ntop: "auto "\ntransition: 0', "Write top: auto."),
        ("bottom: yes\ntop: 1", "Write a number: bottom: 1."),
        ("bottom: 0-1\ntop: 1", "Write a number of layers, such as bottom: 2, or auto."),
        ("layers: 0-1\nblend: 50%", "Write blend: 0.5."),
        ("layers: 0-1\nblend: 50", "Write blend: 0.5."),
        ('layers: 0-1\nblend: "0,5"', "Write blend: 0.5."),
        ("layers: 0-1\ninvert: inverted", "Write invert: true or invert: false."),
        ("layers: 0-1\nembeddings: Donor", "Write embeddings: donor."),
        ('layers: 0-1\nhead: " Recipient"', "Write head: recipient."),
    ],
)
def test_a_value_that_will_not_do_comes_with_what_to_write(
    experts: Experts, refusal: Refusal, written: str, advice: str
) -> None:
    assert advice in refusal(recipe(*experts, yaml.safe_load(written)))


def configured(model: Path, folder: Path, **changes: Any) -> Path:
    """A model's copy with another config.json."""
    shutil.copytree(model, folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


OWN_CODE = """
from transformers import LlamaConfig
class OwnConfig(LlamaConfig):
    model_type = "own"
"""


def test_a_model_with_its_own_code_needs_the_flag_and_is_read_with_it(
    experts: Experts, refusal: Refusal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = configured(experts[0], tmp_path / "own", model_type="own", auto_map={"AutoConfig": "own.OwnConfig"})
    (own / "own.py").write_text(OWN_CODE)
    monkeypatch.setattr("builtins.input", lambda *said: pytest.fail("nothing may wait for an answer"))
    message = refusal(recipe(own, experts[1]))
    assert f"{own} comes with its own code" in message
    assert "--trust-remote-code" in message
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    opened = open_model(str(own), MergeOptions(trust_remote_code=True))
    assert opened.config.model_type == "own"
    assert opened.layout.n_layers == 6


class Malicious:
    """Runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 3",)


@pytest.mark.parametrize("protocol", ["zip", 2, 4])
def test_a_pickle_that_wants_to_run_code_is_called_that(
    experts: Experts, refusal: Refusal, tmp_path: Path, protocol: Any
) -> None:
    folder = tmp_path / "pickled"
    folder.mkdir()
    shutil.copy(experts[1] / "config.json", folder)
    file = folder / "pytorch_model.bin"
    content = {"w": torch.ones(2), "x": Malicious()}
    if protocol == "zip":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content, protocol))
    message = refusal(recipe(experts[0], folder))
    assert f"{file} is a pickle that" in message
    assert "safetensors" in message
    assert "cut short" not in message
    assert "system" in message or protocol != "zip"


def test_a_configuration_that_has_one_value_per_layer_has_no_one_value() -> None:
    class Ambiguous:
        def get_text_config(self) -> object:
            return self

        @property
        def head_dim(self) -> int:
            raise RuntimeError("one per layer")

    assert fact(Ambiguous(), "head_dim") is None  # type: ignore[arg-type]
