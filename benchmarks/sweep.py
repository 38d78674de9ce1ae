"""What a configuration of ``turnswap sweep`` costs beyond its evaluation, against writing and loading a merge for each.

Two pairs: the 135 M demo model with a perturbed copy, and two random models of 1.35 billion parameters. Overhead is the
wall time of a configuration less lm-eval's own, in one process; the baseline merges in the same process with what it
needs already imported, and loads the folder. Needs 11 GB of disk and 9 GB of memory.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

DOCUMENTS = 100  # few for an evaluation, so that overhead shows
GRID = {"bottom": [5], "top": [1, 2], "transition": [0, 1]}
MERGES = [{"bottom": 5, "top": 2, "transition": 0}, {"bottom": 5, "top": 2, "transition": 1}]


def write_demo_pair(folder: str) -> None:
    """The demo model, and a copy whose weights were moved a little."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from turnswap.commands.demo_model import write_demo_model

    recipient, donor = Path(folder) / "recipient", Path(folder) / "donor"
    write_demo_model(recipient)
    model = AutoModelForCausalLM.from_pretrained(recipient)
    generator = torch.Generator().manual_seed(0)
    for weight in model.parameters():
        weight.data += 0.02 * weight.data.std() * torch.randn(weight.shape, generator=generator)
    model.save_pretrained(donor)
    AutoTokenizer.from_pretrained(recipient).save_pretrained(donor)


def write_large_pair(folder: str) -> None:
    """Two models as the benchmark of merges has them, with a tokenizer of as many words."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from transformers import PreTrainedTokenizerFast

    from .layer_swap import write_model

    words = Tokenizer(WordLevel({f"w{number}": number for number in range(32000)}, unk_token="w0"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0", eos_token="w1", pad_token="w1")
    for seed, name in enumerate(("recipient", "donor")):
        write_model(str(Path(folder) / name), seed)
        tokenizer.save_pretrained(Path(folder) / name)


def write_task(folder: Path) -> None:
    """Multiple choice: prompts of 20 words, four choices of one."""
    folder.mkdir()
    drawing = random.Random(0)

    def words(n: int) -> str:
        return " ".join(f"w{drawing.randrange(2, 100)}" for _ in range(n))

    lines = [
        {"question": words(20), "choices": [words(1) for _ in range(4)], "label": drawing.randrange(4)}
        for _ in range(DOCUMENTS)
    ]
    data = folder / "questions.jsonl"
    data.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    content = {
        "task": "questions",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_choice": "choices",
        "doc_to_target": "label",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / "questions.yaml").write_text(json.dumps(content), "utf-8")  # JSON is YAML


def sweep(folder: str) -> None:
    """Print, as JSON, the seconds of every configuration: in all, and of lm-eval."""
    import time

    import optuna  # noqa: F401 - once per process, and the baseline does not count its imports either

    from turnswap.sweeps import evaluations
    from turnswap.sweeps.search import run
    from turnswap.sweeps.settings import read_settings

    root = Path(folder)
    content: dict[str, object] = {"recipient": str(root / "recipient"), "donor": str(root / "donor")}
    content |= {"include_path": str(root / "tasks")}
    content |= {"select_on": "questions", "metric": "acc", "batch_size": "8", "device": "cpu"}
    content |= {"grid": GRID, "sampler": "grid", "held_out": 0, "controls": 0, "averages": []}
    ends: list[tuple[str, float]] = []
    inside: list[float] = []
    original = evaluations.evaluate

    def timed(*arguments: object) -> object:
        begin = time.perf_counter()
        results = original(*arguments)  # type: ignore[arg-type]
        inside.append(time.perf_counter() - begin)
        return results

    def say(line: str) -> None:
        ends.append((line.partition(":")[0], time.perf_counter()))

    evaluations.evaluate = timed  # type: ignore[assignment]
    done = run(read_settings(None, content), root / "sweep", say)
    layers = {row.configuration.name: row.configuration.layers for row in done.rows}
    # The first configuration waits for the models to be loaded, once for the whole sweep.
    found = [
        {"blends": "b" in layers[name], "average": name == "average", "all": end - before, "evaluation": evaluation}
        for (_, before), (name, end), evaluation in zip(ends, ends[1:], inside[1:], strict=False)
    ]
    print(json.dumps(found))


def merge_and_load(folder: str) -> None:
    """Print, as JSON, the seconds that each merge and loading its folder take."""
    import time

    from turnswap.hosts import startup

    startup.install(force=True)
    import mergekit.merge
    import yaml
    from lm_eval.models.huggingface import HFLM
    from mergekit.config import MergeConfiguration
    from mergekit.options import MergeOptions

    root, found = Path(folder), []
    for parameters in MERGES:
        content = {"merge_method": "layer_swap", "base_model": str(root / "recipient")}
        content |= {"models": [{"model": str(root / "donor")}], "parameters": parameters}
        config = MergeConfiguration.model_validate(content)
        begin = time.perf_counter()
        mergekit.merge.run_merge(
            config, str(root / "out"), MergeOptions(quiet=True), config_source=yaml.safe_dump(content)
        )
        HFLM(pretrained=str(root / "out"), device="cpu", batch_size=8)
        found.append(time.perf_counter() - begin)
        shutil.rmtree(root / "out")
    print(json.dumps(found))


def child(function: str, folder: Path) -> str:
    """What a function of this module prints, in a process of its own."""
    program = f"from benchmarks.sweep import {function}; {function}({str(folder)!r})"
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{function} failed:\n{done.stderr[-3000:]}")
    return done.stdout.splitlines()[-1] if done.stdout else ""


def main() -> None:
    """Print, per pair, the overhead per configuration in seconds, of its evaluation, and of a merge that is loaded."""
    for name, write in (("135 M", "write_demo_pair"), ("1.35 B", "write_large_pair")):
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            child(write, folder)
            write_task(folder / "tasks")
            swept = json.loads(child("sweep", folder))
            merges = json.loads(child("merge_and_load", folder))
        evaluation = statistics.median(one["evaluation"] for one in swept)
        loaded = ", ".join(f"{seconds:.1f} s" for seconds in merges)
        print(f"{name}: evaluation of {DOCUMENTS} documents {evaluation:.1f} s; a merge, written and loaded: {loaded}")
        for kind, chosen in (
            ("swaps without blends", [one for one in swept if not one["blends"]]),
            ("swaps with blends", [one for one in swept if one["blends"] and not one["average"]]),
        ):
            overheads = [one["all"] - one["evaluation"] for one in chosen]
            middle, worst = statistics.median(overheads), max(overheads)
            share = statistics.median((one["all"] - one["evaluation"]) / one["evaluation"] for one in chosen)
            bound = "1 s" if name == "135 M" else "5 % of the evaluation"
            print(
                f"  {kind}: {middle:.3f} s each, at most {worst:.3f} s: {100 * share:.1f} % of the evaluation, "
                f"{middle / statistics.mean(merges):.4f} x a merge (bound: {bound})"
            )
