"""Sentences that a translation drops, told by their lengths alone: in any language, and with no back-translation.

A sentence and its translation are about equally long, in a ratio that the two languages have (Gale and Church 1993, A
Program for Aligning Sentences in Bilingual Corpora, Computational Linguistics 19(1)). Where the source has a sentence
more, either two were made one, or one has none in its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log
from statistics import pstdev

from ..data_audit.stated import sentences_of

_FEWEST = 4  # sentences of the source: fewer lengths tell nothing
_EVEN = 0.35  # the most that logarithms of ratios scatter where sentences stand for each other
_BETTER = 0.6  # of the scatter with two made one: what leaving one out must come below


def left_out(source: str, translation: str) -> str | None:
    """The source's sentence that has none in its place; None where none is plainly left out.

    A sentence more is no sign: languages part where English joins.
    """
    longer, shorter = ([sentence.strip() for sentence in sentences_of(text)] for text in (source, translation))
    if len(longer) < _FEWEST or len(longer) != len(shorter) + 1:
        return None
    sizes, others = list(map(len, longer)), list(map(len, shorter))
    joined = min(
        _scatter([*sizes[:at], one + two, *sizes[at + 2 :]], others) for at, (one, two) in enumerate(pairwise(sizes))
    )
    without = [_scatter([*sizes[:at], *sizes[at + 1 :]], others) for at in range(len(sizes))]
    best = min(without)
    return longer[without.index(best)] if best < _EVEN and best < _BETTER * joined else None


def _scatter(sizes: Sequence[int], others: Sequence[int]) -> float:
    return pstdev([log(one / other) for one, other in zip(sizes, others, strict=True)]) if len(sizes) > 1 else 0.0
