"""What choosing the best of many does to its figure, and to a comparison with random placements.

    python -m benchmarks.selection                # the tables of docs/how_to/search.md, a minute on one core
    python -m benchmarks.selection --trials 200   # a look

Documents differ in difficulty. A placement answers 70 % of them as the recipient does, and the others anew: so all
placements are as good as the recipient, and some 10 % of their verdicts differ. The first table tells how often a 95 %
interval of the difference of the best of 20 holds the truth, 0. In a search that learns, each placement is taken from
the best so far. The second tells how often the best of 20 placements that were drawn at random is said to beat others
drawn just so: placements as good as each other, or placements that differ, by a standard deviation of two points.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from turnswap.sweeps.inference import Array, Drawn, best_of, differences

PLACEMENTS, UNSELECTED = 20, 5
ANEW = 0.3  # of the documents, a placement answers by itself
APART = 0.45  # standard deviation of what placements do by themselves, in logits: two points of accuracy


class World:
    """Documents, and placements that answer them."""

    def __init__(self, documents: int, seed: Sequence[int]) -> None:
        self.generator = np.random.default_rng(seed)
        self.ease = 0.5 + 1.5 * self.generator.standard_normal(documents)
        self.recipient = self.by_itself(0)

    def by_itself(self, skill: float) -> Array:
        """Which documents are answered rightly by what knows nothing of the recipient's answers."""
        likely = 1 / (1 + np.exp(-self.ease - skill))
        return (self.generator.random(len(self.ease)) < likely).astype(float)

    def placement(self, parent: Array, skill: float = 0) -> Array:
        """Most answers of the parent, and some of its own."""
        anew = self.generator.random(len(self.ease)) < ANEW
        return np.where(anew, self.by_itself(skill), parent)


@lru_cache
def weights(resamples: int, documents: int) -> Array:
    """Of every resample, for all trials: drawing them takes longest."""
    return np.random.default_rng(0).poisson(1, (resamples, documents)).astype(float)


def drawn_from(resamples: int, **answers: Array) -> Drawn:
    """As ``draw`` does for accuracies on documents that are no clusters."""
    values = np.stack([*answers.values()], axis=1)
    times = weights(resamples, len(values))
    replicates = times @ values / times.sum(axis=1, keepdims=True)
    return Drawn([*answers], values.mean(axis=0), replicates, len(values))


def first_best(of: Sequence[Array], documents: int) -> int:
    return int(np.argmax([each[:documents].mean() for each in of]))


def coverage(trials: int, resamples: int, documents: int, learns: bool) -> list[float]:
    """Of the best placement's difference: how often its interval holds 0, taken by itself, for all tried, held out."""
    held = np.zeros((trials, 3))
    for trial in range(trials):
        world = World(2 * documents, [1, documents, trial])
        tried = [world.recipient]
        for _ in range(PLACEMENTS):
            tried.append(world.placement(tried[first_best(tried, documents) if learns else 0]))
        best = f"p{1 + first_best(tried[1:], documents)}"
        answers = {f"p{number}": each for number, each in enumerate(tried)}
        here = drawn_from(resamples, **{name: each[:documents] for name, each in answers.items()})
        there = drawn_from(resamples, **{name: answers[name][documents:] for name in ("p0", best)})
        found = (
            differences(here, "p0")[best],
            best_of(here, best, list(answers)[1:], "p0"),
            differences(there, "p0")[best],
        )
        held[trial] = [each.low <= 0 <= each.high for each in found]
    return [float(share) for share in held.mean(axis=0)]


def beaten(trials: int, resamples: int, documents: int, apart: float) -> list[float]:
    """How often the best of random placements is said to beat others that are just as random."""
    said = np.zeros((trials, 3))
    for trial in range(trials):
        world = World(2 * documents, [2, documents, trial])
        skills = apart * world.generator.standard_normal(2 * PLACEMENTS)
        placements = [world.placement(world.recipient, skill) for skill in skills]
        winner, control = (
            some[first_best(some, documents)] for some in (placements[:PLACEMENTS], placements[PLACEMENTS:])
        )
        unselected = np.mean(placements[-UNSELECTED:], axis=0)
        here, there = slice(documents), slice(documents, None)
        for column, (other, on) in enumerate([(unselected, here), (unselected, there), (control, there)]):
            drawn = drawn_from(resamples, winner=winner[on], other=other[on])
            said[trial, column] = differences(drawn, "other")["winner"].low > 0
    return [float(share) for share in said.mean(axis=0)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--resamples", type=int, default=2_000)
    how = parser.parse_args()
    print("| search | documents | by itself | max statistic | held-out documents |\n|---|---:|---:|---:|---:|")
    for search, learns in (("20 equal placements", False), ("20, each from the best so far", True)):
        for documents in (50, 100, 400):
            row = coverage(how.trials, how.resamples, documents, learns)
            print(f"| {search} | {documents} | {' | '.join(f'{100 * share:.1f} %' for share in row)} |", flush=True)
    print("\n| placements | documents | unselected, same documents | unselected, held out | selected alike, held out |")
    print("|---|---:|---:|---:|---:|")
    for name, apart in (("equal", 0.0), ("differ by 2 points", APART)):
        for documents in (100, 400):
            row = beaten(how.trials, how.resamples, documents, apart)
            print(f"| {name} | {documents} | {' | '.join(f'{100 * share:.1f} %' for share in row)} |", flush=True)


if __name__ == "__main__":
    main()
