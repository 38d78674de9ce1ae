"""Layer swaps of a generated pair of 1.3 B-parameter bf16 models, against stock mergekit, ``cp`` and ``sha256sum``.

Whole processes, in turn, so that a slow minute of the machine hits all of them. Needs 12 GB of disk.
"""

from __future__ import annotations

import filecmp
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = 3
LAYERS, BOTTOM, TOP = 24, 5, 2
HIDDEN, INTERMEDIATE = 2048, 5504
LARGEST = HIDDEN * INTERMEDIATE * 2  # bytes of a tensor that the transition blends

SWAP = """merge_method: layer_swap
base_model: ./recipient
models: [{{model: ./donor}}]
parameters: {{bottom: {bottom}, top: {top}, transition: {transition}}}
dtype: bfloat16
"""


def write_model(folder: str, seed: int) -> None:
    """A random Llama of 24 layers and 1.35 billion parameters, in shards of 1 GB."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=32000,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=16,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(torch.bfloat16)
    model.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for weight in model.state_dict().values():
        weight.normal_(std=0.02, generator=generator)
    model.save_pretrained(folder, max_shard_size="1GB")


def check_bytes(folder: str) -> None:
    """Stop if a file is not, byte for byte, what safetensors writes of its tensors."""
    from safetensors.torch import load_file, save_file

    for file in Path(folder).glob("*.safetensors"):
        again = file.with_suffix(".again")
        save_file(load_file(file), again, metadata={"format": "pt"})
        if not filecmp.cmp(file, again, shallow=False):
            sys.exit(f"{file} is not what safetensors writes.")
        again.unlink()


def slices(method: str, parts: list[tuple[int, int, list[str]]]) -> str:
    """The same swap for stock mergekit, as slices of equally weighted sources."""
    listed = [
        {"sources": [{"model": f"./{source}", "layer_range": [first, end]} for source in sources]}
        for first, end, sources in parts
    ]
    content = {"merge_method": method, "base_model": "./recipient", "slices": listed, "dtype": "bfloat16"}
    if method == "linear":
        content["parameters"] = {"weight": 1.0}
    return json.dumps(content)  # JSON is YAML


def run(folder: Path, *command: str) -> tuple[float, float]:
    """Seconds and peak resident MB of a process."""
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    settle(folder)
    begin = time.perf_counter()
    with subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - begin
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{said.decode()[-3000:]}")
    return seconds, usage.ru_maxrss / 1000


def settle(folder: Path) -> None:
    """Leave nothing to write, and as much free memory as an output takes: a virtual machine gets it back slowly."""
    filler = folder / "filler"
    with filler.open("wb") as file:
        for _ in range(3000):
            file.write(bytes(1_000_000))
    filler.unlink()
    os.sync()


def main() -> None:
    """Print times and peak memory as ratios, each the median over the rounds of the ratio within a round."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for seed, name in enumerate(("recipient", "donor")):
            # In a process of its own: a child's peak memory counts what its parent held when it was started.
            program = f"from benchmarks.layer_swap import write_model; write_model({str(folder / name)!r}, {seed})"
            subprocess.run([sys.executable, "-c", program], check=True, stderr=subprocess.DEVNULL)
        compare(folder)


def compare(folder: Path) -> None:
    """Run everything in turn, several rounds, and print what came out."""
    for name, text in configurations().items():
        (folder / f"{name}.yml").write_text(text)
    run(folder, "sha256sum", *(str(path) for path in folder.glob("*/*.safetensors")))  # from disk once, not in round 1
    rounds = []
    for number in range(RUNS):
        rounds.append(one_round(folder))
        print(f"round {number + 1}:", "  ".join(f"{n} {t:.1f} s {m:.0f} MB" for n, (t, m) in rounds[-1].items()))

    def ratio(numerator: str, denominator: str, what: int = 0, minus: str | None = None) -> str:
        values = []
        for timed in rounds:
            off = timed[minus][what] if minus else 0
            values.append((timed[numerator][what] - off) / timed[denominator][what])
        return f"{statistics.median(values):.3f} x ({min(values):.3f} to {max(values):.3f})"

    print(f"swap without transition: {ratio('swap0', 'passthrough')} passthrough of the same layers (bound: 1.1)")
    print(f"linear slices: {ratio('linear', 'swap1')} the swap with transition (bound: at least 2)")
    print(f"swap beyond the imports: {ratio('swap0', 'cp', minus='imports')} cp of the output (bound: 1.2)")
    print(f"passthrough beyond the imports: {ratio('passthrough', 'cp', minus='imports')} cp of the output")
    print(f"peak memory of the swap: {ratio('swap0', 'passthrough', 1)} passthrough's (bound: 1)")
    for name, what in (("swap0", "nothing is computed"), ("swap1", f"blends of {LARGEST / 1e6:.0f} MB at most")):
        beyond = statistics.median(timed[name][1] - timed["imports"][1] for timed in rounds)
        print(f"peak memory beyond the imports, {what}: {beyond:.0f} MB (aim: the largest computed tensor)")
    print(f"verify: {ratio('verify', 'sha256sum')} sha256sum of the same files (bound: 2)")
    print(f"verify with provenance: {ratio('provenance', 'sha256sum')} sha256sum of the same files")
    print(where_the_time_goes(folder))


