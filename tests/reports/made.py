"""Models whose every figure is known by hand: no file, no evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from turnswap.reports.figures import RATIOS, Resampling
from turnswap.reports.runs import LanguageRun, LoggedConversation, LoggedTurn, Model
from turnswap.reports.table import Summary
from turnswap.tasks.multiif.metrics import COUNTS, TURNS

FACTS = {
    "multiif": "1.0",
    "data": "csv@12345678",
    "gen": "greedy,max_gen_toks:2048",
    "template": "none",
    "turnswap": "0",
}
Followed = Sequence[tuple[int, ...]]
# Conversations per language in the published data.
CONVERSATIONS = {"en": 909, "zh": 454, "fr": 548, "ru": 515, "hi": 542, "es": 516, "it": 493, "pt": 524}


def made(name: str, facts: dict[str, str] | None = None, **languages: Followed) -> Summary:
    """A model by what it did: per conversation and turn 1 or 0, which all four accuracies then are."""
    runs = {code: _run(name, code, followed, {**FACTS, **(facts or {})}) for code, followed in languages.items()}
    return Summary(Model(name, runs), Resampling(1000))


def noisy(share: float, n: int = 60, seed: int = 0) -> list[tuple[int, ...]]:
    """Conversations of which about this share is followed, the same ones by models of one seed: what is paired."""
    drawn = np.random.default_rng(seed).random((n, 3))
    return [tuple(int(x) for x in row < share) for row in drawn]


def made_without_samples(
    name: str, turns: tuple[float, ...], is_benchmark: bool = False, **languages: tuple[int, int]
) -> Summary:
    """A model of which only lm-eval's figures are known; languages by conversations run and in the data."""
    reported = {f"turn{turn}_overall_acc": (value, 0.01) for turn, value in enumerate(turns, 1)}
    runs = {
        code: LanguageRun(
            name, code, f"multiif_{code}", FACTS, _identity(name), (), n, of, reported, None, 0.0, "cafe", is_benchmark
        )
        for code, (n, of) in languages.items()
    }
    return Summary(Model(name, runs), Resampling(1000))


def benchmark(name: str, turns: tuple[float, ...] = (0.8, 0.7, 0.6), *codes: str) -> Summary:
    """A model that ran the whole benchmark, or some of its languages, without samples."""
    sizes = {code: (n, n) for code, n in CONVERSATIONS.items() if code in (codes or CONVERSATIONS)}
    return made_without_samples(name, turns, is_benchmark=True, **sizes)


def _run(name: str, code: str, followed: Followed, facts: dict[str, str]) -> LanguageRun:
    conversations = [_conversation(f"{n:03}:{code}", turns) for n, turns in enumerate(followed)]
    n = len(followed)
    return LanguageRun(name, code, f"multiif_{code}", facts, _identity(name), (), n, n, {}, conversations, 0.0)


def _conversation(key: str, followed: tuple[int, ...]) -> LoggedConversation:
    values: dict[str, Any] = {f"turn{turn}_{name}": 0 for turn in TURNS for name in COUNTS}
    values |= {f"turn{turn}_completed": 1 for turn in range(1, len(followed) + 1)}
    for ratio in RATIOS:
        turn = int(ratio.removeprefix("turn")[0]) - 1
        values[ratio] = [followed[turn], 1] if "_acc" in ratio and turn < len(followed) else [0, 0]
    return LoggedConversation(key, [LoggedTurn("Hello", [], [], [""]) for _ in followed], values, source=key[:3])


def _identity(name: str) -> dict[str, Any]:
    return {"name": name, "sha": None}
