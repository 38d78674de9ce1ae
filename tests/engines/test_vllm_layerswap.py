"""Swaps on a real vLLM, each against an engine that loads the merged folder.

``make test-engines`` runs it: the interpreter must have vLLM. ``DEMO_MODEL`` names a folder with the demo model.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from lm_eval.api.instance import Instance
from safetensors.torch import load_file, save_file

from turnswap.tasks.multiturn.engines.vllm import refusal

pytest.importorskip("vllm", reason="runs where vLLM is installed: make test-engines")

from lm_eval.models.vllm_causallms import VLLM

from turnswap.sweeps.vllm_layerswap import VLLMLayerSwap

from ..merge_methods.models import TOKENS, merge, pair, recipe

SIZES: dict[str, Any] = {"dtype": "float32", "enforce_eager": True, "max_num_seqs": 8, "batch_size": 8}
OURS, THEIRS = {"embeddings": "recipient", "head": "recipient"}, {"embeddings": "donor", "head": "donor"}
ZONES: dict[str, Any] = {"bottom": 2, "top": 1, "transition": 1, "blend": 0.3, **OURS}
PLAIN: dict[str, Any] = {"layers": "none", **OURS}
BLENDED: dict[str, Any] = {"bottom": 1, "top": 1, "transition": 2, "blend_method": "slerp", **THEIRS}


def others(n_layers: int) -> list[dict[str, Any]]:
    """Swaps of layers, of embeddings and head, and the recipient and the donor as they are."""
    whole = {"layers": f"0-{n_layers - 1}", **THEIRS}
    layers: list[dict[str, Any]] = [{"layers": each, **OURS} for each in ("0", "1", "2-5", "3", "0,6")]
    return [*layers[:2], BLENDED, PLAIN, *layers[2:], {"layers": "4", **THEIRS}, {"layers": "none", **THEIRS}, whole]


def experts_of(kind: str, folder: Path) -> tuple[str, str]:
    if kind != "smollm2":
        sizes = {"hidden_size": 128, "tie_word_embeddings": kind == "tied"}
        recipient, donor = pair(folder, dtype=torch.float32, tokenizer=TOKENS, **sizes)
        return str(recipient), str(donor)
    if not (made := os.environ.get("DEMO_MODEL")):
        pytest.skip("DEMO_MODEL names no folder")
    donor = folder / "donor"
    shutil.copytree(made, donor)
    torch.manual_seed(3)
    moved = {
        name: tensor * (1 + 0.05 * torch.randn_like(tensor))
        for name, tensor in load_file(donor / "model.safetensors").items()
    }
    save_file(moved, donor / "model.safetensors", {"format": "pt"})
    return str(Path(made).absolute()), str(donor)


@contextmanager
def closing(lm: Any) -> Iterator[Any]:
    try:
        yield lm
    finally:
        lm.model.llm_engine.engine_core.shutdown()


def answers(lm: Any) -> tuple[list[Any], list[str]]:
    """Log-likelihoods and greedy replies to texts that share their beginnings: what a stale cache would falsify."""
    texts = [f"w1 w2 w3 w4 w5 w6 w7 w8 w9 w10 w11 w12 w13 w14 w15 w16 w17 w{n}" for n in range(20, 26)]
    pairs = [Instance("loglikelihood", {}, (text, " w7 w30 w2"), n) for n, text in enumerate(texts)]
    settings = {"until": [], "max_gen_toks": 16, "do_sample": False}
    asked = [Instance("generate_until", {}, (text, settings), n) for n, text in enumerate(texts)]
    return lm.loglikelihood(pairs, disable_tqdm=True), lm.generate_until(asked, disable_tqdm=True)


def of_folder(folder: str | Path, length: int) -> Any:
    with closing(VLLM(pretrained=str(folder), max_model_len=length, **SIZES)) as lm:
        return answers(lm)


def written(experts: tuple[str, str], parameters: Mapping[str, Any]) -> str:
    return recipe(*experts, dict(parameters), dtype=None)


@pytest.mark.parametrize("kind", ["untied", "tied", "smollm2"])
def test_swap_after_swap_gives_the_answers_of_the_merged_folder(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind != "untied":  # in this process, which starts engines in a tenth of the time
        monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    experts = experts_of(kind, tmp_path)
    length = 512 if kind == "smollm2" else 64
    with closing(VLLMLayerSwap(yaml.safe_load(written(experts, ZONES)), max_model_len=length, **SIZES)) as lm:
        assert lm.refusal == ""
        assert refusal(lm, [{"until": []}]) is None  # Multi-IF asks it one by one
        zones = answers(lm)
        assert answers(lm) == zones
        plan = lm.get_model_info()["layer_swap"]["plan"]
        swaps, blended, recipient, donor = others(lm.recipe.n_layers), 2, 3, 9
        if kind == "smollm2":  # each takes a real model's time
            swaps, blended, recipient, donor = [swaps[blended], swaps[recipient], swaps[donor]], 0, 1, 2
        seen = []
        for other in swaps:
            lm.compose(other)
            seen.append(answers(lm))
        assert len({str(one) for one in seen}) == len(seen) == len(swaps)
        lm.compose(ZONES)
        assert answers(lm) == zones
        assert lm.get_model_info()["layer_swap"]["plan"] == plan
    assert zones == of_folder(merge(written(experts, ZONES), tmp_path / "zones"), length)
    assert seen[blended] == of_folder(merge(written(experts, BLENDED), tmp_path / "blended"), length)
    assert seen[recipient] == of_folder(experts[0], length)
    assert seen[donor] == of_folder(experts[1], length)


def test_written_swaps_give_the_same_and_leave_no_folder(tmp_path: Path) -> None:
    experts, cache = experts_of("untied", tmp_path), tmp_path / "cache"
    cache.mkdir()
    content = yaml.safe_load(written(experts, ZONES))
    with closing(VLLMLayerSwap(content, written=True, cache=str(cache), max_model_len=64, **SIZES)) as lm:
        assert lm.get_model_info()["layer_swap"]["weights"] == "each merged to a folder"
        zones = answers(lm)
        assert list(cache.iterdir()) == []
        lm.compose(PLAIN)
        assert answers(lm) != zones
        assert list(cache.iterdir()) == []
        lm.compose(ZONES)
        assert answers(lm) == zones
    assert zones == of_folder(merge(written(experts, ZONES), tmp_path / "zones"), 64)
