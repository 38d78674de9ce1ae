"""What the tests share: models that need no network, data in the published format, and the stock commands."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from turnswap.commands.main import main

from .by_file import ByFile
from .started_host import StartedHost, find_out_once

if TYPE_CHECKING:
    from playwright.sync_api import Browser

os.environ["HF_HUB_OFFLINE"] = "1"
for variable in ("TURNSWAP_MULTIIF", "TURNSWAP_DISABLE"):
    os.environ.pop(variable, None)

find_out_once()

REPOSITORY = Path(__file__).parent.parent
SHARED = REPOSITORY.parent / "shared" / "data"
BIN = Path(sys.executable).parent

# Where one of these is asked for, the test runs a command of a host, a model or a browser: it is slow.
SLOW = {"run_command", "started_host", "tiny_model", "environment", "editable", "checkout", "browser"}


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(ByFile(config))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if SLOW & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


COLUMNS = ["turns", "responses"] + [
    f"turn_{t}_{column}" for t in (1, 2, 3) for column in ("prompt", "instruction_id_list", "kwargs")
]
COLUMNS += ["key", "turn_index", "language"]


def make_row(key: str = "1:1:en", language: str = "English", turns: int = 3, **columns: str) -> dict[str, str]:
    """A row of the published CSV whose turns add a title, no comma, and a keyword; columns may be replaced."""
    steps: list[tuple[str, str, dict[str, Any]]] = [
        (f"Write about {key}. Add a title.", "detectable_format:title", {}),
        ("Use no comma.", "punctuation:no_comma", {}),
        ("Mention rain.", "keywords:existence", {"keywords": ["rain"]}),
    ]
    row = dict.fromkeys(COLUMNS, "") | {"key": key, "turn_index": "0", "language": language}
    for t in range(1, turns + 1):
        row[f"turn_{t}_prompt"] = json.dumps({"role": "user", "content": steps[t - 1][0]})
        row[f"turn_{t}_instruction_id_list"] = json.dumps([id_ for _, id_, _ in steps[:t]])
        row[f"turn_{t}_kwargs"] = json.dumps([json.dumps(kwargs) for _, _, kwargs in steps[:t]])
    return row | columns


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])))
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture
def english_csv(tmp_path: Path) -> Path:
    """Five English conversations, the fourth of which has two turns."""
    rows = [make_row(f"{n}:1:en", turns=2 if n == 4 else 3) for n in range(1, 6)]
    return write_csv(tmp_path / "english.csv", rows)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny random Llama with a byte-level tokenizer, a ChatML template and room for 512 tokens."""
    pytest.importorskip("transformers", reason="needs a model, of the extra hf")
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    directory = tmp_path_factory.mktemp("tiny-model")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: n for n, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|im_end|>", clean_up_tokenization_spaces=False
    )
    fast.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    fast.save_pretrained(directory)
    torch.manual_seed(0)
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(fast), max_position_embeddings=512, **size, eos_token_id=fast.eos_token_id)
    LlamaForCausalLM(config).save_pretrained(directory)
    return directory


NEEDS_MERGEKIT = {"merge_methods", "sweeps"}


class NeedsMergekit(pytest.Module):
    """A module of tests that cannot even be imported without mergekit."""

    def collect(self) -> list[pytest.Item | pytest.Collector]:
        pytest.skip("needs mergekit, of the extra merge", allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Skip, saying so, what needs an extra that is not installed."""
    if module_path.parent.name in NEEDS_MERGEKIT and importlib.util.find_spec("mergekit") is None:
        return NeedsMergekit.from_parent(parent, path=module_path)
    return None


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def started_host() -> Iterator[StartedHost]:
    """The process in whose forks commands run; started when it is first needed."""
    host = StartedHost()
    yield host
    host.close()


@pytest.fixture
def run_command(tmp_path: Path, request: pytest.FixtureRequest) -> Command:
    """Run a command of this environment in an empty folder; variables are added to the environment.

    In a fork of a process that has imported the hosts, unless a variable is one that counts when they are imported.
    """

    def run(*arguments: object, timeout: float = 300, **variables: object) -> subprocess.CompletedProcess[str]:
        program, *rest = map(str, arguments)
        environment = os.environ | {name: str(value) for name, value in variables.items()}
        if StartedHost.runs(program) and not any(name.startswith(("HF_", "PYTHON")) for name in variables):
            host: StartedHost = request.getfixturevalue("started_host")
            return host.run([program, *rest], tmp_path, environment, timeout)
        path = Path(program) if Path(program).is_absolute() else BIN / program
        return subprocess.run(
            [str(path), *rest], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout,
            check=False,
        )  # fmt: skip

    return run


Turnswap = Callable[..., Result]


@pytest.fixture
def turnswap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Turnswap:
    """The command turnswap in this process, in an empty folder: a process of its own takes seconds to import torch."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return run


def read_results(output: Path) -> dict[str, Any]:
    """The one results file below ``output``."""
    (path,) = output.rglob("results_*.json")
    return json.loads(path.read_text("utf-8"))  # type: ignore[no-any-return]


def read_samples(output: Path, task: str = "multiif_en") -> list[dict[str, Any]]:
    """The one samples file of a task below ``output``, in the order of the documents."""
    (path,) = output.rglob(f"samples_{task}_*.jsonl")
    samples = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return sorted(samples, key=lambda sample: sample["doc_id"])


CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium of this machine; nothing is downloaded.

    Not for the whole session: as long as Playwright runs, asyncio.run fails in every other test of the process.
    """
    pytest.importorskip("playwright", reason="the pages are tested with Playwright, of the extra dev")
    from playwright.sync_api import sync_playwright

    found = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(f"The pages are tested in a real browser: install Chromium (looked for {', '.join(CHROMIUM)}).")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield chromium
        chromium.close()
