"""Models that bring their own code: refused without the user's word, and swapped by their own modules with it."""

from __future__ import annotations

import builtins
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from transformers import AutoConfig, AutoModelForCausalLM

from turnswap.commands.main import main
from turnswap.core.errors import UserError

from .models import TOKENS, merge, recipe, same, save_tokenizer, tensors

CONFIGURATION = """
from transformers import PretrainedConfig

class OwnConfig(PretrainedConfig):
    model_type = "own-turnswap-test"

    def __init__(self, width=16, num_hidden_layers=4, vocab_size=64, **more):
        self.width, self.num_hidden_layers, self.vocab_size = width, num_hidden_layers, vocab_size
        super().__init__(**more)
"""
# Names that tell nothing of where a module lies: the layers' list is "steps", the final norm is "embedding_norm".
CODE = """
import torch
from torch import nn
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_own import OwnConfig

class Step(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.mix, self.scale = nn.Linear(width, width), nn.Parameter(torch.ones(width))

    def forward(self, x):
        return x + self.scale * self.mix(x)

class OwnForCausalLM(PreTrainedModel, GenerationMixin):
    config_class = OwnConfig
    base_model_prefix = ""
    _tied_weights_keys = {}

    def __init__(self, config):
        super().__init__(config)
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.lift = nn.Linear(config.width, config.width)
        self.steps = nn.ModuleList(Step(config.width) for _ in range(config.num_hidden_layers))
        self.embedding_norm = nn.LayerNorm(config.width)
        self.say = nn.Linear(config.width, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self):
        return self.words

    def get_output_embeddings(self):
        return self.say

    def forward(self, input_ids=None, attention_mask=None, labels=None, **more):
        x = self.lift(self.words(input_ids))
        for step in self.steps:
            x = step(x)
        return CausalLMOutputWithPast(logits=self.say(self.embedding_norm(x)))
"""
ALLOW = {"trust_remote_code": True}
PARAMETERS = {"bottom": 1, "top": 0, "transition": 0, "embeddings": "donor", "head": "recipient"}


@pytest.fixture(autouse=True)
def no_questions(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """transformers asks on the terminal whether to run code; and it keeps copies of code, here for one test."""
    monkeypatch.setattr(builtins, "input", lambda *said: pytest.fail("nothing may wait for an answer"))
    modules = str(tmp_path / "modules")
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", modules)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if not (Path(path) / "transformers_modules").is_dir()])
    for name in [name for name in sys.modules if name.split(".")[0] == "transformers_modules"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def own(tmp_path: Path) -> tuple[Path, Path, Path]:
    """A recipient, a donor, and the base of both."""
    folders = tuple(tmp_path / name for name in ("recipient", "donor", "base"))
    settings = {
        "model_type": "own-turnswap-test",
        "architectures": ["OwnForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_own.OwnConfig",
            "AutoModelForCausalLM": "modelling_own.OwnForCausalLM",
        },
        "width": 16,
        "num_hidden_layers": 4,
        "vocab_size": 64,
        "dtype": "bfloat16",
    }
    for seed, folder in enumerate(folders):
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(settings))
        (folder / "configuration_own.py").write_text(CONFIGURATION)
        (folder / "modelling_own.py").write_text(CODE)
        torch.manual_seed(seed)
        config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=True).to(torch.bfloat16)
        model.save_pretrained(folder)
        (folder / "config.json").write_text(json.dumps(settings))
        save_tokenizer(folder, TOKENS)
    return folders[0], folders[1], folders[2]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_a_model_with_its_own_code_is_swapped_by_its_own_modules(own: tuple[Path, Path, Path], tmp_path: Path) -> None:
    recipient, donor, base = own
    Path("swap.yml").write_text(recipe(recipient, donor, PARAMETERS))
    merged = merge(Path("swap.yml").read_text(), tmp_path / "merged", **ALLOW)
    ours, theirs, made = tensors(recipient), tensors(donor), tensors(merged)
    of_donor = {name for name in made if re.match(r"(words|lift|steps\.0)\.", name)}
    assert len(of_donor) == 6
    assert all(same(made[name], (theirs if name in of_donor else ours)[name]) for name in made)
    planned = run("plan", "swap.yml", "--json", "--trust-remote-code")
    assert json.loads(planned.stdout)["warnings"] == []
    proven = run("verify", merged, "--trust-remote-code")
    assert proven.exit_code == 0, proven.output
    figures = run(
        "analyze", "--base", base, "--recipient", recipient, "--donor", donor, "--trust-remote-code", "--json"
    )
    assert figures.exit_code == 0, figures.output
    assert json.loads(figures.stdout)["layers"] == 4


