"""Replies of each kind that corrected verdicts are for, in ten languages, with what a reader says of them.

``reader_cases.jsonl`` was written for this purpose by someone who had not seen the grader: near misses stand beside
what follows, most of them exactly at the number that is asked for. What readers would dispute is not in it, nor are
inflected verbs of Japanese, which no rule is for.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from turnswap.tasks.multiif.corrected import grade_corrected


def by_kind() -> dict[str, list[dict[str, Any]]]:
    kinds: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in Path(__file__).with_name("reader_cases.jsonl").read_text("utf-8").splitlines():
        case = json.loads(line)
        kinds[case["kind"]].append(case)
    return kinds


CASES = by_kind()


@pytest.mark.parametrize("kind", CASES)
def test_replies_of_a_kind_get_a_readers_verdict(kind: str) -> None:
    wrong = []
    for case in CASES[kind]:
        asked = [case["instruction_id"]], [case["kwargs"]], case["language"], case.get("prompts", [])
        if grade_corrected(case["reply"], *asked)[0].strict is not case["reader"]:
            wrong.append(case)
    assert not wrong
