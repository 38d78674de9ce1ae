"""Swaps on vLLM, whose engine is played here: what is sent to it, and what is said where it fails.

``tests/engines/test_vllm_layerswap.py`` runs a real one.
"""

from __future__ import annotations

import dataclasses
import importlib
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from turnswap.core.errors import UserError
from turnswap.sweeps.search import run
from turnswap.sweeps.settings import read_settings
from turnswap.sweeps.vllm_worker import SwapWorker

from ..merge_methods.models import LAYERS, TOKENS, merge, pair, recipe, same, tensors

ZONES: dict[str, Any] = {"bottom": 2, "top": 1, "transition": 1}
MODULE = "turnswap.sweeps.vllm_layerswap"


class Head:
    """Plays a head that is tied to the embeddings, of which vLLM packs a copy on CPUs."""

    cpu_linear = None

    def __init__(self, engine: Engine) -> None:
        self.engine, self.quant_method = engine, self
        self.process_weights_after_loading(self)

    @property
    def weight(self) -> torch.Tensor:
        return self.engine.weights["model.embed_tokens.weight"]

    def process_weights_after_loading(self, head: Head) -> None:
        self.packed = head.weight.clone()


class Engine(SwapWorker):
    """Plays vLLM's ``LLM`` and its worker at once: its model is a dictionary."""

    started: ClassVar[list[Engine]] = []
    failure: ClassVar[BaseException | None] = None
    follows = True

    def __init__(self, model: str, **settings: Any) -> None:
        if Engine.failure:
            raise Engine.failure
        self.folder, self.settings = Path(model), settings
        self.weights = dict(tensors(self.folder))
        self.sent: list[list[str]] = []
        self.closed = self.stale = self.busy = False
        self.head = Head(self)
        self.llm_engine = SimpleNamespace(engine_core=SimpleNamespace(shutdown=self.shutdown))
        Engine.started.append(self)

    def get_model(self) -> Any:
        bare = SimpleNamespace(cpu_linear=None, weight=torch.empty(0))  # its own weights are packed alone
        return SimpleNamespace(modules=lambda: [self.head, bare, SimpleNamespace()])

    def shutdown(self) -> None:
        self.closed = True

    def reset_prefix_cache(self) -> bool:
        self.stale = False
        return not self.busy

    def collective_rpc(self, method: str, args: tuple[Any, ...] = ()) -> list[Any]:
        self.stale = True
        return [getattr(self, method)(*args)]

    def reload_weights(self, weights_iterator: Iterable[tuple[str, torch.Tensor]] = ()) -> None:
        given = dict(weights_iterator)
        self.sent.append(sorted(given))
        assert given.keys() <= self.weights.keys()
        self.weights |= given if Engine.follows else {}

    def generate(self, prompts: Any, *_: Any, **__: Any) -> list[Any]:
        assert not self.stale
        total = sum(float(tensor.double().sum()) for tensor in self.weights.values())
        (prompt,) = prompts
        likelihoods = [{token: SimpleNamespace(logprob=-total / token)} for token in prompt["prompt_token_ids"]]
        return [SimpleNamespace(prompt_logprobs=[None, *likelihoods[1:]])]


@dataclasses.dataclass
class EngineArgs:
    max_num_seqs: int = 8
    enforce_eager: bool = False
    worker_extension_cls: str = ""


class LMEvals:
    """Plays lm-eval's ``vllm``."""

    model: Any

    def __init__(
        self, pretrained: str, dtype: str = "auto", tokenizer: str | None = None, device: str = "", **more: Any
    ):
        self.model_args = {"model": pretrained, "dtype": dtype, "tokenizer": tokenizer, **more}
        self.model = Engine(**self.model_args)

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> Any:
        return self.model.generate(requests)

    loglikelihood_rolling = generate_until = loglikelihood


