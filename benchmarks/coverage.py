"""Do the intervals hold what they promise, and does a comparison of equal models stay quiet?

    python -m benchmarks.coverage                # docs/explanation/statistics.md's table, about 20 minutes on one core
    python -m benchmarks.coverage --trials 200   # a look

Each trial makes a benchmark anew, with the structure of the published one: 484 source prompts, of which 425 have two
conversations whose first turn is the same, word for word (and so is a greedy model's reply to it); eight languages of
the published sizes, translations of those conversations; one to three instructions in turn 1 and one more in each later
turn. How hard a source prompt is, all of its conversations share, in every language; a conversation is harder or easier
by itself, and so is a language. Two equal models are run on it. What is true is known: the same figures of a benchmark
of 300,000 source prompts.

The table tells how often the 95 % interval of the first model's figure holds the true one, and how often the comparison
of the two calls one better at p < 0.05; beside it the same if each conversation is taken for independent, as is usual.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from turnswap.reports import figures
from turnswap.reports.figures import AVERAGE, FIGURES, MACRO, RATIOS, Resampling, Sums
from turnswap.tasks.multiif.metrics import TURNS

SOURCES, TWICE = 484, 425
SIZES = {"en": 909, "zh": 454, "fr": 548, "ru": 515, "hi": 542, "es": 516, "it": 493, "pt": 524}
FIRST_TURN = (525 / 909, 297 / 909, 87 / 909)  # with one, two and three instructions
WITHOUT_THIRD = 13 / 909
# Standard deviations of difficulty, in logits: of a source prompt, of its translation into a language, of a
# conversation, and of one of its instructions.
SPREAD = {"source": 1.0, "language": 0.4, "conversation": 0.5, "instruction": 0.8}
SKILL, LATER = 1.0, -0.35  # of the models, in logits, and by how much each later turn is harder
KEPT = 1.6  # by how much an instruction that was followed is easier to follow again, in logits
LOOSE = 0.15  # of what fails strictly holds loosely
MOST = 5  # instructions in turn 3
SHOWN = (
    [(code, f"turn{turn}_overall_acc") for code in ("en", "zh", MACRO) for turn in TURNS]
    + [(code, AVERAGE) for code in ("en", "zh", MACRO)]
    + [
        (code, f"turn{turn}_{kind}")
        for code in ("en", MACRO)
        for turn in (2, 3)
        for kind in ("forgetting", "correction")
    ]
)


@dataclass(frozen=True)
class Design:
    """Which conversations there are: the same in every trial, as the benchmark is.

    Attributes:
        source: by conversation of the first language, the number of its source prompt.
        chosen: language -> which conversations it has a translation of.
    """

    source: NDArray[np.int64]
    chosen: Mapping[str, NDArray[np.int64]]


def design(sources: int, twice: int, sizes: Mapping[str, int]) -> Design:
    """``twice`` of the source prompts have two conversations; each language has that many, taken at random."""
    source = np.concatenate([np.repeat(np.arange(twice), 2), np.arange(twice, sources)])
    generator = np.random.default_rng(1)
    return Design(source, {code: np.sort(generator.permutation(len(source))[:n]) for code, n in sizes.items()})


def run_models(of: Design, generator: np.random.Generator, models: int) -> list[dict[str, NDArray[np.int64]]]:
    """Equal models on one benchmark: per language, pairs of every ratio, ``(conversations, len(RATIOS), 2)``."""
    n, sources = len(of.source), of.source[-1] + 1
    first = generator.choice(3, sources, p=FIRST_TURN)[of.source] + 1
    asked = np.stack([np.arange(MOST) < (first + turn)[:, None] for turn in range(3)], axis=1)
    asked[generator.random(n) < WITHOUT_THIRD, 2] = False
    hard = SPREAD["source"] * generator.standard_normal(sources)[of.source][:, None]
    # The first turn of both conversations is the same prompt: there they are equally hard, instruction by instruction.
    sibling = SPREAD["conversation"] * generator.standard_normal(n)[:, None]
    own = SPREAD["instruction"] * generator.standard_normal((n, MOST))
    shared = SPREAD["instruction"] * generator.standard_normal((sources, MOST))[of.source]
    found: list[dict[str, NDArray[np.int64]]] = [{} for _ in range(models)]
    for code, chosen in of.chosen.items():
        apart = SPREAD["language"] * generator.standard_normal(sources)[of.source][:, None]
        for each in found:
            followed = np.zeros((n, 3, MOST), dtype=bool)
            before = np.zeros((n, MOST), dtype=bool)
            for turn in range(3):
                new = np.arange(MOST) >= (first + turn - 1)[:, None] if turn else np.ones((n, MOST), dtype=bool)
                ease = (
                    SKILL
                    + LATER * turn
                    - hard
                    - apart
                    - (shared if turn == 0 else sibling + np.where(new, own, shared))
                )
                ease = ease + np.where(new, 0, KEPT * np.where(before, 1, -1))
                luck = generator.random((sources, MOST))[of.source] if turn == 0 else generator.random((n, MOST))
                before = luck < 1 / (1 + np.exp(-ease))
                followed[:, turn] = before
            lenient = generator.random((sources, MOST))[of.source] < LOOSE
            loose = followed | lenient[:, None, :]
            each[code] = _pairs(asked[chosen], followed[chosen], loose[chosen])
    return found


def _pairs(asked: NDArray[np.bool_], strict: NDArray[np.bool_], loose: NDArray[np.bool_]) -> NDArray[np.int64]:
    pairs = np.zeros((len(asked), len(RATIOS), 2), dtype=np.int64)

    def put(name: str, above: NDArray[np.bool_], below: NDArray[np.bool_]) -> None:
        column = RATIOS.index(name)
        pairs[:, column, 0], pairs[:, column, 1] = above.sum(axis=-1), below.sum(axis=-1)

    for turn in TURNS:
        there = asked[:, turn - 1]
        for kind, held in (("strict", strict[:, turn - 1]), ("loose", loose[:, turn - 1])):
            some = there.any(axis=-1, keepdims=True)
            put(f"turn{turn}_prompt_{kind}_acc", (held | ~there).all(axis=-1, keepdims=True) & some, some)
            put(f"turn{turn}_inst_{kind}_acc", held & there, there)
        if turn > 1:
            both = asked[:, turn - 2] & there
            for end, held in (("", strict), ("_loose", loose)):
                was, now = held[:, turn - 2], held[:, turn - 1]
                put(f"turn{turn}_forgetting{end}", both & was & ~now, both & was)
                put(f"turn{turn}_correction{end}", both & ~was & now, both & ~was)
    return pairs


def sums(of: Design, pairs: Mapping[str, NDArray[np.int64]], by_conversation: bool = False) -> dict[str, Sums]:
    """As a report adds them up: by source prompt, or each conversation of each language for itself."""
    found = {}
    for code, values in pairs.items():
        chosen = of.chosen[code]
        unit = np.arange(len(chosen)) if by_conversation else of.source[chosen]
        there, place = np.unique(unit, return_inverse=True)
        added = np.zeros((len(there), *values.shape[1:]), dtype=np.int64)
        np.add.at(added, place, values)
        found[code] = Sums(tuple(f"{unit}{code if by_conversation else ''}" for unit in there), added)
    return found


def truth(seed: int) -> dict[str, NDArray[np.float64]]:
    """Every figure of a benchmark so large that drawing its source prompts does not matter, per language and macro."""
    large = 300_000
    of = design(large, large * TWICE // SOURCES, {})
    everyone = np.arange(len(of.source))
    (pairs,) = run_models(Design(of.source, {"en": everyone}), np.random.default_rng(seed), 1)
    values = figures.from_sums(pairs["en"].sum(axis=0, dtype=np.float64))
    return dict.fromkeys((*SIZES, MACRO), values)


def trials(count: int, resamples: int, by_conversation: bool) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """Per trial, for each of :data:`SHOWN`: whether the interval holds the true value, and whether p < 0.05."""
    of, true = design(SOURCES, TWICE, SIZES), truth(0)
    columns = [FIGURES.index(name) for _, name in SHOWN]
    for trial in range(count):
        both = run_models(of, np.random.default_rng([7, trial]), 2)
        drawing = Resampling(resamples, trial)
        one, other = (figures.estimate(sums(of, pairs, by_conversation), drawing) for pairs in both)
        held, called = [], []
        for (scope, _), column in zip(SHOWN, columns, strict=True):
            low, high = one[scope].interval(0.95)
            held.append(low[column] <= true[scope][column] <= high[column])
            called.append(figures.p_values(figures.difference(one[scope], other[scope]))[column] < 0.05)
        yield np.array(held), np.array(called)


def table(count: int, resamples: int) -> str:
    """The table in Markdown; a quarter of the trials are enough to see what is wrong with conversations as units."""
    shares = []
    for by_conversation in (False, True):
        found = list(trials(count // 4 if by_conversation else count, resamples, by_conversation))
        shares += [np.mean([each[kind] for each in found], axis=0) for kind in (0, 1)]
    lines = [
        "| language | figure | holds the truth | equal models differ | by conversation: holds | … differ |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for (scope, name), *row in zip(SHOWN, *shares, strict=True):
        lines.append(f"| {scope} | {name} | {' | '.join(f'{100 * share:.1f} %' for share in row)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=3_000)
    parser.add_argument("--resamples", type=int, default=1_000)
    arguments = parser.parse_args()
    print(table(arguments.trials, arguments.resamples))


if __name__ == "__main__":
    main()
