"""A folder with everything that documents mention, and a shell in which their commands run there."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..started_host import StartedHost

REPOSITORY = Path(__file__).parents[2]
LAYERS = 32  # as configs/layerswap.yml was written for
# Each name that documents give a model, by what it is.
MODELS = {
    "pretrained": ("BASE", "MODEL", "Llama-3.1-8B", "demo-output/model"),
    "task": ("TASK_EXPERT", "math-expert", "demo-output/english-expert"),
    "language": ("LANGUAGE_EXPERT", "swahili-expert", "telugu-expert", "demo-output/spanish-expert"),
}
SAMPLE = "tasks/multiif/sample/sample.csv"
EVALUATE = "lm_eval run --model hf --tasks multiif --batch_size 8 --log_samples --limit 2"
# What documents take as given, made by the real commands.
MADE = (
    f"{EVALUATE} --model_args pretrained=MODEL --output_path results",
    f"{EVALUATE} --model_args pretrained=TASK_EXPERT --output_path results-b",
    "cp -r results results-a; cp -r results demo-output/results-english-expert",
    "cp -r results-b demo-output/results-merged",
    "mergekit-yaml layerswap.yml merged",
    "turnswap analyze --base BASE --recipient TASK_EXPERT --donor LANGUAGE_EXPERT -o analysis",
    # With something for an audit to find.
    f"for name in FILE data multiIF_20241018; do sed 's/at least 4 words/at least 9 words/' {SAMPLE} >$name.csv; done",
)
# lm-eval's own tasks that need the Hub, in small; a user's folder wins over lm-eval's.
HUB_TASKS = (*(f"mgsm_native_cot_{language}" for language in ("sw", "te", "bn", "ja")), "mgsm_direct_en")
FASTER = {
    "lm_eval": "--limit 1 --batch_size 8 --gen_kwargs max_gen_toks=4",
    "sweep": "--limit 2 --controls 1 --include-path hub-tasks --bottom 4-5 --top 2",
    "search": "--limit 2 --controls 1 --include-path hub-tasks --trials 3",
}
SHIM = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as connection:
    connection.connect({address!r})
    name = os.path.basename(sys.argv[0])
    connection.sendall(json.dumps([[name, *sys.argv[1:]], os.getcwd(), dict(os.environ)]).encode())
    connection.shutdown(socket.SHUT_WR)
    code, out, err = json.load(connection.makefile())
sys.stderr.write(err)
sys.stdout.write(out)
sys.exit(code)
"""


