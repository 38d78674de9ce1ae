"""What docs/upstream proposes to the hosts works in them: applied to copies, run, and compared with turnswap's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from ..conftest import REPOSITORY, Command, read_results, read_samples

UPSTREAM = REPOSITORY / "docs" / "upstream"
SAMPLE = REPOSITORY / "tasks" / "multiif" / "sample" / "sample.csv"

RUN = """
import json, sys
import lm_eval
from lm_eval.tasks import TaskManager
lib, model, tasks, cache = sys.argv[1:]
assert lm_eval.__file__.startswith(lib), lm_eval.__file__
asked = []
from lm_eval.models.huggingface import HFLM
generate = HFLM.generate_until
HFLM.generate_until = lambda self, requests, **rest: asked.extend(requests) or generate(self, requests, **rest)
manager = TaskManager(include_path=tasks, include_defaults=False)
for _ in range(2):
    asked.clear()
    found = lm_eval.simple_evaluate(
        model="hf", model_args={"pretrained": model, "dtype": "float32"}, device="cpu", batch_size=2, limit=2,
        tasks=["multiif_en"], task_manager=manager, use_cache=cache, gen_kwargs={"max_gen_toks": 24},
        system_instruction="Be brief.", bootstrap_iters=0, log_samples=True,
    )
    replies = [sample["resps"][0][0] for sample in found["samples"]["multiif_en"]]
    print(json.dumps({"results": found["results"]["multiif_en"], "replies": replies, "asked": len(asked)}))
"""


def copied(host: str, to: Path) -> Path:
    """A copy of an installed host, made of links: its files are replaced by those that a patch writes."""
    spec = find_spec(host)
    assert spec is not None
    assert spec.origin is not None
    shutil.copytree(
        Path(spec.origin).parent, to / host, copy_function=os.symlink, ignore=shutil.ignore_patterns("tasks")
    )
    return to


def patched(file: Path, library: Path) -> None:
    """Apply a patch to a copy; each file that it names becomes one of its own before."""
    for line in file.read_text("utf-8").splitlines():
        if line.startswith("+++ b/"):
            path = library / line.removeprefix("+++ b/")
            text = path.read_text("utf-8")
            path.unlink()
            path.write_text(text, "utf-8")
    subprocess.run(["git", "apply", str(file)], cwd=library, check=True)


@pytest.fixture(scope="module")
def lm_eval_with_turns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of lm-eval with the proposed request type, which holds the proposed task alone."""
    library = copied("lm_eval", tmp_path_factory.mktemp("lm-eval"))
    patched(UPSTREAM / "lm_eval" / "multi_turn.patch", library)
    spec = find_spec("lm_eval")
    assert spec is not None
    assert spec.origin is not None
    own = library / "lm_eval" / "tasks"
    own.mkdir()
    for file in Path(spec.origin).parent.joinpath("tasks").glob("*.py"):
        (own / file.name).symlink_to(file)
    return library


