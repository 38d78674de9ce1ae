"""The pipelined schedule against lockstep and against one language after another, on the fault server without faults.

600 conversations of three turns in 8 languages; latencies are lognormal (sigma 0.8), half of the variance shared by
a conversation's turns. Every figure is a ratio, with what a simulation of the same latencies says beside it. The
bound: the larger of the sum of latencies / concurrency and the longest conversation.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import os
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from lm_eval.api.registry import get_model

from tests.conftest import make_row, write_csv
from tests.multiturn.fault_answers import latencies
from tests.multiturn.fault_server import server_process
from turnswap.tasks.multiif.dataset import LANGUAGES
from turnswap.tasks.multiif.task import MultiIF
from turnswap.tasks.multiturn.engines.api import ApiEngine
from turnswap.tasks.multiturn.runner import generate_until_multi_turn

CONVERSATIONS, TURNS, SEEDS = 600, 3, range(5)
# Latencies such that the client's own work per request is small against them: (concurrency, median in seconds).
LOADS = ((32, 0.15), (128, 1.0))
ALL = 10**9


def keys(conversations: int = CONVERSATIONS) -> list[tuple[str, str]]:
    """In the order in which a run opens them: one language after another."""
    codes = list(LANGUAGES)
    each = conversations // len(codes)
    return [(f"{n}:1:{code}", code) for code in codes for n in range(each)]


def drawn(seed: int, median: float) -> list[list[float]]:
    return latencies([f"Write about {key}. Add a title." for key, _ in keys()], TURNS, seed=seed, median=median)


def tasks(data: Path, **metadata: Any) -> list[MultiIF]:
    made = []
    for code, name in LANGUAGES.items():
        config = {"task": f"multiif_{code}", "dataset_name": name, "generation_kwargs": {"max_gen_toks": 64}}
        made.append(MultiIF(config=config | {"metadata": {"multiif_data": str(data), **metadata}}))
        made[-1].build_all_requests()
    return made


def measure(data: Path, seed: int, concurrency: int, median: float, separately: bool = False, **metadata: Any) -> float:
    """Seconds from the first request to the last answer."""
    groups = [task.instances for task in tasks(data, **metadata)]
    batches = groups if separately else [[instance for group in groups for instance in group]]
    config = {"seed": seed, "latency_median": median, "keep_messages": False}
    with tempfile.TemporaryDirectory() as folder, server_process(config, Path(folder) / "log") as server:
        model = get_model("local-chat-completions")
        lm = model(model="served", base_url=server.url, num_concurrent=concurrency, max_retries=1, timeout=120)
        for batch in batches:
            generate_until_multi_turn(lm, batch)
        records = server.requests
    assert len(records) == CONVERSATIONS * TURNS
    return max(record.sent or 0 for record in records) - min(record.arrived for record in records)


def pipelined(seconds: Sequence[Sequence[float]], concurrency: int, open_: int) -> float:
    """Simulated: fewest turns done first, then longest so far, among at most ``open_`` conversations."""
    waiting: list[tuple[int, float, int]] = []
    running: list[tuple[float, int, int]] = []
    coming = iter(range(len(seconds)))
    now = 0.0
    for number in itertools.islice(coming, open_):
        heapq.heappush(waiting, (0, 0.0, number))
    while waiting or running:
        while waiting and len(running) < concurrency:
            turn, _, number = heapq.heappop(waiting)
            heapq.heappush(running, (now + seconds[number][turn], number, turn))
        now, number, turn = heapq.heappop(running)
        if turn + 1 < len(seconds[number]):
            heapq.heappush(waiting, (turn + 1, -sum(seconds[number][: turn + 1]), number))
        elif (following := next(coming, None)) is not None:
            heapq.heappush(waiting, (0, 0.0, following))
    return now


def lockstep(seconds: Sequence[Sequence[float]], concurrency: int) -> float:
    """Simulated: every turn waits for the slowest reply of the turn before."""
    return sum(pipelined([[turn] for turn in turns], concurrency, ALL) for turns in zip(*seconds, strict=True))


def bound(seconds: Sequence[Sequence[float]], concurrency: int) -> float:
    return max(sum(map(sum, seconds)) / concurrency, max(map(sum, seconds)))


def compare(data: Path, concurrency: int, median: float) -> None:
    """Print the ratios at one concurrency, means over the seeds."""
    measured: dict[str, list[float]] = {}
    simulated: dict[str, list[float]] = {}
    for seed in SEEDS:
        seconds = drawn(seed, median)
        by_language = [[s for s, (_, code) in zip(seconds, keys(), strict=True) if code == each] for each in LANGUAGES]
        best = bound(seconds, concurrency)
        bounds = {
            "all open": ALL,
            f"{ApiEngine.open_per_slot} x open": ApiEngine.open_per_slot * concurrency,
            "1 x open": concurrency,
        }
        for name, open_ in bounds.items():
            took = measure(data, seed, concurrency, median, open=min(open_, CONVERSATIONS))
            measured.setdefault(name, []).append(best / took)
            simulated.setdefault(name, []).append(best / pipelined(seconds, concurrency, open_))
        default = best / measured[f"{ApiEngine.open_per_slot} x open"][-1]
        default_simulated = best / simulated[f"{ApiEngine.open_per_slot} x open"][-1]
        took = measure(data, seed, concurrency, median, schedule="lockstep")
        measured.setdefault("lockstep", []).append(took / default)
        simulated.setdefault("lockstep", []).append(lockstep(seconds, concurrency) / default_simulated)
        if seed == SEEDS[0]:  # the slowest of all
            took = measure(data, seed, concurrency, median, separately=True, schedule="lockstep")
            measured["languages"] = [took / default]
            simulated["languages"] = [sum(lockstep(s, concurrency) for s in by_language) / default_simulated]
    floors = {32: ("0.95", "1.12"), 128: ("0.86", "1.4")}[concurrency]
    for name in bounds:
        print(f"num_concurrent {concurrency}, {name}: {mean(measured[name]):.2f} of the bound "
              f"(simulated {mean(simulated[name]):.2f}; floor {floors[0]} by default)")  # fmt: skip
    # Few seeds are few long conversations: what the policy reaches on average says more.
    more = [bound(s, concurrency) / pipelined(s, concurrency, ApiEngine.open_per_slot * concurrency)
            for s in (drawn(seed, median) for seed in range(20))]  # fmt: skip
    print(f"num_concurrent {concurrency}: simulated over 20 seeds {mean(more):.2f} of the bound by default")
    for name, title in (("lockstep", "lockstep"), ("languages", "one language after another")):
        floor = f"; floor {floors[1]}" if name == "lockstep" else ""
        print(f"num_concurrent {concurrency}: {mean(measured[name]):.2f} times faster than {title} "
              f"(simulated {mean(simulated[name]):.2f}{floor})")  # fmt: skip


def client_cost(folder: Path) -> None:
    """CPU seconds and memory of the client: at 256 in flight, with 600 and 2,400 conversations."""
    for conversations in (600, 2400):
        rows = [make_row(key, LANGUAGES[code]) for key, code in keys(conversations)]
        data = write_csv(folder / f"{conversations}.csv", rows)
        child = os.fork()
        if child == 0:
            _cost_of_one(data, conversations)
            os._exit(0)
        os.waitpid(child, 0)


def _cost_of_one(data: Path, conversations: int) -> None:
    instances = [instance for task in tasks(data, open=256) for instance in task.instances]
    config = {"latency_median": 0.5, "keep_messages": False}
    with tempfile.TemporaryDirectory() as folder, server_process(config, Path(folder) / "log") as server:
        lm = get_model("local-chat-completions")(model="served", base_url=server.url, num_concurrent=256, max_retries=1)
        before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
        generate_until_multi_turn(lm, instances)
        cpu = (time.process_time() - start) / (conversations * TURNS)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"client, {conversations} conversations at num_concurrent 256: {1000 * cpu:.2f} ms CPU per request "
          f"(bound 2 ms), {grown:.0f} MB more at its peak", flush=True)  # fmt: skip


def main() -> None:
    """Print each figure beside its simulation and its floor."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        client_cost(folder)
        data = write_csv(folder / "data.csv", [make_row(key, LANGUAGES[code]) for key, code in keys()])
        for concurrency, median in LOADS:
            compare(data, concurrency, median)