@pytest.fixture
def swaps(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The module under test, with a vLLM that is played."""
    vllm, causal = ModuleType("vllm"), ModuleType("lm_eval.models.vllm_causallms")
    played = {"LLM": Engine, "EngineArgs": EngineArgs, "SamplingParams": SimpleNamespace, "TokensPrompt": dict}
    vars(vllm).update(played)
    vars(causal).update(VLLM=LMEvals)
    for module in (vllm, causal):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, MODULE, raising=False)
    module = importlib.import_module(MODULE)
    monkeypatch.setattr(module, "version", lambda name: "0.0")
    monkeypatch.setattr(Engine, "started", [])
    yield module
    sys.modules.pop(MODULE, None)


@pytest.fixture(scope="module")
def experts(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    recipient, donor = pair(tmp_path_factory.mktemp("experts"), tokenizer=TOKENS)
    return str(recipient), str(donor)


def content(experts: tuple[str, str], parameters: Mapping[str, Any] = ZONES) -> Any:
    return yaml.safe_load(recipe(*experts, dict(parameters)))


def is_merge_of(engine: Engine, experts: tuple[str, str], parameters: Mapping[str, Any], out: Path) -> bool:
    merged = tensors(merge(recipe(*experts, dict(parameters)), out))
    return all(same(engine.weights[name], tensor) for name, tensor in merged.items())


def test_the_workers_load_what_the_merged_folder_holds_and_only_layers_that_differ(
    swaps: Any, experts: tuple[str, str], tmp_path: Path
) -> None:
    lm = swaps.VLLMLayerSwap(content(experts), enforce_eager=True)
    (engine,) = Engine.started
    assert engine.settings["worker_extension_cls"] == "turnswap.sweeps.vllm_worker.SwapWorker"
    assert (engine.settings["dtype"], engine.settings["tokenizer"]) == ("bfloat16", experts[0])
    assert is_merge_of(engine, experts, ZONES, tmp_path / "zones")
    plan = lm.get_model_info()["layer_swap"]["plan"]
    lm.compose(ZONES | {"blend": 0.3})
    assert {name.split(".")[2] for name in engine.sent[-1]} == {"2", str(LAYERS - 2)}
    assert len(engine.sent[-1]) == 18  # whole layers, though norms and matrices are no single tensor to vLLM
    assert is_merge_of(engine, experts, ZONES | {"blend": 0.3}, tmp_path / "other")
    lm.compose(ZONES)
    n_sent = len(engine.sent)
    lm.compose(ZONES)
    assert len(engine.sent) == n_sent
    assert lm.get_model_info()["layer_swap"]["plan"] == plan
    assert is_merge_of(engine, experts, ZONES, tmp_path / "again")


def test_a_head_that_is_tied_follows_the_embeddings(swaps: Any, tmp_path: Path) -> None:
    recipient, donor = pair(tmp_path, "qwen3-tied", tokenizer=TOKENS)
    lm = swaps.VLLMLayerSwap(content((str(recipient), str(donor)), {"layers": "none"}))
    lm.compose({"layers": "none", "embeddings": "donor", "head": "donor"})
    assert same(Engine.started[0].head.packed, tensors(donor)["model.embed_tokens.weight"])


def test_a_blend_that_is_not_finite_leaves_nothing_composed_until_the_next_that_is(
    swaps: Any, experts: tuple[str, str], tmp_path: Path
) -> None:
    _, damaged = pair(tmp_path, tokenizer=TOKENS)
    weights = load_file(damaged / "model.safetensors")
    weights["model.layers.3.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(weights, damaged / "model.safetensors", {"format": "pt"})
    both = (experts[0], str(damaged))
    lm = swaps.VLLMLayerSwap(content(both))
    with pytest.raises(UserError, match="layers.3.mlp.up_proj.weight is not finite"):
        lm.compose({"bottom": 3, "top": 1, "transition": 1})
    with pytest.raises(UserError, match="Nothing is composed"):
        lm.loglikelihood([{"prompt_token_ids": [3]}])
    lm.compose(ZONES)
    assert is_merge_of(Engine.started[0], both, ZONES, tmp_path / "zones")


def test_a_refused_composition_leaves_the_one_before(swaps: Any, experts: tuple[str, str]) -> None:
    lm = swaps.VLLMLayerSwap(content(experts))
    before = lm.get_model_info()
    with pytest.raises(UserError, match="The zones overlap"):
        lm.compose({"bottom": 8, "top": 8, "transition": 0})
    assert lm.get_model_info() == before


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["does not follow", "cannot"])
def test_an_engine_that_takes_no_other_weights_is_started_on_merged_folders(
    fault: str, swaps: Any, experts: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "follows", False)
    if fault == "cannot":
        monkeypatch.setattr(Engine, "reload_weights", lambda self: None)  # as older versions, which take no iterator
    lm = swaps.VLLMLayerSwap(content(experts), cache=str(tmp_path))
    first, second = Engine.started
    assert (first.closed, second.closed) == (True, False)
    assert list(tmp_path.iterdir()) == []
    info = lm.get_model_info()["layer_swap"]
    assert info["weights"] == "each merged to a folder"
    assert ("unexpected keyword" if fault == "cannot" else "the same likelihoods") in info["refusal"]
    assert is_merge_of(second, experts, ZONES, tmp_path / "zones")


def play_merge(monkeypatch: pytest.MonkeyPatch, swaps: Any, returncode: int = 0) -> None:
    def run(command: list[str], **_: Any) -> Any:
        Path(command[5]).mkdir()
        return subprocess.CompletedProcess(command, returncode, "", "a log\nturnswap: The disk is full.\n")

    monkeypatch.setattr(swaps.subprocess, "run", run)


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), RuntimeError("Engine core initialization failed")])
def test_a_written_swap_is_deleted_whatever_stops_the_engine(
    failure: BaseException, swaps: Any, experts: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_merge(monkeypatch, swaps)
    monkeypatch.setattr(Engine, "failure", failure)
    expected = KeyboardInterrupt if isinstance(failure, KeyboardInterrupt) else UserError
    with pytest.raises(expected):
        swaps.VLLMLayerSwap(content(experts), written=True, cache=str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_merge_that_fails_says_why(
    swaps: Any, experts: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_merge(monkeypatch, swaps, 1)
    with pytest.raises(UserError, match=r"cannot be merged to a folder: The disk is full\.$"):
        swaps.VLLMLayerSwap(content(experts), written=True, cache=str(tmp_path))


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (ValueError("Model architectures ['X'] are not supported for now."), "Evaluate this model with hf"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory.*gpu_memory_utiliz"),
        (RuntimeError("Engine core initialization failed.\nSee above"), "failed.*in vLLM's words"),
    ],
)
def test_what_keeps_vllm_from_loading_is_said(
    failure: Exception, said: str, swaps: Any, experts: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Engine, "failure", failure)
    with pytest.raises(UserError, match=said):
        swaps.VLLMLayerSwap(content(experts))


def test_an_engine_that_dies_is_named_and_one_that_is_busy_is_left_alone(swaps: Any, experts: tuple[str, str]) -> None:
    lm = swaps.VLLMLayerSwap(content(experts))
    with pytest.raises(UserError, match="vLLM cannot answer \\(TypeError"):
        lm.loglikelihood(3)
    Engine.started[0].busy = True
    with pytest.raises(UserError, match="still answers requests"):
        lm.compose({"layers": "0"})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"device": "cuda"}, "CUDA_VISIBLE_DEVICES"),
        ({"data_parallel_size": 2}, "start several processes"),
        ({"enforce_eger": True}, "Did you mean enforce_eager"),
        ({"parallelize": True}, "no argument of lm-eval's vllm.*for evaluations by hf"),
    ],
)
def test_arguments_for_something_else_are_refused(
    arguments: dict[str, Any], said: str, swaps: Any, experts: tuple[str, str]
) -> None:
    with pytest.raises(UserError, match=said):
        swaps.VLLMLayerSwap(content(experts), **arguments)
    assert Engine.started == []


def test_without_vllm_the_command_that_installs_it_is_said_before_anything_is_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    given = {"recipient": "r", "donor": "d", "select_on": "t", "metric": "m", "swaps": {"one": {"layers": "0"}}}
    with pytest.raises(UserError, match="pip install vllm"):
        run(read_settings(None, given | {"evaluator": "vllm"}), tmp_path / "out", print)
    assert not (tmp_path / "out").exists()
