"""Two models to compare, whose replies are made by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import Result

from tests.conftest import make_row, write_csv

from .evaluations import FOLLOWS, evaluate

NOTHING = "No, nothing"  # no title, a comma, no rain


def replies(**by_turn: str) -> Callable[[str], str]:
    """Hand-made replies: ``k1_2="…"`` is the reply of conversation 1 in turn 2; NOTHING where none is given."""

    def reply(prompt: str) -> str:
        found = re.search(r"about (\d+):1:", prompt)
        assert found, prompt
        return by_turn.get(f"k{found[1]}_{prompt.count('<user>')}", NOTHING)

    return reply


def refused(result: Result) -> str:
    """The message of an error that was foreseen, on one line."""
    assert isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code == 1
    return " ".join(result.stderr.split())


def one_and_other(folder: Path) -> dict[str, Any]:
    """Let two models answer English conversations, whose verdicts are known; what a third has to be asked in English.

    English: 24 conversations, of which 4 has two turns and 5 one instruction id twice. French: 3.
    """
    rows = [make_row(f"{n}:1:en", turns=2 if n == 4 else 3) for n in range(1, 25)]
    rows[4]["turn_2_instruction_id_list"] = json.dumps(["keywords:existence", "keywords:existence"])
    rows[4]["turn_2_kwargs"] = json.dumps([json.dumps({"keywords": [word]}) for word in ("sun", "moon")])
    rows += [make_row(f"{n}:1:fr", "French") for n in range(1, 4)]
    english: dict[str, Any] = {"data": write_csv(folder / "data.csv", rows), "tasks": ("multiif_en",)}
    one = {"k1_1": FOLLOWS, "k2_2": "<<Title>>\nDry, dry", "k3_3": "rain, rain", "k5_2": "sun, sun", "k6_1": FOLLOWS}
    other = {"k1_1": FOLLOWS, "k2_2": "no comma", "k3_3": FOLLOWS, "k5_2": "moon, moon", "k7_1": FOLLOWS}
    evaluate(folder / "one", "org/one", replies(**one), **english)
    evaluate(folder / "other", "org/other", replies(**other), **english)
    return english