class Shell:
    """bash, in which the hosts' commands run in forks of the started host: a command costs a second, and not ten."""

    def __init__(self, host: StartedHost, folder: Path) -> None:
        self._host, self._lock = host, threading.Lock()
        address = str(folder / "socket")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen()
        for program in ("lm_eval", "mergekit-yaml", "mergekit-multi", "turnswap"):
            (folder / program).write_text(SHIM.format(python=sys.executable, address=address), "utf-8")
            (folder / program).chmod(0o755)
        self._path = os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]])
        threading.Thread(target=self._serve, daemon=True).start()

    def run(self, text: str, folder: Path, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        """Run a text in a folder."""
        environment = os.environ | {"PATH": self._path, "TURNSWAP_MULTIIF": "sample", "COLUMNS": "120"}
        environment |= {"TURNSWAP_TASKS": str(folder / "hub-tasks"), "SCRATCH": str(folder)}
        return subprocess.run(
            ["bash", "-ec", text], cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout,
            stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip

    def close(self) -> None:
        """Listen no longer."""
        self._listener.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile() as file:
            words, folder, environment = json.load(file)
            with self._lock:
                done = self._host.run(faster(words), Path(folder), environment, 300)
            connection.sendall(json.dumps([done.returncode, done.stdout, done.stderr]).encode())


def faster(words: Sequence[str]) -> list[str]:
    """The command with fewer documents and shorter replies, by turnswap's own way to a host where it is not enabled."""
    program, *arguments = words
    if program != "turnswap":
        words = ["turnswap", program.replace("_", "-"), *arguments]
    evaluates = words[1] == "lm-eval" and {"--tasks", "--config"} & set(words)
    return (
        [*words, *FASTER["lm_eval" if evaluates else words[1]].split()] if evaluates or words[1] in FASTER else [*words]
    )


@contextmanager
def started_shell(host: StartedHost) -> Iterator[Shell]:
    """A shell while the block lasts; the path of a socket must be short."""
    with tempfile.TemporaryDirectory() as folder:
        shell = Shell(host, Path(folder))
        yield shell
        shell.close()


def make(folder: Path, tiny_model: Path, shell: Shell) -> None:
    """Make everything, once; a page gets a copy."""
    folder.mkdir()
    for name in ("configs", "docs"):
        shutil.copytree(REPOSITORY / name, folder / name)
    for name in ("tasks", "turnswap", "merge_methods", "benchmarks", "tests"):
        (folder / name).symlink_to(REPOSITORY / name)
    _make_models(folder, tiny_model)
    _write_hub_tasks(folder / "hub-tasks")
    donor = "  - model: ./swahili-expert"
    ancestor = f"  - {{model: ./pretrained, parameters: {{role: pretrained}}}}\n{donor}"
    swap = (folder / "configs" / "layerswap.yml").read_text("utf-8").replace(donor, ancestor)
    for name in ("layerswap.yml", "FILE.yml"):
        (folder / name).write_text(swap, "utf-8")
    shutil.copy(folder / "configs" / "build_sw_ko.yaml", folder / "my_language.yaml")
    shutil.copy(folder / "configs" / "search.yml", folder / "search.yml")
    (folder / "swahili.txt").write_text("\n\n".join(f"Habari za leo, rafiki wa {n}." for n in range(8)), "utf-8")
    for command in MADE:
        done = shell.run(command, folder)
        assert done.returncode == 0, f"{command}\n{done.stderr[-3000:]}"


def _make_models(folder: Path, tiny_model: Path) -> None:
    import peft
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig.from_pretrained(tiny_model, num_hidden_layers=LAYERS, max_position_embeddings=16384)
    for seed, (kind, names) in enumerate(MODELS.items()):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config).bfloat16()
        torch.manual_seed(seed)
        with torch.no_grad():  # fine-tuned a little: the language expert more at the ends, the other in the middle
            for name, parameter in model.named_parameters() if seed else ():
                ends = not 5 <= next((int(part) for part in name.split(".") if part.isdigit()), 0) < LAYERS - 2
                parameter.add_((0.002 if ends == (kind == "language") else 0.001) * torch.randn_like(parameter))
        shutil.copytree(tiny_model, folder / kind)
        model.save_pretrained(folder / kind)
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            shutil.copytree(folder / kind, folder / name)
    base = LlamaForCausalLM.from_pretrained(folder / "pretrained")
    for name in ("math-adapter", "swahili-adapter"):
        adapted = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
        adapted.save_pretrained(folder / name)
        base = adapted.unload()


def _write_hub_tasks(folder: Path) -> None:
    folder.mkdir()
    lines = [{"question": f"What is {n} + {n}?", "answer": str(2 * n)} for n in range(250)]
    (folder / "data.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    for name in HUB_TASKS:
        (folder / f"{name}.yaml").write_text(
            f"task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {folder}/data.jsonl}}}}\n"
            "test_split: test\noutput_type: generate_until\ndoc_to_text: question\ndoc_to_target: answer\n"
            "fewshot_split: test\ngeneration_kwargs: {max_gen_toks: 4, until: [zzz]}\n"
            "metric_list: [{metric: exact_match, aggregation: mean, higher_is_better: true}]\n"
            "filter_list: [{name: flexible-extract, filter: [{function: take_first}]}]\nmetadata: {version: 1.0}\n",
            "utf-8",
        )