def test_conversations_as_lm_eval_would_run_them_give_the_replies_and_figures_of_ours(
    lm_eval_with_turns: Path, tiny_model: Path, tmp_path: Path, run_command: Command
) -> None:
    tasks = tmp_path / "tasks"
    shutil.copytree(UPSTREAM / "lm_eval" / "multiif", tasks)
    template = tasks / "_default_template_yaml"
    local = f"dataset_path: csv\ndataset_kwargs: {{data_files: {{train: {SAMPLE}}}}}"
    template.write_text(template.read_text("utf-8").replace("dataset_path: facebook/Multi-IF", local), "utf-8")

    done = subprocess.run(
        [sys.executable, "-c", RUN, *map(str, (lm_eval_with_turns, tiny_model, tasks, tmp_path / "cache"))],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join([str(lm_eval_with_turns), str(REPOSITORY)]), "TURNSWAP_DISABLE": "1"},
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, again = (json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"results"'))
    assert first["asked"] == 6, "two conversations of three turns"
    assert again["asked"] == 0, "the cache is looked up turn by turn"
    assert again["replies"] == first["replies"]

    ours = run_command(
        "turnswap", "lm-eval", "run", "--model", "hf", "--model_args", f"pretrained={tiny_model},dtype=float32",
        "--device", "cpu", "--tasks", "multiif_en", "--batch_size", 2, "--limit", 2, "--gen_kwargs", "max_gen_toks=24",
        "--system_instruction", "Be brief.", "--output_path", "ours", "--log_samples", TURNSWAP_MULTIIF="sample",
    )  # fmt: skip
    assert ours.returncode == 0, ours.stderr
    samples = read_samples(tmp_path / "ours")
    assert [[turn[0] for turn in sample["resps"]] for sample in samples] == first["replies"]
    figures = read_results(tmp_path / "ours")["results"]["multiif_en"]
    proposed = {
        name: value for name, value in first["results"].items() if name.startswith("turn") and "_stderr" not in name
    }
    assert len(proposed) == 19
    assert proposed == pytest.approx({name: figures[name] for name in proposed}, nan_ok=True)


def test_every_language_has_a_task_and_the_group_names_all_figures() -> None:
    from turnswap.tasks.multiif.dataset import LANGUAGES

    folder = UPSTREAM / "lm_eval" / "multiif"
    group = yaml.safe_load((folder / "multiif.yaml").read_text("utf-8"))
    assert group["task"] == [f"multiif_{code}" for code in LANGUAGES]
    for code, language in LANGUAGES.items():
        task = yaml.safe_load((folder / f"multiif_{code}.yaml").read_text("utf-8"))
        assert (task["task"], task["metadata"]["language"]) == (f"multiif_{code}", language)
    ours = yaml.safe_load((REPOSITORY / "tasks" / "multiif" / "multiif.yaml").read_text("utf-8"))
    published = [
        m for m in ours["aggregate_metric_list"] if m["metric"].endswith(("_acc", "_forgetting", "_correction"))
    ]
    assert group["aggregate_metric_list"] == published


MERGE = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import mergekit.merge_methods.registry as registry
from layer_swap import layer_swap_merge_method
registry.register(layer_swap_merge_method)
from mergekit.scripts.run_yaml import main
main()
"""


def test_the_method_as_mergekit_would_take_it_gives_the_tensors_of_ours(
    tiny_model: Path, tmp_path: Path, run_command: Command
) -> None:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    for name in ("recipient", "donor"):
        shutil.copytree(tiny_model, tmp_path / name)
        model = AutoModelForCausalLM.from_pretrained(tiny_model)
        for weight in model.parameters():
            weight.data += 0.1 * torch.randn_like(weight)
        model.save_pretrained(tmp_path / name)
    same = {
        "merge_method": "layer_swap",
        "base_model": "./recipient",
        "models": [{"model": "./donor"}],
        "dtype": "float32",
    }
    parameters = {"layers": "0", "blend_layers": "1", "embeddings": "donor", "head": "recipient"}
    (tmp_path / "swap.yml").write_text(yaml.safe_dump(same | {"parameters": parameters}))
    done = subprocess.run(
        [sys.executable, "-c", MERGE, str(UPSTREAM / "mergekit"), "swap.yml", "proposed", "--quiet"],
        cwd=tmp_path, env=os.environ | {"TURNSWAP_DISABLE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert run_command("turnswap", "mergekit-yaml", "swap.yml", "ours", "--quiet").returncode == 0
    theirs, mine = (load_file(tmp_path / name / "model.safetensors") for name in ("proposed", "ours"))
    assert theirs.keys() == mine.keys()
    for name, tensor in mine.items():
        if ".layers.1." in name:
            torch.testing.assert_close(theirs[name], tensor, rtol=1e-6, atol=1e-7)
        else:
            assert torch.equal(theirs[name], tensor), name
