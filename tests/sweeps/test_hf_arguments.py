"""Which arguments hf-layerswap takes, and what is said of those that will not do."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from lm_eval.models.huggingface import HFLM

from turnswap.core.errors import UserError
from turnswap.sweeps.hf_layerswap import HFLayerSwap

from .test_hf_layerswap import ZONES, experts

pytestmark = pytest.mark.slow

__all__ = ["experts"]  # a fixture


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"botom": 3}, "botom is no argument of hf-layerswap. There are: donor, .*bottom.*batch_size.*commas"),
        ({"layers": "0-1", "30-31": ""}, "30-31 is no argument .*'layers=\"0-4,30-31\"'"),
        ({"peft": "adapter"}, r"peft is not for hf-layerswap: write MODEL\+ADAPTER"),
        ({"parallelize": True}, "parallelize is not for hf-layerswap: .* on one device"),
        ({"device_map": "auto"}, "device_map is not for"),
        ({"gguf_file": "x.gguf"}, "gguf_file is not for"),
        ({"load_in_4bit": True}, "load_in_4bit is not for"),
        ({"revision": "v2"}, "write MODEL@REVISION"),
        ({"layers": "0", "dtype": "float33"}, "float33 is no type to load a model in"),
        ({"layers": None}, "layers: got None.*write none in small letters"),
        ({"bottom": 3, "top": 1}, "transition is not given"),
        ({"bottom": 5, "top": 4, "transition": 0}, "The zones overlap"),
        ({"layers": "0-9"}, "layer 9 is outside the model"),
        ({"layers": "none", "revert": "3"}, "no model has that role"),
        ({"layers": "0", "device": "foo"}, "device: expected cpu, cuda, cuda:0 or another that torch knows, got foo"),
        ({"layers": "0", "device": 0}, "device: expected .*, got 0"),
        ({"layers": "0", "device": "meta"}, "device: expected .*, got meta"),
        ({"layers": "0", "device": "cuda:7"}, "device: cuda:7 is not there: torch sees 0 GPUs.*device=cpu"),
        ({"layers": "0", "device": "cuda"}, "device: cuda is not there: torch sees 0 GPUs"),
        ({"layers": "0", "device": "mps"}, "device: mps is not there: torch sees 0 devices of the kind mps"),
        ({"layers": "0", "device": "cpu:1"}, "device: cpu:1 is not there: torch sees 1 .*the last is cpu:0"),
        ({"layers": "0", "batch_size": 0}, "batch_size: expected a number from 1, auto, or auto:4 .*, got 0"),
        ({"layers": "0", "batch_size": -1}, "batch_size: expected .*, got -1"),
        ({"layers": "0", "batch_size": "abc"}, "batch_size: expected .*, got abc"),
        ({"layers": "0", "batch_size": "auto:x"}, "batch_size: expected .*, got auto:x"),
        ({"layers": "0", "max_length": 0}, "max_length: expected a number from 1, got 0"),
        ({"layers": "0", "max_batch_size": "many"}, "max_batch_size: expected a number from 1, got many"),
    ],
    ids=str,
)
def test_arguments_that_will_not_do_are_refused_before_a_model_is_loaded(
    arguments: dict[str, Any], words: str, experts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HFLM, "_create_model", lambda *args, **kwargs: pytest.fail("loaded"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=words):
        HFLayerSwap(*experts, **{"device": "cpu"} | arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"attn_implementation": "fast"}, 'cannot be loaded .*"fast".*what does not fit in attn_implementation=fast.'),
        ({"attn_implementation": "flash_attention_2"}, "cannot be loaded .*ImportError.*flash"),
        ({"tokenizer": "/no/tokenizer"}, "cannot be loaded .*tokenizer=/no/tokenizer"),
        ({"softmax_dtype": "float33"}, "cannot be loaded .*softmax_dtype=float33"),
        ({"enable_thinking": True}, "cannot be loaded .*think_end_token is required"),
    ],
    ids=str,
)
def test_what_transformers_does_not_load_is_said_with_what_was_asked_for(
    arguments: dict[str, Any], words: str, experts: tuple[str, str]
) -> None:
    with pytest.raises(UserError, match=words):
        HFLayerSwap(*experts, device="cpu", layers="0", **arguments)


def test_lm_evals_own_device_is_none_that_was_asked_for(
    experts: tuple[str, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    of_lm_eval = {"device": "cuda:0", "batch_size": 1, "max_batch_size": None}
    model_args = f"pretrained={experts[0]},donor={experts[1]},layers=0"
    lm = HFLayerSwap.create_from_arg_string(model_args, of_lm_eval)
    assert lm.device == torch.device("cpu")
    assert "There is no GPU that torch could use" in caplog.text
    lm = HFLayerSwap.create_from_arg_string(f"{model_args},device=cpu,batch_size=4", of_lm_eval)
    assert (lm.device, lm.batch_size) == (torch.device("cpu"), 4)
    with pytest.raises(UserError, match="batch_size is given twice: 4 in --model_args, and --batch_size 8"):
        HFLayerSwap.create_from_arg_string(f"{model_args},batch_size=4", of_lm_eval | {"batch_size": "8"})


def test_several_processes_are_refused(experts: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(UserError, match="runs in one process"):
        HFLayerSwap(*experts, **ZONES)