def where_the_time_goes(folder: Path) -> str:
    """A profile of one swap, beyond the imports: the share of copying, which is the kernel's alone."""
    program = """
import cProfile, pstats, sys
from turnswap.hosts import startup
startup.install(force=True)
from mergekit.scripts.run_yaml import main
profile = cProfile.Profile()
try:
    profile.runcall(main, args=["swap0.yml", "out", "--quiet"], prog_name="mergekit-yaml")
except SystemExit:
    pass
stats = pstats.Stats(profile)
copying = sum(v[2] for (_, _, name), v in stats.stats.items() if "copy_file_range" in name)
print(f"profile beyond the imports: {stats.total_tt:.2f} s, {copying:.2f} s of it in copy_file_range")
"""
    settle(folder)
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
    shutil.rmtree(folder / "out")
    return done.stdout.splitlines()[-1]


def configurations() -> dict[str, str]:
    """The swap without and with a transition, and each as stock mergekit can write it."""
    middle, both = LAYERS - TOP, ["recipient", "donor"]
    plain = [(0, BOTTOM, ["donor"]), (BOTTOM, middle, ["recipient"]), (middle, LAYERS, ["donor"])]
    five = [
        (0, BOTTOM, ["donor"]),
        (BOTTOM, BOTTOM + 1, both),
        (BOTTOM + 1, middle - 1, ["recipient"]),
        (middle - 1, middle, both),
        (middle, LAYERS, ["donor"]),
    ]
    return {
        "swap0": SWAP.format(bottom=BOTTOM, top=TOP, transition=0),
        "swap1": SWAP.format(bottom=BOTTOM, top=TOP, transition=1),
        "passthrough": slices("passthrough", plain),
        "linear": slices("linear", five),
    }


def one_round(folder: Path) -> dict[str, tuple[float, float]]:
    """Each command once; stops if stock linear's output is not the swap's, bit for bit."""
    turnswap = [sys.executable, "-m", "turnswap"]
    stock = [sys.executable, "-c", "from mergekit.scripts.run_yaml import main; main()"]
    os.environ["TURNSWAP_DISABLE"] = "1"  # stock is stock, and the wrapper brings what it needs
    timed = {"imports": run(folder, sys.executable, "-c", "import mergekit.scripts.run_yaml")}
    for name in configurations():
        shutil.rmtree(folder / "out", ignore_errors=True)
        command = [*turnswap, "mergekit-yaml"] if name.startswith("swap") else stock
        timed[name] = run(folder, *command, f"{name}.yml", "out", "--quiet")
        if name.startswith("swap"):
            program = ["-c", "from benchmarks.layer_swap import check_bytes; check_bytes('out')"]
            run(folder, sys.executable, *program)
        if name == "swap0":
            timed["cp"] = run(folder, "cp", "-r", "out", "copy")
            shutil.rmtree(folder / "copy")
        if name == "swap1":
            files = [str(p) for n in ("recipient", "donor", "out") for p in (folder / n).glob("*.safetensors")]
            timed["sha256sum"] = run(folder, "sha256sum", *files)
            timed["verify"] = run(folder, *turnswap, "verify", "out")
            timed["provenance"] = run(folder, *turnswap, "verify", "out", "--write-provenance")
        if name == "linear":
            run(folder, *turnswap, "verify", "out", "--config", "swap1.yml")
    shutil.rmtree(folder / "out")
    return timed
