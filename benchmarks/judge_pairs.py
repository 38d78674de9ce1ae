"""How well a model judges translations, by pairs that people labelled.

    python benchmarks/judge_pairs.py PAIRS.jsonl --model hf --model_args pretrained=FOLDER

A line of PAIRS.jsonl has language, source (English), translation and acceptable (true or false), and may have kind and
constraints (a list of sentences). Models, arguments and ``--gen_kwargs`` are those of ``lm_eval run``. What is asked is
what ``turnswap build`` asks its judge per turn; an answer that is no verdict rejects, as it does there. Answers are
kept in the folder ``--cache``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lm_eval.utils import simple_parse_args_string

from turnswap.construction.asking import Asking, checked
from turnswap.construction.judge import question, verdict
from turnswap.construction.llm import LLM, LLMSettings
from turnswap.core.journal import read_jsonl
from turnswap.tasks.multiif.corrected.agreement import Share


@dataclass(frozen=True)
class Judged:
    """A labelled pair, and what the judge made of it: ``reason`` is None where it accepts."""

    language: str
    kind: str
    acceptable: bool
    reason: str | None


def judge_pairs(pairs: Sequence[dict[str, Any]], judge: LLM) -> list[Judged]:
    """Every pair with the judge's verdict, in order.

    Raises:
        UserError: the model cannot be loaded, or too many requests failed.
    """
    reasons = judge.run([[_asking(pair, number)] for number, pair in enumerate(pairs, 1)])
    return [
        Judged(pair["language"], pair.get("kind", "good" if pair["acceptable"] else "bad"), pair["acceptable"], reason)
        for pair, (reason,) in zip(pairs, reasons, strict=True)
    ]


def _asking(pair: dict[str, Any], number: int) -> Asking[str | None]:
    constraints = pair.get("constraints", [])
    texts = pair["source"], pair["translation"]
    asked = question(("en", pair["language"]), texts, constraints, f"pair {number}")
    try:
        return (yield from checked(asked, partial(verdict, constraints=constraints)))
    except ValueError as problem:
        return f"no verdict: {problem}"


def told(judged: Sequence[Judged]) -> Iterator[str]:
    """Precision and recall of rejecting, good pairs accepted, and each kind and language; 95 % after Wilson."""
    bad, good = ([each for each in judged if each.acceptable is value] for value in (False, True))
    rejected = [each for each in judged if each.reason is not None]
    yield f"precision of rejecting  {_share(not each.acceptable for each in rejected)}"
    yield f"recall of bad pairs     {_share(each.reason is not None for each in bad)}"
    yield f"good pairs accepted     {_share(each.reason is None for each in good)}"
    yield f"no verdict              {_share((each.reason or '').startswith('no verdict') for each in judged)}"
    for name in ("kind", "language"):
        yield f"\n{name:20} rejected of bad, accepted of good"
        right: dict[tuple[str, bool], list[bool]] = {}
        for each in judged:
            key = getattr(each, name), each.acceptable
            right.setdefault(key, []).append((each.reason is None) is each.acceptable)
        for (group, acceptable), found in sorted(right.items()):
            yield f"{group:20} {'good' if acceptable else 'bad ':4} {_share(found)}"


def _share(said: Iterable[bool]) -> str:
    found = list(said)
    return f"{sum(found)} of {len(found)}" + (f": {Share(sum(found), len(found))}" if found else "")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--model_args", type=simple_parse_args_string, default={})
    parser.add_argument("--gen_kwargs", type=simple_parse_args_string, default={})
    parser.add_argument("--batch_size", default=1)
    parser.add_argument("--cache", type=Path, default=Path("build/judge-pairs"))
    given = parser.parse_args()
    settings = LLMSettings(given.model, given.model_args, given.gen_kwargs, given.batch_size)
    for line in told(judge_pairs(read_jsonl(given.pairs), LLM(settings, given.cache, given.pairs.stem, "judge"))):
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()