def test_the_merged_folder_loads_with_the_recipients_code(own: tuple[Path, Path, Path], tmp_path: Path) -> None:
    merged = merge(recipe(*own[:2], PARAMETERS), tmp_path / "merged", **ALLOW)
    for file in own[0].glob("*.py"):
        shutil.copy(file, merged)  # what loads needs the code beside it
    model, told = AutoModelForCausalLM.from_pretrained(merged, trust_remote_code=True, output_loading_info=True)
    assert not any(told.values()), told
    stored = tensors(merged)
    assert all(same(tensor, stored[name]) for name, tensor in model.state_dict().items())


def test_a_swap_in_memory_runs_the_models_own_code(own: tuple[Path, Path, Path]) -> None:
    from turnswap.sweeps.hf_layerswap import HFLayerSwap

    model = HFLayerSwap(str(own[0]), str(own[1]), device="cpu", **PARAMETERS, **ALLOW)
    theirs = tensors(own[1])
    held = model.model.state_dict()
    assert all(same(held[name], theirs[name]) for name in ("words.weight", "lift.bias", "steps.0.mix.weight"))


Command = Callable[[Path, Path, Path], Result | None]


def _hf_layerswap(recipient: Path, donor: Path, base: Path) -> None:
    from turnswap.sweeps.hf_layerswap import HFLayerSwap

    HFLayerSwap(str(recipient), str(donor), device="cpu", **PARAMETERS)


def _sweep(recipient: Path, donor: Path, base: Path) -> Result:
    return run(
        "sweep", "--recipient", recipient, "--donor", donor, "--bottom", "1", "--top", "1", "-o", "sweeps",
        "--select-on", "multiif_en", "--metric", "turn1_overall_acc", "--metadata", '{"multiif_data": "sample"}',
    )  # fmt: skip


COMMANDS: dict[str, Command] = {
    "plan": lambda *own: run("plan", "swap.yml"),
    "verify": lambda *own: run("verify", own[0], "--config", "swap.yml"),
    "analyze": lambda recipient, donor, base: run(
        "analyze", "--base", base, "--recipient", recipient, "--donor", donor
    ),
    "mergekit-yaml": lambda *own: (merge(Path("swap.yml").read_text(), Path("out")), None)[1],
    "hf-layerswap": _hf_layerswap,
    "sweep": _sweep,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_without_the_users_word_no_code_of_a_model_runs(own: tuple[Path, Path, Path], command: str) -> None:
    Path("swap.yml").write_text(recipe(*own[:2], PARAMETERS))
    for folder in own:
        for file in folder.glob("*_own.py"):
            file.write_text("raise SystemExit('this ran')")
    try:
        result = COMMANDS[command](*own)
        assert result is not None
        assert result.exit_code == 1, result.output
        said = " ".join(result.output.split())
    except UserError as error:
        said = str(error)
    assert "comes with its own code" in said
    assert "--trust-remote-code" in said
    assert not Path("out").exists()


def test_code_of_a_model_whose_configuration_is_a_known_one_is_not_passed_over(
    experts: tuple[Path, Path], tmp_path: Path
) -> None:
    own = shutil.copytree(experts[0], tmp_path / "own")
    config = json.loads((own / "config.json").read_text())
    named = {"AutoModelForCausalLM": "modelling_own.OwnForCausalLM"}
    (own / "config.json").write_text(json.dumps(config | {"architectures": ["OwnForCausalLM"], "auto_map": named}))
    Path("swap.yml").write_text(recipe(own, experts[1]))
    assert "comes with its own code" in " ".join(run("plan", "swap.yml").output.split())
